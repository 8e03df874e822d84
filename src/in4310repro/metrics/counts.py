"""Metrics that are computed from three counts per class (correct, actual and predicted images), and their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Counts(NamedTuple):
    """Numbers of correct, actual and predicted images per class, in the order of the classes."""

    right: list[int]  # predicted correctly
    images: list[int]  # that belong to it
    predicted: list[int]  # predicted as it, correctly or not

    def of(self, classes: Sequence[int]) -> Counts:
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
    share, square = correct / images, NORMAL_QUANTILE**2 / images
    half = NORMAL_QUANTILE * math.sqrt((share * (1 - share) + square / 4) / images)
    # Rounding leaves 1e-17 of the ends that are 0 and 1.
    lower = 0.0 if correct == 0 else (share + square / 2 - half) / (1 + square)
    upper = 1.0 if correct == images else (share + square / 2 + half) / (1 + square)
    return [lower, upper]
