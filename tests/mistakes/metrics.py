"""Mistakes 22 to 30, of metrics: real scores of drawn test scenes, whose classes are not equally frequent."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score, recall_score

from in4310repro import metrics
from in4310repro.report.class_exhibits import list_accuracies
from tests.mistakes import drawn
from tests.mistakes.drawn import Array, from_to
from tests.mistakes.mistake import Mistake

BATCH = 16


@functools.cache
def scored() -> tuple[Array, Array, Array]:
    """Return labels, softmax and logits of test scenes: 12 of the first class, and fewer of each later class."""
    test = drawn.our_parts()["test"]
    ranks = np.array([int((test.labels[:i] == label).sum()) for i, label in enumerate(test.labels)])
    kept = ranks < 12 - test.labels
    logits = drawn.logits(test.images[kept])
    return test.labels[kept], drawn.softmax(logits.astype(np.float64)).astype(np.float32), logits


def summary() -> metrics.ClassMetrics:
    labels, softmax, _ = scored()
    return metrics.summary(torch.from_numpy(labels), torch.from_numpy(softmax))


def check_class_accuracy(values: list[float]) -> None:
    """The accuracy of a class equals its recall by scikit-learn."""
    labels, softmax, _ = scored()
    np.testing.assert_allclose(values, recall_score(labels, softmax.argmax(axis=1), average=None), rtol=0, atol=1e-12)


def check_average_precision(values: list[float]) -> None:
    """Average precision equals scikit-learn's one-vs-rest average precision of the softmax scores."""
    labels, softmax, _ = scored()
    expected = [average_precision_score(labels == label, softmax[:, label]) for label in range(6)]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def check_mean(value: float) -> None:
    """Mean class accuracy is the mean of the classes' recalls over all images."""
    labels, softmax, _ = scored()
    assert abs(value - recall_score(labels, softmax.argmax(axis=1), average="macro")) < 1e-12


def with_true_negatives() -> list[float]:
    labels, softmax, _ = scored()
    predicted = softmax.argmax(axis=1)
    return [float(np.mean((predicted == label) == (labels == label))) for label in range(6)]


def precision_by_score(truth: Array, score: Array) -> list[float]:
    return [float(average_precision_score(truth[:, label], score[:, label])) for label in range(6)]


def one_hot(labels: Array) -> Array:
    return np.eye(6)[labels]


def from_hard_labels() -> list[float]:
    labels, softmax, _ = scored()
    return precision_by_score(one_hot(labels), one_hot(softmax.argmax(axis=1)))


def truth_and_score_swapped() -> list[float]:
    labels, softmax, _ = scored()
    return precision_by_score(softmax > 0.25, one_hot(labels))


def from_logits() -> list[float]:
    labels, _, logits = scored()
    return precision_by_score(one_hot(labels), logits)


def precision() -> list[float]:
    labels, softmax, _ = scored()
    predicted = softmax.argmax(axis=1)
    return [float(np.mean(labels[predicted == label] == label)) for label in range(6)]


def of_batches() -> list[float]:
    """Return the mean class accuracy of each batch, over the classes that occur in it."""
    labels, softmax, _ = scored()
    starts = range(0, len(labels), BATCH)
    order = np.random.default_rng(0).permutation(len(labels))
    batches = [order[start : start + BATCH] for start in starts]
    return [drawn.mean_accuracy(labels[batch], softmax[batch].argmax(axis=1)) for batch in batches]


def overall() -> float:
    labels, softmax, _ = scored()
    return float(np.mean(labels == softmax.argmax(axis=1)))


def mean_of(what: str) -> Any:
    return lambda ours, twin: from_to(what, float(np.mean(ours)), float(np.mean(twin)))


Curves = list[tuple[float, float]]


@functools.cache
def measured() -> dict[str, list[float]]:
    """Return a dict from each of three learning rates to the validation accuracies after each of eight steps."""
    parts = drawn.our_parts()
    training, validation = parts["training"], parts["validation"]
    rates = {"small": 0.002, "middle": 0.02, "large": 0.2}
    return {
        name: [
            drawn.mean_accuracy(validation.labels, (drawn.inputs(validation.images) @ weights).argmax(axis=1))
            for weights in drawn.regression(training, 8, rate)
        ]
        for name, rate in rates.items()
    }


def curves(values: dict[str, list[float]]) -> dict[str, Curves]:
    """Return a dict from learning rate to the (epoch, accuracy) points that the package's figure draws."""
    numbers = {"epoch": list(range(1, 9)), "mean_class_accuracy": values, "selected": "middle"}
    lines = list_accuracies(numbers)
    return {name: [(float(epoch), float(value)) for epoch, value in points] for name, points in lines.items()}


def smoothed(values: list[float]) -> list[float]:
    kept = values[:1]
    for value in values[1:]:
        kept.append(0.6 * kept[-1] + 0.4 * value)
    return kept


def check_points(drawn_points: dict[str, Curves]) -> None:
    """Every point in a figure shows the value measured at its epoch."""
    assert drawn_points == {
        name: [(float(epoch), value) for epoch, value in enumerate(values, start=1)]
        for name, values in measured().items()
    }


def farthest(ours: dict[str, Curves], twin: dict[str, Curves]) -> str:
    gaps = [abs(one[1] - other[1]) for name in ours for one, other in zip(ours[name], twin[name], strict=True)]
    return f"a point up to {max(gaps):.3f} from what was measured"


MISTAKES = [
    Mistake(
        number=22,
        name="true negatives counted in class accuracy",
        check=check_class_accuracy,
        ours=lambda: summary()["class_accuracy"],
        twin=with_true_negatives,
        size=mean_of("mean class accuracy"),
    ),
    Mistake(
        number=23,
        name="average precision from hard labels",
        check=check_average_precision,
        ours=lambda: summary()["average_precision"],
        twin=from_hard_labels,
        size=mean_of("mAP"),
    ),
    Mistake(
        number=24,
        name="average precision with truth and score swapped",
        check=check_average_precision,
        ours=lambda: summary()["average_precision"],
        twin=truth_and_score_swapped,
        size=mean_of("mAP"),
    ),
    Mistake(
        number=25,
        name="average precision from logits",
        check=check_average_precision,
        ours=lambda: summary()["average_precision"],
        twin=from_logits,
        size=mean_of("mAP"),
    ),
    Mistake(
        number=26,
        name="metrics of the last batch only",
        check=check_mean,
        ours=lambda: summary()["mean_class_accuracy"],
        twin=lambda: of_batches()[-1],
        size=mean_of("mean class accuracy"),
    ),
    Mistake(
        number=27,
        name="unweighted mean over batches",
        check=check_mean,
        ours=lambda: summary()["mean_class_accuracy"],
        twin=lambda: float(np.mean(of_batches())),
        size=mean_of("mean class accuracy"),
    ),
    Mistake(
        number=28,
        name="overall accuracy called mean class accuracy",
        check=check_mean,
        ours=lambda: summary()["mean_class_accuracy"],
        twin=overall,
        size=mean_of("mean class accuracy"),
    ),
    Mistake(
        number=29,
        name="precision called average precision",
        check=check_average_precision,
        ours=lambda: summary()["average_precision"],
        twin=precision,
        size=mean_of("mAP"),
    ),
    Mistake(
        number=30,
        name="smoothed curves: plotted numbers that were never measured",
        check=check_points,
        ours=lambda: curves(measured()),
        twin=lambda: curves({name: smoothed(values) for name, values in measured().items()}),
        size=farthest,
    ),
]
