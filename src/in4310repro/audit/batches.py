"""Means over batches: they differ from means over images if the last batch is smaller."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from in4310repro.audit.intervals import Interval

BATCH = 1024  # images, the most that are considered
# Common batch sizes; no others are considered.
COMMON = frozenset(
    {2**k for k in range(11)}
    | {12, 24, 48, 96, 192}
    | {10, 15, 18, 20, 25, 28, 30, 36, 40, 50, 56, 60, 72, 75, 80, 90, 100, 112, 120, 125, 144, 150, 180, 200, 250, 300}
    | {400, 500, 1000}
)
ANY = Interval(low=Fraction(0), high=Fraction(1))
DEVIATIONS = 3  # standard deviations by which a last batch may be further off than the best and the worst class
IMPROBABLE = 1e-3
# Larger than the error of the doubles that are used here.
ERROR = Fraction(1, 10**12)


def batch_means(accuracy: Interval, images: int) -> Interval:
    """Return the interval in which the mean of batch accuracies lies, for batch sizes up to 1,024 images.

    With b images a batch, B batches and r images in the last: ((B - 1) p + q) / B, where p is the accuracy of the full
    batches and q that of the last. The accuracy of all images is ((B - 1) b p + r q) / n. The mean is lowest if no
    image of the last batch is right and highest if all are, as far as the accuracy of all images allows that.
    """
    sizes = np.arange(1, min(BATCH, images) + 1)
    full = -(-images // sizes) - 1
    rest = images - full * sizes
    fewest, most = float(accuracy.low) * images, float(accuracy.high) * images
    least = np.maximum(0.0, fewest - full * sizes)
    greatest = np.minimum(most, rest)
    low = ((fewest - least) / sizes + least / rest) / (full + 1)
    high = ((most - greatest) / sizes + greatest / rest) / (full + 1)
    return Interval(
        low=min(Fraction(float(low.min())) - ERROR, accuracy.low),
        high=max(Fraction(float(high.max())) + ERROR, accuracy.high),
    )


def nearest_batch_mean(accuracy: Interval, images: int, printed: Interval, classes: Interval = ANY) -> Interval:
    """Return the possible mean over batches nearest to the reported value; all common batch sizes are tried.

    If q of the r images of the last batch are right, and k of all n, the mean over B batches of b images is ((k - q) /
    b + q / r) / B. As k is known as an interval, so is this mean, for each common batch size and each q. Images may be
    sorted by class, so q may be any number that the class accuracies allow. If the last batch is left out, q must also
    be probable in a random order (hypergeometric distribution).
    """
    fewest, most = float(accuracy.low) * images, float(accuracy.high) * images
    middle, reach = float(classes.low + classes.high) / 2, float(classes.high - classes.low) / 2
    best = accuracy
    for size in sorted(each for each in COMMON if each <= min(BATCH, images)):
        full = -(-images // size) - 1
        rest = images - full * size
        right = np.arange(rest + 1)
        low, high = np.maximum(fewest - right, 0.0), np.minimum(most - right, full * size)
        spread = DEVIATIONS * np.sqrt(0.25 / rest)
        valid = (low <= high + float(ERROR)) & (np.abs(right / rest - middle) <= reach + spread)
        left_out = valid & (_probability(images, (fewest + most) / 2, rest) > IMPROBABLE)
        means = [(low / size + right / rest) / (full + 1), (high / size + right / rest) / (full + 1)]
        if full:
            means = [np.append(means[0], low / (full * size)), np.append(means[1], high / (full * size))]
            valid = np.append(valid, left_out)
        best = _choose_nearer(best, printed, means[0][valid], means[1][valid])
    return best


def _choose_nearer(best: Interval, printed: Interval, low: NDArray[np.float64], high: NDArray[np.float64]) -> Interval:
    """Return the interval nearest to `printed`: `best`, or one of those from `low` to `high`."""
    if not len(low):
        return best
    gaps = np.maximum(low - float(printed.high), float(printed.low) - high)
    place = int(gaps.argmin())
    other = Interval(low=Fraction(float(low[place])) - ERROR, high=Fraction(float(high[place])) + ERROR)
    return other if _gap(other, printed) < _gap(best, printed) else best


def _gap(one: Interval, other: Interval) -> Fraction:
    return max(one.low - other.high, other.low - one.high)


def _probability(images: int, right: float, drawn: int) -> NDArray[np.float64]:
    """Return P(q correct images in a random batch) for each q: C(k, q) C(n - k, r - q) / C(n, r)."""
    q = np.arange(drawn + 1)

    def log_choices(of: float, some: NDArray[np.int64]) -> NDArray[np.float64]:
        inside = (some >= 0) & (some <= of)
        values = gammaln(of + 1) - gammaln(np.where(inside, some, 0) + 1) - gammaln(np.where(inside, of - some, of) + 1)
        return np.where(inside, values, -np.inf)

    ways = log_choices(right, q) + log_choices(images - right, drawn - q)
    return np.asarray(np.exp(ways - log_choices(images, np.array([drawn]))))
