"""Locate the reported values in the text, and the findings that use each value."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from in4310repro.audit.document import Document, Printed
from in4310repro.audit.verdicts import Audit, Finding, Rank

CONSISTENT = "consistent"  # read and used, and nothing is found about it
# Consecutive lines without values that are folded, and the number of them that stay visible beside values.
FOLD, CONTEXT = 12, 2
# Findings by the identity of a printed number: two equal numbers on one line are two values.
Uses = Mapping[int, Sequence[tuple[int, Rank]]]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Part of a line: a reported value with its verdict, or the text between values."""

    text: str
    verdict: str | None = None  # a rank, or "consistent"; None: no value
    findings: tuple[int, ...] = ()  # numbers of the findings that use it, from 1


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the text, split into values and the text between them."""

    number: int  # from 1
    pieces: tuple[Piece, ...]
    unread: str = ""  # why a line that looks like a measurement was not understood

    @property
    def plain(self) -> bool:
        """True if no value was read from the line and it is not reported as unread."""
        return not self.unread and all(piece.verdict is None for piece in self.pieces)


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Consecutive lines that are all shown, or all folded because no value was read from them."""

    lines: tuple[Line, ...]
    folded: bool


def list_printed(document: Document) -> Iterator[Printed]:
    """Yield the numbers of each table: class values and averages with their deviations, then matrices."""
    for table in document.tables:
        for value in table.values:
            yield value.printed
            if value.spread:
                yield value.spread
        if table.matrix:
            for row in table.matrix.rows:
                yield from row


def make_passages(audit: Audit) -> list[Passage]:
    """Return the whole text as passages; many consecutive lines without values are folded."""
    lines = mark_lines(audit)
    near = {
        other
        for number, line in enumerate(lines)
        if not line.plain
        for other in range(number - CONTEXT, number + CONTEXT + 1)
    }
    result: list[Passage] = []
    run: list[Line] = []
    for number, line in enumerate(lines):
        if run and (number in near) != (number - 1 in near):
            result.append(_passage(run, folded=number - 1 not in near))
            run = []
        run.append(line)
    return [*result, *([_passage(run, folded=len(lines) - 1 not in near)] if run else [])]


def _passage(lines: Sequence[Line], *, folded: bool) -> Passage:
    return Passage(lines=tuple(lines), folded=folded and len(lines) >= FOLD)


def mark_lines(audit: Audit) -> list[Line]:
    """Split each line of the text into values with verdicts and the text between them."""
    uses = _find_uses(audit.findings)
    by_line: dict[int, list[Printed]] = defaultdict(list)
    for printed in list_printed(audit.document):
        by_line[printed.line].append(printed)
    reasons = {unread.line: unread.why for unread in audit.document.unread}
    return [
        Line(number=number, pieces=tuple(_pieces(text, by_line[number], uses)), unread=reasons.get(number, ""))
        for number, text in enumerate(audit.document.lines, start=1)
    ]


def _find_uses(findings: Sequence[Finding]) -> Uses:
    """Return by id of each printed number the findings that use it: their numbers, from 1, and ranks."""
    uses: dict[int, list[tuple[int, Rank]]] = defaultdict(list)
    for number, finding in enumerate(findings, start=1):
        for key in dict.fromkeys(id(value.printed) for value in finding.values):
            uses[key].append((number, finding.rank))
    return uses


def _pieces(text: str, values: Sequence[Printed], uses: Uses) -> Iterator[Piece]:
    position = 0
    for start, printed in sorted(find_places(text, values), key=lambda place: place[0]):
        if start > position:
            yield Piece(text=make_visible(text[position:start]))
        position = start + len(printed.text)
        ranks = list(Rank)
        used = uses.get(id(printed), ())
        verdict = min((rank for _, rank in used), key=ranks.index, default=None)
        yield Piece(
            text=make_visible(printed.text),
            verdict=verdict.value if verdict else CONSISTENT,
            findings=tuple(number for number, _ in used),
        )
    if position < len(text) or not text:
        yield Piece(text=make_visible(text[position:]))


def find_places(text: str, values: Sequence[Printed]) -> Iterator[tuple[int, Printed]]:
    """Yield the position of each value in the line: its first occurrence that overlaps no earlier value."""
    free = [True] * len(text)
    # Readers treat every space as a plain one, hard and thin spaces too.
    text = "".join(" " if letter.isspace() else letter for letter in text)
    for printed in {id(printed): printed for printed in values}.values():
        start = text.find(printed.text)
        while start >= 0 and not all(free[start : start + len(printed.text)]):
            start = text.find(printed.text, start + 1)
        if start >= 0 and printed.text:
            free[start : start + len(printed.text)] = [False] * len(printed.text)
            yield start, printed


def make_visible(text: str) -> str:
    """Return the text with a visible sign in place of control characters, which could hide text."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(letter) in ("Cc", "Cf") and letter != "\t" else letter
        for letter in text
    )
