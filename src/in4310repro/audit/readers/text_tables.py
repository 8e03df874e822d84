"""Read tables set with spaces: reports, columns below dashes, and R caret's statistics by class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from in4310repro.audit.readers.contexts import LINE, find_title
from in4310repro.audit.readers.grid import Grid, Row, grid, is_numeric
from in4310repro.audit.readers.numbers import ALIKE, count, is_missing
from in4310repro.audit.readers.words import CLASS, SIZE, heading

# Progress bars after the header of YOLO's table.
BAR = re.compile(r"(?<=[\w.)]): +\d{1,3}%.*$")
GROUPS = re.compile(r"\b(Box|Mask|Pose)\(([^()]*)\)")  # of one table: scores of boxes, and of masks
BRACKETS = re.compile(r"\b(?:Box|Mask|Pose)\(|\)(?=\s|$)")
COMMENT = re.compile(r"^\s*(?:#|//|>|\*) ")  # a report pasted below a program
# Minimum of a header, tested first because a log has thousands of lines.
HEADING = re.compile(r"precis|recall|f1|f-|acc|\bap\b|map|class|categ|\bR\b|support|prec|sens", re.IGNORECASE)
ENDS_IN_NUMBER = re.compile(r"(?:^|[ :=])[\d.,]{1,30} ?%?\s{0,20}$")
WORD = re.compile(r"\S*\d %(?!\S)|\S+")  # a sign after a space belongs to its number
WIDEST = 40  # columns
RULED = "table below dashes"
RULE = re.compile(r"\s*(?:={2,}|-{2,})(?: +(?:={2,}|-{2,}))+\s*")
HIGHEST = 3  # lines of a header
LONGEST = 1000  # lines of a table
CARET = "statistics by class"
NAME = re.compile(r"\bClass: (\S(?:.*?\S)??)(?=\s+Class: |\s*$)")
LEAST = 2  # classes in a heading, and statistics below it
SYNONYMS = {"Pos Pred Value": "Precision", "Sensitivity": "Recall"}  # printed twice with mode = "everything"


def aligned_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield each table: a header with at least two known column names, and the rows of numbers below it."""
    start = 0
    while start < len(lines):
        names = read_header(lines[start]) if start + 1 not in skipped else None
        rows, end = _rows_below_header(lines, start + 1, names, skipped) if names else ([], start)
        if names and rows:
            # R prints a parameter first, and no names.
            unnamed = len(names) > 2 and not any(cells[0] for _, cells in rows) and not _known(names[0])
            rows = [(line, cells[1:]) for line, cells in rows] if unnamed else rows
            # Weka prints the names of the classes last.
            names = ["class", *names[:-1]] if _last(names) else names
            # The index of a frame with one row is not a class.
            index = len(rows) == 1 and rows[0][1][0].isdecimal()
            header = names if len(names) == len(rows[0][1]) else ["" if index else "class", *names]
            reader = "classification_report" if {"precision", "support"} <= set(names) else "aligned table"
            title = find_title(lines, start, end)
            yield grid([(start + 1, header), *rows], reader, header=1, title=title)
        start = max(end, start + 1)


def read_header(line: str) -> list[str] | None:
    """Return the column names if a line is a header: two known names or more and no numbers; else None."""
    if len(line) > LINE or not HEADING.search(line):
        return None
    text = BAR.sub("", COMMENT.sub("", line.translate(ALIKE)).rstrip())
    if len(GROUPS.findall(text)) > 1:
        return re.split(r" {2,}", GROUPS.sub(_name_group, text).strip())
    text = BRACKETS.sub(" ", text)
    if ENDS_IN_NUMBER.search(text):
        return None
    single = text.split()
    if "|" in text or text.endswith(":") or not 2 <= len(single) <= WIDEST or sum(map(is_numeric, single)) > 1:
        return None
    names = re.split(r" {2,}", text.strip())
    # `mAP50 mAP50-95` is two columns with one space between.
    names = max((names, single), key=lambda each: sum(map(_is_measure, each)))
    is_class = CLASS.fullmatch(names[0].lower()) is not None
    known = sum(map(_known, names)) + is_class
    is_header = known >= 2 and (is_class or 2 * known >= len(names)) and not any(map(is_numeric, names))
    return names if is_header else None


def _name_group(group: re.Match[str]) -> str:
    names = ({"P": "precision", "R": "recall"}.get(name, name) for name in group[2].split())
    return "  ".join(f"{group[1]} {name}" for name in names)


def _is_measure(name: str) -> bool:
    of = heading(name)
    return of.measure is not None and not of.rest


def _known(name: str) -> bool:
    return _is_measure(name) or SIZE.fullmatch(name.lower()) is not None


def _last(names: Sequence[str]) -> bool:
    return names[-1].lower() == "class"


def _rows_below_header(
    lines: Sequence[str], start: int, names: Sequence[str], skipped: frozenset[int]
) -> tuple[list[tuple[int, list[str]]], int]:
    """Return the rows below a header, each with its line number, and the index after the last row."""
    width = len(names) - (CLASS.fullmatch(names[0].lower()) is not None or _last(names))
    rows: list[tuple[int, list[str]]] = []
    end = start
    for index in range(start, len(lines)):
        text = COMMENT.sub("", lines[index].translate(ALIKE)).rstrip(" #")
        if not text.strip() or re.fullmatch(r"[-=_─ ]+", text[:LINE]):
            continue
        header = COMMENT.sub("", lines[start - 1].translate(ALIKE))
        read = len(lines[index]) <= LINE and index + 1 not in skipped
        cells = split_cells(text, width, names, header) if read else None
        if cells is None:
            break
        rows.append((index + 1, cells))
        end = index + 1
    return rows, end


