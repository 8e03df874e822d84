"""Batches of images: in order for evaluation; shuffled and augmented, by (seed, epoch, image), for training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from numpy.typing import NDArray

from in4310repro.data.images import DEFAULT, ImageSet
from in4310repro.data.preprocessing import Preprocessing
from in4310repro.system.numerics import generator_for


@dataclass(frozen=True)
class Batch:
    """One batch: normalised images (see `normalize`) with their labels and paths."""

    images: Float32[torch.Tensor, "image channel height width"]
    labels: Int64[torch.Tensor, " image"]
    paths: tuple[str, ...]


def normalize(
    pixels: UInt8[np.ndarray, "image height width channel"], preprocessing: Preprocessing = DEFAULT
) -> Float32[torch.Tensor, "image channel height width"]:
    """Return (pixel / 255 - mean) / std, with each channel's mean and std, in channels_last memory."""
    images = torch.from_numpy(pixels.astype(np.float32, order="C"))
    images.div_(255).sub_(torch.tensor(preprocessing.mean)).div_(torch.tensor(preprocessing.std))
    return images.permute(0, 3, 1, 2)


def evaluation_batches(
    images: ImageSet, size: int, flips: Sequence[bool] | None = None, part: range | None = None
) -> Iterator[Batch]:
    """Yield batches for evaluation, which contain every image once, in order, without augmentation.

    Args:
        images: the set.
        size: images per batch; the last batch may be smaller.
        flips: for each image, whether it is flipped left to right (the deviation random-flip-at-test).
        part: the range of positions whose images are yielded; None for all.
    """
    part = range(len(images)) if part is None else part
    for start in part[::size]:
        positions = range(start, min(start + size, part.stop))
        pixels = images.take(positions)
        if flips is not None:
            flipped = np.array(flips[positions.start : positions.stop])[:, None, None, None]
            pixels = np.where(flipped, pixels[:, :, ::-1], pixels)
        yield _batch(images, positions, pixels)


def training_ranges(images: int, size: int) -> list[range]:
    """Return the batches of an epoch as ranges of positions in the epoch's order.

    If one image remains for the last batch, it joins the batch before: batch norm cannot normalise one value.

    Args:
        images: images per epoch.
        size: images per batch.

    Examples:
        >>> training_ranges(9, 4)
        [range(0, 4), range(4, 9)]
    """
    starts = list(range(0, images, size))
    if len(starts) > 1 and images - starts[-1] == 1:
        starts.pop()
    return [range(start, end) for start, end in zip(starts, [*starts[1:], images], strict=True)]


def training_batches(
    images: ImageSet,
    size: int,
    augmentation: str,
    seed: int,
    epoch: int,
    *,
    first: int = 0,
    part: Callable[[range], range] = lambda batch: batch,
) -> Iterator[Batch]:
    """Yield the batches of one training epoch, which contain every image once, shuffled and augmented.

    Each image has a random generator seeded by (seed, epoch, key of the image). Therefore its augmentation does
    not depend on the batch size or on the other images.

    Args:
        images: the set.
        size: images per batch; the last one may have fewer, or one more (see `training_ranges`).
        augmentation: `none`, `flip` or `flip-shift` (see `augment`).
        seed: the seed of the run.
        epoch: from 0.
        first: the index of the batch to start with.
        part: a function that selects some of a batch's positions.
    """
    order = _draw_order(images, seed, epoch)
    for positions in map(part, training_ranges(len(images), size)[first:]):
        indices = order[positions.start : positions.stop].tolist()
        pixels = zip(images.take(indices), indices, strict=True)
        augmented = [
            augment(image, _recreate_generator(seed, epoch, images.keys[index]), augmentation)
            for image, index in pixels
        ]
        yield _batch(images, indices, np.stack(augmented))


def _draw_order(images: ImageSet, seed: int, epoch: int) -> NDArray[np.intp]:
    """Return image positions in an epoch's random order, sorted by the first draw of each image's generator."""
    draws = (generator_for(seed, "epoch", epoch, key).random() for key in images.keys)
    return np.argsort(np.fromiter(draws, np.float64, len(images)), kind="stable")


def _recreate_generator(seed: int, epoch: int, key: str) -> np.random.Generator:
    """Return an image's generator in its state after `_draw_order`; recreating it takes less memory than storing."""
    generator: np.random.Generator = generator_for(seed, "epoch", epoch, key)
    generator.random()
    return generator


def augment(
    pixels: UInt8[np.ndarray, "height width channel"], generator: np.random.Generator, augmentation: str
) -> UInt8[np.ndarray, "height width channel"]:
    """Flip an image left to right with probability 1/2, and shift it by up to 1/16 of its height and width.

    Pixels that a shift moves in from outside are reflected at the border.

    Args:
        pixels: the image.
        generator: the generator of this image in this epoch.
        augmentation: `none`; `flip`, which does not shift; or `flip-shift`, which does both.
    """
    height, width = pixels.shape[:2]
    # Three draws for every kind of augmentation, so that `flip` and `flip-shift` flip the same images.
    flip, down, right = generator.random(3)
    if augmentation != "none" and flip < 0.5:
        pixels = pixels[:, ::-1]
    if augmentation == "flip-shift":
        reach = height // 16
        rows = _shift_positions(height, int(down * (2 * reach + 1)) - reach)
        columns = _shift_positions(width, int(right * (2 * reach + 1)) - reach)
        pixels = pixels[rows][:, columns]
    return pixels


def _shift_positions(length: int, shift: int) -> NDArray[np.int64]:
    """Return the positions 0 to length - 1 plus a shift, reflected at the borders."""
    positions = np.abs(np.arange(length) + shift)
    return np.where(positions >= length, 2 * (length - 1) - positions, positions)


def _batch(images: ImageSet, indices: Sequence[int], pixels: NDArray[np.uint8]) -> Batch:
    """Return the images at these indices as a batch, with pixels that may have been augmented."""
    labels = torch.from_numpy(images.labels[list(indices)])
    return Batch(normalize(pixels, images.preprocessing), labels, tuple(images.paths[index] for index in indices))
