"""Read tables of reStructuredText (list-table, csv-table) and AsciiDoc, which may use a line per cell."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from in4310repro.audit.readers.grid import Grid, grid
from in4310repro.audit.readers.logs import LINE

DIRECTIVE = re.compile(r"(?P<indent>\s*)\.\. (?P<kind>list-table|csv-table)::\s?(?P<title>.*)")
OPTION = re.compile(r"\s+:(?P<name>[a-z][a-z-]*):\s*(?P<value>.*)")
ITEM = re.compile(r"(?P<indent>\s*)(?P<row>[*+-] )?\s*(?P<cell>[*+-](?: (?P<text>.*))?)$")
FENCE = re.compile(r"\s*[|,:!]={3,}\s*")  # |=== before and after a table of AsciiDoc
COLUMNS = re.compile(r"\[.*?\bcols?=\"?(?P<columns>[^\"\]]+)")
REPEATED = re.compile(r"(\d+)\*.*")  # 4* are four columns
CELL = re.compile(r"(?<!\\)\|")
STYLE = re.compile(r"(?:^|\s)(?:[\d.]+[+*][<^>.]*|[<^>.]+)[adehlmsv]?$")  # 2+^h before a bar: how the next cell looks
ABOVE = 3  # lines above a table in which its options and title stand
LONGEST = 1000  # lines of a table


@dataclass(kw_only=True)
class Cells:
    """The rows of a table, each with its cells and their lines."""

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
            ends = (end for end in range(index, min(index + LONGEST, len(lines))) if FENCE.fullmatch(lines[end]))
            end = next(ends, None)
            if end is not None:
                yield from _asciidoc(lines, start, end)
                index = end + 1


def _block_end(lines: Sequence[str], start: int, indent: int) -> int:
    """Return the index after the last line of a directive's indented block."""
    end = start + 1
    for index in range(start + 1, min(start + LONGEST, len(lines))):
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
    """Return the cells of a nested list: `* - class` begins a row, `- 0.93` a cell; other lines continue a cell."""
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
    """Return the number of columns that `1,2,2`, `<.^2,^1` or `4*` specifies."""
    repeated = REPEATED.fullmatch(told.strip())
    return int(repeated[1]) if repeated else len(told.split(","))
