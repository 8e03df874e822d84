"""Checks: means, ranges and the floor of average precision, each beside a wrong twin that would pass or cry wolf."""

import itertools
import random
import statistics
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from in4310repro.audit import checks
from in4310repro.audit.checks import Mean, least_average_precision
from in4310repro.audit.examine import audit
from in4310repro.audit.reading import read
from tests.audit.made_up import original_text, table


def mean_of(parts: list[str], printed: str) -> Mean:
    lines = [f"Accuracy for class {label}: {text}" for label, text in enumerate(parts)]
    (found,) = checks.means(read("\n".join([*lines, f"Mean accuracy: {printed}"])))
    return found


def holds(parts: list[str], printed: str) -> bool:
    return mean_of(parts, printed).agrees


WAYS: dict[str, Callable[[list[float]], float]] = {
    "sum": lambda values: sum(values) / len(values),
    "backwards": lambda values: sum(values[::-1]) / len(values),
    "fmean": statistics.fmean,
    "numpy": lambda values: float(np.mean(values)),
    "single": lambda values: float(np.float32(np.mean(np.array(values, np.float32)))),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_mean_computed_in_any_usual_way_agrees(way: str) -> None:
    generator = random.Random(0)
    for _ in range(100):
        values = [generator.uniform(0.5, 1.0) for _ in range(6)]
        assert holds([repr(value) for value in values], repr(WAYS[way](values)))


@pytest.mark.parametrize("decimals", [1, 2, 3, 4, 7, 10, 15])
@pytest.mark.parametrize("rounding", ["rounded", "truncated"])
def test_rounded_and_truncated_means_of_whole_numbers_agree(rounding: str, decimals: int) -> None:
    generator = random.Random(1)
    scale = 10**decimals

    def text(value: Fraction) -> str:
        units = int(value * scale) if rounding == "truncated" else round(value * scale)
        return f"{units // scale}.{units % scale:0{decimals}}"

    for _ in range(100):
        values = [Fraction(generator.randint(0, 500), 500) for _ in range(6)]
        assert holds([text(value) for value in values], text(sum(values, Fraction(0)) / 6))


def test_a_mean_rounded_more_than_its_parts_agrees() -> None:
    assert holds([repr(461 / 463), repr(475 / 483)], "0.99")
    assert not holds([repr(461 / 463), repr(475 / 483)], "0.97")


def test_a_full_mean_of_rounded_parts_agrees_within_their_rounding() -> None:
    assert holds(["0.9957", "0.9834"], repr((461 / 463 + 475 / 483) / 2))
    assert not holds(["0.9957", "0.9834"], repr((461 / 463 + 475 / 483) / 2 + 2e-4))


def test_a_one_among_full_floats_is_exact_and_not_rounded_to_a_decimal() -> None:
    parts = [repr(461 / 463), "1.0"]
    assert holds(parts, repr((461 / 463 + 1) / 2))
    # The loose twin takes one decimal as a rounding to tenths.
    apart = mean_of(parts, repr((461 / 463 + 1) / 2 - 1e-9))
    assert not apart.agrees
    assert abs(apart.apart) < Fraction(1, 20)


@pytest.mark.parametrize("off", [1e-14, 1e-9, 1e-4])
def test_a_mean_that_is_slightly_off_is_refused_where_a_loose_tolerance_would_pass(off: float) -> None:
    values = [461 / 463, 475 / 483, 395 / 521]
    found = mean_of([repr(value) for value in values], repr(sum(values) / 3 + off))
    assert not found.agrees
    assert abs(float(found.apart)) <= 1e-3


def test_equality_to_the_last_bit_would_refuse_honest_means() -> None:
    generator = random.Random(2)
    pairs = [[generator.uniform(0.5, 1.0) for _ in range(6)] for _ in range(100)]
    found = [mean_of([repr(value) for value in values], repr(statistics.fmean(values))) for values in pairs]
    assert all(mean.agrees for mean in found)
    assert not all(mean.last_bit for mean in found)


def test_values_outside_0_to_1_are_found_once_and_a_percentage_without_its_sign_is_named() -> None:
    text = original_text().replace("0.9956803455723542", "99.56803455723542").replace("0.9577104520041604", "-0.95")
    found = audit(text).inconsistencies
    assert [finding.kind for finding in found] == ["out of range", "out of range"]
    assert "99.56803455723542, outside [0, 1]; a percentage needs its sign" in found[0].says


def test_a_float_sum_just_above_one_is_in_range() -> None:
    precisions = [1.0000000000000002, 1.0]
    assert audit(table("Figure 1", [461, 475], [463, 483], precisions)).inconsistencies == ()


@pytest.mark.parametrize(("positives", "negatives"), [(1, 1), (1, 5), (2, 3), (3, 3), (4, 2)])
def test_the_floor_is_the_least_average_precision_of_all_rankings(positives: int, negatives: int) -> None:
    images = positives + negatives
    worst = min(
        average_precision_score([place in chosen for place in range(images)], range(images))
        for chosen in itertools.combinations(range(images), positives)
    )
    assert float(least_average_precision(positives, negatives)) == pytest.approx(worst, rel=1e-9)


def test_the_floor_holds_for_tied_scores_and_the_class_share_does_not() -> None:
    generator = np.random.default_rng(0)
    below_share = False
    for _ in range(300):
        truth = generator.permutation(np.arange(12) < generator.integers(1, 11))
        found = average_precision_score(truth, generator.integers(0, 4, 12))
        positives = int(truth.sum())
        assert found >= float(least_average_precision(positives, 12 - positives))
        below_share |= bool(found < positives / 12)
    assert below_share


def with_precision(value: float) -> str:
    sizes = [463, 483, 521, 535, 490, 508]
    return table("Figure 1", [450, 450, 450, 451, 451, 451], sizes, [value, 0.9, 0.9, 0.9, 0.9, 0.9])


def test_an_average_precision_below_the_floor_is_proven_and_below_the_class_share_is_odd() -> None:
    impossible, low, fine = (audit(with_precision(value), images=3000) for value in (0.05, 0.12, 0.16))
    assert [finding.kind for finding in impossible.inconsistencies] == ["below floor"]
    assert [oddity.kind for oddity in impossible.oddities] == []
    assert low.inconsistencies == ()
    assert [oddity.kind for oddity in low.oddities] == ["below class share"]
    assert (fine.inconsistencies, fine.oddities) == ((), ())
