"""Intervals of printed numbers, the fractions within them, and the units of their rounding."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from fractions import Fraction

import pytest

from in4310repro.audit.document import Printed
from in4310repro.audit.examine import audit
from in4310repro.audit.intervals import (
    Interval,
    count_decimals,
    counts_within,
    half_precision,
    join_intervals,
    mean_interval,
    smallest_size,
)

ENDS = sorted({Fraction(k, n) for n in (1, 3, 7, 8) for k in range(-1, n + 2)})
INTERVALS = [Interval(low=low, high=high) for low, high in itertools.product(ENDS, ENDS) if low <= high]
ROUNDED_FIRST: dict[str, Callable[[float], str]] = {
    "str(round(share, 2) * 100)": lambda share: f"{round(share, 2) * 100}%",
    "str(round(share, 4) * 100)": lambda share: f"{round(share, 4) * 100}%",
    "two decimals of round(share, 2) * 100": lambda share: f"{round(share, 2) * 100:.2f}%",
    "two decimals of round(share, 3) * 100": lambda share: f"{round(share, 3) * 100:.2f}%",
}


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


def report(seed: int, printing: Callable[[float], str]) -> str:
    generator = random.Random(seed)
    sizes = [generator.randint(20, 900) for _ in range(6)]
    shares = [generator.randint(2 * size // 5, size) / size for size in sizes]
    rows = [f"| class{i} | {printing(s)} | {n} |" for i, (s, n) in enumerate(zip(shares, sizes, strict=True))]
    mean = f"Mean class accuracy: {printing(sum(shares) / 6)}"
    return "\n".join(["| Class | Accuracy | Images |", "|---|---|---|", *rows, "", mean])


@pytest.mark.parametrize("printing", ROUNDED_FIRST.values(), ids=ROUNDED_FIRST)
def test_shares_rounded_before_they_become_percentages_are_accused_of_nothing(printing: Callable[[float], str]) -> None:
    for seed in range(10):
        assert audit(report(seed, printing), power=False).contradictions == ()


@pytest.mark.parametrize(
    ("texts", "kinds"),
    [
        # 56/61 is 0.918033 and 57/61 0.934426; 57/60 is 0.95 and 58/60 0.966667.
        ("95.37% 91.80%", ["count"]),
        # 56/60 is 0.9333 and 56/61 0.918: a zero does not say that 0.930 was rounded to 0.93, and 0.920 does.
        ("0.930 0.000", ["count"]),
        ("0.930 0.920 0", []),
    ],
)
def test_a_share_with_all_its_decimals_is_held_to_its_class_size(texts: str, kinds: list[str]) -> None:
    rows = [f"| c{size} | {text} | {size} |" for size, text in enumerate(texts.split(), start=60)]
    table = "\n".join(["| Class | Accuracy | Images |", "|---|---|---|", *rows])
    assert [f.kind for f in audit(table, power=False).contradictions] == kinds


@pytest.mark.parametrize(
    ("digits", "decimals", "expected"),
    [(9500, 4, 2), (9537, 4, 4), (56999999999999990, 17, 2), (9330453872680664, 16, 16), (10, 1, 0)],
)
def test_zeros_at_the_end_and_doubles_next_to_short_numbers_are_no_decimals(
    digits: int, decimals: int, expected: int
) -> None:
    printed = Printed(text="", line=1, digits=digits, decimals=decimals, percent=False)
    assert count_decimals(printed) == expected
    assert abs(printed.value - Fraction(round(printed.value * 10**expected), 10**expected)) < Fraction(1, 10**15)


def aps(*values: str, mean: str) -> str:
    lines = [f"AP for {name} = {value}" for name, value in zip(("cat", "dog", "cow"), values, strict=False)]
    return "\n".join([*lines, f"Mean AP = {mean}"])


def test_a_class_printed_as_zero_may_be_left_out_of_a_mean() -> None:
    assert audit(aps("0.8012", "0.6034", "0.0000", mean="0.7023"), power=False).contradictions == ()
    assert audit(aps("0.8012", "0.6034", "0.0000", mean="0.4682"), power=False).contradictions == ()


def test_a_class_printed_as_more_than_zero_belongs_to_its_mean() -> None:
    text = aps("0.8012", "0.6034", "0.0001", mean="0.7023")
    assert [finding.kind for finding in audit(text, power=False).contradictions] == ["mean"]


def test_below_a_percent_sign_zeros_and_small_values_are_percentages_where_one_class_is_above_one() -> None:
    head = "| Class | F1 (%) |\n|---|---|\n"
    rows = "| a | 0.0 |\n| b | 0.0 |\n| c | 0.5 |\n| d | 8.0 |\n| macro avg | {} |\n"
    for mean in ("2.1", "2.125"):
        assert audit(head + rows.format(mean), power=False).contradictions == ()
    assert audit(head + rows.replace("8.0", "5.9").format("1.6"), power=False).contradictions == ()
    wrong = "| a | 0.0 |\n| b | 2.0 |\n| c | 2.5 |\n| d | 8.0 |\n| macro avg | 9.1 |\n"
    assert audit(head + wrong, power=False).contradictions
