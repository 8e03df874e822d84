"""Uncertainty of test results: 95 % intervals of metrics that are not shares of images, and precision-recall curves."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from in4310repro.metrics import METRICS, Interval, mean_interval, score_interval, thresholds
from in4310repro.metrics.measurement import confusion_matrix
from in4310repro.metrics.scores import Scores

COVERAGE = "coverage.json"  # how often the intervals hold the true value, by simulation
PRIOR = 16  # images that vary as a right or wrong one does, by which the variance of a small class is completed


Array = NDArray[Any]


# The value of a metric in [0, 1], the derivative of the value by the weight of each image, and by how much the value is
# expected to be too high, or too low if that is negative, if other images were drawn.
Estimate = tuple[float, Array, float]


def intervals(scores: Scores) -> dict[str, Any]:
    """Return the 95 % intervals of the test metrics that are not shares of images, by name; of AP a list by class.

    That of the mean class accuracy is `metrics.mean_interval`. The others are Wilson's, of as many images as give the
    variance that the influence of the images on the metric shows (the infinitesimal jackknife of Jaeckel, 1972, with
    the classes as strata). Few images show too little of it: the variance is that of n images as they are and of 16
    that are right or wrong, where n is the harmonic mean of the sizes of the classes. AP of few images is too high,
    since each counts as right at its own threshold, and macro F1 too low: one end reaches as much farther.

    Args:
        scores: scores of a test set in which every class has an image.
    """
    confusion = confusion_matrix(torch.from_numpy(scores.labels), torch.from_numpy(scores.softmax)).numpy()
    sizes, right = confusion.sum(axis=1).tolist(), confusion.diagonal().tolist()
    # Where all images are right, or all wrong, F1 does not vary.
    varies, of_mean, count = 0 < sum(right) < sum(sizes), mean_interval(right, sizes), len(sizes)
    ranked = [_average_precision(scores.labels == label, each) for label, each in enumerate(scores.softmax.T)]
    values, influences, excesses = zip(*ranked, strict=True)
    mean = math.fsum(values) / count, sum(influences) / count, math.fsum(excesses) / count
    return {
        "average_precision": [_interval(each, scores.labels, [size]) for each, size in zip(ranked, sizes, strict=True)],
        "mean_class_accuracy": of_mean,
        "mean_average_precision": _interval(mean, scores.labels, sizes),
        "macro_f1": _interval(_macro_f1(scores, confusion), scores.labels, sizes) if varies else of_mean,
    }


def describe() -> str:
    """Return which interval each metric has, and how often it held the true value in simulated test sets."""
    rows = json.loads(Path(__file__).with_name(COVERAGE).read_bytes())["rows"]
    several, single = ([row for row in rows if (max(row["sizes"]) == 1) == alone] for alone in (False, True))
    classes, sizes = [len(row["sizes"]) for row in several], [size for row in several for size in row["sizes"]]
    return (
        "Wilson's for accuracies, a score interval of the mean for the mean class accuracy, and for other metrics "
        "Wilson's of as many images as give their variance. In simulated test sets of "
        f"{min(classes)} to {max(classes)} classes with {min(sizes)} to {max(sizes)} images each, whatever the sizes, "
        f"they held the true value in at least {_lowest(several)}; where every class has a single image, in at least "
        f"{_lowest(single)}. They say how far other images of this kind would move the results, not how far another "
        "training would."
    )


def _lowest(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return in how many of the simulated test sets, at least, the interval of each metric held the true value."""
    lowest = {each.label: min(row[name] for row in rows) for name, each in METRICS.items() if name in rows[0]}
    return ", ".join(f"{math.floor(100 * share)} % ({label})" for label, share in lowest.items() if label != "accuracy")


def _interval(estimate: Estimate, labels: Array, sizes: Sequence[int]) -> Interval:
    """Return the 95 % interval of a metric that is one of a class, or a mean of classes, of the given sizes."""
    value, influence, excess = estimate
    variance = math.fsum(
        len(each) / max(len(each) - 1, 1) * math.fsum((each - math.fsum(each) / len(each)) ** 2)
        for each in (influence[labels == label] for label in np.unique(labels))
    )
    size = len(sizes) / math.fsum(1 / each for each in sizes)
    images, of_share = size * len(sizes), value * (1 - value)
    ratio = variance * images / of_share if of_share > 0 else 0.0
    effective = images * (size + PRIOR) / (size * ratio + PRIOR)
    lowest, highest = value - max(excess, 0.0), value - min(excess, 0.0)
    return [score_interval(max(lowest, 0.0), effective)[0], score_interval(min(highest, 1.0), effective)[1]]


def _average_precision(of_class: Array, scores: Array) -> Estimate:
    """Return the average precision of a class, the mean over its images of the precision P at their scores.

    With one more image, P changes by (1 - P) / predicted or -P / predicted at its score and below. Without the image
    itself, P at its own score is lower by (1 - P) / predicted.
    """
    added, right, predicted = (
        each.numpy() for each in thresholds(torch.from_numpy(of_class), torch.from_numpy(scores))
    )
    precision, count = right / predicted, int(right[-1])
    gains, losses = added * (1 - precision) / predicted, added * precision / predicted
    from_score = [each[::-1].cumsum()[::-1] for each in (gains, losses)]
    place = np.unique(-scores, return_inverse=True)[1]
    influence = np.where(of_class, precision[place] + from_score[0][place], -from_score[1][place]) / count
    return math.fsum(added * precision) / count, influence, math.fsum(gains) / count


def _macro_f1(scores: Scores, confusion: Array) -> Estimate:
    """Return the macro F1: the mean over classes of 2 x right / (images + predicted).

    The excess is that of the second order: the covariance of an F1 with the number of predicted images, over
    images + predicted.
    """
    sizes, classes = confusion.sum(axis=1), len(confusion)
    totals = sizes + confusion.sum(axis=0)
    f1 = 2 * confusion.diagonal() / totals
    by_cell = (2 * np.eye(classes) - f1) / totals / classes  # [true class, predicted class]
    spread = confusion * (sizes[:, None] - confusion) / np.maximum(sizes - 1, 1)[:, None]
    return (
        math.fsum(f1) / classes,
        by_cell[scores.labels, scores.softmax.argmax(axis=1)],
        -math.fsum((by_cell * spread / totals).ravel()),
    )


def precision_recall_curve(scores: Scores, label: int) -> dict[str, list[float]]:
    """Return `recall` and `precision` of a class at each score that raises the recall, the highest first.

    The curve is that of `sklearn.metrics`, without the points at which the recall does not rise. The area under
    the steps is the average precision.
    """
    of_class, softmax = torch.from_numpy(scores.labels == label), torch.from_numpy(scores.softmax[:, label])
    added, true_positives, predicted = thresholds(of_class, softmax)
    right, shown = true_positives[added > 0].double(), predicted[added > 0].double()
    return {"recall": (right / right[-1]).tolist(), "precision": (right / shown).tolist()}
