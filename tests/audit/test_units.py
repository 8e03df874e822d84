"""Shares that are rounded before they are multiplied by 100, and classes without images among those printed as zero."""

import random
from collections.abc import Callable
from fractions import Fraction

import pytest

from in4310repro.audit.document import Printed
from in4310repro.audit.examine import audit
from in4310repro.audit.intervals import count_decimals

ROUNDED_FIRST: dict[str, Callable[[float], str]] = {
    "str(round(share, 2) * 100)": lambda share: f"{round(share, 2) * 100}%",
    "str(round(share, 4) * 100)": lambda share: f"{round(share, 4) * 100}%",
    "two decimals of round(share, 2) * 100": lambda share: f"{round(share, 2) * 100:.2f}%",
    "two decimals of round(share, 3) * 100": lambda share: f"{round(share, 3) * 100:.2f}%",
}


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
        assert audit(report(seed, printing), power=False).inconsistencies == ()


def test_a_share_with_all_its_decimals_is_held_to_its_class_size() -> None:
    table = "| Class | Accuracy | Images |\n|---|---|---|\n| sea | 95.37% | 60 |\n| sky | 91.80% | 61 |"
    # 56/61 is 0.918033 and 57/61 0.934426; 57/60 is 0.95 and 58/60 0.966667.
    kinds = [f.kind for f in audit(table, power=False).inconsistencies]
    assert kinds == ["count"]


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
    assert audit(aps("0.8012", "0.6034", "0.0000", mean="0.7023"), power=False).inconsistencies == ()
    assert audit(aps("0.8012", "0.6034", "0.0000", mean="0.4682"), power=False).inconsistencies == ()


def test_a_class_printed_as_more_than_zero_belongs_to_its_mean() -> None:
    text = aps("0.8012", "0.6034", "0.0001", mean="0.7023")
    assert [finding.kind for finding in audit(text, power=False).inconsistencies] == ["mean"]


def test_below_a_percent_sign_zeros_and_small_values_are_percentages_where_one_class_is_above_one() -> None:
    head = "| Class | F1 (%) |\n|---|---|\n"
    rows = "| a | 0.0 |\n| b | 0.0 |\n| c | 0.5 |\n| d | 8.0 |\n| macro avg | {} |\n"
    for mean in ("2.1", "2.125"):
        assert audit(head + rows.format(mean), power=False).inconsistencies == ()
    assert audit(head + rows.replace("8.0", "5.9").format("1.6"), power=False).inconsistencies == ()
    wrong = "| a | 0.0 |\n| b | 2.0 |\n| c | 2.5 |\n| d | 8.0 |\n| macro avg | 9.1 |\n"
    assert audit(head + wrong, power=False).inconsistencies
