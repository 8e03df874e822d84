"""Pairs in which one image is part of the other: close by their features, confirmed by their details."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from in4310repro.data.matching import ENOUGH, Details, details, part_of
from in4310repro.doubts.neighbours import Neighbours
from in4310repro.progress import SILENT, Progress

CANDIDATES = 10  # neighbours of an image that may be parts of it
# A candidate is nearer than that share of the distance to the neighbour after the last candidate. By features from
# ImageNet weights, of 300 crops of the course's images 64 % are so near at 60 to 70 % of the side, 87 % at 70 to 80 %,
# and 98 % at 80 to 95 %.
NEARER = 0.8
AT_ONCE = 32  # pairs that a thread compares at a time
KEPT = 200  # prepared images in memory, of half a megabyte each


@dataclass(frozen=True)
class Crop:
    """Positions of two images, one of which is part of the other or all of it."""

    whole: int
    part: int
    side: float  # of the part, as a share of the whole's
    correlation: float  # of their details, at most 1


def crops(
    neighbours: Neighbours,
    known: Callable[[int, int], bool],
    read: Callable[[int], Image.Image],
    progress: Progress = SILENT,
) -> list[Crop]:
    """Return the pairs of close images in which one is part of the other.

    Args:
        neighbours: at least `CANDIDATES` and one of each image, or all other images.
        known: whether two images are known to be copies, which are not compared.
        read: the image at a position.
        progress: where to show how many pairs are compared.

    Returns:
        In the order of the positions, the smaller one first.
    """
    pairs = [pair for pair in candidates(neighbours) if not known(*pair)]
    prepared = lru_cache(KEPT)(lambda position: details(read(position)))

    def compare(start: int) -> list[Crop]:
        return [_compare_both_ways(first, second, prepared) for first, second in pairs[start : start + AT_ONCE]]

    found = []
    # Threads suffice: transforms and decoders release the interpreter's lock.
    with progress.task("comparing images", len(pairs)) as advance, ThreadPoolExecutor(os.cpu_count()) as threads:
        for compared in threads.map(compare, range(0, len(pairs), AT_ONCE)):
            found += [crop for crop in compared if crop.correlation >= ENOUGH]
            advance(len(compared), "")
    return found


def candidates(neighbours: Neighbours) -> list[tuple[int, int]]:
    """Return pairs in which one image stands out among the other's neighbours, each once and in order.

    How near copies are depends on the network, and how near everything else is too: what is compared is the distance to
    a neighbour beside the distance to the last one that is known.
    """
    distances = 1 - neighbours.similarities
    near = distances[:, :CANDIDATES] < NEARER * distances[:, -1:]
    if distances.shape[1] <= CANDIDATES:
        near[:] = True
    first, place = np.nonzero(near)
    pairs = np.sort(np.stack([first, neighbours.images[first, place]]), axis=0)
    return [(int(one), int(other)) for one, other in np.unique(pairs, axis=1).T]


def _compare_both_ways(first: int, second: int, prepared: Callable[[int], Details]) -> Crop:
    """Return the better match of the two directions."""
    ways: Sequence[tuple[int, int]] = ((first, second), (second, first))
    return max(
        (_as_part(whole, part, prepared) for whole, part in ways), key=lambda crop: (crop.correlation, -crop.whole)
    )


def _as_part(whole: int, part: int, prepared: Callable[[int], Details]) -> Crop:
    correlation, side = part_of(prepared(whole), prepared(part))
    return Crop(whole, part, side, correlation)
