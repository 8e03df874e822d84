"""Power: what is said against what random digits meet."""

import random
from math import gcd

import pytest

from in4310repro.audit.counts import explain
from in4310repro.audit.power import _fractions, power
from in4310repro.audit.reading import parse


def refused_by_trial(decimals: int, bound: int, trials: int) -> float:
    generator = random.Random(0)
    refused = 0
    for _ in range(trials):
        printed = parse(f"0.{generator.randrange(10**decimals):0{decimals}}", "x")
        refused += not explain({"T": {"a": printed}}, bound).readings["T"]["a"].sizes
    return refused / trials


@pytest.mark.parametrize(("decimals", "bound"), [(2, 200), (4, 60), (5, 300), (7, 300)])
def test_the_power_is_the_share_of_random_strings_that_are_refused(decimals: int, bound: int) -> None:
    said = power([parse(f"0.{'1' * decimals}", "x")], bound)
    assert said.exact
    # Four standard errors of 300 trials at most.
    assert refused_by_trial(decimals, bound, 300) == pytest.approx(said.refused, abs=4 * (0.25 / 300) ** 0.5)


@pytest.mark.parametrize("decimals", [8, 16])
def test_the_power_beyond_counting_is_at_least_what_is_said(decimals: int) -> None:
    said = power([parse(f"0.{'1' * decimals}", "x")], 2000)
    assert not said.exact
    assert refused_by_trial(decimals, 2000, 100) >= said.refused - 0.05
    assert said.refused > 0.9


def test_there_is_no_power_at_two_decimals_and_some_at_six() -> None:
    assert power([parse("0.98", "x")], 2000).refused == 0
    assert power([parse("0.980562", "x")], 2000).refused > 0.1


def test_fractions_are_counted_as_by_trying_all() -> None:
    assert _fractions(60) == 1 + sum(gcd(k, n) == 1 for n in range(1, 61) for k in range(1, n + 1))


def test_the_power_of_two_decimals_and_small_classes_is_that_of_trying_every_string() -> None:
    texts = [f"{hundredths / 100:.2f}" for hundredths in range(101)]
    refused = sum(not explain({"T": {"a": parse(text, "x")}}, 9).readings["T"]["a"].sizes for text in texts)
    assert power([parse("0.50", "x")], 9).refused == pytest.approx(refused / 101, rel=1e-12)
