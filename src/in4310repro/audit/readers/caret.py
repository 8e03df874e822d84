"""Read R caret's statistics by class: a column for each class (`Class: A`), a row for each statistic."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from in4310repro.audit.readers.grid import Grid, Row, is_numeric
from in4310repro.audit.readers.logs import LINE
from in4310repro.audit.readers.numbers import is_missing
from in4310repro.audit.readers.titles import find_title

READER = "statistics by class"
NAME = re.compile(r"\bClass: (\S(?:.*?\S)??)(?=\s+Class: |\s*$)")
LEAST = 2  # classes in a heading, and statistics below it
ALIKE = {"Pos Pred Value": "Precision", "Sensitivity": "Recall"}  # printed twice with mode = "everything"


def caret_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield the tables; parts that R wrapped at the screen width are joined again."""
    start = 0
    while start < len(lines):
        names = _names(lines[start]) if start + 1 not in skipped else []
        if len(names) < LEAST:
            start += 1
            continue
        header = Row(cells=("class", *names), lines=(start + 1,) * (len(names) + 1))
        rows, end = _rows(lines, start + 1, len(names))
        while rows and end < len(lines) and (more := _names(lines[end])):
            parts, after = _rows(lines, end + 1, len(more))
            if [row.cells[0] for row in parts] != [row.cells[0] for row in rows]:
                break
            header = _join(header, Row(cells=("", *more), lines=(end + 1,) * (len(more) + 1)))
            rows = [_join(row, part) for row, part in zip(rows, parts, strict=True)]
            end = after
        if len(rows) >= LEAST:
            title = find_title(lines, start, end)
            yield Grid(rows=(header, *_drop_repeats(rows)), header=1, reader=READER, title=title)
        start = max(end, start + 1)


def _join(row: Row, part: Row) -> Row:
    """Return a row with the cells of its continuation row appended, without the repeated name."""
    return Row(cells=(*row.cells, *part.cells[1:]), lines=(*row.lines, *part.lines[1:]))


def _names(line: str) -> list[str]:
    text = line[:LINE]
    names = NAME.findall(text) if text.lstrip().startswith("Class: ") else []
    return [] if any(set(":=,") & set(name) for name in names) else names


def _rows(lines: Sequence[str], start: int, width: int) -> tuple[list[Row], int]:
    """Return the rows of statistics that have a number for each class, and the index of the line after them."""
    rows: list[Row] = []
    for index in range(start, len(lines)):
        words = lines[index][:LINE].split()
        values = words[-width:]
        if len(words) <= width or not all(is_numeric(word) or is_missing(word) for word in values):
            return rows, index
        rows.append(Row(cells=(" ".join(words[:-width]), *values), lines=(index + 1,) * (width + 1)))
    return rows, len(lines)


def _drop_repeats(rows: Sequence[Row]) -> list[Row]:
    """Return the rows without those that repeat another row's statistic under a second name."""
    names = {row.cells[0] for row in rows}
    return [row for row in rows if ALIKE.get(row.cells[0]) not in names]
