"""Metrics of the predicted classes, which are functions of three counts of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Counts(NamedTuple):
    """Numbers of images of each class, in the order of the classes."""

    right: list[int]  # predicted correctly
    images: list[int]  # that belong to it
    predicted: list[int]  # predicted as it, correctly or not

    def of(self, classes: Sequence[int]) -> Counts:
        """Return the counts of some of the classes, in the order given."""
        return Counts(*([each[label] for label in classes] for each in self))


def recall(counts: Counts) -> list[float]:
    """Correctly predicted images of each class / images of that class; every class has images."""
    return [right / images for right, images in zip(counts.right, counts.images, strict=True)]


def macro_f1(counts: Counts) -> float:
    """Mean over the classes of F1 = 2 x right / (images + predicted), the harmonic mean of precision and recall.

    A class that is never predicted has the precision 0/0 and the F1 0: `sklearn.metrics.f1_score(labels, predicted,
    labels=classes, average="macro", zero_division=0)`, where `classes` are those with images.

    Examples:
        Two classes of two images, all predicted as the first: F1 is 2 x 2 / (2 + 4) and 0.

        >>> round(macro_f1(Counts(right=[2, 0], images=[2, 2], predicted=[4, 0])), 4)
        0.3333
    """
    each = [2 * right / (images + predicted) for right, images, predicted in zip(*counts, strict=True)]
    return math.fsum(each) / len(each)


def accuracy(counts: Counts) -> float:
    """Correctly predicted images / all images: `sklearn.metrics.accuracy_score(labels, predicted)`.

    Frequent classes weigh more, which is why it is another number than the mean class accuracy.
    """
    return sum(counts.right) / sum(counts.images)
