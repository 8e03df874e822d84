"""Grid: a table as rows of cells without markup, with one header row, independent of the file format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from in4310repro.audit.readers.numbers import is_missing, parse_measured
from in4310repro.audit.readers.words import CLASS, heading, strip_marks

# Marks of the best value, footnotes and arrows around a number.
# An approximate ~95 % keeps its sign, and so is not a value.
DECORATION = re.compile(r"^[\s↑↓*†‡§]+|[^\w%)\].]+$|\^\{?[a-z*†‡]\}?$")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Row of a table with the line number of each cell, since a transposed row comes from several lines."""

    cells: tuple[str, ...]
    lines: tuple[int, ...]  # of each cell

    def part(self, start: int, stop: int) -> Row:
        """Return a row of the cells from index `start` up to, but not including, `stop`."""
        return Row(cells=self.cells[start:stop], lines=self.lines[start:stop])


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table as rows of cells; the first `header` rows name the columns."""

    rows: tuple[Row, ...]
    header: int
    reader: str
    title: str = ""  # the caption, or the heading above
    flipped: bool = False  # rows and columns have been exchanged

    @property
    def names(self) -> tuple[str, ...]:
        """Heading of each column."""
        return self.rows[0].cells if self.header else ()

    @property
    def body(self) -> tuple[Row, ...]:
        """Rows below the header."""
        return self.rows[self.header :]

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self.rows[0].cells) if self.rows else 0

    def column(self, index: int) -> list[str]:
        """Return the cells of a column below the header."""
        return [row.cells[index] for row in self.body]


def grid(
    rows: Sequence[tuple[int | Sequence[int], Sequence[str]]],
    reader: str,
    *,
    header: int | None = None,
    title: str = "",
) -> Grid:
    """Return a grid whose rows are equally long and whose cells have no markup.

    Args:
        rows: for each row, a pair of line number and cells; a list gives each cell its own line number.
        reader: the name of the format.
        header: number of rows that surely belong to the header; None: unknown. Rows right below them (or at the
            top) that have names but no numbers are added to the header.
        title: title of the table.
    """
    rows = [(line, [strip_marks(cell) for cell in cells]) for line, cells in rows]
    rows = [(line, cells) for line, cells in rows if any(cells)]
    while len(rows) > 2 and _is_title(rows[0][1]) and sum(map(bool, rows[1][1])) > 1:
        title, header = title or rows[0][1][0], header and max(header - 1, 0)
        rows = rows[1:]
    even = zip(*zip_longest(*[cells for _, cells in rows], fillvalue=""), strict=True)
    full = tuple(
        Row(cells=cells, lines=_list_lines(line, len(cells))) for (line, _), cells in zip(rows, even, strict=True)
    )
    count = _header_rows(full, min(header or 0, len(full)))
    made = Grid(rows=full, header=count, reader=reader, title=title)
    return _unfold(_merge_headers(_drop_empty_columns(made)))


def _list_lines(line: int | Sequence[int], width: int) -> tuple[int, ...]:
    """Return the line number of each cell of a row; cells missing at the row's end get the last line number."""
    if isinstance(line, int):
        return (line,) * width
    return (*line, *[line[-1]] * (width - len(line)))


def _is_title(cells: Sequence[str]) -> bool:
    """Return whether the row is a title instead of a header: only its first cell has text."""
    return len(cells) > 2 and bool(cells[0]) and not any(cells[1:]) and not CLASS.fullmatch(cells[0].lower())


def is_numeric(cell: str) -> bool:
    """Return whether a cell is a number, possibly with a unit, a count or a standard deviation."""
    return parse_measured(strip_signs(cell), 0) is not None


def strip_signs(cell: str) -> str:
    """Return a cell without arrows, footnote marks and other signs around its number."""
    return DECORATION.sub("", DECORATION.sub("", cell))


def flip(table: Grid, corner: str) -> Grid:
    """Return the transposed grid; each cell keeps its line number, and `corner` becomes the first heading."""
    header = Row(cells=(corner, *table.names[1:]), lines=table.rows[0].lines)
    columns = zip(*[zip(row.cells, row.lines, strict=True) for row in (header, *table.body)], strict=True)
    rows = tuple(Row(cells=tuple(c for c, _ in column), lines=tuple(n for _, n in column)) for column in columns)
    return replace(table, rows=rows, header=1, flipped=not table.flipped)


