"""Reasons why a table's classes may be incomplete; each weakens verdicts that need all classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from in4310repro.audit.document import Document, Measure, Table

# Distance from a table within which an unread line may belong to it.
NEAR = 12
# A line that looks like a row of the table: words, and a number or a mark for a missing one.
WORDS = re.compile(r"accura|\bacc\b|precision|recall|\bf1|\bap\b|score|\bclass\b|average", re.IGNORECASE)
NUMBER = re.compile(r"\d[.,]\d|\d ?%|\bnan\b|\bn/a\b", re.IGNORECASE)
NUMERAL = re.compile(r"(?<![\w.,])\d*[.,]?\d+(?![\w.,]*\d)")
LONGEST = 500  # letters of a line that are looked at
TABLES = 4  # tables before and after that are looked at
PROSE = 8  # words of a sentence, which is no row of a table
SENTENCE = re.compile(r"[^|&\t]*")
WORD = re.compile(r"[^\W\d_]{2,}")
NAMED = {
    Measure.ACCURACY: re.compile(r"accura|\bacc\b", re.IGNORECASE),
    Measure.PRECISION: re.compile(r"(?<!average )precision\b|\bprec\b", re.IGNORECASE),
    Measure.RECALL: re.compile(r"recall|sensitivity", re.IGNORECASE),
    Measure.F1: re.compile(r"\bf[- ]?1|f[- ]?score|f[- ]?measure", re.IGNORECASE),
    Measure.AVERAGE_PRECISION: re.compile(r"average precision|\bm?ap\b", re.IGNORECASE),
}
# Recall of a class is its accuracy.
ALIKE = {Measure.ACCURACY, Measure.RECALL, Measure.BALANCED_ACCURACY}


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A reason why a class may be missing from a table, such as an unread line near it."""

    condition: str
    measures: frozenset[Measure] = frozenset()  # that the line names; none: it may be of any

    def is_of(self, measures: Set[Measure]) -> bool:
        """Return whether the missing class may have a value for one of these metrics."""
        return not self.measures or bool(self.measures & measures) or bool(self.measures & ALIKE and measures & ALIKE)


def find_gaps(table: Table, sizes: Mapping[str, int]) -> Iterator[str]:
    """Yield each reason, found in the table itself, why its classes may be incomplete."""
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
        # A number far above one may be a count where a share is expected.
        if value.class_name is not None and value.printed.value > 2 and "%" not in value.printed.text:
            yield f"{value.printed.text} of {value.class_name} is no share"


def find_missing_classes(table: Table, document: Document) -> Iterator[Gap]:
    """Yield a gap for each nearby table that lacks an average of this one: its classes may belong here.

    Tables that only repeat numbers of this table, such as a sentence about it, are ignored.
    """
    names, place = _classes(table), next((i for i, each in enumerate(document.tables) if each.name == table.name), None)
    if not names or place is None:
        return
    given = {value.printed.value for value in table.values}
    for other in document.tables[max(0, place - TABLES) : place + TABLES + 1]:
        theirs = [value for value in other.values if value.class_name is not None]
        repeated = all(value.printed.value in given for value in theirs)
        if repeated or names & _classes(other) or _distance(table, other) > NEAR:
            continue
        more = _summaries(table) - _summaries(other)
        measures = frozenset(value.measure for value in theirs) & set(more)
        if measures:
            yield Gap(condition=f"the classes of {other.name} belong to it, too", measures=measures)


def _classes(table: Table) -> set[str]:
    return {value.class_name for value in table.values if value.class_name is not None}


def _summaries(table: Table) -> Counter[Measure]:
    return Counter(value.measure for value in table.values if value.class_name is None)


def _distance(one: Table, other: Table) -> int:
    ends = [[each.line for each in table.printed] or [0] for table in (one, other)]
    return max(min(ends[0]) - max(ends[1]), min(ends[1]) - max(ends[0]), 0)


def find_missing_lines(table: Table, document: Document) -> Iterator[Gap]:
    """Yield a gap for each line in or near a table that may report a class but was not read."""
    lines = [value.printed.line for value in table.values] or [0]
    given = frozenset(number for value in table.values for number in _numbers(value.printed.text))
    for unread in (each for each in document.unread if each.measuring):
        if min(lines) - NEAR <= unread.line <= max(lines) + NEAR and _is_row(unread.text, given):
            text = f"line {unread.line}, which was not understood, changes it: {unread.text.strip()[:80]!r}"
            yield Gap(condition=text, measures=_measures(unread.text))
    of_classes = [value.printed.line for value in table.values if value.class_name is not None]
    if not of_classes:
        return
    used = {value.printed.line for other in document.tables for value in other.values}
    used |= {p.line for other in document.tables if other.matrix for row in other.matrix.rows for p in row}
    named = {unread.line for unread in document.unread if unread.measuring}
    for line in range(min(of_classes) - 1, max(of_classes) + 2):
        text = document.lines[line - 1][:LONGEST] if 0 < line <= len(document.lines) else ""
        if line not in used | named and WORDS.search(text) and NUMBER.search(text) and _is_row(text, given):
            condition = f"line {line}, of which no value was read, changes it: {text.strip()[:80]!r}"
            yield Gap(condition=condition, measures=_measures(text))


def _is_row(text: str, given: frozenset[float]) -> bool:
    """Return whether a line may be a table row: no sentence, and with a number that the table lacks."""
    text = text[:LONGEST]
    numbers = _numbers(text)
    if numbers and set(numbers) <= given:
        return False
    sentence = SENTENCE.fullmatch(text.strip()) is not None and len(WORD.findall(text)) >= PROSE
    return not sentence or len(set(numbers) - given) > 1


def _numbers(text: str) -> Sequence[float]:
    return [float(each.replace(",", ".")) for each in NUMERAL.findall(text)]


def _measures(text: str) -> frozenset[Measure]:
    return frozenset(measure for measure, pattern in NAMED.items() if pattern.search(text[:LONGEST]))
