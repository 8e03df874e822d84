"""Class accuracy, average precision and their means: pure functions of labels and scores."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from jaxtyping import Bool, Float, Float64, Int64
from typing_extensions import TypedDict

from in4310repro.schema import Share

# Of the annotations alone, which tests check: who has not loaded torch does not wait for it here.
if TYPE_CHECKING or "torch" in sys.modules:
    import torch

Interval = list[float]  # lower and upper end, 95 %

CALIBRATION_BINS = 15
NORMAL_QUANTILE = 1.959963984540054  # of 0.975; a literal, whose bits are no library's


class ClassMetrics(TypedDict):
    """Both metrics of each class, in the order of the classes, and their means over the classes; all in [0, 1]."""

    class_accuracy: list[Share]
    average_precision: list[Share]
    mean_class_accuracy: Share
    mean_average_precision: Share


class CalibrationBin(TypedDict):
    """The images whose top score lies in one bin, open at its lower end."""

    lower: Share
    upper: Share
    images: int
    correct: int
    mean_score: Share | None  # of the top scores; null without images


class Details(TypedDict):
    """Shares in [0, 1]; lists in the order of the classes, null where no image is of a class or predicted as it."""

    accuracy: Share  # of all images
    confusion_matrix: list[list[int]]  # rows: true class; columns: predicted class
    precision: list[Share | None]
    f1: list[Share | None]
    expected_calibration_error: Share


def class_accuracy(
    labels: Int64[torch.Tensor, " image"], scores: Float[torch.Tensor, "image label"]
) -> Float64[torch.Tensor, " label"]:
    """Correctly predicted images of each class / images of that class, in [0, 1].

    The predicted class is the one with the highest score, the first one of equal scores. This is the recall of each
    class: `sklearn.metrics.recall_score(labels, predicted, average=None)`.

    Args:
        labels: the true class of each image, from 0.
        scores: a score for each image and class; softmax or logits, which have the same maximum.

    Raises:
        ValueError: a class has no image, a score is not finite, a label is outside the classes, or labels and scores
            are not one integer and one row for each image.

    Examples:
        Two of three images of class 0 are predicted correctly, and the one of class 1:

        >>> labels = torch.tensor([0, 0, 0, 1])
        >>> scores = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
        >>> [round(value, 4) for value in class_accuracy(labels, scores).tolist()]
        [0.6667, 1.0]
    """
    _check(labels, scores)
    return _recall(labels, scores)


def _recall(
    labels: Int64[torch.Tensor, " image"], scores: Float[torch.Tensor, "image label"]
) -> Float64[torch.Tensor, " label"]:
    """Of each class; nan without images."""
    matrix = confusion_matrix(labels, scores).double()
    return matrix.diag() / matrix.sum(dim=1)


def confusion_matrix(
    labels: Int64[torch.Tensor, " image"], scores: Float[torch.Tensor, "image label"]
) -> Int64[torch.Tensor, "label predicted"]:
    """Images of each true class (row) by their predicted class (column): `sklearn.metrics.confusion_matrix`.

    The predicted class is the one with the highest score, the first one of equal scores. A class may have no image.
    """
    import torch

    classes = scores.shape[1]
    return torch.bincount(labels * classes + scores.argmax(dim=1), minlength=classes**2).reshape(classes, classes)


def average_precision(
    labels: Int64[torch.Tensor, " image"], scores: Float[torch.Tensor, "image label"]
) -> Float64[torch.Tensor, " label"]:
    """One-vs-rest average precision of each class, in [0, 1].

    AP = sum_n (R_n - R_{n-1}) P_n, where P_n and R_n are precision and recall at the n-th distinct score, from the
    highest: images with equal scores share one threshold. Definition of `sklearn.metrics.average_precision_score`.

    Args:
        labels: the true class of each image, from 0.
        scores: a score for each image and class. Softmax and logits rank the images of a class differently.

    Raises:
        ValueError: a class has no image, so its recall is undefined; a score is not finite; a label is outside the
            classes; or labels and scores are not one integer and one row for each image.

    Examples:
        The images of class 0 have ranks 1 and 3 by its score: (1/1 + 2/3) / 2. That of class 1 has rank 2: 1/2.

        >>> labels = torch.tensor([0, 1, 0])
        >>> scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
        >>> [round(value, 4) for value in average_precision(labels, scores).tolist()]
        [0.8333, 0.5]
    """
    import torch

    _check(labels, scores)
    return torch.stack([_average_precision(labels == label, scores[:, label]) for label in range(scores.shape[1])])


def _average_precision(
    relevant: Bool[torch.Tensor, " image"], scores: Float[torch.Tensor, " image"]
) -> Float64[torch.Tensor, ""]:
    """Average precision of one class: which images belong to it, and the score of each for it."""
    import torch

    added, true_positives, predicted = thresholds(relevant, scores)
    precision = true_positives.double() / predicted.double()
    # Rounded once: a sum in vectors has other bits on another processor.
    total = torch.tensor(math.fsum((added.double() * precision).tolist()), dtype=torch.float64, device=scores.device)
    return total / true_positives[-1].double()


def thresholds(
    relevant: Bool[torch.Tensor, " image"], scores: Float[torch.Tensor, " image"]
) -> tuple[Int64[torch.Tensor, " n"], Int64[torch.Tensor, " n"], Int64[torch.Tensor, " n"]]:
    """At each distinct score, from the highest: images of the class at it, down to it, and all images down to it."""
    import torch

    ordered, order = scores.sort(descending=True, stable=True)
    # Counted in integers: CUDA has no deterministic cumulative sum of floats.
    true_positives = relevant[order].long().cumsum(dim=0)
    # A threshold lies after the last of the images with equal scores.
    at_threshold = torch.ones_like(relevant)
    at_threshold[:-1] = ordered[1:] != ordered[:-1]
    predicted = torch.arange(1, len(scores) + 1, device=scores.device)[at_threshold]
    true_positives = true_positives[at_threshold]
    return torch.diff(true_positives, prepend=true_positives.new_zeros(1)), true_positives, predicted


def details(labels: Int64[torch.Tensor, " image"], scores: Float[torch.Tensor, "image label"]) -> Details:
    """What else is asked of a classifier, from softmax scores; the recall of a class is its `class_accuracy`.

    The calibration error is that of Guo et al., "On calibration of modern neural networks" (ICML 2017): images in
    `CALIBRATION_BINS` equal bins of their top score, each open at its lower end; the sum over bins of the share of
    images x |share of correct ones - mean top score|.

    Args:
        labels: the true class of each image, from 0; a class may have none.
        scores: softmax of each image and class.

    Raises:
        ValueError: as `class_accuracy`, but for a class without images.

    Examples:
        Three images, two of class 0: one right with .9, one wrong with .6; and one of class 1, right with .8.

        >>> scores = torch.tensor([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], dtype=torch.float64)
        >>> found = details(torch.tensor([0, 0, 1]), scores)
        >>> found["confusion_matrix"], found["precision"], round(found["expected_calibration_error"], 4)
        ([[1, 1], [0, 1]], [1.0, 0.5], 0.3)
    """
    _check(labels, scores, every_class=False)
    matrix = confusion_matrix(labels, scores)
    right, true, predicted = matrix.diag().tolist(), matrix.sum(dim=1).tolist(), matrix.sum(dim=0).tolist()
    return {
        "accuracy": sum(right) / len(labels),
        "confusion_matrix": matrix.tolist(),
        "precision": [r / p if p else None for r, p in zip(right, predicted, strict=True)],
        "f1": [2 * r / (t + p) if t + p else None for r, t, p in zip(right, true, predicted, strict=True)],
        "expected_calibration_error": _calibration_error(labels, scores.double()),
    }


def calibration_bins(
    labels: Int64[torch.Tensor, " image"], scores: Float[torch.Tensor, "image label"]
) -> list[CalibrationBin]:
    """The `CALIBRATION_BINS` bins behind the expected calibration error of `details`, from the lowest scores."""
    return [
        {
            "lower": number / CALIBRATION_BINS,
            "upper": (number + 1) / CALIBRATION_BINS,
            "images": images,
            "correct": right,
            "mean_score": total / images if images else None,
        }
        for number, (images, right, total) in enumerate(_binned(labels, scores.double()))
    ]


def _calibration_error(labels: Int64[torch.Tensor, " image"], scores: Float64[torch.Tensor, "image label"]) -> float:
    return math.fsum(abs(right - total) / len(labels) for images, right, total in _binned(labels, scores) if images)


def _binned(
    labels: Int64[torch.Tensor, " image"], scores: Float64[torch.Tensor, "image label"]
) -> list[tuple[int, int, float]]:
    """Of each bin: its images, the correct ones, and the sum of their top scores."""
    top, predicted = scores.max(dim=1)
    bins = (top * CALIBRATION_BINS).ceil().long().clamp(1, CALIBRATION_BINS)
    masks = [bins == number for number in range(1, CALIBRATION_BINS + 1)]
    right = predicted == labels
    return [(int(inside.sum()), int(right[inside].sum()), math.fsum(top[inside].tolist())) for inside in masks]


def _check(
    labels: Int64[torch.Tensor, " image"], scores: Float[torch.Tensor, "image label"], *, every_class: bool = True
) -> None:
    """Raises ValueError for other shapes or types, where a metric would be undefined, or an index out of range."""
    import torch

    _check_shapes(labels, scores)
    if not bool(scores.isfinite().all()):
        image = int((~scores.isfinite()).any(dim=1).nonzero()[0])
        raise ValueError(f"image {image} has the scores {scores[image].tolist()}; finite scores are valid")
    classes = scores.shape[1]
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels reach from {int(labels.min())} to {int(labels.max())}; 0 to {classes - 1} are valid")
    empty = [label for label, count in enumerate(torch.bincount(labels, minlength=classes).tolist()) if count == 0]
    if empty and every_class:
        raise ValueError(f"class {empty[0]} has no image, so its recall is undefined")


def _check_shapes(labels: torch.Tensor, scores: torch.Tensor) -> None:
    """Raises ValueError unless there is one integer label and one row of floating-point scores for each image."""
    import torch

    for name, value in (("labels", labels), ("scores", scores)):
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"{name} is of type {type(value).__name__}; a torch.Tensor is valid")
    if labels.ndim != 1 or labels.dtype not in (torch.int8, torch.int16, torch.int32, torch.int64):
        described = f"labels has shape {tuple(labels.shape)} of {labels.dtype}"
        raise ValueError(f"{described}; one integer for each image is valid, the index of its class")
    if scores.ndim != 2 or not scores.is_floating_point():
        described = f"scores has shape {tuple(scores.shape)} of {scores.dtype}"
        raise ValueError(f"{described}; floating-point values of shape (images, classes) are valid")
    if len(labels) != len(scores):
        raise ValueError(f"there are {len(labels)} labels and scores of {len(scores)} images; as many are valid")
    if scores.numel() == 0:
        raise ValueError(f"scores has shape {tuple(scores.shape)}; at least one image and one class are needed")


def summary(
    labels: Int64[torch.Tensor, " image"],
    scores: Float[torch.Tensor, "image label"],
    ranked: Float[torch.Tensor, "image label"] | None = None,
    *,
    every_class: bool = True,
) -> ClassMetrics:
    """Both metrics of each class and their means over the classes, under the names of the result files.

    Args:
        labels: the true class of each image, from 0.
        scores: a score for each image and class.
        ranked: scores for the average precision alone, such as logits; None ranks `scores`.
        every_class: refuse a class without images; else lists and means leave it out.

    Raises:
        ValueError: a class has no image and `every_class`, a score is not finite, a label is outside the classes, or
            labels, scores and ranked scores do not fit to each other.
    """
    if ranked is not None and ranked.shape != scores.shape:
        raise ValueError(f"ranked has shape {tuple(ranked.shape)}, and scores {tuple(scores.shape)}; the same is valid")
    ranked = scores if ranked is None else ranked
    for each in (scores, ranked):
        _check(labels, each, every_class=every_class)
    present = sorted(set(labels.tolist()))
    accuracy = _recall(labels, scores)[present].tolist()
    precision = [float(_average_precision(labels == label, ranked[:, label])) for label in present]
    return {
        "class_accuracy": accuracy,
        "average_precision": precision,
        "mean_class_accuracy": math.fsum(accuracy) / len(accuracy),
        "mean_average_precision": math.fsum(precision) / len(precision),
    }


def class_metrics(record: ClassMetrics) -> ClassMetrics:
    """The four metrics alone of a record that may have more fields, such as a row per epoch."""
    return ClassMetrics(
        class_accuracy=record["class_accuracy"],
        average_precision=record["average_precision"],
        mean_class_accuracy=record["mean_class_accuracy"],
        mean_average_precision=record["mean_average_precision"],
    )


def wilson(correct: int, images: int) -> Interval:
    """The 95 % score interval of a share, by Wilson (1927): (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).

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
