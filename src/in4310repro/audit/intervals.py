"""Intervals of the exact numbers that a rounded number can come from, and the unit of its rounding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

import numpy as np

from in4310repro.audit.document import Measure, Printed, Value

# Unit roundoff of float64, float32 and float16.
ROUNDOFF64, ROUNDOFF32, ROUNDOFF16 = Fraction(1, 2**53), Fraction(1, 2**24), Fraction(1, 2**11)
# k/n, 100 k/n, 1 - e/n, k (1/n) and 100 - 100 e/n are each within two roundoffs of the share; two more are allowed for.
ROUNDOFFS = 4
# Rounded again and again, each time to one decimal less: 1/2 + 1/20 + 1/200 + ...
TWICE = Fraction(5, 9)
# Least decimals of a share that can be a full double.
FULL = 15
# One full double in ten ends in a zero, which is not printed; up to three are allowed for.
ALMOST_FULL = FULL - 3
# The largest number that programs add to denominators, as in tp / (tp + fn + 1e-7); decimals that show it for sure.
EPSILON, SURE = Fraction(1, 10**7), 10
# A share is not rounded to fewer decimals than this before it is printed with more.
COARSEST = 2
# A double this close to a number of at most SHORT decimals was rounded to them and multiplied by 100.
SHORT, CLOSE = 8, 8 * ROUNDOFF64


class Rounding(StrEnum):
    """Way in which a number was shortened to its printed decimals."""

    ROUNDED = "rounded"  # half-even or half-up
    TRUNCATED = "truncated"
    TWICE = "rounded twice"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A closed interval of numbers."""

    low: Fraction
    high: Fraction

    def meets(self, other: Interval) -> bool:
        """Return whether two intervals have a number in common."""
        return self.low <= other.high and other.low <= self.high

    def __contains__(self, number: Fraction | float) -> bool:
        return self.low <= number <= self.high

    def widened(self, by: Fraction) -> Interval:
        """Return the interval extended by a margin at both ends."""
        return Interval(low=self.low - by, high=self.high + by)

    def __str__(self) -> str:
        return f"{float(self.low):.6g} to {float(self.high):.6g}"


def join_intervals(intervals: Sequence[Interval]) -> Interval:
    """Return the smallest interval that contains all the given intervals."""
    return Interval(low=min(each.low for each in intervals), high=max(each.high for each in intervals))


def mean_interval(intervals: Sequence[Interval], number: int) -> Interval:
    """Return the sum of the intervals, divided by `number`."""
    low, high = (sum(ends, Fraction(0)) / number for ends in ([i.low for i in intervals], [i.high for i in intervals]))
    return Interval(low=low, high=high)


