"""What is unlikely and no more: each oddity comes with its probability and the assumptions behind that number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from in4310repro.audit.checks import least_average_precision, ranked
from in4310repro.audit.reading import Table
from in4310repro.audit.sizes import Counted

# What is less probable than this is listed.
UNLIKELY = Fraction(1, 20)
# Accuracies on the scenes: of the best entry to the public competition, and of an honest ResNet-18.
CEILINGS: Mapping[str, Fraction] = {
    "best single submission of the public competition": Fraction("0.9635"),
    "an honest result": Fraction("0.929"),
}
INDEPENDENCE = (
    "the two tables are of different images; errors fall independently; each class errs at its rate over both tables. "
    "Of the same images, or of one network, equal counts are no surprise. Every pair of tables of one set of class "
    "sizes is looked at, so that one in twenty is expected to look odd"
)
BINOMIAL = "images are independent, and each is classified correctly with the probability of the ceiling"


@dataclass(frozen=True, kw_only=True)
class Oddity:
    """Something unlikely under stated assumptions; nothing is proven by it."""

    kind: str
    where: str
    says: str
    probability: str  # in decimals, for it can be smaller than any float
    assumes: str
    evidence: tuple[str, ...] = ()


def scientific(probability: Fraction) -> str:
    """Two digits, however small: 0.037, 1.1e-16."""
    return f"{Decimal(probability.numerator) / Decimal(probability.denominator):.2g}"


def upper_tail(correct: int, images: int, accuracy: Fraction) -> Fraction:
    """P(X >= correct) for X binomial, exactly: sum over k of C(n, k) p^k (1-p)^(n-k), in whole numbers."""
    hit, miss = accuracy.numerator, accuracy.denominator - accuracy.numerator
    terms = (math.comb(images, k) * hit**k * miss ** (images - k) for k in range(correct, images + 1))
    return Fraction(sum(terms), accuracy.denominator**images)


def same_count(images: int, rate: float) -> float:
    """P(X = Y) for two independent binomial counts: sum over k of P(X = k)^2."""
    if rate in (0, 1):
        return 1.0
    ways = math.lgamma(images + 1)
    logs = (
        ways - math.lgamma(k + 1) - math.lgamma(images - k + 1) + k * math.log(rate) + (images - k) * math.log1p(-rate)
        for k in range(images + 1)
    )
    return math.fsum(math.exp(2 * log) for log in logs)


def at_least(number: int, probabilities: Sequence[float]) -> float:
    """P(at least so many of these independent events happen): the Poisson binomial distribution, event by event."""
    happened = [1.0]
    for probability in probabilities:
        without = [share * (1 - probability) for share in happened]
        happened = [a + b * probability for a, b in zip([*without, 0.0], [0.0, *happened], strict=True)]
    return math.fsum(happened[number:])


def equal_counts(tables: Sequence[Counted]) -> Iterator[Oddity]:
    """Pairs of tables that have more classes with the same count than independent errors make likely."""
    for one, other in itertools.combinations(tables, 2):
        if one.sizes != other.sizes or not _settled(one) or not _settled(other):
            continue
        pairs = {label: (_count(one, label), _count(other, label)) for label in one.sizes}
        equal = sum(a == b for a, b in pairs.values())
        if not equal:
            continue
        rates = {label: 1 - (a + b) / (2 * one.sizes[label]) for label, (a, b) in pairs.items()}
        by_class = [same_count(one.sizes[label], rate) for label, rate in rates.items()]
        probability = at_least(equal, by_class)
        if probability < UNLIKELY:
            yield Oddity(
                kind="equal counts",
                where=f"{one.name} and {other.name}",
                says=f"{equal} of {len(pairs)} classes have the same number of correct images",
                probability=scientific(Fraction(probability)),
                assumes=INDEPENDENCE,
            )


def _settled(table: Counted) -> bool:
    return all(count is not None and len(count) == 1 for count in table.correct.values())


def _count(table: Counted, label: str) -> int:
    count = table.correct[label]
    return count[0] if count else 0


def high_level(tables: Sequence[Counted], ceilings: Mapping[str, Fraction]) -> Iterator[Oddity]:
    """Tables whose overall accuracy is above every ceiling, and unlikely if a ceiling were the truth; as one oddity.

    Where the decimals allow several counts, the fewest is taken.
    """
    tails: dict[str, Fraction] = {}
    evidence = []
    for table in tables:
        fewest = table.totals[0] if table.totals else 0
        if not ceilings or fewest <= max(ceilings.values()) * table.images:
            continue
        by_level = {level: upper_tail(fewest, table.images, level) for level in ceilings.values()}
        if max(by_level.values()) < UNLIKELY:
            tails[table.name] = max(by_level.values())
            chances = ", ".join(f"{scientific(tail)} at {float(level):.4g}" for level, tail in by_level.items())
            evidence.append(f"{table.name}: P(>= {fewest} of {table.images}) is {chances}")
    if tails:
        named = " and ".join(f"{float(level):.4g} ({name})" for name, level in ceilings.items())
        yield Oddity(
            kind="level",
            where=", ".join(tails),
            says=f"accuracy above {named}",
            probability=f"at most {scientific(max(tails.values()))} each",
            assumes=BINOMIAL,
            evidence=tuple(evidence),
        )


def low_precision(tables: Sequence[Table], sizes: Mapping[str, Mapping[str, int]]) -> Iterator[Oddity]:
    """Average precisions that are possible, yet below the class share, which one score for all images gets."""
    for table, label, printed, positives, negatives in ranked(tables, sizes):
        share = Fraction(positives, positives + negatives)
        if least_average_precision(positives, negatives) <= printed.value + printed.unit < share:
            yield Oddity(
                kind="below class share",
                where=f"{table}, {printed.where}",
                says=f"average precision of class {label} is {printed.text}, its share of images {float(share):.4f}",
                probability="not computed",
                assumes="the scores are meant to rank the class first",
            )
