"""How probable the printed counts of correct images are under readings of how they came about.

A count k of class c in the table of network j is binomial at the accuracy p_jc of network and class, with

    logit p_jc = level_j + spread * (a_c + b_jc) / sqrt(2),    level_j = centre_j + width * u_j,

where a, b and u are independent and standard normal: a_c says how hard a class is for all networks, b_jc for one. The
centre is where the mean of p_jc over classes is the accuracy that is expected of the network. Width and spread are the
same under each reading; a reading is the expected accuracies, and whether the last network's two tables are two looks
at the same images. The accuracies are integrated out, so that counts of one network depend on each other.

Two looks at the same images: an image that is counted wrong is counted right in the second look with probability
f * min(1, p / (1 - p)), and one that is counted right becomes wrong as often as keeps the accuracy. f is uniform, and
the same for all classes; f = p are independent looks.
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
from scipy import optimize, stats
from scipy.special import expit, logsumexp

Array = NDArray[np.float64]
LEVELS = np.arange(-2.0, 22.01, 0.2)  # logits of a network's level, over which it is integrated
FINE = np.arange(-12.0, 32.01, 0.02)  # logits at which likelihoods of one count are tabulated
NODES = 48  # of a class's difficulty
FLIPS = 24  # nodes of f
REACH = 12  # standard deviations of a class's shift: likelihoods vary by more than a normal density does in 6


@dataclass(frozen=True)
class Counts:
    """Correct images of each class by network; the last network has two tables."""

    images: tuple[int, ...]  # of each class
    networks: tuple[tuple[int, ...], ...]  # network -> class -> correct images
    second: tuple[int, ...]  # class -> correct images of the last network's second table

    def last_network(self) -> Counts:
        """Return the counts of the last network alone."""
        return Counts(self.images, self.networks[-1:], self.second)


def log_two_looks(first: int, second: int, images: int, logits: Array, change: float) -> Array:
    """Return log P(first, second | accuracy, f = `change`) of two looks at the same images, at logits of accuracy."""
    accuracies, odds = expit(logits), np.exp(-logits)
    # More images would become wrong than are right if a wrong one changed more often than 1 / odds.
    becomes_right = change * np.minimum(1, 1 / odds)
    found = np.arange(images - first + 1)[:, None]  # wrong images that are right in the second look
    stay = stats.binom.logpmf(second - found, first, 1 - becomes_right * odds)
    moved: Array = logsumexp(stats.binom.logpmf(found, images - first, becomes_right) + stay, axis=0)
    looks: Array = moved + stats.binom.logpmf(first, images, accuracies)
    return looks


def log_two_sets(first: int, second: int, images: int, logits: Array) -> Array:
    """Return log P(first, second | accuracy) of two sets of as many different images, at logits of accuracy."""
    both: Array = _log_binomial(first, images, logits) + _log_binomial(second, images, logits)
    return both


def _log_binomial(correct: int, images: int, logits: Array) -> Array:
    found: Array = stats.binom.logpmf(correct, images, expit(logits))
    return found


def _smooth(log_likelihood: Array, spread: float) -> Array:
    """Return the logarithm of a likelihood on `FINE`, integrated over a normal shift of the logit."""
    step = FINE[1] - FINE[0]
    reach = math.ceil(REACH * spread / step)
    kernel = stats.norm.pdf(np.arange(-reach, reach + 1) * step, scale=spread)
    largest = log_likelihood.max()
    # Beyond both ends of `FINE` a likelihood is taken as at the end.
    padded = np.pad(np.exp(log_likelihood - largest), reach, mode="edge")
    mixed = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    smooth: Array = np.log(np.maximum(mixed, 1e-300)) + largest
    return smooth


@lru_cache(maxsize=64)
def log_by_levels(counts: Counts, spread: float, *, same_images: bool) -> Array:
    """Return log P(counts | level of each network), on the grid `LEVELS` for each of the networks."""
    if not same_images:
        return _log_by_levels(counts, spread, None)
    nodes, weights = leggauss(FLIPS)
    total = np.array(-np.inf)
    for node, weight in zip(nodes, weights, strict=True):
        of_change = _log_by_levels(counts, spread, (node + 1) / 2)
        total = np.logaddexp(total, of_change + math.log(weight / 2))
    return total


def _log_by_levels(counts: Counts, spread: float, change: float | None) -> Array:
    """Return the same for one f; None: the last network's tables are of different images."""
    nodes, weights = hermegauss(NODES)
    weights, part = weights / weights.sum(), spread / math.sqrt(2)
    letters = "xyz"[: len(counts.networks)]
    formula = f"{','.join(f'{letter}a' for letter in letters)},a->{letters}"
    total = np.zeros((LEVELS.size,) * len(counts.networks))
    for place, images in enumerate(counts.images):
        factors, scale = [], 0.0
        for network, correct in enumerate(counts.networks):
            second = counts.second[place] if network == len(counts.networks) - 1 else None
            tabulated = _log_mixed(correct[place], second, images, part, change)
            at = np.interp(LEVELS[:, None] + part * nodes, FINE, tabulated)
            factors.append(np.exp(at - at.max()))
            scale += at.max()
        mixed = np.einsum(formula, *factors, weights, optimize=True)
        total += np.log(np.maximum(mixed, 1e-300)) + scale
    return total


@lru_cache(maxsize=2000)
def _log_mixed(first: int, second: int | None, images: int, part: float, change: float | None) -> Array:
    """Return log P(count | level + difficulty of the class) on `FINE`, integrated over a network's own part."""
    if second is None:
        tabulated = _log_binomial(first, images, FINE)
    elif change is None:
        tabulated = log_two_sets(first, second, images, FINE)
    else:
        tabulated = log_two_looks(first, second, images, FINE, change)
    return _smooth(np.maximum(tabulated, -700), part)


def centre_of(accuracy: float, spread: float) -> float:
    """Return the level at which the mean accuracy of classes is `accuracy`, in (0, 1)."""
    nodes, weights = hermegauss(NODES)
    weights = weights / weights.sum()
    found: float = optimize.brentq(lambda level: expit(level + spread * nodes) @ weights - accuracy, -40, 40)
    return found


def log10_probability(
    counts: Counts, expected: Sequence[float], width: float, spread: float, *, same_images: bool
) -> float:
    """Return log10 P(counts) under a reading.

    Args:
        counts: the printed counts.
        expected: the mean accuracy of classes expected of each network, in (0, 1).
        width: standard deviation of a network's level around the centre, in logits.
        spread: standard deviation of a class's accuracy around its network's level, in logits.
        same_images: whether the last network's two tables are two looks at the same images.
    """
    total = log_by_levels(counts, spread, same_images=same_images)
    for network, accuracy in enumerate(expected):
        prior = stats.norm.logpdf(LEVELS, centre_of(accuracy, spread), width)
        shape = [1] * len(counts.networks)
        shape[network] = LEVELS.size
        total = total + (prior - logsumexp(prior)).reshape(shape)
    return float(logsumexp(total)) / math.log(10)


def log10_of_any_level(counts: Counts, spread: float, *, same_images: bool) -> float:
    """Return log10 P(counts) where every level from logit 0 to 8 is equally probable, for each network."""
    inside = (LEVELS >= 0) & (LEVELS <= 8)
    total = log_by_levels(counts, spread, same_images=same_images)
    chosen = total[np.ix_(*(inside for _ in counts.networks))]
    return float(logsumexp(chosen) - len(counts.networks) * math.log(inside.sum())) / math.log(10)
