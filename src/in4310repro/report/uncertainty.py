"""Uncertainty of test results by a stratified bootstrap over test images, and precision-recall curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import TypedDict

from in4310repro.metrics import COUNTS, METRICS, RANKING, SCORES, Counts, Interval, thresholds
from in4310repro.metrics.ranking import Ranking
from in4310repro.metrics.scores import Scores
from in4310repro.system.numerics import generator_for

Number = TypeVar("Number", bound=np.integer[Any])

LEVEL, DRAWS = 0.95, 1000
AT_ONCE = 2**17


def bootstrap(scores: Scores, seed: int, draws: int = DRAWS, at_once: int = AT_ONCE) -> dict[str, Any]:
    """Return percentile intervals of the test metrics, by resampling the images of each class with replacement.

    In a resampled test set, an image may occur several times or not at all, and metrics count it as often as
    it occurs. An interval leaves out the lowest and the highest 2.5 % of the values of a metric. Frequencies
    are integers and sums are rounded once, so that the bits do not depend on the platform.

    Args:
        scores: scores of a test set in which every class has an image.
        seed: seed of the resampling. For given labels and `draws`, the resampled test sets depend on nothing
            else.
        draws: number of resampled test sets.
        at_once: number of entries that a temporary array [test set, image] may have if it has several rows.
            This bounds the use of memory.

    Returns:
        The 95 % interval of each metric by name, or a list of intervals by class. Metrics that are
        proportions of images are left out, since they have Wilson's interval.
    """
    copies = _draw_copies(scores.labels, scores.softmax.shape[1], seed, draws, at_once)
    areas = _areas(scores, copies, at_once)
    values: dict[str, Any] = {
        COUNTS: _counts(scores, copies),
        SCORES: _Drawn(scores, copies),
        **dict.fromkeys((name for name, each in METRICS.items() if each.reads == RANKING), areas),
    }
    for name, metric in METRICS.items():
        if metric.reads != RANKING:
            values[name] = [metric.function(each) for each in values[metric.reads]]
    return {
        name: [_percentile_interval(of_class) for of_class in zip(*values[name], strict=True)]
        if each.per_class
        else _percentile_interval(values[name])
        for name, each in METRICS.items()
        if not each.is_share
    }


class _Drawn:
    """The labels and scores of each resampled test set, as they are asked for."""

    def __init__(self, scores: Scores, copies: NDArray[np.uint8]) -> None:
        self._scores, self._copies = scores, copies

    def __iter__(self) -> Iterator[Ranking]:
        for row in self._copies:
            drawn = self._scores.labels, self._scores.softmax
            labels, softmax = (torch.from_numpy(each.repeat(row, axis=0)) for each in drawn)
            yield Ranking(labels, softmax, list(range(softmax.shape[1])))


def _counts(scores: Scores, copies: NDArray[np.uint8]) -> list[Counts]:
    """Count images, true positives and predictions of each class in each resampled test set."""
    predicted = scores.softmax.argmax(axis=1)
    columns = []
    for label in range(scores.softmax.shape[1]):
        masks = (scores.labels == label) & (predicted == label), scores.labels == label, predicted == label
        columns.append([copies[:, mask].sum(axis=1, dtype=np.int64) for mask in masks])
    by_draw = np.array(columns).transpose(2, 1, 0).tolist()
    return [Counts(*each) for each in by_draw]


def _areas(scores: Scores, copies: NDArray[np.uint8], at_once: int) -> list[tuple[float, ...]]:
    """Return the average precision of each class in each resampled test set."""
    classes = range(scores.softmax.shape[1])
    of_classes = (
        average_precisions(scores.labels == label, scores.softmax[:, label], copies, at_once) for label in classes
    )
    return list(zip(*of_classes, strict=True))


def interval_of_mean(shares: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Return the 95 % interval of a mean of independent proportions, by MOVER (Zou and Donner, 2008).

    For K proportions p with intervals l to u, the result reaches from mean(p) - sqrt(sum (p - l)^2) / K to
    mean(p) + sqrt(sum (u - p)^2) / K.

    Examples:
        >>> [round(end, 3) for end in interval_of_mean([0.9, 0.9], [[0.8, 0.95], [0.8, 0.95]])]
        [0.829, 0.935]
    """
    mean = math.fsum(shares) / len(shares)
    below = math.fsum((share - low) ** 2 for share, (low, _) in zip(shares, intervals, strict=True))
    above = math.fsum((high - share) ** 2 for share, (_, high) in zip(shares, intervals, strict=True))
    return [mean - math.sqrt(below) / len(shares), mean + math.sqrt(above) / len(shares)]


