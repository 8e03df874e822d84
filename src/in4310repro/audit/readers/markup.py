"""Read tables with signs between cells: Markdown, reStructuredText, AsciiDoc, commas, semicolons and tabs."""

from __future__ import annotations

import csv
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise

from in4310repro.audit.readers.contexts import LINE, find_title
from in4310repro.audit.readers.grid import Grid, grid, is_numeric
from in4310repro.audit.readers.numbers import is_missing
from in4310repro.audit.readers.words import CLASS, heading

DIRECTIVE = re.compile(r"(?P<indent>\s*)\.\. (?P<kind>list-table|csv-table)::\s?(?P<title>.*)")
OPTION = re.compile(r"\s+:(?P<name>[a-z][a-z-]*):\s*(?P<value>.*)")
ITEM = re.compile(r"(?P<indent>\s*)(?P<row>[*+-] )?\s*(?P<cell>[*+-](?: (?P<text>.*))?)$")
FENCE = re.compile(r"\s*[|,:!]={3,}\s*")  # |=== before and after a table of AsciiDoc
COLUMNS = re.compile(r"\[.*?\bcols?=\"?(?P<columns>[^\"\]]+)")
REPEATED = re.compile(r"(\d{1,4})\*")  # 4* are four columns
CELL = re.compile(r"(?<!\\)\|")
STYLE = re.compile(r"(?:^|\s)(?:[\d.]+[+*][<^>.]*|[<^>.]+)[adehlmsv]?$")  # 2+^h before a bar: how the next cell looks
ABOVE = 3  # lines above a table in which its options and title are
LONGEST_TABLE = 1000  # lines of a table
# |---|:-:|, ---|---, +-----+-----+, ├────┼────┤: below the header, and between the rows of drawn tables.
RULE = re.compile(r"[\s|+:=\-─━═╇╪┼┿╞╡├┤┌┬┐└┴┘┏┳┓┡┩╔╦╗╚╩╝╠╬╣╒╤╕╘╧╛╭╮╰╯│┃]{3,}")
BARS = str.maketrans("│┃║", "|||")
CODE = re.compile(r"`[^`\s|]+(?:\|[^`\s|]+)+`")  # a name with bars
STAMP = re.compile(r"\s*\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d")  # a line of a log between tables
ENOUGH = 3  # lines of a drawn table without lines between its rows
ESCAPED = "\x00"  # in place of \| while a row is cut
SEPARATORS = (";", "\t", ",")
LONGEST_LINE = 100_000  # characters of a line
CORNER = re.compile(r"^(?:true|pred|actual|confusion)", re.IGNORECASE)  # of a confusion matrix
LONGEST_NAME = 60  # characters
# Digits after a decimal comma, or a line with a label and a value, are not headings.
NO_NAME = re.compile(r"^\d+ ?%?$|: | = |=\d")
DELIMITED = "delimited table"


@dataclass(kw_only=True)
class Cells:
    """Rows of a table; each row is a list of pairs (line number, cell text)."""

    rows: list[list[tuple[int, str]]] = field(default_factory=list)

    def grid(self, reader: str, header: int, title: str) -> Iterator[Grid]:
        """Yield the table as a grid if it has at least one row below its header."""
        if len(self.rows) > header > 0:
            rows = [([line for line, _ in row], [text for _, text in row]) for row in self.rows if row]
            yield grid(rows, reader, header=header, title=title)


def markup_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield the tables of reStructuredText and AsciiDoc."""
    index = 0
    while index < len(lines):
        start, index = index, index + 1
        if start + 1 in skipped or len(lines[start]) > LINE:
            continue
        directive = DIRECTIVE.fullmatch(lines[start])
        if directive:
            index = _block_end(lines, start, len(directive["indent"]))
            yield from _directive(lines, start, index, directive)
        elif FENCE.fullmatch(lines[start]):
            ends = (end for end in range(index, min(index + LONGEST_TABLE, len(lines))) if FENCE.fullmatch(lines[end]))
            end = next(ends, None)
            if end is not None:
                yield from _asciidoc(lines, start, end)
                index = end + 1


def _block_end(lines: Sequence[str], start: int, indent: int) -> int:
    """Return the index after the last line of a directive's indented block."""
    end = start + 1
    for index in range(start + 1, min(start + LONGEST_TABLE, len(lines))):
        text = lines[index]
        if not text.strip():
            continue
        if len(text) - len(text.lstrip()) <= indent:
            break
        end = index + 1
    return end


def _directive(lines: Sequence[str], start: int, end: int, directive: re.Match[str]) -> Iterator[Grid]:
    options: dict[str, tuple[str, int]] = {}
    first = start + 1
    while first < end and (option := OPTION.fullmatch(lines[first])):
        options[option["name"]] = (option["value"], first + 1)
        first += 1
    told = options.get("header-rows", ("0", 0))[0]
    header = int(told) if told.isdecimal() else 0
    of_list = directive["kind"] == "list-table"
    cells = _items(lines, first, end) if of_list else _read_delimited(lines, first, end, options)
    if not of_list and "header" in options:
        text, line = options["header"]
        cells.rows.insert(0, [(line, cell) for cell in _split(text, ",")])
        header += 1
    yield from cells.grid(directive["kind"], max(header, 1), directive["title"].strip())


