"""Drawn scenes of 16 x 16 pixels, and simple classifiers in float64 that give real scores quickly."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from in4310repro.data.embedded import embedded_catalogue
from in4310repro.data.folders import Catalogue
from in4310repro.data.images import Batch, ImageSet, evaluation_batches
from in4310repro.data.splits import PARTS, Split, stratified_split
from tests.mistakes.handed_over import SCENES, SIZE, SIZES, handed_over

Array = NDArray[Any]


@dataclass(frozen=True)
class Yielded:
    """Output of a loader, in its order: paths, normalised images as float64, labels."""

    paths: tuple[str, ...]
    images: Array  # image channel height width
    labels: Array


Parts = Mapping[str, Yielded]


def yielded(batches: Iterator[Batch]) -> Yielded:
    listed = list(batches)
    images = np.concatenate([batch.images.numpy() for batch in listed]).astype(np.float64)
    labels = np.concatenate([batch.labels.numpy() for batch in listed])
    return Yielded(tuple(path for batch in listed for path in batch.paths), images, labels)


@functools.cache
def catalogue() -> Catalogue:
    """Return the catalogue of 240 drawn scenes, 40 of each class."""
    return embedded_catalogue(SCENES, SIZE, 0)


def split() -> Split:
    return stratified_split(catalogue(), SIZES, 0)


def image_sets() -> dict[str, ImageSet]:
    """Return the training, validation and test images that `train` gives to its loaders."""
    return handed_over().sets


@functools.cache
def our_parts() -> Parts:
    """Return the images that our loaders yield for training, validation and test."""
    return {part: yielded(evaluation_batches(image_sets()[part], 16)) for part in PARTS}


def accuracies(labels: Array, predicted: Array) -> list[float]:
    """Return the fraction of correct images of each class, by counting."""
    return [float(np.mean([p == label for p in predicted[labels == label]])) for label in np.unique(labels)]


def mean_accuracy(labels: Array, predicted: Array) -> float:
    return float(np.mean(accuracies(labels, predicted)))


def nearest(training: Yielded, test: Yielded) -> Array:
    """Return, for each test image, the class of the nearest training image."""
    one, other = (part.images.reshape(len(part.images), -1) for part in (training, test))
    distances = (other**2).sum(axis=1)[:, None] - 2 * other @ one.T + (one**2).sum(axis=1)
    return np.asarray(training.labels[distances.argmin(axis=1)])


def nearest_accuracy(parts: Parts, measured: str = "test") -> float:
    """Return the mean class accuracy of a nearest-neighbour classifier, which has memorised its training images."""
    return mean_accuracy(parts[measured].labels, nearest(parts["training"], parts[measured]))


def inputs(images: Array) -> Array:
    """Return images as rows of pixels, each with a 1 appended."""
    return np.hstack([images.reshape(len(images), -1), np.ones((len(images), 1))])


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def regression(training: Yielded, steps: int, rate: float, images: Array | None = None) -> list[Array]:
    """Return the weights of a softmax regression after each step of gradient descent over all images, from zero."""
    rows = inputs(training.images if images is None else images)
    truth = np.eye(6)[training.labels]
    weights = [np.zeros((rows.shape[1], 6))]
    for _ in range(steps):
        weights.append(weights[-1] - rate * rows.T @ (softmax(rows @ weights[-1]) - truth) / len(rows))
    return weights[1:]


@functools.cache
def weights() -> Array:
    """Return the weights of a softmax regression on the training scenes."""
    return regression(our_parts()["training"], 60, 0.02)[-1]


def logits(images: Array) -> Array:
    return np.asarray(inputs(images) @ weights(), np.float32)


def losses(scores: Array, labels: Array) -> float:
    """Return the mean cross-entropy of logits."""
    return float(-np.log(softmax(scores.astype(np.float64))[np.arange(len(labels)), labels]).mean())


def from_to(what: str, ours: float, twin: float, *, digits: int = 3) -> str:
    """Return a sentence with the correct number and the number that the mistake gives."""
    return f"{what} {ours:.{digits}f}, read as {twin:.{digits}f}"
