"""Pairs of images of different classes, each the nearest neighbour of the other; copies do not count."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from in4310repro.evaluation.doubts.neighbours import Neighbours

LookAlike = tuple[int, int, float]  # two positions and the similarity of their features


def look_alikes(neighbours: Neighbours, labels: Int64[np.ndarray, " image"], copies: list[int]) -> list[LookAlike]:
    """Return pairs of images of different classes, each the nearest neighbour of the other.

    Args:
        neighbours: the neighbours of each image, nearest first.
        labels: the class of each image, from 0.
        copies: for each image, the number of its group of copies, which do not count as neighbours of each other.

    Returns:
        The pairs, the most similar first.
    """
    nearest, similarities = _nearest_others(neighbours, np.array(copies))
    pairs = [
        (first, int(second), float(similarities[first]))
        for first, second in enumerate(nearest)
        if first < second and nearest[second] == first and labels[first] != labels[second]
    ]
    return sorted(pairs, key=lambda pair: (-pair[2], pair[0]))


def _nearest_others(
    neighbours: Neighbours, copies: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Return each image's nearest neighbour except its copies, and the similarity; -1 if all known ones are copies."""
    other = copies[neighbours.images] != copies[:, None]
    place = other.argmax(axis=1)
    rows = np.arange(len(copies))
    nearest = np.where(other[rows, place], neighbours.images[rows, place], -1)
    return nearest.astype(np.int64), neighbours.similarities[rows, place]
