"""View of an audit: the content and wording that its text, HTML and JSON forms have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from in4310repro.audit.document import Printed, Unread
from in4310repro.audit.verdicts import Audit, Counted, Finding, ImageSet, Power, Rank
from in4310repro.system.text import publishable_place

LABEL = 60  # characters of a row's label
HEADINGS = {rank: rank.value.capitalize() for rank in Rank}


@dataclass(frozen=True, kw_only=True)
class ShownFinding:
    """A finding with the number (from 1) and the heading under which it is shown."""

    number: int
    finding: Finding
    told: frozenset[str] = frozenset()  # excluded explanations that an earlier finding names

    @property
    def heading(self) -> str:
        """Severity (rank) of the finding, capitalised, such as "Impossible unless"."""
        return HEADINGS[self.finding.rank]

    @property
    def excluded(self) -> tuple[str, ...]:
        """Explanations that the finding rules out, without duplicates."""
        return tuple(dict.fromkeys(self.finding.excluded))


@dataclass(frozen=True)
class View:
    """Content of an audit as shown in its text, HTML and JSON forms."""

    audit: Audit

    @property
    def source(self) -> str:
        """Name of the report, without private folders."""
        return publishable_place(self.audit.document.source)

    @property
    def numbers(self) -> Mapping[str, int]:
        """Dict from a singular noun, such as "table" or "class value", to the number of such items in the audit."""
        tables = self.audit.document.tables
        return {
            "table": len(tables),
            "class value": sum(len(table.of_classes) for table in tables),
            "confusion matrix": sum(table.matrix is not None for table in tables),
            "average": len(self.audit.means),
            "value": len(self.audit.compared),
            "line": len(self.audit.document.unread),
        }

    @property
    def ranks(self) -> Mapping[Rank, int]:
        """Number of findings of each severity (rank)."""
        return {rank: len(self.audit.of_rank(rank)) for rank in Rank}

    @property
    def findings(self) -> Iterator[ShownFinding]:
        """Findings in the order of the audit."""
        told: frozenset[str] = frozenset()
        for number, finding in enumerate(self.audit.findings, start=1):
            yield ShownFinding(number=number, finding=finding, told=told)
            told |= {*finding.excluded}

    @property
    def sizes(self) -> tuple[ImageSet, ...]:
        """Class sizes of each image set."""
        return self.audit.sizes

    @property
    def counts(self) -> tuple[Counted, ...]:
        """For each table, the numbers of correctly classified images that its values allow."""
        return self.audit.counted

    @property
    def power(self) -> Power | None:
        """Numbers of artificial errors that were inserted into the report, and of those that the audit detected.

        None if there was no such test, or if no error was detected.
        """
        power = self.audit.power
        return power if power and any(e.impossible or e.as_read or e.unless for e in power.detections) else None

    @property
    def blind(self) -> Power | None:
        """Numbers of artificial errors that were inserted into the report, if the audit detected none of them.

        None if there was no such test, or if an error was detected.
        """
        return None if self.power else self.audit.power

    @property
    def unread(self) -> list[Unread]:
        """Lines that were not understood, sorted so that probable results come first."""
        return sorted(self.audit.document.unread, key=lambda each: not each.measuring)

    @property
    def printed(self) -> Iterator[Printed]:
        """Numbers that were read: values, standard deviations and matrix cells."""
        for table in self.audit.document.tables:
            for value in (*table.values, *table.asides):
                yield from (value.printed, *([value.spread] if value.spread else []))
            for row in table.matrix.rows if table.matrix else ():
                yield from row


def shorten(text: str) -> str:
    """Return a label cut to at most 60 characters."""
    return text if len(text) <= LABEL else f"{text[: LABEL - 3].rstrip()}..."


def format_range(counts: range | None, to: str) -> str:
    """Return a range of counts as text, with `to` between the first and the last count.

    A range with a single count is written as that count, and an empty range or None as "?".
    """
    if not counts:
        return "?"
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}{to}{counts[-1]}"


def format_share(count: int, tried: int, untried: str) -> str:
    """Return `count` as a percentage of `tried`, such as "85 %"; return `untried` if `tried` is zero."""
    return f"{100 * count / tried:.0f} %" if tried else untried
