"""The nearest neighbours of every image by its features, in memory that grows with the images and not their pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, Int64
from numpy.typing import NDArray

from in4310repro.progress import SILENT, Progress

ROWS, COLUMNS = 512, 4096  # images whose similarities are in memory at a time
OWN = -2.0  # in place of the similarity of an image to itself: below any cosine
BELOW_SIGN, COLUMN_BITS = np.int32(2**31 - 1), 32


@dataclass(frozen=True)
class Neighbours:
    """Of each image the images that are nearest to it, the nearest first; never itself."""

    images: Int32[np.ndarray, "image neighbour"]
    similarities: Float32[np.ndarray, "image neighbour"]  # cosines of the features beyond their mean


def nearest(features: Float32[np.ndarray, "image feature"], number: int, progress: Progress = SILENT) -> Neighbours:
    """The nearest neighbours of every image, by the cosine of the angle between features.

    Features of a rectified layer are positive and point all one way: their mean over the images is subtracted first.
    Of equally near images the first are taken.

    Args:
        features: finite; may be a memory map, of which blocks are read.
        number: of neighbours; all other images where there are fewer.
        progress: where to show how many images are done.
    """
    images = len(features)
    number = min(number, images - 1)
    directions = _directions(features)
    found = np.empty((images, number), np.int32)
    similarities = np.empty((images, number), np.float32)
    with progress.task("comparing features", images) as advance:
        for start in range(0, images, ROWS):
            rows = slice(start, min(start + ROWS, images))
            best, values = _of_block(directions, rows, number)
            found[rows], similarities[rows] = best, values
            advance(rows.stop - rows.start, "")
    return Neighbours(found, similarities)


def _directions(features: Float32[np.ndarray, "image feature"]) -> Float32[np.ndarray, "image feature"]:
    """Features beyond their mean, each of length 1; those of an image that are the mean are 0."""
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    directions: NDArray[np.float32] = np.subtract(features, mean, dtype=np.float32)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.where(lengths > 0, lengths, 1)
    return directions


def _of_block(
    directions: Float32[np.ndarray, "image feature"], rows: slice, number: int
) -> tuple[Int32[np.ndarray, "row neighbour"], Float32[np.ndarray, "row neighbour"]]:
    """The neighbours of some images, from blocks of all images; those that are nearest so far are kept."""
    count = rows.stop - rows.start
    best = np.empty((count, 0), np.int64)
    for start in range(0, len(directions), COLUMNS):
        near = directions[rows] @ directions[start : start + COLUMNS].T
        columns = np.arange(start, start + near.shape[1])
        near[np.arange(rows.start, rows.stop)[:, None] == columns] = OWN
        best = np.hstack([best, _keys(near, columns)])
        if best.shape[1] > number:
            best = np.partition(best, number - 1, axis=1)[:, :number]
    best.sort(axis=1)
    return _read(best)


def _keys(
    similarities: Float32[np.ndarray, "row column"], columns: Int64[np.ndarray, " column"]
) -> Int64[np.ndarray, "row column"]:
    """Integers in the order of neighbours: the higher similarity comes first and, of equal ones, the first image."""
    bits = similarities.view(np.int32)
    # The integers of floats are in the order of the floats, but for the negative ones, whose order is the other way.
    ordered = np.where(bits < 0, bits ^ BELOW_SIGN, bits).astype(np.int64)
    keys: NDArray[np.int64] = (~ordered << COLUMN_BITS) | columns
    return keys


def _read(
    keys: Int64[np.ndarray, "row neighbour"],
) -> tuple[Int32[np.ndarray, "row neighbour"], Float32[np.ndarray, "row neighbour"]]:
    """The images and the similarities that `_keys` put into integers."""
    ordered = ~(keys >> COLUMN_BITS)
    bits = np.where(ordered < 0, ordered ^ BELOW_SIGN, ordered).astype(np.int32)
    return (keys & (1 << COLUMN_BITS) - 1).astype(np.int32), bits.view(np.float32)
