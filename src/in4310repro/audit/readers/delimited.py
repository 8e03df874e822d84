"""Read tables with commas, semicolons or tabs between cells, alone in a file or among other lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence

from in4310repro.audit.readers.grid import Grid, grid, is_numeric
from in4310repro.audit.readers.numbers import is_missing
from in4310repro.audit.readers.titles import find_title
from in4310repro.audit.readers.words import CLASS, heading

SEPARATORS = (";", "\t", ",")
LONGEST = 100_000  # characters of a line
CORNER = re.compile(r"^(?:true|pred|actual|confusion)", re.IGNORECASE)  # of a confusion matrix
LONGEST_NAME = 60  # characters
# Digits after a decimal comma, or a line with a label and a value, are no heading.
NO_NAME = re.compile(r"^\d+ ?%?$|: | = |=\d")
READER = "delimited table"


def delimited_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield each table: a header line, and the lines below it with as many cells."""
    start = 0
    while start < len(lines):
        end = start + 1
        for separator in SEPARATORS if start + 1 not in skipped else ():
            header = split_cells(lines[start], separator)
            if not is_header(header):
                continue
            rows, stop = read_rows(lines, start + 1, separator, len(header), skipped)
            if rows:
                title = find_title(lines, start, stop)
                yield grid([(start + 1, header), *rows], READER, header=1, title=title)
                end = stop
                break
        start = end


def is_header(cells: Sequence[str]) -> bool:
    """Return whether cells are a header: only names, with a metric among them or a class word first."""
    if len(cells) < 2 or any(is_numeric(cell) or NO_NAME.search(cell) for cell in cells) or any(map(_is_long, cells)):
        return False
    measures = sum(heading(cell).measure is not None for cell in cells)
    return (
        measures > 0
        or CORNER.search(cells[0]) is not None
        or CLASS.fullmatch(cells[0].lower()) is not None
        or (cells[0] == "" and len(cells) > 2)
    )


def _is_long(cell: str) -> bool:
    return len(cell) > LONGEST_NAME


def read_rows(
    lines: Sequence[str], start: int, separator: str, width: int, skipped: frozenset[int]
) -> tuple[list[tuple[int, list[str]]], int]:
    """Return the rows of the header's width with a number or missing mark, and the index after the last row."""
    rows = []
    end = start
    for index in range(start, len(lines)):
        if index + 1 in skipped or separator not in lines[index]:
            break
        cells = split_cells(lines[index], separator)
        if len(cells) != width or not any(is_numeric(cell) or is_missing(cell) for cell in cells[1:]):
            break
        rows.append((index + 1, cells))
        end = index + 1
    return rows, end


def split_cells(line: str, separator: str) -> list[str]:
    """Return the cells of a line; none if it has no separator or is too long."""
    if len(line) > LONGEST or separator not in line:
        return []
    try:
        (cells,) = csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        return []
    return [cell.strip() for cell in cells]
