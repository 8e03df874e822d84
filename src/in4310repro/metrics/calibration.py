"""More metrics of a classifier: confusion matrix, precision and F1 of each class, and calibration error."""

import math
from typing import Any

from typing_extensions import TypedDict

from in4310repro.metrics.measurement import check, confusion_matrix, count
from in4310repro.metrics.ranking import ImageLabels, ImageScores
from in4310repro.system.schema import Share

CALIBRATION_BINS = 15


class Details(TypedDict):
    """Metrics by class, in the order of the classes; None for a precision or F1 whose denominator is 0."""

    confusion_matrix: list[list[int]]  # rows: true class; columns: predicted class
    precision: list[Share | None]
    f1: list[Share | None]
    expected_calibration_error: Share


def details(labels: ImageLabels, scores: ImageScores) -> Details:
    """Return confusion matrix, precision, F1 and expected calibration error, computed from softmax scores.

    The calibration error is that of Guo et al., "On calibration of modern neural networks" (ICML 2017). Images
    are divided by their top score into `CALIBRATION_BINS` bins of equal width; each bin includes its upper end,
    but not its lower end. The error of a bin is the absolute difference between the proportion of correctly
    classified images in it and the mean top score in it. The calibration error is the mean of the errors of
    the bins, weighted by their numbers of images.

    Args:
        labels: the true class of each image, from 0; a class may have none.
        scores: softmax of each image and class.

    Raises:
        ValueError: a score is not finite, a label is outside the classes, or there is not exactly one integer
            label and one row of scores for each image.

    Examples:
        Three images. One of class 0 is classified correctly with score 0.9, another of class 0 wrongly with 0.6,
        and one of class 1 correctly with 0.8.

        >>> import torch
        >>> scores = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], dtype=torch.float64)
        >>> found = details(torch.tensor([0, 0, 1]), scores)
        >>> found["confusion_matrix"], found["precision"], round(found["expected_calibration_error"], 4)
        ([[1, 1], [0, 1]], [1.0, 0.5], 0.3)
    """
    check(labels, scores, every_class=False)
    right, images, predicted = count(labels, scores)
    binned = _binned(labels, scores)
    return {
        "confusion_matrix": confusion_matrix(labels, scores).tolist(),
        "precision": [r / p if p else None for r, p in zip(right, predicted, strict=True)],
        "f1": [2 * r / (t + p) if t + p else None for r, t, p in zip(right, images, predicted, strict=True)],
        "expected_calibration_error": math.fsum(abs(r - total) / len(labels) for size, r, total in binned if size),
    }


def calibration_bins(labels: ImageLabels, scores: ImageScores) -> list[dict[str, Any]]:
    """Return the `CALIBRATION_BINS` bins of the expected calibration error, from the lowest scores up.

    A bin has the number of images whose highest score is in (lower, upper], how many of them are classified correctly,
    and the mean of these scores, None without images.
    """
    return [
        {
            "lower": number / CALIBRATION_BINS,
            "upper": (number + 1) / CALIBRATION_BINS,
            "images": images,
            "correct": right,
            "mean_score": total / images if images else None,
        }
        for number, (images, right, total) in enumerate(_binned(labels, scores))
    ]


def _binned(labels: ImageLabels, scores: ImageScores) -> list[tuple[int, int, float]]:
    """Return for each bin: number of images, number of correctly predicted images, sum of the images' top scores."""
    top, predicted = scores.double().max(dim=1)
    bins = (top * CALIBRATION_BINS).ceil().long().clamp(1, CALIBRATION_BINS)
    masks = [bins == number for number in range(1, CALIBRATION_BINS + 1)]
    right = predicted == labels
    return [(int(inside.sum()), int(right[inside].sum()), math.fsum(top[inside].tolist())) for inside in masks]
