"""How probable printed counts are: against simulation, and against ways that are known to be wrong."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tests.experiment.counts import FINE, Counts, log10_of_any_level, log10_probability, log_two_looks, log_two_sets

SMALL = Counts(images=(6, 9), networks=((5, 9), (6, 8)), second=(6, 7))
EXPECTED, WIDTH, SPREAD = (0.8, 0.9), 0.7, 0.9


def accuracies_by_simulation(draws: int) -> NDArray[np.float64]:
    """Accuracy of each class in each network [draw][network][class], by the sentences of the module's first lines."""
    generator = np.random.default_rng(1)
    levels = np.log(np.array(EXPECTED) / (1 - np.array(EXPECTED))) + WIDTH * generator.normal(size=(draws, 2))
    hard, own = generator.normal(size=(draws, 1, 2)), generator.normal(size=(draws, 2, 2))
    accuracies: NDArray[np.float64] = 1 / (1 + np.exp(-(levels[:, :, None] + SPREAD * (hard + own) / np.sqrt(2))))
    return accuracies


def simulate(*, same_images: bool, draws: int = 400_000) -> float:
    """The share of simulated reports that print exactly the counts of `SMALL`."""
    generator = np.random.default_rng(2)
    accuracies = accuracies_by_simulation(draws)
    images = np.array(SMALL.images)
    first, last = (generator.binomial(images, accuracies[:, network]) for network in range(2))
    if same_images:
        accuracy = accuracies[:, 1]
        change = generator.random(accuracy.shape) * np.minimum(1, accuracy / (1 - accuracy))
        back = change * (1 - accuracy) / accuracy
        second = generator.binomial(images - last, change) + last - generator.binomial(last, back)
    else:
        second = generator.binomial(images, accuracies[:, 1])
    printed = (SMALL.networks[0], SMALL.networks[1], SMALL.second)
    hits = np.all(
        [tables == counts for tables, counts in zip((first, last, second), printed, strict=True)], axis=(0, 2)
    )
    return float(hits.mean())


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


@pytest.mark.parametrize("accuracy", [0.3, 0.8, 0.99])
def test_two_looks_have_probabilities_that_add_up_to_one_and_each_look_is_binomial(accuracy: float) -> None:
    images, at = 7, np.array([accuracy])
    table = np.array(
        [[np.exp(log_two_looks(first, second, images, at))[0] for second in range(8)] for first in range(8)]
    )
    binomial = stats.binom.pmf(range(8), images, accuracy)
    np.testing.assert_allclose(table.sum(axis=1), binomial, rtol=1e-9)
    # Right images become wrong as often as keeps the accuracy.
    np.testing.assert_allclose(table.sum(axis=0) @ np.arange(8), images * accuracy, rtol=1e-9)


def test_two_looks_at_the_same_images_agree_more_often_than_two_sets() -> None:
    at = np.array([0.9])
    agree = [sum(np.exp(way(k, k, 30, at)[0]) for k in range(31)) for way in (log_two_looks, log_two_sets)]
    assert agree[0] > 1.2 * agree[1]


def test_the_likelihood_of_a_level_ends_within_the_tabulated_logits() -> None:
    """At the ends of the table no count of these sizes is left that a level between them would explain better."""
    ends = stats.binom.logpmf(506, 508, 1 / (1 + np.exp(-FINE[[0, -1]])))
    assert ends.max() < stats.binom.logpmf(506, 508, 506 / 508) - 8


def test_all_counts_together_are_certain_at_any_level() -> None:
    total = sum(
        10 ** log10_of_any_level(Counts((3,), ((first,),), (second,)), 0.5, same_images=same)
        for same in (True,)
        for first, second in itertools.product(range(4), repeat=2)
    )
    assert total == pytest.approx(1, abs=1e-3)
