"""Read tables with columns marked by dashes: simple tables of reStructuredText and Pandoc, and tabulate's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from in4310repro.audit.readers.grid import Grid, grid, is_numeric
from in4310repro.audit.readers.logs import LINE
from in4310repro.audit.readers.titles import find_title

READER = "table below dashes"
RULE = re.compile(r"\s*(?:={2,}|-{2,})(?: +(?:={2,}|-{2,}))+\s*")
HIGHEST = 3  # lines of a header
LONGEST = 1000  # lines of a table


def ruled_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield each table: a header, a line with a run of dashes for each column, and rows cut at these columns."""
    index = 0
    while index < len(lines):
        rule = _rule(lines, index, skipped)
        if not rule:
            index += 1
            continue
        opens = next((end for end in range(index + 2, index + 2 + HIGHEST) if _rule(lines, end, skipped) == rule), None)
        framed = opens is not None and not any(_has_number(line) for line in lines[index + 1 : opens])
        first = index + 1 if framed else index - 1
        body = (opens if framed and opens else index) + 1
        end = _end(lines, body, skipped, framed)
        rows = _rows(lines, range(body, end), rule)
        head = _rows(lines, range(max(first, 0), body - 1), rule)
        if (
            rows
            and head
            and all(rows)
            and all(head)
            and not any(_has_number(cell) for _, cells in head for cell in cells)
        ):
            title = find_title(lines, index if framed else first, end)
            merged = [" ".join(filter(None, parts)) for parts in zip(*[cells for _, cells in head], strict=True)]
            yield grid([(head[-1][0], merged), *_fold(rows)], READER, header=1, title=title)
        index = max(end, body)


def _rule(lines: Sequence[str], index: int, skipped: frozenset[int]) -> list[tuple[int, int]]:
    """Return the start and end of each run of dashes if a line has only dashes; else an empty list."""
    if not 0 <= index < len(lines) or index + 1 in skipped or len(lines[index]) > LINE:
        return []
    return [dash.span() for dash in re.finditer(r"[=-]+", lines[index])] if RULE.fullmatch(lines[index]) else []


def _end(lines: Sequence[str], body: int, skipped: frozenset[int], framed: bool) -> int:
    """Return the index after the last row; dashes end a table, and so does a blank line unless it is framed."""
    for index in range(body, min(body + LONGEST, len(lines))):
        if index + 1 in skipped or _rule(lines, index, skipped):
            return index
        if not lines[index].strip() and not framed:
            return index
    return min(body + LONGEST, len(lines))


def _rows(lines: Sequence[str], indices: range, rule: list[tuple[int, int]]) -> list[tuple[int, list[str]]]:
    """Return line and cells of each row; an empty list if a line has text between the columns."""
    rows = []
    for index in indices:
        if not lines[index].strip():
            continue
        cells = _cells(lines[index], rule)
        if not cells:
            return []
        rows.append((index + 1, cells))
    return rows


def _cells(line: str, rule: list[tuple[int, int]]) -> list[str]:
    """Return the cells of a line cut at the columns; an empty list if there is text between two columns."""
    starts = [0, *[start for start, _ in rule[1:]]]
    for start, (_, end) in zip(starts[1:], rule, strict=False):
        if line[end:start].strip() or (line[start - 1 : start].strip()):
            return []
    return [line[start:stop].strip() for start, stop in zip(starts, [*starts[1:], len(line)], strict=True)]


def _fold(rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Return the rows; a line with an empty first cell and no numbers is joined to the row above."""
    folded: list[tuple[int, list[str]]] = []
    for line, cells in rows:
        if folded and not cells[0] and not any(map(is_numeric, filter(None, cells))):
            above = folded[-1][1]
            folded[-1] = (folded[-1][0], [" ".join(filter(None, pair)) for pair in zip(above, cells, strict=True)])
        else:
            folded.append((line, cells))
    return folded


def _has_number(text: str) -> bool:
    return any(is_numeric(word) for word in text.split())
