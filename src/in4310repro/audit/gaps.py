"""Why the classes of a table may not be all: each reason is a condition of every verdict that needs them all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from in4310repro.audit.document import Document, Table

# Lines around a table in which a line that was not understood may have belonged to it.
NEAR = 12
# A line that looks like one of the table's, by its words and its number or missing number.
WORDS = re.compile(r"accura|\bacc\b|precision|recall|\bf1|\bap\b|score|\bclass\b|average", re.IGNORECASE)
NUMBER = re.compile(r"\d[.,]\d|\d ?%|\bnan\b|\bn/a\b", re.IGNORECASE)


def gaps_of(table: Table, sizes: Mapping[str, int], document: Document) -> Iterator[str]:
    """Each reason for which the classes of a table may be incomplete."""
    if table.partial:
        yield "classes are left out of the table"
    yield from table.doubts
    images = sum(sizes.values())
    if table.total is not None and sizes and table.total != images:
        yield f"a class is not printed: {table.total} images are printed in all, and the classes have {images}"
    names = Counter((value.measure, value.class_name) for value in table.values if value.class_name is not None)
    twice = sorted({str(name) for (_, name), times in names.items() if times > 1})
    if twice:
        yield f"a class is printed twice: {', '.join(twice[:5])}"
    for value in table.values:
        # What is far above one may be a count that stands where a share is expected.
        if value.class_name is not None and value.printed.value > 2 and "%" not in value.printed.text:
            yield f"{value.printed.text} of {value.class_name} is no share"
    yield from _lines(table, document)


def _lines(table: Table, document: Document) -> Iterator[str]:
    """Lines in and near a table that were not understood, and those among its classes that gave no value."""
    lines = [value.printed.line for value in table.values] or [0]
    for unread in (each for each in document.unread if each.measuring):
        if min(lines) - NEAR <= unread.line <= max(lines) + NEAR:
            yield f"line {unread.line}, which was not understood, changes it: {unread.text.strip()[:80]!r}"
    of_classes = [value.printed.line for value in table.values if value.class_name is not None]
    if not of_classes:
        return
    used = {value.printed.line for other in document.tables for value in other.values}
    used |= {p.line for other in document.tables if other.matrix for row in other.matrix.rows for p in row}
    named = {unread.line for unread in document.unread if unread.measuring}
    for line in range(min(of_classes) - 1, max(of_classes) + 2):
        text = document.lines[line - 1] if 0 < line <= len(document.lines) else ""
        if line not in used | named and WORDS.search(text[:500]) and NUMBER.search(text[:500]):
            yield f"line {line}, of which no value was read, changes it: {text.strip()[:80]!r}"