def weighted_mean(intervals: Iterable[Interval], weights: Sequence[int]) -> Interval:
    """Return the mean of the intervals with these weights."""
    pairs, total = list(zip(intervals, weights, strict=True)), sum(weights)
    low = sum((weight * each.low for each, weight in pairs), Fraction(0)) / total
    return Interval(low=low, high=sum((weight * each.high for each, weight in pairs), Fraction(0)) / total)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A reported value as a fraction of one, with its rounding unit and the error of float arithmetic."""

    value: Value
    share: Fraction
    unit: Fraction  # one in the last place that was rounded to, as a share
    ambiguous: bool = False  # 0.95 beside percentages: a share or a percentage; its share is one of the two
    error: Fraction = ROUNDOFFS * ROUNDOFF32  # of the arithmetic behind it

    def interval(self, rounding: Rounding, error: Fraction = Fraction(0)) -> Interval:
        """Return the interval of fractions that `rounding` turns into this value; `error` widens the interval."""
        if rounding is Rounding.TRUNCATED:
            # Rounding before multiplying, `round(x, 2) * 100`, fills in zeros; truncation does not.
            scale = self.share / self.value.printed.value if self.value.printed.value else 1
            low, high = self.share, self.share + min(self.unit, self.value.printed.unit * scale)
        else:
            half = self.unit * (TWICE if rounding is Rounding.TWICE else Fraction(1, 2))
            low, high = self.share - half, self.share + half
        return Interval(low=low - error, high=high + error)

    def before_epsilon(self, denominator: Fraction) -> Interval:
        """Return the interval of fractions whose `denominator` may have been raised by a number of up to 1e-7."""
        interval = self.interval(Rounding.ROUNDED, self.error)
        return Interval(low=interval.low, high=interval.high * (1 + EPSILON / denominator))

    @property
    def other(self) -> Cell:
        """The same value read as a percentage instead of a share; itself if it can only be one of the two."""
        return replace(self, share=self.share / 100, unit=self.unit / 100) if self.ambiguous else self


@lru_cache(maxsize=100_000)
def fits_grid(printed: Printed, kind: type[np.floating]) -> bool:
    """Return whether some float of type `kind`, as a fraction or a percentage, prints as this number."""
    hundred = Fraction(100 if printed.percent else 1)
    for scale in {Fraction(1), hundred}:
        # Times 100 in double precision: two roundoffs at most.
        target, unit = printed.value * scale, printed.unit * scale + 4 * ROUNDOFF64 * scale
        with np.errstate(over="ignore"):
            nearest = kind(float(target))
        for number in (nearest, np.nextafter(nearest, kind(np.inf)), np.nextafter(nearest, kind(-np.inf))):
            if np.isfinite(number) and -unit * TWICE <= Fraction(float(number)) - target <= unit:
                return True
    return False


def is_half(printed: Iterable[Printed]) -> bool:
    """Return whether all numbers have so few digits that they may have been computed in half precision."""
    return all(fits_grid(each, np.float16) for each in printed)


def counts_within(interval: Interval, images: int) -> range:
    """Return all counts k from 0 to `images` whose share k / images is in the interval."""
    return range(max(0, ceil(interval.low * images)), min(images, floor(interval.high * images)) + 1)


@lru_cache(maxsize=100_000)
def smallest_size(interval: Interval) -> int:
    """Return the least n for which some fraction k/n is in the interval.

    The search follows the Stern-Brocot tree by continued fractions. See Graham, Knuth and Patashnik, Concrete
    Mathematics, section 4.5.
    """
    low, high = max(interval.low, Fraction(0)), interval.high
    previous, current = 1, 0
    while ceil(low) > high:
        whole = floor(low)
        low, high = 1 / (high - whole), 1 / (low - whole)
        previous, current = current, whole * current + previous
    return ceil(low) * current + previous


def half_precision(images: int, count: int) -> tuple[float, ...]:
    """Return the finite values of count / images in half precision, computed by several usual formulas."""
    with np.errstate(all="ignore"):
        k, n, one, hundred = np.float16(count), np.float16(images), np.float16(1), np.float16(100)
        e = np.float16(images - count)
        shares = (np.float16(count / images), k / n, one - e / n, k * (one / n))
        percents = (
            hundred * (k / n),
            hundred * k / n,
            hundred - hundred * (e / n),
            hundred * np.float16(count / images),
        )
        numbers = [*(float(share) for share in shares), *(float(percent) / 100 for percent in percents)]
    return tuple(number for number in numbers if np.isfinite(number))


def find_units(column: Sequence[Printed], measures: Sequence[Measure]) -> list[Fraction]:
    """Return, for each number, the unit to which it was rounded, such as 1/100 for a whole percentage.

    A number may show more digits than it was rounded to. For example, `round(share, 2) * 100` may print as 95.0,
    95.00 or 56.99999999999999, although it was rounded to 1/100. This is assumed in three cases: the number ends
    in two or more zeros, it is a full-length double next to a short decimal (56.99999999999999 next to 57), or
    all numbers of its metric end in zeros.
    """
    pairs = list(zip(column, measures, strict=True))
    common = {measure: _count_common_decimals([p for p, m in pairs if m is measure]) for measure in set(measures)}
    return [_unit(printed, common[measure]) for printed, measure in pairs]


def _unit(printed: Printed, common: int | None) -> Fraction:
    decimals = count_decimals(printed)
    if common is not None and decimals <= common:
        return max(printed.unit, Fraction(1, 10**common))
    if printed.value in (0, 1) or printed.decimals - decimals < 2:
        return printed.unit
    return Fraction(1, 10 ** max(min(COARSEST, printed.decimals), decimals))


@lru_cache(maxsize=100_000)
def count_decimals(printed: Printed) -> int:
    """Return the number of decimals without trailing zeros; 0.5699999999999999 counts as 0.57."""
    if printed.decimals >= ALMOST_FULL:
        for decimals in range(SHORT + 1):
            if abs(printed.value - round(printed.value, decimals)) <= CLOSE:
                return decimals
    text = str(abs(printed.digits))
    return printed.decimals - (len(text) - len(text.rstrip("0"))) if printed.digits else 0


def _count_common_decimals(column: Sequence[Printed]) -> int | None:
    """Return the largest number of decimals in a column, not counting trailing zeros, but at least two.

    Numbers equal to 0 or 1 are ignored. Return None if fewer than two numbers are left, or if one of them is
    printed with no more decimals than the result, so that it has no surplus zeros.
    """
    telling = [printed for printed in column if printed.value not in (0, 1)]
    most = max(COARSEST, *map(count_decimals, telling), COARSEST)
    if len(telling) < 2 or any(printed.decimals <= most for printed in telling):
        return None
    return most
