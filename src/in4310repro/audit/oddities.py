"""Find unlikely results; each has its probability and the assumptions behind it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache

from in4310repro.audit.search import SCENES, is_scenes
from in4310repro.audit.shares import least_average_precision, list_ranked
from in4310repro.audit.sheets import Sheet
from in4310repro.audit.verdicts import Counted, Finding, Options, Rank

LARGEST = 20_000  # images; exact probabilities of more take long
# Results less probable than this are listed.
UNLIKELY = Fraction(1, 20)
CEILINGS = SCENES.ceilings
INDEPENDENCE = (
    "the two tables are of different images; errors fall independently; each class errs at its rate over both tables. "
    "Of the same images, or of one network, equal counts are not surprising. Every pair of tables of one set of class "
    "sizes is looked at, so that one in twenty is expected to look odd"
)
BINOMIAL = "images are independent, and each is classified correctly with the probability of the ceiling"


def find_oddities(sheets: Sequence[Sheet], counted: Sequence[Counted], options: Options) -> Iterator[Finding]:
    """Yield a finding for each unlikely result in the tables of a report."""
    yield from find_equal_counts(counted)
    if options.ceilings:
        yield from find_high_level(counted, options.ceilings)
    else:
        scenes = [table for table in counted if is_scenes(tuple(table.sizes), tuple(table.sizes.values()))]
        yield from find_high_level(scenes, CEILINGS)
    sizes = {table.name: table.sizes for table in counted if all(table.correct.values())}
    for sheet in sheets:
        yield from find_low_precision(sheet if sheet.sizes else replace(sheet, sizes=sizes.get(sheet.name, {})))


def format_scientific(probability: Fraction) -> str:
    """Format a number with two significant digits, however small: 0.037, 1.1e-16."""
    return f"{Decimal(probability.numerator) / Decimal(probability.denominator):.2g}"


def upper_tail(correct: int, images: int, accuracy: Fraction) -> Fraction:
    """Return the exact probability of `correct` or more successes in `images` trials of probability `accuracy`."""
    hit, miss = accuracy.numerator, accuracy.denominator - accuracy.numerator
    terms = (math.comb(images, k) * hit**k * miss ** (images - k) for k in range(correct, images + 1))
    return Fraction(sum(terms), accuracy.denominator**images)


@lru_cache(maxsize=100_000)
def chance_of_same_count(images: int, rate: float) -> float:
    """Return P(X = Y) for independent X, Y ~ Binomial(images, rate): sum over k of P(X = k)^2."""
    if rate in (0, 1):
        return 1.0
    ways = math.lgamma(images + 1)
    logs = (
        ways - math.lgamma(k + 1) - math.lgamma(images - k + 1) + k * math.log(rate) + (images - k) * math.log1p(-rate)
        for k in range(images + 1)
    )
    return math.fsum(math.exp(2 * log) for log in logs)


def chance_of_at_least(number: int, probabilities: Sequence[float]) -> float:
    """Return the probability that at least `number` independent events occur (Poisson binomial distribution)."""
    happened = [1.0]
    for probability in probabilities:
        without = [share * (1 - probability) for share in happened]
        happened = [a + b * probability for a, b in zip([*without, 0.0], [0.0, *happened], strict=True)]
    return math.fsum(happened[number:])


def find_equal_counts(tables: Sequence[Counted], largest: int = LARGEST) -> Iterator[Finding]:
    """Yield a finding for each pair of tables that agree in improbably many classes.

    Two tables agree in a class if both have the same number of correctly classified images of this class. Pairs
    of tables with different class sizes, or with more than `largest` images in a class, are skipped.
    """
    for one, other in itertools.combinations(tables, 2):
        first, second = _settle_counts(one), _settle_counts(other)
        if one.sizes != other.sizes or first is None or second is None:
            continue
        pairs = {label: (first[label], second[label]) for label in one.sizes}
        equal = sum(a == b for a, b in pairs.values())
        if not equal or max(one.sizes.values()) > largest:
            continue
        rates = {label: 1 - (a + b) / (2 * one.sizes[label]) for label, (a, b) in pairs.items()}
        by_class = [chance_of_same_count(one.sizes[label], rate) for label, rate in rates.items()]
        probability = chance_of_at_least(equal, by_class)
        if probability < UNLIKELY:
            yield Finding(
                kind="equal counts",
                rank=Rank.ODD,
                tables=(one.name, other.name),
                message=f"{equal} of {len(pairs)} classes have the same number of correct images",
                probability=format_scientific(Fraction(probability)),
                assumptions=INDEPENDENCE,
            )


def _settle_counts(table: Counted) -> dict[str, int] | None:
    """Return the number of correctly classified images of each class.

    Return None if this number is not known exactly for every class.
    """
    counts = {label: count[0] for label, count in table.correct.items() if count is not None and len(count) == 1}
    return counts if len(counts) == len(table.correct) else None


def find_high_level(
    tables: Sequence[Counted], ceilings: Mapping[str, Fraction], largest: int = LARGEST
) -> Iterator[Finding]:
    """Yield one finding on all tables whose accuracy is improbably high; none if there are no such tables.

    An accuracy is improbably high if even a network whose true accuracy is the largest of `ceilings` would rarely
    reach it. If the printed decimals allow several numbers of correctly classified images, the smallest is used.
    Tables of more than `largest` images are skipped.
    """
    tails: dict[str, Fraction] = {}
    evidence = []
    for table in tables:
        fewest = table.totals[0] if table.totals else 0
        if not ceilings or fewest <= max(ceilings.values()) * table.images or table.images > largest:
            continue
        by_level = {level: upper_tail(fewest, table.images, level) for level in ceilings.values()}
        if max(by_level.values()) < UNLIKELY:
            tails[table.name] = max(by_level.values())
            chances = ", ".join(f"{format_scientific(tail)} at {float(level):.4g}" for level, tail in by_level.items())
            evidence.append(f"{table.name}: P(>= {fewest} of {table.images}) is {chances}")
    if tails:
        named = " and ".join(f"{float(level):.4g} ({name})" for name, level in ceilings.items())
        yield Finding(
            kind="level",
            rank=Rank.ODD,
            tables=tuple(tails),
            message=f"accuracy above {named}",
            probability=f"at most {format_scientific(max(tails.values()))} each",
            assumptions=BINOMIAL,
            evidence=tuple(evidence),
        )


def find_low_precision(sheet: Sheet) -> Iterator[Finding]:
    """Yield a finding for each class whose average precision is below the class's fraction of all images.

    A network that gives the same score to all images would reach this fraction as its average precision.
    """
    for label, cell, positives, negatives in list_ranked(sheet):
        share = Fraction(positives, positives + negatives)
        if least_average_precision(positives, negatives) <= cell.share + cell.unit < share:
            yield Finding(
                kind="below class share",
                rank=Rank.ODD,
                tables=(sheet.name,),
                message=f"average precision of class {label} is {cell.value.printed.text}, its share of images "
                f"{float(share):.4f}",
                values=(cell.value,),
                probability="not computed",
                assumptions="the scores are meant to rank the class first",
            )
