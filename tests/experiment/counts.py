"""How probable the printed counts of correct images are under readings of how they came about.

A count k of class c in the table of network j is binomial at the accuracy p_jc of network and class, with

    logit p_jc = level_j + spread * (a_c + b_jc) / sqrt(2),    level_j = expected_j + width * u_j,

where a, b and u are independent and standard normal: a_c says how hard a class is for all networks, b_jc for one. Width
and spread are the same under each reading; a reading is the expected levels, and whether the last network's two tables
are two looks at the same images. The accuracies are integrated out, so that counts of one network depend on each other.

Two looks at the same images: an image that is counted wrong is counted right in the second look with probability f, and
one that is counted right becomes wrong as often as keeps the accuracy. f is uniform; f = p are independent looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, logit, logsumexp

Array = NDArray[np.float64]
LEVELS = np.arange(-1.0, 12.01, 0.13)  # logits of a network's level, over which it is integrated
FINE = np.arange(-6.0, 17.01, 0.02)  # logits at which likelihoods of one count are tabulated
NODES = 48  # of a class's difficulty
FLIPS = 24  # nodes of f


@dataclass(frozen=True)
class Counts:
    """Correct images of each class by network; the last network has two tables."""

    images: tuple[int, ...]  # of each class
    networks: tuple[tuple[int, ...], ...]  # network -> class -> correct images
    second: tuple[int, ...]  # class -> correct images of the last network's second table


def log_two_looks(first: int, second: int, images: int, accuracies: Array) -> Array:
    """Return log P(first, second | accuracy) of two looks at the same images, for each accuracy."""
    nodes, weights = leggauss(FLIPS)
    odds = (1 - accuracies) / accuracies
    # f can be at most 1 / odds, or more images would become wrong than are right.
    changes = (nodes[:, None] + 1) / 2 * np.minimum(1, 1 / odds)
    found = np.arange(images - first + 1)[:, None, None]  # wrong images that are right in the second look
    stay = stats.binom.logpmf(second - found, first, 1 - changes * odds)
    moved = logsumexp(stats.binom.logpmf(found, images - first, changes) + stay, axis=0)
    integrated: Array = logsumexp(moved, axis=0, b=weights[:, None] / 2) + stats.binom.logpmf(first, images, accuracies)
    return integrated


def log_two_sets(first: int, second: int, images: int, accuracies: Array) -> Array:
    """Return log P(first, second | accuracy) of two sets of as many different images, for each accuracy."""
    both: Array = stats.binom.logpmf(first, images, accuracies) + stats.binom.logpmf(second, images, accuracies)
    return both


def _smooth(log_likelihood: Array, spread: float) -> Array:
    """Return the logarithm of a likelihood on `FINE`, integrated over a normal shift of the logit."""
    if spread == 0:
        return log_likelihood
    step = FINE[1] - FINE[0]
    reach = math.ceil(6 * spread / step)
    kernel = stats.norm.pdf(np.arange(-reach, reach + 1) * step, scale=spread)
    largest = log_likelihood.max()
    mixed = np.convolve(np.exp(log_likelihood - largest), kernel / kernel.sum(), mode="full")[reach : reach + FINE.size]
    smooth: Array = np.log(np.maximum(mixed, 1e-300)) + largest
    return smooth


@lru_cache(maxsize=64)
def log_by_levels(counts: Counts, spread: float, *, same_images: bool) -> Array:
    """Return log P(counts | level of each network), on the grid `LEVELS` for each of the networks."""
    looks = log_two_looks if same_images else log_two_sets
    accuracies = expit(FINE)
    nodes, weights = hermegauss(NODES)
    weights = weights / weights.sum()
    part = spread / math.sqrt(2)
    total = np.zeros((LEVELS.size,) * len(counts.networks))
    letters = "xyz"[: len(counts.networks)]
    for place, images in enumerate(counts.images):
        factors, scale = [], 0.0
        for network, correct in enumerate(counts.networks):
            if network == len(counts.networks) - 1:
                tabulated = looks(correct[place], counts.second[place], images, accuracies)
            else:
                tabulated = stats.binom.logpmf(correct[place], images, accuracies)
            at = np.interp(LEVELS[:, None] + part * nodes, FINE, _smooth(np.maximum(tabulated, -700), part))
            factors.append(np.exp(at - at.max()))
            scale += at.max()
        formula = ",".join(f"{letter}a" for letter in letters)
        mixed = np.einsum(f"{formula},a->{letters}", *factors, weights, optimize=True)
        total += np.log(np.maximum(mixed, 1e-300)) + scale
    return total


def log10_probability(
    counts: Counts, expected: Sequence[float], width: float, spread: float, *, same_images: bool
) -> float:
    """Return log10 P(counts) under a reading.

    Args:
        counts: the printed counts.
        expected: the accuracy expected of each network, in (0, 1).
        width: standard deviation of a network's level around the expected one, in logits.
        spread: standard deviation of a class's accuracy around its network's level, in logits.
        same_images: whether the last network's two tables are two looks at the same images.
    """
    total = log_by_levels(counts, spread, same_images=same_images)
    for network, accuracy in enumerate(expected):
        prior = stats.norm.logpdf(LEVELS, logit(accuracy), width)
        prior = prior - logsumexp(prior)
        shape = [1] * len(counts.networks)
        shape[network] = LEVELS.size
        total = total + prior.reshape(shape)
    return float(logsumexp(total)) / math.log(10)


def log10_of_any_level(counts: Counts, spread: float, *, same_images: bool) -> float:
    """Return log10 P(counts) where every level on `LEVELS` is equally probable, for each network."""
    total = log_by_levels(counts, spread, same_images=same_images)
    return float(logsumexp(total) - len(counts.networks) * math.log(LEVELS.size)) / math.log(10)
