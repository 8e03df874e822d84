"""Nearest neighbours of every image by features; the memory needed grows linearly with the number of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64
from numpy.typing import NDArray

from in4310repro.system.progress import SILENT, Progress

ROWS, COLUMNS = 512, 4096  # images whose similarities are in memory at a time
OWN = -2.0  # in place of the similarity of an image to itself: below any cosine
BELOW_SIGN, COLUMN_BITS = np.int32(2**31 - 1), 32


@dataclass(frozen=True)
class Neighbours:
    """The nearest neighbours of each image and their similarities, nearest first."""

    images: Int32[np.ndarray, "image neighbour"]
    similarities: Float[np.ndarray, "image neighbour"]  # cosines of the features beyond their mean


def nearest(
    features: Float32[np.ndarray, "image feature"],
    number: int,
    progress: Progress = SILENT,
    *,
    rows_at_once: int = ROWS,
    columns_at_once: int = COLUMNS,
) -> Neighbours:
    """Return the nearest neighbours of every image, by the cosine between centred features.

    The mean of the features over the images is subtracted first, since features after a ReLU are positive and point in
    similar directions. Ties go to the lower index. Neighbours are found in float32 and sorted in float64, in which
    rounding on different machines does not change the order.

    Args:
        features: finite features; a memory map is read in blocks.
        number: number of neighbours of an image; all other images if there are fewer.
        progress: shows the number of images done.
        rows_at_once: number of images compared in one block.
        columns_at_once: number of images that they are compared with in one block.
    """
    images = len(features)
    number = min(number, images - 1)
    mean = features.mean(axis=0, dtype=np.float64)
    directions = _directions(features, mean.astype(np.float32))
    found = np.empty((images, number), np.int32)
    similarities = np.empty((images, number))
    with progress.task("comparing features", images) as advance:
        for start in range(0, images, rows_at_once):
            rows = slice(start, min(start + rows_at_once, images))
            nearest_in_rows = _find_in_block(directions, rows, number, columns_at_once)
            found[rows], similarities[rows] = _sort(features, mean, rows, nearest_in_rows)
            advance(rows.stop - rows.start, "")
    return Neighbours(found, similarities)


def _directions(
    features: Float32[np.ndarray, "*image feature"], mean: Float[np.ndarray, " feature"]
) -> Float[np.ndarray, "*image feature"]:
    """Return features minus their mean, scaled to length 1; an image at the mean gets zeros. Keep the dtype."""
    directions: NDArray[np.floating] = features - mean
    lengths = np.linalg.norm(directions, axis=-1, keepdims=True)
    directions /= np.where(lengths > 0, lengths, 1)
    return directions


def _find_in_block(
    directions: Float32[np.ndarray, "image feature"], rows: slice, number: int, columns_at_once: int
) -> Int64[np.ndarray, "row neighbour"]:
    """Return the neighbours of a block of images, comparing them with one block of all images at a time."""
    count = rows.stop - rows.start
    best = np.empty((count, 0), np.int64)
    for start in range(0, len(directions), columns_at_once):
        near = directions[rows] @ directions[start : start + columns_at_once].T
        columns = np.arange(start, start + near.shape[1])
        near[np.arange(rows.start, rows.stop)[:, None] == columns] = OWN
        best = np.hstack([best, _keys(near, columns)])
        if best.shape[1] > number:
            best = np.partition(best, number - 1, axis=1)[:, :number]
    return best & (1 << COLUMN_BITS) - 1


def _sort(
    features: Float32[np.ndarray, "image feature"],
    mean: Float64[np.ndarray, " feature"],
    rows: slice,
    found: Int64[np.ndarray, "row neighbour"],
) -> tuple[Int64[np.ndarray, "row neighbour"], Float64[np.ndarray, "row neighbour"]]:
    """Return neighbours of a block of images sorted with the nearest first, and their similarities."""
    own, others = _directions(features[rows], mean), _directions(features[found], mean)
    similarities = np.einsum("rf,rnf->rn", own, others)
    order = np.lexsort((found, -similarities))
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(similarities, order, axis=1)


def _keys(
    similarities: Float32[np.ndarray, "row column"], columns: Int64[np.ndarray, " column"]
) -> Int64[np.ndarray, "row column"]:
    """Return integer keys that sort neighbours by falling similarity; ties go to the smaller position."""
    bits = similarities.view(np.int32)
    # Floats read as integers keep their order, except negative ones, whose order is reversed.
    ordered = np.where(bits < 0, bits ^ BELOW_SIGN, bits).astype(np.int64)
    keys: NDArray[np.int64] = (~ordered << COLUMN_BITS) | columns
    return keys
