"""Read tables aligned with spaces, such as sklearn's classification_report and YOLO's validation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from in4310repro.audit.readers.grid import Grid, grid, is_numeric
from in4310repro.audit.readers.logs import LINE
from in4310repro.audit.readers.numbers import ALIKE, count, is_missing
from in4310repro.audit.readers.titles import find_title
from in4310repro.audit.readers.words import CLASS, SIZE, heading

# Progress bars after the header of YOLO's table.
BAR = re.compile(r"(?<=[\w.)]): +\d{1,3}%.*$")
BRACKETS = re.compile(r"\b(?:Box|Mask|Pose)\(|\)(?=\s|$)")
COMMENT = re.compile(r"^\s*(?:#|//|>|\*) ")  # a report pasted below a program
# Minimum of a header, tested first because a log has thousands of lines.
HEADING = re.compile(r"precis|recall|f1|f-|acc|\bap\b|map|class|categ|\bR\b|support|prec|sens", re.IGNORECASE)
ENDS_IN_NUMBER = re.compile(r"(?:^|[ :=])[\d.,]{1,30} ?%?\s{0,20}$")
WORD = re.compile(r"\S*\d %(?!\S)|\S+")  # a sign after a space belongs to its number
WIDEST = 40  # columns


def aligned_grids(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[Grid]:
    """Yield each table: a header with two or more known column names, and rows with as many numbers."""
    start = 0
    while start < len(lines):
        names = read_header(lines[start]) if start + 1 not in skipped else None
        rows, end = _rows(lines, start + 1, names, skipped) if names else ([], start)
        if names and rows:
            # R prints a parameter first, and no names.
            unnamed = len(names) > 2 and not any(cells[0] for _, cells in rows) and not _known(names[0])
            rows = [(line, cells[1:]) for line, cells in rows] if unnamed else rows
            # Weka prints the names of the classes last.
            names = ["class", *names[:-1]] if _last(names) else names
            # The index of a frame with one row is no class.
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
    text = BRACKETS.sub(" ", BAR.sub("", COMMENT.sub("", line.translate(ALIKE)).rstrip()))
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


def _is_measure(name: str) -> bool:
    of = heading(name)
    return of.measure is not None and not of.rest


def _known(name: str) -> bool:
    return _is_measure(name) or SIZE.fullmatch(name.lower()) is not None


def _last(names: Sequence[str]) -> bool:
    return names[-1].lower() == "class"


def _rows(
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
        cells = (
            split_cells(text, width, names, COMMENT.sub("", lines[start - 1].translate(ALIKE)))
            if len(lines[index]) <= LINE and index + 1 not in skipped
            else None
        )
        if cells is None:
            break
        rows.append((index + 1, cells))
        end = index + 1
    return rows, end


def _place(text: str, values: Sequence[str], width: int, header: str) -> list[str]:
    """Return the cells of a row with fewer values than columns: each value is below the nearest heading."""
    spans = [match.span() for match in re.finditer(r"\S+(?: \S+)*", header)][-width:]
    cells = [""] * width
    position = len(text)
    for value in reversed(values):
        position = text.rindex(value, 0, position)
        cells[_nearest(spans, position, position + len(value))] = value
    return cells


def _nearest(spans: Sequence[tuple[int, int]], start: int, end: int) -> int:
    """Return the index of the heading whose right or left end is nearest to the same end of a value."""

    def distance(index: int) -> tuple[int, int]:
        right = abs(spans[index][1] - end)
        return min(right, abs(spans[index][0] - start)), right

    return min(range(len(spans)), key=distance)


def split_cells(text: str, width: int, names: Sequence[str], header: str) -> list[str] | None:
    """Return name and values of a row; None if the line is no row of the table."""
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
