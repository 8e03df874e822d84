"""Find the metric of lists of names and numbers without a heading, from a mean printed next to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from in4310repro.audit.document import Average, Measure
from in4310repro.audit.readers.labels import LineValue, clean
from in4310repro.audit.readers.logs import LINE
from in4310repro.audit.readers.no_classes import SPREADS
from in4310repro.audit.readers.numbers import NUMBER
from in4310repro.audit.readers.subjects import parse_subject
from in4310repro.audit.readers.words import SIZE, heading

ENTRY = re.compile(rf"(?P<name>[^:=|]{{1,60}}?) ?(?:[:=]|->|  ) ?(?P<value>{NUMBER} ?%?)(?: ?\(\d+ ?/ ?\d+\))?")
FEWEST = 3  # entries of a list
GAP = 2  # lines between a list and the mean that tells what it measures
BARE_SET = re.compile(r"train|test|val", re.IGNORECASE)
NEAR = 3  # lines in which another set would stand


def measures_of_lists(lines: Sequence[str], skipped: frozenset[int]) -> dict[int, Measure]:
    """Return by line number the metric of lists without a heading, from a mean within three lines."""
    plain = [clean(line) if number not in skipped and len(line) <= LINE else "" for number, line in enumerate(lines, 1)]
    measures: dict[int, Measure] = {}
    for first, end in _find_runs(plain):
        beside = [*range(end, end + GAP + 1), *range(first - 1, first - GAP - 2, -1)]
        told = (_mean_of(plain[index]) for index in beside if 0 <= index < len(plain))
        measure = next(filter(None, told), None)
        if measure:
            measures |= dict.fromkeys(range(first + 1, end + 1), measure)
    return measures


def _find_runs(plain: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the start and end index (exclusive) of each list of three or more entries."""
    start = 0
    while start < len(plain):
        end = start
        while end < len(plain) and _is_entry(plain[end]):
            end += 1
        if end - start >= FEWEST:
            yield start, end
        start = max(end, start + 1)


def _is_entry(line: str) -> bool:
    entry = ENTRY.fullmatch(line)
    if not entry or heading(entry["name"]).measure or heading(entry["name"]).summary:
        return False
    value = float(entry["value"].rstrip("% ").replace(",", "."))
    name = entry["name"].lower()
    share = 0 <= value <= 1 if "." in entry["value"] or value in (0, 1) else "%" in entry["value"]
    return (
        (share or ("." in entry["value"] and value <= 100)) and not SIZE.fullmatch(name) and not SPREADS.fullmatch(name)
    )


def _mean_of(line: str) -> Measure | None:
    entry = ENTRY.fullmatch(line)
    of = parse_subject(entry["name"]) if entry else None
    mean = of and of.class_name is None and not of.network and of.average in (Average.MACRO, Average.UNNAMED)
    return of.measure if of and mean and of.measure is not Measure.OTHER else None


def read_train_as_class(values: Sequence[LineValue]) -> list[LineValue]:
    """Read a lone "train" or "test" among class values as a class if no other set name is near."""
    settled = list(values)
    for place, value in enumerate(values):
        of = value.subject
        if of.class_name is not None or not BARE_SET.fullmatch(value.label.strip()):
            continue
        near = [each for each in values if each is not value and abs(each.line - value.line) <= NEAR]
        sets = any(BARE_SET.fullmatch(each.label.strip()) for each in near)
        beside = [each for each in near if each.subject.class_name is not None and each.subject.measure is of.measure]
        if beside and not sets and any(abs(each.line - value.line) == 1 for each in beside):
            of = replace(of, class_name=value.label.strip(), average=None, image_set=None)
            settled[place] = replace(value, subject=of)
    return settled