def _items(lines: Sequence[str], first: int, end: int) -> Cells:
    """Return the cells of a table written as a nested list.

    An item such as `* - class` begins a row, and an item such as `- 0.93` begins the next cell of the row. Any
    other line continues the cell before it.
    """
    cells = Cells()
    outer = None
    for index in range(first, end):
        item = ITEM.fullmatch(lines[index][:LINE])
        outer = len(item["indent"]) if item and outer is None else outer
        if item and item["row"] and len(item["indent"]) == outer:
            cells.rows.append([(index + 1, item["text"] or "")])
        elif item and not item["row"] and cells.rows and outer is not None and len(item["indent"]) > outer:
            cells.rows[-1].append((index + 1, item["text"] or ""))
        elif lines[index].strip() and cells.rows:
            line, text = cells.rows[-1][-1]
            cells.rows[-1][-1] = (line, f"{text} {lines[index].strip()}".strip())
    return cells


def _read_delimited(lines: Sequence[str], first: int, end: int, options: dict[str, tuple[str, int]]) -> Cells:
    delimiter = {"tab": "\t", "space": " "}.get(options.get("delim", (",", 0))[0], options.get("delim", (",", 0))[0])
    rows = [
        [(index + 1, cell) for cell in _split(lines[index].strip()[:LINE], delimiter)]
        for index in range(first, end)
        if lines[index].strip()
    ]
    return Cells(rows=rows)


def _split(text: str, delimiter: str) -> list[str]:
    try:
        (cells,) = csv.reader([text], delimiter=delimiter or ",", skipinitialspace=True)
    except (csv.Error, TypeError, ValueError):
        return []
    return [cell.strip() for cell in cells]


def _asciidoc(lines: Sequence[str], start: int, end: int) -> Iterator[Grid]:
    """Yield the table between two `|===` lines; its options or its first line give the number of columns."""
    above = [line.strip() for line in lines[max(0, start - ABOVE) : start]]
    told = next((found for line in above if (found := COLUMNS.match(line))), None)
    title = next((line[1:] for line in above if re.match(r"\.[^\s.]", line)), "")
    cells: list[tuple[int, str]] = []
    width = _columns(told["columns"]) if told else 0
    for index in range(start + 1, end):
        before, *texts = [STYLE.sub("", text).strip() for text in CELL.split(lines[index][:LINE])]
        if before and cells:
            cells[-1] = (cells[-1][0], f"{cells[-1][1]} {before}".strip())
        width = width or len(texts)
        cells += [(index + 1, text) for text in texts]
    if width > 1:
        rows = [cells[first : first + width] for first in range(0, len(cells), width)]
        yield from Cells(rows=rows).grid("AsciiDoc table", 1, title)


def _columns(told: str) -> int:
    """Return the number of columns that `1,2,2`, `<.^2,^1`, `4*` or `1,3*` specifies."""
    repeats = [REPEATED.match(each.strip()) for each in told.split(",")]
    return sum(int(each[1]) if each else 1 for each in repeats)


def markdown_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield the Markdown tables in `lines`, without the lines whose numbers are in `skipped`.

    A table is a sequence of lines with vertical bars, and has a line of dashes below its header.
    """
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
    """Yield the tables in consecutive lines with vertical bars; each header line begins a table."""
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
        # Two lines of a drawn header are one row by now.
        header = sum(line <= first[number] for line, _ in cells)
        yield grid(cells, "Markdown table", header=header, title=find_title(lines, begin, stop))


def _fold(cells: list[tuple[int, list[str]]], rules: Sequence[int]) -> list[tuple[int, list[str]]]:
    """Return the rows of a table, with each continuation line joined to the row above it.

    Only tables with ruled lines between their rows have continuation lines. `rules` has the indices of the ruled
    lines.
    """
    rows: list[tuple[int, list[str]]] = []
    for line, row in cells:
        goes_on = len(rules) > ENOUGH and rows and line - 2 not in rules and line - 2 >= rules[0]
        if goes_on and len(row) == len(rows[-1][1]) and not any(map(is_numeric, filter(None, row))):
            rows[-1] = (rows[-1][0], [" ".join(filter(None, pair)) for pair in zip(rows[-1][1], row, strict=True)])
        else:
            rows.append((line, row))
    return rows


def _join(row: list[str], width: int) -> list[str]:
    """Return the cells of a row.

    If vertical bars in the row's name have split it, so that the row has more than `width` cells, the parts of
    the name are joined again.
    """
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


def delimited_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield each table of separated values.

    A table consists of a header line and the lines directly after it that have as many cells as the header.
    """
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
                yield grid([(start + 1, header), *rows], DELIMITED, header=1, title=title)
                end = stop
                break
        start = end


def is_header(cells: Sequence[str]) -> bool:
    """Return whether cells are a header: no numbers, and a metric or a typical first cell such as "class"."""
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
    """Return consecutive rows from index `start` on, and the index of the line after them.

    Each row has `width` cells. At least one cell after the first is a number or a missing value.
    """
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
    """Return the cells of a line; an empty list if the line has no separator or is too long."""
    if len(line) > LONGEST_LINE or separator not in line:
        return []
    try:
        (cells,) = csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        return []
    return [cell.strip() for cell in cells]