def add_labels(table: Grid) -> Grid:
    """Return the grid with an empty column added on the left, where the row names would be."""
    rows = tuple(Row(cells=("", *row.cells), lines=(row.lines[0], *row.lines)) for row in table.rows)
    return replace(table, rows=rows)


def _header_rows(rows: Sequence[Row], given: int) -> int:
    """Return the number of header rows.

    These are the first `given` rows and the rows right below them that have names but no numbers. A row
    below another header row is included only if `_is_second_header` accepts its first cell.
    """
    count = given or int(bool(rows) and CLASS.fullmatch(rows[0].cells[0].lower()) is not None)
    for row in rows[count:-1]:
        cells = [cell for cell in row.cells[1:] if cell]
        few = len(cells) < min(2, len(row.cells) - 1) and (count or row.cells[0])
        if (
            few
            or any(is_numeric(cell) or is_missing(cell) for cell in cells)
            or (count and not _is_second_header(row, rows[count - 1]))
        ):
            break
        count += 1
    return count


def _is_second_header(row: Row, above: Row) -> bool:
    """Return whether a row can be a second header row, judged by its first cell.

    The cell must be empty, repeat the cell above, name a metric, or be a heading of a class column.
    """
    first = row.cells[0]
    return first in ("", above.cells[0]) or heading(first).measure is not None or bool(CLASS.fullmatch(first.lower()))


def _drop_empty_columns(table: Grid) -> Grid:
    columns = zip(*[row.cells for row in table.rows], strict=True)
    kept = [index for index, cells in enumerate(columns) if any(cells)]
    rows = tuple(
        Row(cells=tuple(row.cells[index] for index in kept), lines=tuple(row.lines[index] for index in kept))
        for row in table.rows
    )
    return replace(table, rows=rows)


def _merge_headers(table: Grid) -> Grid:
    """Return the grid with one header row; an upper name spans all columns up to the next upper name."""
    if table.header < 2:
        return table
    upper, *lower = [list(row.cells) for row in table.rows[: table.header]]
    lower = [_shift(row, table.width) for row in lower]
    levels = [_spread(upper, lower[0]), *[_spread(level, lower[-1]) for level in lower[:-1]], lower[-1]]
    names = [" ".join(dict.fromkeys(part for part in parts if part)) for parts in zip(*levels, strict=True)]
    header = Row(cells=tuple(names), lines=table.rows[table.header - 1].lines)
    return replace(table, rows=(header, *table.body), header=1)


def _shift(cells: list[str], width: int) -> list[str]:
    """Return the cells of a lower header row, shifted right by one if they begin one column too early.

    This is the case if the first cell is a metric and the last cell is empty.
    """
    if cells[0] and heading(cells[0]).measure and not CLASS.fullmatch(cells[0].lower()) and not cells[-1]:
        return ["", *cells[:-1]][:width]
    return cells


def _spread(upper: list[str], lower: Sequence[str]) -> list[str]:
    """Return the upper header row with each name repeated over all lower columns that it spans."""
    names = [name for name in upper[1:] if name]
    columns = sum(map(bool, lower))
    packed = names and columns and upper[1 : 1 + len(names)] == names and columns % len(names) == 0
    if packed and lower[0] == "":
        span = columns // len(names)
        below = [heading(name).text.lower() for name in lower[1 : 1 + columns]]
        if all(below[start : start + span] == below[:span] for start in range(0, columns, span)):
            spread = [upper[0], *[name for name in names for _ in range(span)]]
            return spread + [""] * (len(upper) - len(spread))
    filled, last = [upper[0]], ""
    for name, under in zip(upper[1:], lower[1:], strict=True):
        last = name or last
        filled.append(last if under else name)
    return filled


def _unfold(table: Grid) -> Grid:
    """Split each row into several if the columns are repeated, as in category, AP, category, AP."""
    names = [name.lower() for name in table.names]
    if not names or not CLASS.fullmatch(names[0]):
        return table
    repeats = names.count(names[0])
    if len(names) % repeats or names != names[: len(names) // repeats] * repeats:
        return table
    span = len(names) // repeats
    rows = [row.part(0, span) for row in table.rows[: table.header]]
    for row in table.body:
        parts = [row.part(start, start + span) for start in range(0, len(names), span)]
        rows += [part for part in parts if any(cell and not is_missing(cell) for cell in part.cells)]
    return replace(table, rows=tuple(rows))
