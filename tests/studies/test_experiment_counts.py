"""How probable printed counts are: against simulation, and against ways that are known to be wrong."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from studies.experiment.counts import (
    Counts,
    centre_of,
    log10_of_any_level,
    log10_probability,
    log_two_looks,
    log_two_sets,
)

SMALL = Counts(images=(4, 4), networks=((4, 4), (3, 3)), second=(4, 4))
EXPECTED, WIDTH, SPREAD = (0.8, 0.9), 0.7, 0.9


def level_by_bisection(accuracy: float) -> float:
    """The level at which classes of the prior's spread have this mean accuracy."""
    shifts = SPREAD * np.random.default_rng(0).normal(size=200_000)
    low, high = -10.0, 10.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(1 / (1 + np.exp(-middle - shifts))) < accuracy else (low, middle)
    return low


def accuracies_by_simulation(draws: int) -> NDArray[np.float64]:
    """Accuracy of each class in each network [draw][network][class], by the sentences of the module's first lines."""
    generator = np.random.default_rng(1)
    levels = np.array([level_by_bisection(each) for each in EXPECTED]) + WIDTH * generator.normal(size=(draws, 2))
    hard, own = generator.normal(size=(draws, 1, 2)), generator.normal(size=(draws, 2, 2))
    accuracies: NDArray[np.float64] = 1 / (1 + np.exp(-(levels[:, :, None] + SPREAD * (hard + own) / np.sqrt(2))))
    return accuracies


def simulate(*, same_images: bool, one_change: bool = True, draws: int = 400_000) -> float:
    """The share of simulated reports that print exactly the counts of `SMALL`."""
    generator = np.random.default_rng(2)
    accuracies = accuracies_by_simulation(draws)
    images = np.array(SMALL.images)
    first, last = (generator.binomial(images, accuracies[:, network]) for network in range(2))
    accuracy = accuracies[:, 1]
    if same_images:
        of_report = generator.random((draws, 1 if one_change else 2))
        change = of_report * np.minimum(1, accuracy / (1 - accuracy))
        back = change * (1 - accuracy) / accuracy
        second = generator.binomial(images - last, change) + last - generator.binomial(last, back)
    else:
        second = generator.binomial(images, accuracy)
    printed = (SMALL.networks[0], SMALL.networks[1], SMALL.second)
    equal = [tables == counts for tables, counts in zip((first, last, second), printed, strict=True)]
    return float(np.all(equal, axis=(0, 2)).mean())


@pytest.mark.parametrize("same_images", [False, True], ids=["two-sets", "two-looks"])
def test_the_probability_of_counts_is_the_share_of_simulated_reports_that_print_them(same_images: bool) -> None:
    share = simulate(same_images=same_images)
    ours = 10 ** log10_probability(SMALL, EXPECTED, WIDTH, SPREAD, same_images=same_images)
    # Three standard errors of the share.
    assert abs(ours - share) < 3 * np.sqrt(share / 400_000)


def test_a_binomial_at_fixed_rates_gives_another_probability() -> None:
    wrong = np.prod(
        [
            stats.binom.pmf(count, images, rate)
            for table, rate in zip((*SMALL.networks, SMALL.second), (*EXPECTED, EXPECTED[-1]), strict=True)
            for count, images in zip(table, SMALL.images, strict=True)
        ]
    )
    share = simulate(same_images=False)
    assert abs(wrong - share) > 5 * np.sqrt(share / 400_000)


def test_another_share_of_changed_images_in_each_class_gives_another_probability() -> None:
    wrong, share = (simulate(same_images=True, one_change=one) for one in (False, True))
    assert abs(wrong - share) > 5 * np.sqrt(share / 400_000)


@pytest.mark.parametrize(("accuracy", "spread"), [(0.9589, 0.25), (0.9589, 2.0), (0.999, 1.0)])
def test_the_expected_accuracy_is_the_mean_over_classes_and_not_that_of_the_middle_one(
    accuracy: float, spread: float
) -> None:
    level = centre_of(accuracy, spread)
    classes = 1 / (1 + np.exp(-(level + spread * stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000))))
    assert classes.mean() == pytest.approx(accuracy, abs=1e-5)
    assert np.median(classes) > accuracy


@pytest.mark.parametrize("accuracy", [0.3, 0.8, 0.99])
def test_two_looks_have_probabilities_that_add_up_to_one_and_keep_the_accuracy(accuracy: float) -> None:
    images, at = 7, np.log(np.array([accuracy / (1 - accuracy)]))
    table = np.array([[np.exp(log_two_looks(k, m, images, at, 0.4))[0] for m in range(8)] for k in range(8)])
    np.testing.assert_allclose(table.sum(axis=1), stats.binom.pmf(range(8), images, accuracy), rtol=1e-9)
    np.testing.assert_allclose(table.sum(axis=0) @ np.arange(8), images * accuracy, rtol=1e-9)


def test_looks_of_which_as_many_change_as_are_right_are_independent() -> None:
    at = np.log(np.array([0.9 / 0.1]))
    for first, second in itertools.product(range(8), repeat=2):
        looks, sets = log_two_looks(first, second, 7, at, 0.9), log_two_sets(first, second, 7, at)
        np.testing.assert_allclose(looks, sets, rtol=1e-9)


def test_two_looks_at_the_same_images_agree_more_often_than_two_sets() -> None:
    at = np.log(np.array([9.0]))
    looks = sum(np.exp(log_two_looks(k, k, 30, at, 0.3)[0]) for k in range(31))
    sets = sum(np.exp(log_two_sets(k, k, 30, at)[0]) for k in range(31))
    assert looks > 1.2 * sets


@pytest.mark.parametrize("same_images", [False, True], ids=["two-sets", "two-looks"])
def test_all_counts_together_are_certain_at_any_level(same_images: bool) -> None:
    total = sum(
        10 ** log10_of_any_level(Counts((3,), ((first,),), (second,)), 0.5, same_images=same_images)
        for first, second in itertools.product(range(4), repeat=2)
    )
    assert total == pytest.approx(1, abs=1e-3)


def test_the_printed_counts_have_the_probability_that_another_quadrature_gives() -> None:
    """Of one network's 12 counts, by nested sums over plain grids; the kernel is wide enough for a narrow spread."""
    printed = Counts((463, 483, 521, 535, 490, 508), ((460, 479, 514, 527, 486, 506),), (458, 479, 509, 526, 486, 506))
    spread, width = 0.25, 0.25
    shifts = np.linspace(-9, 9, 1801)
    normal = stats.norm.pdf(shifts)
    levels = centre_of(0.9589, spread) + width * np.linspace(-9, 9, 361)
    total = stats.norm.logpdf(np.linspace(-9, 9, 361)) + np.log(18 / 360)
    for images, first, second in zip(printed.images, printed.networks[0], printed.second, strict=True):
        accuracy = 1 / (1 + np.exp(-(levels[:, None] + spread * shifts)))
        likelihood = stats.binom.pmf(first, images, accuracy) * stats.binom.pmf(second, images, accuracy)
        total = total + np.log(likelihood @ normal * (shifts[1] - shifts[0]))
    by_sums = np.log10(np.exp(total - total.max()).sum()) + total.max() / np.log(10)
    ours = log10_probability(printed, [0.9589], width, spread, same_images=False)
    assert ours == pytest.approx(by_sums, abs=0.02)
