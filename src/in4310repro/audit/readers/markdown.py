"""Read Markdown tables, with or without outer pipes, and tables drawn with plus signs or box characters."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from in4310repro.audit.readers.grid import Grid, grid, is_numeric
from in4310repro.audit.readers.titles import find_title

# |---|:-:|, ---|---, +-----+-----+, ├────┼────┤: below the header, and between the rows of drawn tables.
RULE = re.compile(r"[\s|+:=\-─━═╇╪┼┿╞╡├┤┌┬┐└┴┘┏┳┓┡┩╔╦╗╚╩╝╠╬╣╒╤╕╘╧╛╭╮╰╯│┃]{3,}")
BARS = str.maketrans("│┃║", "|||")
CODE = re.compile(r"`[^`\s|]+(?:\|[^`\s|]+)+`")  # a name with bars
STAMP = re.compile(r"\s*\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d")  # a line of a log between tables
ENOUGH = 3  # lines of a drawn table without lines between its rows
ESCAPED = "\x00"  # in place of \| while a row is cut


def markdown_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield the tables: consecutive lines with vertical bars, and a line of dashes below the header."""
    for barred, run in groupby(range(len(lines)), lambda index: index + 1 not in skipped and _has_bars(lines[index])):
        indices = list(run)
        # The line that ends a drawn table, and right below it the line that begins another.
        twice = [index for index in indices[1:] if _is_rule(lines[index]) and _is_rule(lines[index - 1])]
        for first, end in pairwise([indices[0], *twice, indices[-1] + 1]):
            if barred and end - first >= 3:
                yield from _grids(lines, first, end)


def _has_bars(line: str) -> bool:
    return (any(bar in line for bar in "|│┃║") or _is_rule(line)) and not STAMP.match(line)


def _is_rule(line: str) -> bool:
    return RULE.fullmatch(line.strip()[:4000]) is not None and any(dash in line for dash in "-─━═=")


def _grids(lines: Sequence[str], start: int, end: int) -> Iterator[Grid]:
    """Yield the tables in consecutive lines with bars; each header line begins a table."""
    rules = [index for index in range(start, end) if _is_rule(lines[index])]
    rows = [index for index in range(start, end) if index not in rules and _cells(lines[index])]
    first = [index for index in rules if bisect_left(rows, index)]
    if not first:
        return
    # A drawn table has lines between its rows.
    starts = [rows[0], *[rows[bisect_left(rows, rule) - 1] for rule in first[1:] if len(rules) == 2]]
    for number, begin in enumerate(starts):
        stop = starts[number + 1] if number + 1 < len(starts) else end
        inside = [index for index in rows if begin <= index < stop]
        header = bisect_left(inside, first[number])
        cells = [(index + 1, _cells(lines[index])) for index in inside]
        width = len(cells[header - 1][1]) if header else 0
        cells = _fold([(line, _join(row, width)) for line, row in cells], rules)
        yield grid(cells, "Markdown table", header=header, title=find_title(lines, begin, stop))


def _fold(cells: list[tuple[int, list[str]]], rules: Sequence[int]) -> list[tuple[int, list[str]]]:
    """Return the rows of a drawn table, with text that was wrapped onto the next line put back."""
    rows: list[tuple[int, list[str]]] = []
    for line, row in cells:
        goes_on = len(rules) > ENOUGH and rows and line - 2 not in rules and line - 2 >= rules[0]
        if goes_on and len(row) == len(rows[-1][1]) and not any(map(is_numeric, filter(None, row))):
            rows[-1] = (rows[-1][0], [" ".join(filter(None, pair)) for pair in zip(rows[-1][1], row, strict=True)])
        else:
            rows.append((line, row))
    return rows


def _join(row: list[str], width: int) -> list[str]:
    """Return a row with surplus cells joined to the first one, if bars in the row's name caused them."""
    more = len(row) - width
    if more <= 0 or width < 2 or any(map(is_numeric, row[: more + 1])) or not all(map(is_numeric, row[more + 1 :])):
        return row
    return ["|".join(row[: more + 1]), *row[more + 1 :]]


def _cells(line: str) -> list[str]:
    text = line.translate(BARS).replace("\\|", ESCAPED).strip().lstrip(">").strip()
    text = CODE.sub(lambda found: found[0].replace("|", ESCAPED), text)
    if text.startswith("|"):
        text = text[1:]
    if text.endswith("|"):
        text = text[:-1]
    return [cell.replace(ESCAPED, "|").strip() for cell in text.split("|")]
