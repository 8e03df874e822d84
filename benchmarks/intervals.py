"""How often the 95 % intervals of reports hold the true value, by simulation: the table of docs/runs.md.

    nox -s evidence -- intervals

A network has a strength for each class and classes that look alike. Each image has its own difficulty and noise; its
softmax follows from both. The true value of a metric is that on many images, at the class shares of the test set. The
numbers go to the package, since every report says what was reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.docs.marks import replaced

from in4310repro.metrics import PER_CLASS, SCALARS, wilson
from in4310repro.metrics.scores import Scores
from in4310repro.report.uncertainty import COVERAGE, intervals
from in4310repro.system.files import json_bytes, read_json, write_file

ROOT = Path(__file__).parents[1]
NUMBERS, PAGE, NAME = ROOT / "src/in4310repro/report" / COVERAGE, ROOT / "docs/runs.md", "intervals"
STRENGTHS = {"middling": (1.5, 3.0), "good": (3.0, 7.0)}  # of the score of the true class
DESIGNS = (
    *([n] * classes for classes in (2, 6, 20) for n in (2, 5, 10, 30)),
    [100] * 6,
    [500] * 6,
    [2, 4, 8, 16, 32, 64],
    [1, 1, 2, 3, 10, 30],
    [1] * 10,
)
NETWORKS, TEST_SETS, SEED = 100, 20, 0
METRICS = ("mean_class_accuracy", "macro_f1", "mean_average_precision", "average_precision")
Draw = Callable[[NDArray[np.int64]], NDArray[np.float32]]
TWINS = ("bootstrap", "MOVER")  # of the mean class accuracy, which reports and published numbers had before


def draw_network(generator: np.random.Generator, classes: int, strengths: tuple[float, float]) -> Draw:
    """Return a function that gives new images of the given classes the softmax of one network."""
    strength = generator.uniform(*strengths) * generator.uniform(0.7, 1.3, classes) * (1.2 if classes > 10 else 1)
    alike = generator.normal(scale=0.5, size=(classes, classes))

    def softmax(labels: NDArray[np.int64]) -> NDArray[np.float32]:
        logits = alike[labels] + generator.normal(size=(len(labels), classes))
        logits[np.arange(len(labels)), labels] += generator.gamma(4, 1 / 4, len(labels)) * strength[labels]
        powers = np.exp(2 * (logits - logits.max(axis=1, keepdims=True)))
        shares: NDArray[np.float32] = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares

    return softmax


def true_values(draw: Draw, sizes: Sequence[int]) -> dict[str, Any]:
    """Return the metrics of a network on many images of each class, weighted to the class shares of `sizes`."""
    classes, images = len(sizes), max(2000, 50 * max(sizes))
    labels = np.repeat(np.arange(classes), images)
    softmax, weights = draw(labels), np.repeat(np.asarray(sizes, float), images)
    right = softmax.argmax(axis=1) == labels
    accuracy = right.reshape(classes, images).mean(axis=1)
    shown = np.bincount(softmax.argmax(axis=1), weights, minlength=classes) / images
    precision = []
    for label in range(classes):
        order = np.argsort(-softmax[:, label], kind="stable")
        of_class = weights[order] * (labels[order] == label)
        precision.append(float((of_class * of_class.cumsum() / weights[order].cumsum()).sum() / of_class.sum()))
    return {
        "mean_class_accuracy": float(accuracy.mean()),
        "macro_f1": float((2 * accuracy * sizes / (np.asarray(sizes) + shown)).mean()),
        "mean_average_precision": math.fsum(precision) / classes,
        "average_precision": precision,
    }


def bootstrap_of_mean(correct: NDArray[np.int64], images: NDArray[np.int64], generator: np.random.Generator) -> Any:
    """Return the percentile interval of 500 resampled test sets, which reports had before."""
    drawn = generator.binomial(images, correct / images, (500, len(images))) / images
    return np.quantile(drawn.mean(axis=1), (0.025, 0.975))


def mover_of_mean(correct: NDArray[np.int64], images: NDArray[np.int64]) -> tuple[float, float]:
    """Return the interval that follows from the classes' Wilson intervals (Zou and Donner, 2008)."""
    ends = np.array([wilson(int(right), int(size)) for right, size in zip(correct, images, strict=True)])
    below, above = np.sqrt(((ends - (correct / images)[:, None]) ** 2).sum(axis=0)) / len(images)
    mean = float((correct / images).mean())
    return mean - below, mean + above


def measure(sizes: Sequence[int], strengths: tuple[float, float], networks: int, test_sets: int) -> dict[str, float]:
    """Return how often each interval holds the true value, and the mean true values, of one design."""
    generator = np.random.default_rng([SEED, *sizes, round(10 * strengths[0])])
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = np.asarray(sizes)
    found: dict[str, list[float]] = {name: [] for name in (*METRICS, *TWINS, "accuracy")}
    for _ in range(networks):
        draw = draw_network(generator, len(sizes), strengths)
        truth = true_values(draw, sizes)
        mean = truth["mean_class_accuracy"]
        found["accuracy"].append(mean)
        for _ in range(test_sets):
            scores = Scores((), labels, draw(labels), 0.0)
            for name, interval in intervals(scores).items():
                ends = np.atleast_2d(interval)
                found[name].append(float(np.mean((ends[:, 0] <= truth[name]) & (truth[name] <= ends[:, 1]))))
            correct = np.bincount(labels[scores.softmax.argmax(axis=1) == labels], minlength=len(sizes))
            twins = bootstrap_of_mean(correct, images, generator), mover_of_mean(correct, images)
            for name, (low, high) in zip(TWINS, twins, strict=True):
                found[name].append(low <= mean <= high)
    return {name: round(float(np.mean(held)), 4) for name, held in found.items()}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of the page: of good networks, those with six classes, and with one image a class."""
    rows = [row for row in rows if row["network"] == "good" and len(row["sizes"]) in (6, 10)]
    names = [(PER_CLASS | SCALARS)[name].label for name in METRICS]
    heading = ("classes", "images", "its accuracy", *names)
    lines = [f"| {' | '.join(heading)} |", f"| ---: | --- |{' ---: |' * (len(heading) - 2)}"]
    for row in rows:
        sizes = row["sizes"]
        images = f"{sizes[0]} each" if len(set(sizes)) == 1 else ", ".join(map(str, sizes))
        cells = (f"{row[name]:.2f}" for name in ("accuracy", *METRICS))
        lines.append(f"| {len(sizes)} | {images} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{NETWORKS} networks with {TEST_SETS} test sets each, seed {SEED}."])


def with_table(text: str) -> str:
    return replaced(text, NAME, table(read_json(NUMBERS)["rows"]))


def main() -> None:
    rows = [
        {"sizes": list(sizes), "network": network, **measure(sizes, strengths, NETWORKS, TEST_SETS)}
        for sizes in DESIGNS
        for network, strengths in STRENGTHS.items()
    ]
    write_file(NUMBERS, json_bytes({"rows": rows}))
    write_file(PAGE, with_table(PAGE.read_text(encoding="utf-8")).encode())


if __name__ == "__main__":
    main()
