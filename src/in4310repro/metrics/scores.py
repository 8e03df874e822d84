"""Softmax scores of images, the metrics computed from them, and the images with the most extreme scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

from in4310repro import metrics
from in4310repro.metrics import ClassMetrics, Details
from in4310repro.system.text import csv_text

Softmax = Float32[np.ndarray, "image label"]


@dataclass(frozen=True)
class Scores:
    """Softmax scores of images, and their mean cross-entropy; logits are None if the scores were read from a file."""

    paths: tuple[str, ...]
    labels: Int64[np.ndarray, " image"]
    softmax: Softmax
    loss: float
    logits: Softmax | None = None

    def metrics(self, *, by_logits: bool = False, every_class: bool = True) -> ClassMetrics:
        """Return the metrics that `metrics.summary` computes from the scores.

        If `by_logits`, average precision ranks images by logits instead of softmax scores.

        Raises:
            ValueError: a class has no image and `every_class` is true, or `by_logits` is true and logits are missing.
        """
        ranked = self.logits if by_logits else self.softmax
        if ranked is None:
            raise ValueError("scores that were read from a file have no logits; predict again")
        labels, softmax, ranked_scores = map(torch.from_numpy, (self.labels, self.softmax, ranked))
        return metrics.summary(labels, softmax, ranked_scores, every_class=every_class)

    def details(self) -> Details:
        """Return calibration, confusion matrix, precision and F1, as `metrics.details` does."""
        return metrics.details(torch.from_numpy(self.labels), torch.from_numpy(self.softmax))

    def to_csv(self, classes: Sequence[str], more: Mapping[str, Sequence[str]]) -> str:
        """Return CSV with a row per image: path, class, predicted class, columns `more`, and each class's score."""
        named = {"class": self.labels, "predicted": self.softmax.argmax(axis=1)}
        words = {name: [classes[label] for label in labels] for name, labels in named.items()}
        return csv_of({"path": self.paths, **words, **more}, classes, self.softmax)


def csv_of(words: Mapping[str, Sequence[str]], classes: Sequence[str], softmax: Softmax) -> str:
    """Return CSV with a row per image: text columns, then the score of each class with all digits of float32.

    `words` maps the heading of each text column to the values in that column.
    """
    rows = zip(*words.values(), softmax, strict=True)
    return csv_text([[*words, *classes], *([*row, *(f"{score:.9g}" for score in scores)] for *row, scores in rows)])


def top_and_bottom(scores: Scores, label: int, count: int = 10) -> dict[str, list[dict[str, Any]]]:
    """Return the images with the highest and those with the lowest scores for a class, in two lists.

    The list `top` begins with the highest score, the list `bottom` with the lowest. An image has its path, the class's
    softmax score in [0, 1], and its true class, `label`.

    Args:
        scores: the scores of all images.
        label: the class.
        count: maximal number of images in each list.

    Examples:
        >>> softmax = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], np.float32)
        >>> ends = top_and_bottom(Scores(("a", "b", "c"), np.array([0, 1, 1]), softmax, loss=0.4), label=1, count=1)
        >>> ends["top"][0]["path"], ends["bottom"][0]["path"]
        ('b', 'a')
    """
    # By path where scores are equal, so that the list has one order.
    order = np.lexsort((np.array(scores.paths), -scores.softmax[:, label]))

    return {
        name: [
            {"path": scores.paths[i], "score": float(scores.softmax[i, label]), "label": int(scores.labels[i])}
            for i in places
        ]
        for name, places in {"top": order[:count], "bottom": order[::-1][:count]}.items()
    }
