"""R's statistics by class, as caret prints them: `Class: A` in the heading, a statistic in each row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from in4310repro.audit.readers.grid import Grid, grid, numeric
from in4310repro.audit.readers.logs import LINE
from in4310repro.audit.readers.numbers import missing
from in4310repro.audit.readers.titles import title_above

READER = "statistics by class"
NAME = re.compile(r"\bClass: (\S(?:.*?\S)??)(?=\s+Class: |\s*$)")
LEAST = 2  # statistics below a heading
ALIKE = {"Pos Pred Value": "Precision", "Sensitivity": "Recall"}  # printed twice with mode = "everything"


def caret_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """The tables; of one that is wrapped at the width of the screen all parts together."""
    start = 0
    while start < len(lines):
        names = _names(lines[start]) if start + 1 not in skipped else []
        if not names:
            start += 1
            continue
        header = [(start + 1, ["class", *names])]
        rows, end = _rows(lines, start + 1, len(names))
        while rows and end < len(lines) and (more := _names(lines[end])):
            parts, after = _rows(lines, end + 1, len(more))
            if [row[1][0] for row in parts] != [row[1][0] for row in rows]:
                break
            header = [(header[0][0], [*header[0][1], *more])]
            rows = [(one, [*cells, *others[1:]]) for (one, cells), (_, others) in zip(rows, parts, strict=True)]
            end = after
        if len(rows) >= LEAST:
            yield grid([*header, *_once(rows)], READER, header=1, title=title_above(lines, start, end))
        start = max(end, start + 1)


def _names(line: str) -> list[str]:
    text = line[:LINE]
    names = NAME.findall(text) if text.lstrip().startswith("Class: ") else []
    return names if len(names) > 1 and not any(set(":=,") & set(name) for name in names) else []


def _rows(lines: Sequence[str], start: int, width: int) -> tuple[list[tuple[int, list[str]]], int]:
    """The statistics with a number for each class, and the index of the line after them."""
    rows: list[tuple[int, list[str]]] = []
    for index in range(start, len(lines)):
        words = lines[index][:LINE].split()
        values = words[-width:]
        if len(words) <= width or not all(numeric(word) or missing(word) for word in values):
            return rows, index
        rows.append((index + 1, [" ".join(words[:-width]), *values]))
    return rows, len(lines)


def _once(rows: Sequence[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """The rows without a statistic that stands there under its other name."""
    names = {cells[0] for _, cells in rows}
    return [row for row in rows if ALIKE.get(row[1][0]) not in names]