def _draw_copies(labels: NDArray[np.int64], classes: int, seed: int, draws: int, at_once: int) -> NDArray[np.uint8]:
    """Return how often each image occurs in each resampled test set, as an array [draw, image].

    A byte is enough for each number. The probability that an image occurs more than 255 times is below 1 / 256!,
    about 1e-507.
    """
    generator = generator_for(seed, "bootstrap of the test set")
    copies = np.zeros((draws, len(labels)), np.uint8)
    for label in range(classes):
        images = np.flatnonzero(labels == label)
        # Rows are drawn in order, so that they do not depend on the size of a portion.
        for rows in _split_rows(copies, len(images), at_once):
            chosen = images[generator.integers(len(images), size=(len(rows), len(images)))]
            np.add.at(rows, (np.arange(len(rows))[:, None], chosen), 1)
    return copies


def _split_rows(copies: NDArray[Number], images: int, at_once: int) -> Iterator[NDArray[Number]]:
    """Yield the rows in blocks of at most `at_once` numbers, so that memory use stays bounded."""
    count = max(1, at_once // images)
    return (copies[start : start + count] for start in range(0, len(copies), count))


def average_precisions(
    of_class: NDArray[np.bool_], scores: NDArray[np.float32], copies: NDArray[np.integer[Any]], at_once: int = AT_ONCE
) -> list[float]:
    """Return one class's average precision in each resampled test set."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    found: list[float] = []
    for rows in _split_rows(copies, len(order), at_once):
        drawn = rows[:, order].astype(np.int64)
        predicted = drawn.cumsum(axis=1)[:, last]
        true_positives = (drawn * of_class[order]).cumsum(axis=1)[:, last]
        added = np.diff(true_positives, axis=1, prepend=0)
        # Thresholds at which no image of the class is added contribute no area.
        areas = np.where(added > 0, added * (true_positives / np.maximum(predicted, 1)), 0.0)
        found += [math.fsum(row[row > 0].tolist()) / int(of_class.sum()) for row in areas]
    return found


def _percentile_interval(values: Sequence[float]) -> Interval:
    """Return the smallest and largest of the values after dropping the lowest and the highest 2.5 %."""
    ordered = sorted(values)
    left_out = round(len(ordered) * (1 - LEVEL) / 2)
    return [ordered[left_out], ordered[-1 - left_out]]


class Curve(TypedDict):
    """Precision and recall of one class at each score threshold that raises the recall, highest threshold first."""

    recall: list[float]
    precision: list[float]


def precision_recall_curve(scores: Scores, label: int) -> Curve:
    """Return recall and precision at each step of the precision-recall curve of a class.

    The curve is that of `sklearn.metrics`, without the points at which the recall does not rise. The area under
    the steps is the average precision.
    """
    of_class, softmax = torch.from_numpy(scores.labels == label), torch.from_numpy(scores.softmax[:, label])
    added, true_positives, predicted = thresholds(of_class, softmax)
    right, shown = true_positives[added > 0].double(), predicted[added > 0].double()
    return {"recall": (right / right[-1]).tolist(), "precision": (right / shown).tolist()}
