"""Pairs of images in which one is a crop of the other, found by features and confirmed by image details."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from in4310repro.data.matching import ENOUGH, Details, details, part_of
from in4310repro.evaluation.doubts.neighbours import Neighbours
from in4310repro.system.progress import SILENT, Progress

CANDIDATES = 10  # neighbours of an image that may be parts of it
# A candidate is nearer than that share of the distance to the neighbour after the last candidate. By features from
# ImageNet weights, of 300 crops of the course's images 64 % are so near at 60 to 70 % of the side, 87 % at 70 to 80 %,
# and 98 % at 80 to 95 %.
NEARER = 0.8
AT_ONCE = 32  # pairs that a thread compares at a time
KEPT = 200  # prepared images in memory, of half a megabyte each


@dataclass(frozen=True)
class Crop:
    """Two images, by position: `part` shows a part of `whole`, or all of it."""

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
    """Return the pairs of neighbouring images in which one is part of the other.

    Args:
        neighbours: at least `CANDIDATES` + 1 neighbours of each image, or all other images.
        known: returns whether two images are known to be copies; such pairs are not compared.
        read: returns the image at a position.
        progress: shows the number of pairs compared.

    Returns:
        The pairs, sorted by position.
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
    """Return pairs nearer to each other than `NEARER` times one image's distance to its last known neighbour.

    Distances are relative to the last neighbour's, since their size depends on the network. Each pair is returned
    once, in the order of the positions.
    """
    distances = 1 - neighbours.similarities
    near = distances[:, :CANDIDATES] < NEARER * distances[:, -1:]
    if distances.shape[1] <= CANDIDATES:
        near[:] = True
    first, place = np.nonzero(near)
    pairs = np.sort(np.stack([first, neighbours.images[first, place]]), axis=0)
    return [(int(one), int(other)) for one, other in np.unique(pairs, axis=1).T]


def _compare_both_ways(first: int, second: int, prepared: Callable[[int], Details]) -> Crop:
    """Compare each image as a part of the other, and return the better match."""
    ways: Sequence[tuple[int, int]] = ((first, second), (second, first))
    return max(
        (_as_part(whole, part, prepared) for whole, part in ways), key=lambda crop: (crop.correlation, -crop.whole)
    )


def _as_part(whole: int, part: int, prepared: Callable[[int], Details]) -> Crop:
    correlation, side = part_of(prepared(whole), prepared(part))
    return Crop(whole, part, side, correlation)
