"""Records of an audit's conclusions: findings, class sizes, image counts, means and detection power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any

from in4310repro.audit.document import Document, Measure, Value


class Rank(StrEnum):
    """Severity of a finding, the worst first."""

    IMPOSSIBLE = "impossible"  # no arithmetic, rounding or averaging that is known here gives these numbers
    AS_READ = "impossible as read"  # the same, and what the numbers are was guessed
    UNLESS = "impossible unless"  # the condition is named
    ODD = "odd"  # possible, and unlikely under stated assumptions


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One contradiction or oddity, with the values and assumptions behind it."""

    kind: str  # such as "mean", "weighted mean", "count", "range", "level"
    rank: Rank
    tables: tuple[str, ...]
    message: str  # one sentence without a full stop
    conditions: tuple[str, ...] = ()  # of rank UNLESS: each one alone would explain the numbers
    values: tuple[Value, ...] = ()  # the printed values that it uses, each with its line
    inputs: tuple[str, ...] = ()  # what it uses besides: sizes, counts and totals, and where they are from
    reading: str = ""  # of rank AS_READ: what the rows, columns and lines were taken for
    readings: tuple[str, ...] = ()  # how the values were read
    excluded: tuple[str, ...] = ()  # other explanations that were tried and do not give the numbers
    probability: str | None = None  # of rank ODD; in decimals, for it can be smaller than any float
    assumptions: str | None = None  # of rank ODD
    evidence: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[int, ...]:
        """Line numbers of the values that the finding uses, sorted."""
        return tuple(sorted({value.printed.line for value in self.values}))


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Class sizes of an image set, and the tables that share it."""

    tables: tuple[str, ...]
    smallest: Mapping[str, int]  # the smallest sizes that fit the decimals
    taken: Mapping[str, int]  # those that are used
    chance: Mapping[str, float]  # expected number of sizes of the class that random digits would fit
    origin: str  # "printed", "given" or "search"
    rivals: tuple[str, ...] = ()  # other groupings of tables by their image sets that explain the values about as well

    @property
    def identified(self) -> tuple[str, ...]:
        """Names of the classes whose size is printed, given by the user, or inferred from the decimals."""
        return tuple(name for name, expected in self.chance.items() if expected <= 0.01)

    @property
    def complete(self) -> bool:
        """True if the size of every class is known."""
        return len(self.identified) == len(self.taken)


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Numbers of correct images of each class of a table; None if a size is unknown or no count fits."""

    name: str
    sizes: Mapping[str, int]
    correct: Mapping[str, range | None]  # one count, or all that the decimals allow

    @property
    def images(self) -> int:
        """Number of images, summed over all classes."""
        return sum(self.sizes.values())

    @property
    def totals(self) -> range | None:
        """Range of the possible total numbers of correctly classified images.

        It is None if this number is unknown for a class.
        """
        counts = [count for count in self.correct.values() if count]
        if len(counts) < len(self.correct):
            return None
        return range(sum(count[0] for count in counts), sum(count[-1] for count in counts) + 1)


