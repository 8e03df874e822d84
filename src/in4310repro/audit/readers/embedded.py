"""Read JSON and Python dictionaries within a text, for example in Markdown or after a name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from in4310repro.audit.document import Measure, Printed, Table, Value
from in4310repro.audit.readers.json_files import read_json
from in4310repro.audit.readers.logs import LINE
from in4310repro.audit.readers.pieces import Piece, Result, has_classes
from in4310repro.audit.readers.titles import find_title

OPENS = re.compile(r"(?P<label>[^{\[]{0,80}?)(?:\s?[:=]\s?|\s|^)(?:\w{1,20}\()?(?P<text>\{.*|\[\s*(?:\{.*|\[\s*)?)$")
LONGEST = 5000  # lines
PAIRS = {"{": 1, "[": 1, "}": -1, "]": -1}
QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
FENCE = re.compile(r"\s*```|\s*~~~")
TITLE = re.compile(r"[\w)]")


def read_embedded(lines: Sequence[str], skipped: frozenset[int]) -> Result:
    """Return the tables in all JSON or Python objects that occupy whole lines."""
    pieces: list[Piece] = []
    taken: set[int] = set()
    start = 0
    while start < len(lines):
        found = OPENS.fullmatch(lines[start].rstrip()) if start + 1 not in skipped and _short(lines[start]) else None
        end = _end(lines, start, found["text"]) if found else None
        if found is None or end is None:
            start += 1
            continue
        text = "\n".join([found["text"], *lines[start + 1 : end]]).rstrip(" ,;)`")
        title = found["label"].strip(" \"'`*#>-") or _title(lines, start, end)
        made = [piece for piece in read_json(text, title if TITLE.search(title) else "") if _is_result(piece, text)]
        pieces += [_move_piece(piece, start, title) for piece in made]
        # Objects without results are left to the other readers.
        taken |= set(range(start + 1, end + 1)) if made else set()
        start = end if made else start + 1
    return Result(pieces=tuple(pieces), lines=frozenset(taken))


def _is_result(piece: Piece, text: str) -> bool:
    """Return whether an object holds results; one-line objects by class are left to the list reader."""
    table = piece.table
    known = table.matrix is not None or any(value.measure is not Measure.OTHER for value in table.values)
    nested = "\n" in text or len(re.findall(r"[{\[]", text)) > 1
    return known and (nested or not has_classes(table))


def _short(line: str) -> bool:
    return len(line) <= 10 * LINE


def _title(lines: Sequence[str], start: int, end: int) -> str:
    """Return the heading above an object, or above the code block that begins with it."""
    above = start - 1 if start and FENCE.match(lines[start - 1]) else start
    return find_title(lines, above, end)


def _end(lines: Sequence[str], start: int, text: str) -> int | None:
    """Return the index after the line that closes all brackets; None if none does or if text follows them."""
    depth = 0
    for index in range(start, min(len(lines), start + LONGEST)):
        plain = QUOTED.sub("", text if index == start else lines[index])
        for place, character in enumerate(plain):
            depth += PAIRS.get(character, 0)
            if depth == 0 and character in PAIRS:
                return index + 1 if not plain[place + 1 :].strip(" ,;)`") else None
        if not depth:
            return None
    return None


def _move_piece(piece: Piece, by: int, title: str) -> Piece:
    """Return the piece with `by` added to its line numbers and the title in front of its table's name."""
    table = move(piece.table, by)
    name = " · ".join(
        part
        for part in (title, "" if table.name == "the values" or table.name.startswith("the table from") else table.name)
        if part
    )
    return replace(
        piece,
        table=replace(table, name=name or table.name),
        first=piece.first + by,
        last=piece.last + by,
        lines=frozenset(line + by for line in piece.lines),
    )


def move(table: Table, by: int) -> Table:
    """Return the table with `by` added to the line number of each value."""
    matrix = table.matrix and replace(
        table.matrix, rows=tuple(tuple(_number(cell, by) for cell in row) for row in table.matrix.rows)
    )
    values, asides = ([_value(value, by) for value in each] for each in (table.values, table.asides))
    return replace(table, values=tuple(values), asides=tuple(asides), matrix=matrix)


def _value(value: Value, by: int) -> Value:
    spread = value.spread and _number(value.spread, by)
    return replace(value, printed=_number(value.printed, by), spread=spread)


def _number(printed: Printed, by: int) -> Printed:
    return replace(printed, line=printed.line + by)
