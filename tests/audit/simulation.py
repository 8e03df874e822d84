"""Simulated test sets: true labels, predictions and scores, and what users compute from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

SCENES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
PHOTOGRAPHS = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
OBJECTS = ("aeroplane", "bicycle", "bottle", "chair", "diningtable", "pottedplant", "tvmonitor")
HYPHENS = ("T-shirt", "Ankle-boot", "ice_cream", "x-ray", "well-known")
SPACES = ("Corner Reflector", "Palm tree", "Fire hydrant", "Traffic light", "Dirt road")
CYRILLIC = ("лес", "море", "гора", "улица", "ледник")  # noqa: RUF001
CHINESE = ("森林", "大海", "山", "街道")
GERMAN = ("Gebäude", "Straße", "Gletscher", "Wald", "Küste")
NUMBERS = ("0", "1", "2", "3", "4")
POOLS = (SCENES, PHOTOGRAPHS, OBJECTS, HYPHENS, SPACES, CYRILLIC, CHINESE, GERMAN, NUMBERS)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """True labels, predictions and scores of one network on one test set."""

    names: tuple[str, ...]
    labels: Integers  # image
    predictions: Integers  # image
    scores: Floats  # image class

    @property
    def matrix(self) -> Integers:
        """Numbers of images by true and predicted class."""
        count = len(self.names)
        return np.bincount(self.labels * count + self.predictions, minlength=count**2).reshape(count, count)

    @property
    def sizes(self) -> list[int]:
        """Number of images of each class."""
        return [int(size) for size in self.matrix.sum(axis=1)]

    @property
    def correct(self) -> list[int]:
        return [int(count) for count in np.diag(self.matrix)]

    @property
    def images(self) -> int:
        return len(self.labels)

    def average_precisions(self) -> list[float]:
        """Return scikit-learn's one-vs-rest average precision of each class."""
        return [float(average_precision_score(self.labels == c, self.scores[:, c])) for c in range(len(self.names))]


def simulate(generator: np.random.Generator, names: Sequence[str], sizes: Sequence[int]) -> Outcome:
    """Simulate predictions whose accuracy differs from class to class, between about 0.5 and 1."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    generator.shuffle(labels)
    scores = generator.normal(size=(len(labels), len(sizes)))
    margins = generator.uniform(1.0, 4.5, size=len(sizes))
    scores[np.arange(len(labels)), labels] += margins[labels]
    return Outcome(names=tuple(names), labels=labels, predictions=scores.argmax(axis=1), scores=scores)


def ordinary(generator: np.random.Generator, most: int = 700, least: int = 40) -> Outcome:
    """Simulate predictions for three or more classes of `least` to `most` images each."""
    pool = POOLS[int(generator.integers(len(POOLS)))]
    names = pool[: int(generator.integers(3, len(pool) + 1))]
    return simulate(generator, names, [int(size) for size in generator.integers(least, most, size=len(names))])


def balanced(generator: np.random.Generator, size: int = 1000) -> Outcome:
    """Simulate predictions for ten classes of `size` images each."""
    return simulate(generator, PHOTOGRAPHS, [size] * len(PHOTOGRAPHS))


def with_empty_class(generator: np.random.Generator) -> Outcome:
    """Simulate predictions for the classes in SCENES, one of which has no images."""
    sizes = [int(size) for size in generator.integers(40, 400, size=len(SCENES))]
    sizes[int(generator.integers(len(SCENES)))] = 0
    return simulate(generator, SCENES, sizes)


def voc_average_precision(relevant: NDArray[np.bool_], scores: Floats, points: int) -> float:
    """Return average precision interpolated at `points` recall levels: 11 (VOC 2007) or 101 (COCO)."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(relevant[order])
    recall, precision = hits / relevant.sum(), hits / np.arange(1, len(hits) + 1)
    levels = np.linspace(0, 1, points)
    return float(np.mean([precision[recall >= level].max(initial=0.0) for level in levels]))
