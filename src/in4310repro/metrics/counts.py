"""Metrics that are computed from three counts per class (correct, actual and predicted images), and their intervals."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Counts(NamedTuple):
    """Numbers of correct, actual and predicted images per class, in the order of the classes."""

    right: list[int]  # predicted correctly
    images: list[int]  # that belong to it
    predicted: list[int]  # predicted as it, correctly or not

    def of(self, classes: Sequence[int]) -> "Counts":
        """Return the counts of only these classes, in the order given."""
        return Counts(*([each[label] for label in classes] for each in self))


def recall(counts: Counts) -> list[float]:
    """Return the recall of each class: the fraction of its images that are classified correctly.

    Every class must have images.
    """
    return [right / images for right, images in zip(counts.right, counts.images, strict=True)]


def macro_f1(counts: Counts) -> float:
    """Return the mean over classes of F1 = 2 x right / (images + predicted).

    The F1 of a class that is never predicted is 0. The result is that of `sklearn.metrics.f1_score(labels,
    predicted, labels=classes, average="macro", zero_division=0)`, where `classes` has the classes with images.

    Examples:
        Each of two classes has two images, and all images are predicted as the first class. The F1 of the first
        class is 2 x 2 / (2 + 4), and that of the second class is 0.

        >>> round(macro_f1(Counts(right=[2, 0], images=[2, 2], predicted=[4, 0])), 4)
        0.3333
    """
    each = [2 * right / (images + predicted) for right, images, predicted in zip(*counts, strict=True)]
    return math.fsum(each) / len(each)


def accuracy(counts: Counts) -> float:
    """Return the fraction of all images that are classified correctly.

    It equals `sklearn.metrics.accuracy_score(labels, predicted)`. Frequent classes have more weight than in the
    mean class accuracy.
    """
    return sum(counts.right) / sum(counts.images)


Interval = list[float]  # lower and upper end, 95 %

NORMAL_QUANTILE = 1.959963984540054  # of 0.975; a literal, so that its bits do not depend on a library


def wilson(correct: int, images: int) -> Interval:
    """Return Wilson's 95 % score interval of a proportion (Wilson 1927).

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n) for p = correct / images and n = images.

    Examples:
        >>> [round(end, 4) for end in wilson(25, 30)]
        [0.6644, 0.9266]
    """
    return score_interval(correct / images, float(images))


def score_interval(share: float, images: float) -> Interval:
    """Return Wilson's interval of a share that is as certain as that of `images` images, a whole number or not."""
    square = NORMAL_QUANTILE**2 / images
    half = NORMAL_QUANTILE * math.sqrt((share * (1 - share) + square / 4) / images)
    # Rounding leaves 1e-17 of the ends that are 0 and 1.
    lower = 0.0 if share == 0 else (share + square / 2 - half) / (1 + square)
    upper = 1.0 if share == 1 else (share + square / 2 + half) / (1 + square)
    return [lower, upper]


def mean_interval(correct: Sequence[int], images: Sequence[int]) -> Interval:
    """Return the 95 % score interval of the mean class accuracy, given the counts of each class.

    It holds every mean m that lies within z standard errors of the measured one. The standard error is that of the
    most likely class rates p_i with mean m, for which k_i - n_i p_i = t p_i (1 - p_i) with one t for all classes; the
    variance of each is p_i (1 - p_i) / (n_i - 1), of a single image p_i (1 - p_i). So the interval is not a point where
    all images are right.

    Raises:
        ValueError: a class has no images, so that it has no accuracy.

    Examples:
        >>> [round(end, 3) for end in mean_interval([2, 1, 2], [2, 2, 2])]
        [0.321, 0.982]
    """
    if 0 in images:
        raise ValueError(f"class {list(images).index(0)} has no images, so that the mean class accuracy is undefined")
    wrong = [size - right for right, size in zip(correct, images, strict=True)]
    return [_lowest_mean(correct, images), 1 - _lowest_mean(wrong, images)]


def _lowest_mean(correct: Sequence[int], images: Sequence[int]) -> float:
    """Return the lower end of `mean_interval`, by bisection of t: the mean of the rates falls as t rises."""
    if not any(correct):
        return 0.0
    low, high = 0.0, 1.0
    while _is_held(high, correct, images):
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _is_held(middle, correct, images) else (low, middle)
    return math.fsum(_rates(low, correct, images)) / len(images)


def _rates(multiplier: float, correct: Sequence[int], images: Sequence[int]) -> list[float]:
    """Return the rates p of classes for which right images k of n give k - n p = t p (1 - p), for t >= 0."""
    rates = []
    for right, size in zip(correct, images, strict=True):
        root = math.sqrt((multiplier - size) ** 2 + 4 * multiplier * (size - right))
        # Rounding leaves 1e-16 above the rates that are 1.
        rates.append(min(1.0, 2 * right / (multiplier + size + root)))
    return rates


def _is_held(multiplier: float, correct: Sequence[int], images: Sequence[int]) -> bool:
    """Return whether the mean of the classes' rates lies within z of its standard errors of the measured one."""
    rates = _rates(multiplier, correct, images)
    distance = math.fsum(right / size - p for right, size, p in zip(correct, images, rates, strict=True))
    variance = math.fsum(p * (1 - p) / max(size - 1, 1) for p, size in zip(rates, images, strict=True))
    return distance**2 <= NORMAL_QUANTILE**2 * variance
