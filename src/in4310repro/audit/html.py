"""Format an audit as one offline HTML page: the report's text with marked values, beside the findings."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import jinja2

from in4310repro.audit.document import Printed, Value
from in4310repro.audit.verdicts import Audit, Counted, Detection, Finding, Rank, format_number
from in4310repro.audit.view import HEADINGS, View, format_range, format_share as share_of, shorten
from in4310repro.system.files import write_file

MEANINGS = {
    Rank.IMPOSSIBLE: "No arithmetic, rounding or averaging that is known here gives these numbers, whatever the sizes.",
    Rank.AS_READ: "The same, if the rows, columns and lines are what they were taken for.",
    Rank.UNLESS: "The numbers do not fit unless the named condition holds. That is not an accusation.",
    Rank.ODD: "Possible, and unlikely under the stated assumptions. That proves nothing.",
}
CONSISTENT = "consistent"  # read and used, and nothing is found about it
# Consecutive lines without values that are folded, and the number of them that stay visible beside values.
FOLD, CONTEXT = 12, 2
# Findings by the identity of a printed number: two equal numbers on one line are two values.
Uses = Mapping[int, Sequence[tuple[int, Rank]]]


@dataclass(frozen=True, kw_only=True)
class CountRow:
    """Numbers of correct images of one table, as text for the page."""

    name: str
    cells: tuple[tuple[str, str], ...]  # class, "457 of 463"
    total: str


def write(audit: Audit, path: Path) -> None:
    """Write the audit as an HTML page; an interrupted write leaves no partial file."""
    write_file(path, render(audit).encode())


def render(audit: Audit) -> str:
    """Return the audit as an HTML page, which loads nothing and runs no script. Text from the report is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("in4310repro.audit"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
    )
    environment.filters["visible"] = make_visible
    return environment.get_template("audit.html.jinja").render(make_context(audit))


def make_context(audit: Audit) -> dict[str, object]:
    """Return the variables of the page's template."""
    view = View(audit)
    return {
        "audit": audit,
        "view": view,
        "passages": make_passages(audit),
        "ranks": [(rank, HEADINGS[rank], MEANINGS[rank], number) for rank, number in view.ranks.items()],
        "described": describe_value,
        "counts": [format_counts(counted) for counted in view.counts],
        "number": format_number,
        "share": format_share,
        "signed": format_signed,
    }


def describe_value(value: Value) -> str:
    """Describe a value as text: the name of its metric, and its class or label."""
    if value.class_name is not None:
        return f"{value.measure} of {shorten(value.class_name)}"
    return f"{shorten(value.label or value.average or 'summary')} ({value.measure})"


def format_counts(counted: Counted) -> CountRow:
    """Return a table's numbers of correctly classified images as text, for each class and in total."""
    spans = [(name, format_range(counted.correct.get(name), " to "), size) for name, size in counted.sizes.items()]
    cells = tuple((name, f"{span} of {size}") for name, span, size in spans)
    return CountRow(name=counted.name, cells=cells, total=f"{format_range(counted.totals, ' to ')} of {counted.images}")


def format_share(detection: Detection, count: int) -> str:
    """Return `count` as a percentage of the number of errors that were inserted as a test.

    Return "none tried" if no errors were inserted.
    """
    return share_of(count, detection.tried, "none tried")


def format_signed(difference: Fraction) -> str:
    """Return a difference with its sign and two significant digits."""
    return f"{float(difference):+.2g}"


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
        """True for ordinary text: no value was read from the line, and it does not look like an unread measurement."""
        return not self.unread and all(piece.verdict is None for piece in self.pieces)


@dataclass(frozen=True, kw_only=True)
class Passage:
    """Consecutive lines that are all shown, or all folded because no value was read from them."""

    lines: tuple[Line, ...]
    folded: bool


def make_passages(audit: Audit) -> list[Passage]:
    """Return the text of the audited report, divided into passages.

    Many consecutive lines without values become a folded passage, which a reader of the page can open.
    """
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
    """Split each line of the report into its values, with their verdicts, and the text between the values."""
    uses = _find_uses(audit.findings)
    by_line: dict[int, list[Printed]] = defaultdict(list)
    for printed in View(audit).printed:
        by_line[printed.line].append(printed)
    reasons = {unread.line: unread.why for unread in audit.document.unread}
    return [
        Line(number=number, pieces=tuple(_pieces(text, by_line[number], uses)), unread=reasons.get(number, ""))
        for number, text in enumerate(audit.document.lines, start=1)
    ]


def _find_uses(findings: Sequence[Finding]) -> Uses:
    """Return a dict from the `id` of each printed number to the findings that use the number.

    Each finding is given as a pair of its index, counted from 1, and its severity.
    """
    uses: dict[int, list[tuple[int, Rank]]] = defaultdict(list)
    for number, finding in enumerate(findings, start=1):
        for key in dict.fromkeys(id(value.printed) for value in finding.values):
            uses[key].append((number, finding.rank))
    return uses


def _pieces(text: str, values: Sequence[Printed], uses: Uses) -> Iterator[Piece]:
    position = 0
    for start, printed in sorted(find_places(text, values)):
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
    """Yield (position, value) for each value whose text is found in the line.

    The position is where the value's text first occurs without overlapping the text found for an earlier value.
    """
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
