"""Images that resemble each other: copies by bytes, hashes and details, and look-alikes of different classes."""

import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64

from in4310repro.data import check, reading
from in4310repro.data.folders import Catalogue, in_threads
from in4310repro.data.near_duplicates import ENOUGH, details, part_of
from in4310repro.data.preprocessing import APPLIED
from in4310repro.data.splits import link, members
from in4310repro.evaluation.embedding import Features, Labels, embed
from in4310repro.runs.config import Config
from in4310repro.system.context import Context
from in4310repro.system.progress import SILENT, Progress
from in4310repro.system.text import duration_text

ROWS, COLUMNS = 512, 4096  # images whose similarities are in memory at a time
OWN = -2.0  # in place of the similarity of an image to itself: below any cosine
BELOW_SIGN, COLUMN_BITS = np.int32(2**31 - 1), 32
Directions = Float[np.ndarray, "*image feature"]
Keys = Int64[np.ndarray, "row _"]


class Neighbours(NamedTuple):
    """The nearest neighbours of each image and their similarities, nearest first."""

    images: Int64[np.ndarray, "image neighbour"]
    similarities: Float[np.ndarray, "image neighbour"]  # cosines of the features beyond their mean


def nearest(features: Features, number: int, progress: Progress = SILENT) -> Neighbours:
    """Return the nearest neighbours of every image, by the cosine between centred features.

    The mean of the features over the images is subtracted first, since features after a ReLU are positive and
    point in similar directions. Neighbours are found in float32 and sorted in float64, in which rounding on different
    machines does not change the order. All pairs are compared: with more than `COLUMNS` images, a message first
    estimates the time from that of one block of pairs.

    Args:
        features: finite features; a memory map is read in blocks.
        number: number of neighbours of an image; all other images if there are fewer.
        progress: shows the estimated time, and the number of images done.
    """
    images, blocks = len(features), []
    number = min(number, images - 1)
    mean = features.mean(axis=0, dtype=np.float64)
    directions = _directions(features, mean.astype(np.float32))
    if images > COLUMNS:
        rows, begun = np.arange(min(ROWS, images)), time.perf_counter()
        _keep_nearest(np.empty((len(rows), 0), np.int64), directions, rows, 0, number)
        seconds = (time.perf_counter() - begun) * images**2 / (len(rows) * COLUMNS)
        progress.message(f"comparing the features of {images} images in pairs: about {duration_text(seconds)}")
    with progress.task("comparing features", images) as advance:
        for first in range(0, images, ROWS):
            rows = np.arange(first, min(first + ROWS, images))
            best = np.empty((len(rows), 0), np.int64)
            for start in range(0, images, COLUMNS):
                best = _keep_nearest(best, directions, rows, start, number)
            found = best & (1 << COLUMN_BITS) - 1
            own, others = _directions(features[rows], mean), _directions(features[found], mean)
            similarities = np.einsum("rf,rnf->rn", own, others)
            order = np.lexsort((found, -similarities))
            blocks.append([np.take_along_axis(each, order, axis=1) for each in (found, similarities)])
            advance(len(rows), "")
    return Neighbours(*map(np.concatenate, zip(*blocks, strict=True)))


def _keep_nearest(best: Keys, directions: Directions, rows: Int64[np.ndarray, " row"], start: int, number: int) -> Keys:
    """Return the smallest keys of each row, of the known ones and those of its pairs with the next `COLUMNS` images.

    The most similar pair of a row has the smallest key, and of equally similar pairs that with the smaller column.
    """
    near = directions[rows] @ directions[start : start + COLUMNS].T
    columns = np.arange(start, start + near.shape[1])
    near[rows[:, None] == columns] = OWN
    bits = near.view(np.int32)
    # Floats read as integers keep their order, except negative ones, whose order is reversed.
    ordered = np.where(bits < 0, bits ^ BELOW_SIGN, bits).astype(np.int64)
    best = np.hstack([best, (~ordered << COLUMN_BITS) | columns])
    return best if best.shape[1] <= number else np.partition(best, number - 1, axis=1)[:, :number]


def _directions(features: Directions, mean: Float[np.ndarray, " feature"]) -> Directions:
    """Return features minus their mean, scaled to length 1; zeros for features that equal the mean."""
    directions: Directions = features - mean
    lengths = np.linalg.norm(directions, axis=-1, keepdims=True)
    directions /= np.where(lengths > 0, lengths, 1)
    return directions


CANDIDATES = 10  # neighbours of an image that may be parts of it
# A candidate is nearer than that share of the distance to the neighbour after the last candidate. By features from
# ImageNet weights, of 300 crops of the course's images 64 % are so near at 60 to 70 % of the side, 87 % at 70 to 80 %,
# and 98 % at 80 to 95 %.
NEARER = 0.8
AT_ONCE = 32  # pairs that a thread compares at a time
KEPT = 200  # prepared images in memory, of half a megabyte each


class Crop(NamedTuple):
    """Indices of two images, of which `part` shows a part of `whole`, or all of it."""

    whole: int
    part: int
    correlation: float  # of their details, at most 1
    side: float  # of the part, as a share of the whole's


