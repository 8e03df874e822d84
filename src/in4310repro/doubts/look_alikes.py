"""Images of different classes that are each other's nearest neighbour, except copies."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from in4310repro.doubts.neighbours import Neighbours

LookAlike = tuple[int, int, float]  # two positions and the similarity of their features


def look_alikes(neighbours: Neighbours, labels: Int64[np.ndarray, " image"], copies: list[int]) -> list[LookAlike]:
    """Return pairs of images of different classes, each the nearest neighbour of the other.

    Args:
        neighbours: of each image, the nearest first.
        labels: of each image.
        copies: of each image the number of its group of copies, which do not count as neighbours of each other.

    Returns:
        The most similar first.
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
    """Return each image's nearest neighbour that is no copy of it, -1 if all known ones are, and its similarity."""
    other = copies[neighbours.images] != copies[:, None]
    place = other.argmax(axis=1)
    rows = np.arange(len(copies))
    nearest = np.where(other[rows, place], neighbours.images[rows, place], -1)
    return nearest.astype(np.int64), neighbours.similarities[rows, place]
