"""Read lists of values: on one line, below headings that each name a class, or beside a mean that names a metric."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from in4310repro.audit.document import Average, Measure, Table
from in4310repro.audit.readers.contexts import LINE, find_title
from in4310repro.audit.readers.grid import Grid, Row, is_numeric
from in4310repro.audit.readers.labels import CLASSWISE, LineValue, clean
from in4310repro.audit.readers.numbers import NUMBER, parse_measured
from in4310repro.audit.readers.pieces import Piece, Result, make_value, scale_values
from in4310repro.audit.readers.subjects import parse_pure, parse_subject
from in4310repro.audit.readers.words import FOLD, NETWORK_NAME, SIZE, SPREADS, heading, strip_marks

LISTED = "listed values"
LIST = re.compile(
    r"(?P<label>[^\[{]{1,100}?)(?: ?[:=] ?| )(?:\w{1,10}[.\w]{0,10}\()?[\[(]+ ?"
    r"(?P<values>[-+\d.,eE][-+\d.,eE ]{1,1900}?),? ?[\])]+"
)
WHOLE = re.compile(NUMBER)
SPACES = re.compile(r",? +")
NAMED = re.compile(r"(?P<label>[^\[{]{0,100}?)(?: ?[:=] ?| )?\{(?P<items>[^{}]{5,1900})\}")
# Per-class accuracy: sea 91.2%, ice 88.3%
PAIR = re.compile(rf"(?P<name>.{{1,60}}?) (?P<value>{NUMBER} ?%?)")
ITEM = re.compile(rf"[\"']?(?P<name>[^\"':,]{{1,60}})[\"']? ?: ?(?:np\.float\d\d\()?(?P<value>{NUMBER} ?%?)\)?")

# A dictionary of one entry as Python prints it; other braces around one value are LaTeX's, or an aside.
ONE_ENTRY = re.compile(r" ?(?:[\"'][^\"']{1,60}[\"']|\d{1,9}) ?:[^:]*")
ENTRY = re.compile(rf"(?P<name>[^:=|]{{1,60}}?) ?(?:[:=]|->|  ) ?(?P<value>{NUMBER} ?%?)(?: ?\(\d+ ?/ ?\d+\))?")
FEWEST_ENTRIES = 3  # entries of a list
GAP = 2  # lines between a list and the mean that tells what it measures
BARE_SET = re.compile(r"train|test|val", re.IGNORECASE)
NEAR = 3  # lines in which another set would be
SECTIONS = "scores below headings"
SCORE = re.compile(rf"(?P<label>[^:=]{{2,40}}?)(?: ?[:=] ?|  )(?P<value>{NUMBER} ?%?)(?: ?\(.{{1,40}}\))?")
NAME = re.compile(r"(?:(?:class|category|label)[ :]{1,2})?['\"]?(?P<name>\S.{0,58}?)['\"]?\s*:?", re.IGNORECASE)
FEWEST_SCORES = 2  # scores below a heading, and headings


def read_listed(lines: Sequence[str], skipped: frozenset[int]) -> Result:
    """Return the lists of values whose label is a metric, with or without class names."""
    pieces: list[Piece] = []
    for number, line in enumerate(lines, start=1):
        if number in skipped or len(line) > LINE:
            continue
        piece = _read_named(line, number, lines) or _read_unnamed(line, number) or _read_inline(line, number)
        if piece:
            pieces.append(piece)
    taken = frozenset(line for piece in pieces for line in range(piece.first, piece.last + 1))
    return Result(pieces=tuple(pieces), lines=taken)


def _read_unnamed(line: str, number: int) -> Piece | None:
    match = LIST.fullmatch(strip_marks(line))
    if not match:
        return None
    values = match["values"].strip()
    texts = SPACES.split(values)
    texts = texts if all(map(WHOLE.fullmatch, texts)) else values.replace(" ", "").split(",")
    if len(texts) < 2 or not all(map(WHOLE.fullmatch, texts)):
        return None
    return _piece(match["label"], enumerate(texts), number)


def _read_named(line: str, number: int, lines: Sequence[str]) -> Piece | None:
    match = NAMED.fullmatch(" ".join(line.split()))
    items = _items(ITEM, match["items"].split(",")) if match else []
    if not match or not items or (len(items) == 1 and not _is_class(match["items"], items[0][0])):
        return None
    above = lines[number - 2] if number > 1 else ""
    label = match["label"] or above
    return _piece(label, items, number)


def _is_class(text: str, name: str) -> bool:
    """Return whether `text` is a single entry, such as `"sea": 0.93`, whose key `name` is a class and not a metric."""
    return bool(ONE_ENTRY.fullmatch(text)) and parse_pure(name) is None


def _read_inline(line: str, number: int) -> Piece | None:
    label, colon, rest = strip_marks(line).partition(":")
    items = _items(PAIR, re.split(r"[,;]", rest)) if colon else []
    return _piece(label, items, number) if len(items) >= 2 and CLASSWISE.search(label) else None


def _items(form: re.Pattern[str], parts: Sequence[str]) -> list[tuple[str, str]]:
    """Return name and value of each part; an empty list if some part does not match `form`."""
    found = [(item["name"].strip(" :="), item["value"]) for part in parts if (item := form.fullmatch(part.strip()))]
    return found if len(found) == len(parts) else []


def _piece(label: str, items: Iterable[tuple[object, str]], number: int) -> Piece | None:
    label = strip_marks(label).strip(" :=")
    measure = parse_pure(label)
    if measure is None:
        return None
    values = []
    for name, text in items:
        cell = parse_measured(text, number)
        of = heading(str(name))
        value = make_value(measure, cell, label, class_name=str(name)) if cell else None
        if value:
            values.append(replace(value, class_name=None, average=of.average) if of.summary else value)
    table = Table(name=label, values=scale_values(values), image_set=heading(label).image_set)
    return Piece(table=table, first=number, last=number, reader=LISTED)


def measures_of_lists(lines: Sequence[str], skipped: frozenset[int]) -> dict[int, Measure]:
    """Return the metrics of lists that have no heading, as a dict from line number to metric.

    If a mean is printed at most 3 lines above or below a list, the metric of the mean is that of the list.
    """
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
        if end - start >= FEWEST_ENTRIES:
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
    """Return the values, with labels such as "train" read as class names where they do not name an image set.

    The label "train", for example, can name a class of vehicles. It is read as a class name if a class value of
    the same metric is on an adjacent line, and no other line nearby has such a label.
    """
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
        if current and len(current.scores) >= FEWEST_SCORES:
            yield current
        name = NAME.fullmatch(line)
        plain = name is not None and not score and not is_numeric(line) and (":" not in name["name"])
        explicit = re.match(r"class|category|label", line, re.IGNORECASE) is not None
        current = Section(name=name["name"], line=number, explicit=explicit) if name and plain else None
    if current and len(current.scores) >= FEWEST_SCORES:
        yield current


def _grid(run: Sequence[Section], lines: Sequence[str]) -> Iterator[Grid]:
    """Yield the sections as one grid if there is a sign that each section is a class.

    Signs are class sizes, a section for a mean, a heading such as `Class: sea`, and a title about classes.
    """
    sized = any(SIZE.fullmatch(label) for section in run for label in section.scores)
    told = any(section.explicit for section in run) or any(heading(section.name).summary for section in run)
    networks = sum(NETWORK_NAME.fullmatch(each.name) is not None or _is_set(each.name) for each in run)
    title = find_title(lines, run[0].line - 1, run[-1].line) if run else ""
    if len(run) < FEWEST_SCORES or 2 * networks > len(run) or not (sized or told or CLASSWISE.search(title)):
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
    yield Grid(rows=(header, *rows), header=1, reader=SECTIONS, title=title)


def _is_set(name: str) -> bool:
    of = heading(name)
    return (of.image_set is not None and not of.rest) or FOLD.fullmatch(name.lower()) is not None