def crops(
    neighbours: Neighbours,
    known: Sequence[int],
    files: Sequence[Path],
    orientation: str = APPLIED,
    progress: Progress = SILENT,
) -> list[Crop]:
    """Return the pairs of neighbours in feature space in which one image shows a part of the other.

    Args:
        neighbours: at least `CANDIDATES` + 1 neighbours of each image, or all other images.
        known: the group number of each image, equal for those known to be copies; such pairs are not compared.
        files: the images.
        orientation: whether the orientation in EXIF data is applied, see `reading.read_rgb`.
        progress: shows the number of pairs compared.

    Returns:
        The pairs, sorted by position.
    """
    pairs = [pair for pair in candidates(neighbours) if known[pair[0]] != known[pair[1]]]
    prepared = lru_cache(KEPT)(lambda position: details(reading.read_image(files[position], orientation).image))

    def compare(pair: tuple[int, int]) -> Crop:
        """Return the better match, of the first image as a part of the second and the other way round."""
        both = [Crop(whole, part, *part_of(prepared(whole), prepared(part))) for whole, part in (pair, pair[::-1])]
        return max(both, key=lambda crop: (crop.correlation, -crop.whole))

    compared = in_threads(compare, pairs, "comparing images", progress, AT_ONCE)
    return [crop for crop in compared if crop.correlation >= ENOUGH]


def candidates(neighbours: Neighbours) -> list[tuple[int, int]]:
    """Return the pairs of neighbouring images that are near enough to be compared as possible crops.

    Two images are near enough if their distance is less than `NEARER` times the distance from one of the two to
    its farthest known neighbour. A fixed limit would not suit every network. If at most `CANDIDATES` neighbours
    are known, all pairs are returned. Each pair is returned once, sorted by image index.
    """
    distances = 1 - neighbours.similarities
    near = distances[:, :CANDIDATES] < NEARER * distances[:, -1:]
    if distances.shape[1] <= CANDIDATES:
        near[:] = True
    first, place = np.nonzero(near)
    pairs = np.sort(np.stack([first, neighbours.images[first, place]]), axis=0)
    return [*zip(*np.unique(pairs, axis=1).tolist(), strict=True)]


LookAlike = tuple[int, int, float]  # two positions and the similarity of their features


def look_alikes(neighbours: Neighbours, labels: Labels, copies: list[int]) -> list[LookAlike]:
    """Return pairs of images of different classes, each the nearest neighbour of the other.

    Args:
        neighbours: the neighbours of each image, nearest first.
        labels: the class of each image, from 0.
        copies: the group number of each image, equal for copies; copies do not count as neighbours of each other.

    Returns:
        The pairs, the most similar first.
    """
    groups, rows = np.array(copies), np.arange(len(copies))
    other = groups[neighbours.images] != groups[:, None]
    place = other.argmax(axis=1)
    # -1 where all known neighbours are copies.
    nearest = np.where(other[rows, place], neighbours.images[rows, place], -1)
    similarities = neighbours.similarities[rows, place]
    mutual = np.flatnonzero((rows < nearest) & (nearest[nearest] == rows) & (labels != labels[nearest]))
    ordered = mutual[np.argsort(-similarities[mutual], kind="stable")]
    return [*zip(*(each[ordered].tolist() for each in (rows, nearest, similarities)), strict=True)]


def resemblances(
    root: Path,
    paths: Sequence[str],
    labels: Labels,
    findings: check.Findings,
    features: Features,
    progress: Progress,
    orientation: str = APPLIED,
) -> tuple[list[Crop], list[int], list[LookAlike]]:
    """Find images that show a part of another image, and similar images with different labels (look-alikes).

    Only images with similar features are compared. Images are given by their positions; between the crops and the
    look-alikes is the number of each image's group of copies of any kind.

    Args:
        root: the folder of the images.
        paths: the images that can be read.
        labels: the class of each of them.
        findings: the result of `data.check` for these images, with the copies found by bytes and by hashes.
        features: features of each image, computed by a network.
        progress: shows the progress.
        orientation: whether the orientation in EXIF data is applied, see `reading.read_rgb`.
    """
    by_hash = copies_by_hashes(paths, findings)
    neighbours = nearest(features, CANDIDATES + 1, progress)
    found = crops(neighbours, by_hash, [root / path for path in paths], orientation, progress)
    copies = link(range(len(paths)), [*members(by_hash), *(crop[:2] for crop in found)])
    return found, copies, look_alikes(neighbours, labels, copies)


def copies_by_hashes(paths: Sequence[str], findings: check.Findings) -> list[int]:
    """Return a group number for each image, equal for copies (images with equal bytes or similar hashes)."""
    place = {path: position for position, path in enumerate(paths)}
    turned = ((each.first, each.second) for each in findings.turned)
    groups = (*findings.identical, *findings.near_duplicates, *turned)
    return link(range(len(paths)), [[place[path] for path in group if path in place] for group in groups])


def find_groups(
    images: Catalogue, network: torch.nn.Module, config: Config, context: Context, *, cache: bool = True
) -> list[check.Group]:
    """Return groups of images that resemble each other; each group is a list of paths.

    A split must keep each group in one part. Images are compared by features of a network that was not trained
    on their labels.

    Args:
        images: the catalogue of all images.
        network: the network with its weights before training; it is moved to the device.
        config: gives preprocessing, image size and batch size.
        context: arithmetic, progress and processes of the computation.
        cache: if False, pixels and features are computed now, and no cache is read.

    Raises:
        ValueError: an image cannot be read, or the network does not end in one linear layer.
    """
    loaded = config.load("images", images.root, images.entries, context.progress, cache=cache)
    features = embed(context.numerics.place(network), config, loaded, context, cache=cache)
    found: list[check.Group] = []
    if context.processes.leads:
        findings = check.examine(images, None, context.progress, config.orientation)
        shown = (findings, features.take(range(len(loaded))), context.progress, config.orientation)
        _, copies, alike = resemblances(images.root, loaded.paths, loaded.labels, *shown)
        # The images of a group are connected by pairs of copies or look-alikes.
        groups = link(range(len(copies)), [*members(copies), *(pair[:2] for pair in alike)])
        found = [[loaded.paths[position] for position in group] for group in members(groups)]
    return list(context.processes.broadcast_json(found))
