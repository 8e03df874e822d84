"""Percentages without a sign are read as percentages, however many of them are at most 1."""

import pytest

from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Rank

HEAD = "| class | recall |\n|---|---|\n"


def table(*values: str) -> str:
    return HEAD + "".join(f"| class{n} | {value} |\n" for n, value in enumerate(values, start=1))


@pytest.mark.parametrize(
    "values",
    [
        ("0.10", "35.76", "98.26", "0.0", "1.19", "0.0"),
        ("0.10351966873706004", "35.755813953488371", "98.255813953488371", "0.0", "1.1904761904761905", "0.0"),
        ("0.0", "0.0", "0.5", "1.5", "2.5", "0.0"),
    ],
)
def test_percentages_of_which_half_are_at_most_1_are_not_accused(values: tuple[str, ...]) -> None:
    assert audit(table(*values), power=False).findings == ()


def test_a_value_above_1_among_shares_is_impossible() -> None:
    findings = audit(table("0.83", "0.91", "1.19", "0.97"), power=False).findings
    assert [each.rank for each in findings] == [Rank.IMPOSSIBLE]
