"""Read scores below headings that each name a class: `## sea`, then `precision: 0.91`, `support: 120`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from in4310repro.audit.readers.grid import Grid, Row, is_numeric
from in4310repro.audit.readers.labels import CLASSWISE, clean
from in4310repro.audit.readers.logs import LINE
from in4310repro.audit.readers.no_classes import FOLD
from in4310repro.audit.readers.numbers import NUMBER
from in4310repro.audit.readers.subjects import parse_pure
from in4310repro.audit.readers.titles import find_title
from in4310repro.audit.readers.words import NETWORK_NAME, SIZE, heading

READER = "scores below headings"
SCORE = re.compile(rf"(?P<label>[^:=]{{2,40}}?)(?: ?[:=] ?|  )(?P<value>{NUMBER} ?%?)(?: ?\(.{{1,40}}\))?")
NAME = re.compile(r"(?:(?:class|category|label)[ :]{1,2})?['\"]?(?P<name>\S.{0,58}?)['\"]?\s*:?", re.IGNORECASE)
FEWEST = 2  # scores below a heading, and headings


@dataclass(kw_only=True)
class Section:
    """A heading that may name a class, and the scores below it."""

    name: str
    line: int
    explicit: bool  # the heading says that it is a class
    scores: dict[str, tuple[str, int]] = field(default_factory=dict)  # by label: the number and its line


def section_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield a table for each series of consecutive sections that list the same scores."""
    run: list[Section] = []
    for section in _sections(lines, skipped):
        if run and (section.scores.keys() != run[0].scores.keys() or section.name in [each.name for each in run]):
            yield from _grid(run, lines)
            run = []
        run.append(section)
    yield from _grid(run, lines)


def _sections(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Section]:
    current: Section | None = None
    for number, raw in enumerate(lines, start=1):
        line = clean(raw) if number not in skipped and len(raw) <= LINE else ""
        if not line and number not in skipped:
            continue
        score = SCORE.fullmatch(line)
        label = score["label"].strip(" \"'").lower() if score else ""
        if score and current and label not in current.scores and (parse_pure(label) or SIZE.fullmatch(label)):
            current.scores[label] = (score["value"], number)
            continue
        if current and len(current.scores) >= FEWEST:
            yield current
        name = NAME.fullmatch(line)
        plain = name is not None and not score and not is_numeric(line) and (":" not in name["name"])
        explicit = re.match(r"class|category|label", line, re.IGNORECASE) is not None
        current = Section(name=name["name"], line=number, explicit=explicit) if name and plain else None
    if current and len(current.scores) >= FEWEST:
        yield current


def _grid(run: Sequence[Section], lines: Sequence[str]) -> Iterator[Grid]:
    """Yield the sections as one grid if something shows that they are classes, such as a support."""
    sized = any(SIZE.fullmatch(label) for section in run for label in section.scores)
    told = any(section.explicit for section in run) or any(heading(section.name).summary for section in run)
    networks = sum(NETWORK_NAME.fullmatch(each.name) is not None or _is_set(each.name) for each in run)
    title = find_title(lines, run[0].line - 1, run[-1].line) if run else ""
    if len(run) < FEWEST or 2 * networks > len(run) or not (sized or told or CLASSWISE.search(title)):
        return
    labels = list(run[0].scores)
    header = Row(cells=("class", *labels), lines=(run[0].line,) * (len(labels) + 1))
    rows = [
        Row(
            cells=(section.name, *[section.scores[label][0] for label in labels]),
            lines=(section.line, *[section.scores[label][1] for label in labels]),
        )
        for section in run
    ]
    yield Grid(rows=(header, *rows), header=1, reader=READER, title=title)


def _is_set(name: str) -> bool:
    of = heading(name)
    return (of.image_set is not None and not of.rest) or FOLD.fullmatch(name.lower()) is not None