@dataclass(frozen=True, kw_only=True)
class MeanCheck:
    """Comparison of a reported average with the class values in the report."""

    table: str
    measure: Measure
    value: Value  # the summary
    parts: tuple[Value, ...]
    difference: Fraction  # printed summary less the plain mean of the printed parts
    allowed: Fraction  # what rounding explains
    agrees: bool  # with the plain mean, or with the average that `reading` names
    reading: str  # "plain mean", "weighted by images", "some weights", ...
    last_bit: bool = False  # the parts, summed from left to right as doubles and divided, give the printed double


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Number of planted errors of one type, and how many were called impossible, also as read or under a condition."""

    kind: str  # such as "first decimal replaced", "two digits swapped", "value copied to the wrong row"
    tried: int
    impossible: int
    unless: int  # of rank "impossible unless" at most
    as_read: int = 0  # called "impossible as read"


@dataclass(frozen=True, kw_only=True)
class Power:
    """Planted errors of each type, and how many of them the audit detects in this report."""

    detections: tuple[Detection, ...]
    seed: int
    remark: str = ""  # such as: without class sizes two decimals tell nothing


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that the caller gave to the audit besides the report itself."""

    images: int | None = None  # images of a set
    sizes: Mapping[str, int] = field(default_factory=dict)  # images of each class
    more_images: tuple[int, ...] = ()  # of further image sets
    more_sizes: tuple[Mapping[str, int], ...] = ()  # of further image sets
    chosen: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # by table, of several sizes that are given
    bound: int | None = None  # the largest class size that is searched; None: chosen from the decimals
    folds: int | None = None
    ceilings: Mapping[str, Fraction] = field(default_factory=dict)

    @classmethod
    def of_sets(cls, images: Sequence[int], sizes: Sequence[Mapping[str, int]], **others: Any) -> Options:
        """Return options for any number of image sets, from their numbers of images and their class sizes.

        `others` are further options, by name.
        """
        return cls(
            images=images[0] if images else None,
            more_images=tuple(images[1:]),
            sizes=sizes[0] if sizes else {},
            more_sizes=tuple(sizes[1:]),
            **others,
        )

    @property
    def totals(self) -> tuple[int, ...]:
        """Numbers of images that the caller gave, one for each image set; empty if none was given."""
        return (*([] if self.images is None else [self.images]), *self.more_images)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All conclusions of an audit; `findings` are ordered by severity (rank), the worst first."""

    document: Document
    options: Options
    findings: tuple[Finding, ...]
    sizes: tuple[ImageSet, ...]
    counted: tuple[Counted, ...]
    means: tuple[MeanCheck, ...]
    power: Power | None  # None where it was not asked for or nothing can be checked
    remarks: tuple[str, ...]
    compared: tuple[Value, ...] = ()  # values that a check held against another number

    def of_rank(self, rank: Rank) -> tuple[Finding, ...]:
        """Return the findings with the severity `rank`."""
        return tuple(finding for finding in self.findings if finding.rank is rank)

    @property
    def inconsistencies(self) -> tuple[Finding, ...]:
        """Findings with the severity (rank) "impossible"."""
        return self.of_rank(Rank.IMPOSSIBLE)

    @property
    def contradictions(self) -> tuple[Finding, ...]:
        """Findings with the severity (rank) "impossible" or "impossible as read"."""
        return (*self.inconsistencies, *self.of_rank(Rank.AS_READ))

    @property
    def oddities(self) -> tuple[Finding, ...]:
        """Findings with the severity (rank) "odd"."""
        return self.of_rank(Rank.ODD)

    @property
    def exit_code(self) -> int:
        """Exit code: 1 if something is impossible, 3 if it is as read, 2 if nothing was understood, 0 otherwise."""
        if self.contradictions:
            return 1 if self.inconsistencies else 3
        return 0 if any(table.values or table.matrix for table in self.document.tables) else 2

    @property
    def outcome(self) -> str:
        """Result of the audit as a clause without a full stop, such as "2 findings under conditions"."""
        if self.exit_code == 2:
            return "Nothing was understood, so nothing was checked"
        texts = {
            Rank.IMPOSSIBLE: "that nothing known here explains",
            Rank.AS_READ: "if the text was read as it is meant",
            Rank.UNLESS: "under conditions",
        }
        told = [f"{format_number(n, 'finding')} {t}" for rank, t in texts.items() if (n := len(self.of_rank(rank)))]
        if told:
            return " and ".join(told)
        if not self.compared:
            return "Nothing could be checked: no printed number is bound by another"
        return f"Nothing impossible in {format_number(len(self.compared), 'value')}; they may still be wrong"


def format_number(count: int, noun: str) -> str:
    """Return a count followed by its noun, which gets a plural "s" if the count is not 1."""
    return f"{count} {noun}{'' if count == 1 else 's'}"
