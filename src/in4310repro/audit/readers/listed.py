"""Read values listed on one line: `Per-class accuracy: [0.91 0.88]`, `{'sea': 0.91, 'ice': 0.88}`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from in4310repro.audit.document import Table
from in4310repro.audit.readers.labels import CLASSWISE
from in4310repro.audit.readers.logs import LINE
from in4310repro.audit.readers.numbers import NUMBER, parse_measured
from in4310repro.audit.readers.pieces import Piece, Result, make_value, scale_values
from in4310repro.audit.readers.subjects import parse_pure
from in4310repro.audit.readers.words import heading, strip_marks

READER = "listed values"
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


def read_listed(lines: Sequence[str], skipped: frozenset[int]) -> Result:
    """Return the lists of values whose label is a metric, with or without class names."""
    pieces: list[Piece] = []
    for number, line in enumerate(lines, start=1):
        if number in skipped or len(line) > LINE:
            continue
        piece = _read_named(line, number, lines) or _read_unnamed(line, number) or _read_inline(line, number)
        if piece and pieces and _continues(pieces[-1], piece):
            table = pieces[-1].table
            pieces[-1] = replace(
                pieces[-1], last=number, table=replace(table, values=(*table.values, *piece.table.values))
            )
        elif piece:
            pieces.append(piece)
    taken = frozenset(line for piece in pieces for line in range(piece.first, piece.last + 1))
    return Result(pieces=tuple(pieces), lines=taken)


def _continues(before: Piece, after: Piece) -> bool:
    """Return whether two lists stand on consecutive lines and have the same classes but different metrics."""
    names = [[value.class_name for value in piece.table.values] for piece in (before, after)]
    measures = [{value.measure for value in piece.table.values} for piece in (before, after)]
    return after.first == before.last + 1 and set(names[0]) == set(names[1]) and not measures[0] & measures[1]


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
    """Return whether the only entry in braces is a class, not a metric as in `{'accuracy': 0.9}`."""
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
    return Piece(table=table, first=number, last=number, reader=READER)
