"""Intervals of shares, the counts within them and the numbers of half precision, each against brute force."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import pytest

from in4310repro.audit.examine import audit
from in4310repro.audit.intervals import (
    Interval,
    counts_within,
    half_precision,
    join_intervals,
    mean_interval,
    smallest_size,
)

ENDS = sorted({Fraction(k, n) for n in (1, 3, 7, 8) for k in range(-1, n + 2)})
INTERVALS = [Interval(low=low, high=high) for low, high in itertools.product(ENDS, ENDS) if low <= high]


def counts_by_trying(interval: Interval, images: int) -> list[int]:
    return [k for k in range(images + 1) if interval.low <= Fraction(k, images) <= interval.high]


@pytest.mark.parametrize("images", [1, 2, 3, 8, 21])
def test_counts_in_an_interval_are_all_that_trying_finds_both_ends_included(images: int) -> None:
    for interval in INTERVALS:
        assert list(counts_within(interval, images)) == counts_by_trying(interval, images)


def test_the_least_size_is_the_first_that_has_a_count() -> None:
    # Of shares below 1, with a small number between them.
    for interval in (each for each in INTERVALS if each.low >= 0 and each.high <= 1):
        assert smallest_size(interval) == next(n for n in itertools.count(1) if counts_by_trying(interval, n))


def test_intervals_meet_where_an_end_is_in_both() -> None:
    for one, other in itertools.product(INTERVALS[::7], INTERVALS[::5]):
        shared = any(each.low <= end <= each.high for end in (one.low, one.high) for each in (other,))
        shared |= any(one.low <= end <= one.high for end in (other.low, other.high))
        assert one.meets(other) is other.meets(one) is shared


def test_an_interval_has_its_ends_and_what_is_between_them() -> None:
    interval = Interval(low=Fraction(1, 4), high=Fraction(3, 4))
    numbers = (0, Fraction(1, 4), 0.5, 0.75, Fraction(7, 8))
    assert [number in interval for number in numbers] == [False, True, True, True, False]


def test_span_mean_and_widening_by_hand() -> None:
    one, other = (Interval(low=Fraction(a, 8), high=Fraction(b, 8)) for a, b in ((1, 3), (2, 7)))
    assert join_intervals([other, one]) == Interval(low=Fraction(1, 8), high=Fraction(7, 8))
    assert mean_interval([one, other], 2) == Interval(low=Fraction(3, 16), high=Fraction(5, 8))
    assert one.widened(Fraction(1, 8)) == Interval(low=Fraction(0), high=Fraction(1, 2))
    assert str(one) == "0.125 to 0.375"


@pytest.mark.parametrize(("images", "count"), [(463, 421), (300, 299), (4, 2)])
def test_shares_in_half_precision_are_near_the_share_by_all_eight_expressions(images: int, count: int) -> None:
    numbers = half_precision(images, count)
    assert len(numbers) == 8
    assert numbers == pytest.approx([count / images] * 8, rel=4 * 2.0**-11)
    # A power of two costs no digits.
    assert (set(numbers) == {count / images}) is (images == 4)


def test_shares_that_half_precision_has_no_number_for_are_left_out() -> None:
    # 70,000 is infinite: what is left has no division by it, or is zero.
    assert all(math.isfinite(number) for number in half_precision(70_000, 3))


def test_a_count_that_is_printed_beside_an_accuracy_is_the_only_one() -> None:
    (counted,) = audit("| Class | Accuracy |\n|---|---|\n| sea | 0.9 (421/463) |\n| town | 0.95 (19/20) |").counted
    assert counted.correct == {"sea": range(421, 422), "town": range(19, 20)}