def _place(text: str, values: Sequence[str], width: int, header: str) -> list[str]:
    """Return the `width` cells of a row in which some values are missing.

    Each value goes into the column whose heading in `header` is nearest to it. The other cells are empty.
    """
    spans = [match.span() for match in re.finditer(r"\S+(?: \S+)*", header)][-width:]
    cells = [""] * width
    position = len(text)
    for value in reversed(values):
        position = text.rindex(value, 0, position)
        cells[_nearest(spans, position, position + len(value))] = value
    return cells


def _nearest(spans: Sequence[tuple[int, int]], start: int, end: int) -> int:
    """Return the index of the heading whose left or right edge is nearest to the value's left or right edge."""

    def distance(index: int) -> tuple[int, int]:
        right = abs(spans[index][1] - end)
        return min(right, abs(spans[index][0] - start)), right

    return min(range(len(spans)), key=distance)


def split_cells(text: str, width: int, names: Sequence[str], header: str) -> list[str] | None:
    """Return the cells of a row: its name and `width` values. Return None if `text` is not a row of the table."""
    words = WORD.findall(text)
    if _last(names) and words[width:] and all(is_numeric(word) or is_missing(word) for word in words[:width]):
        return [" ".join(words[width:]), *words[:width]]
    values: list[str] = []
    while words and len(values) < width and (is_numeric(words[-1]) or is_missing(words[-1])):
        values.insert(0, words.pop())
    name = " ".join(words)
    if name.endswith((":", "=")):
        return None  # a label line below the table
    if len(values) == width:
        return [name, *values]
    if values and heading(name).summary:
        return [name, *_place(text, values, width, header)]
    short = name.lower() == "accuracy" and values and SIZE.fullmatch(names[-1].lower()) and len(values) <= 2
    if short:
        support = values[1] if len(values) == 2 and count(values[1]) is not None else ""
        return [name, *[""] * (width - 2), values[0], support]
    return None


def ruled_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield each table that has a line of dashes below its header. The runs of dashes mark the columns."""
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
        rows = _rows_at_rule(lines, range(body, end), rule)
        head = _rows_at_rule(lines, range(max(first, 0), body - 1), rule)
        if (
            rows
            and head
            and all(rows)
            and all(head)
            and not any(_has_number(cell) for _, cells in head for cell in cells)
        ):
            title = find_title(lines, index if framed else first, end)
            merged = [" ".join(filter(None, parts)) for parts in zip(*[cells for _, cells in head], strict=True)]
            yield grid([(head[-1][0], merged), *_fold(rows)], RULED, header=1, title=title)
        index = max(end, body)


def _rule(lines: Sequence[str], index: int, skipped: frozenset[int]) -> list[tuple[int, int]]:
    """Return the start and end of each run of dashes if a line has only dashes; else an empty list."""
    if not 0 <= index < len(lines) or index + 1 in skipped or len(lines[index]) > LINE:
        return []
    return [dash.span() for dash in re.finditer(r"[=-]+", lines[index])] if RULE.fullmatch(lines[index]) else []


def _end(lines: Sequence[str], body: int, skipped: frozenset[int], framed: bool) -> int:
    """Return the index after the last row. A line of dashes ends a table; a blank line ends a table without a frame."""
    for index in range(body, min(body + LONGEST, len(lines))):
        if index + 1 in skipped or _rule(lines, index, skipped):
            return index
        if not lines[index].strip() and not framed:
            return index
    return min(body + LONGEST, len(lines))


def _rows_at_rule(lines: Sequence[str], indices: range, rule: list[tuple[int, int]]) -> list[tuple[int, list[str]]]:
    """Return the line number and the cells of each line that is not blank, cut at the columns in `rule`.

    If a line has text between the columns, return an empty list.
    """
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
    """Return the rows, after joining each line with no numbers and an empty first cell to the row above it."""
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


def caret_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield the tables printed by R's package caret; tables wrapped at the screen width are joined again."""
    start = 0
    while start < len(lines):
        names = _names(lines[start]) if start + 1 not in skipped else []
        if len(names) < LEAST:
            start += 1
            continue
        header = Row(cells=("class", *names), lines=(start + 1,) * (len(names) + 1))
        rows, end = _rows_of_statistics(lines, start + 1, len(names))
        while rows and end < len(lines) and (more := _names(lines[end])):
            parts, after = _rows_of_statistics(lines, end + 1, len(more))
            if [row.cells[0] for row in parts] != [row.cells[0] for row in rows]:
                break
            header = _join(header, Row(cells=("", *more), lines=(end + 1,) * (len(more) + 1)))
            rows = [_join(row, part) for row, part in zip(rows, parts, strict=True)]
            end = after
        if len(rows) >= LEAST:
            title = find_title(lines, start, end)
            yield Grid(rows=(header, *_drop_repeats(rows)), header=1, reader=CARET, title=title)
        start = max(end, start + 1)


def _join(row: Row, part: Row) -> Row:
    """Return a row with the cells of its continuation row appended, without the repeated name."""
    return Row(cells=(*row.cells, *part.cells[1:]), lines=(*row.lines, *part.lines[1:]))


def _names(line: str) -> list[str]:
    text = line[:LINE]
    names = NAME.findall(text) if text.lstrip().startswith("Class: ") else []
    return [] if any(set(":=,") & set(name) for name in names) else names


def _rows_of_statistics(lines: Sequence[str], start: int, width: int) -> tuple[list[Row], int]:
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
    return [row for row in rows if SYNONYMS.get(row.cells[0]) not in names]
