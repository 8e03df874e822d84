"""From image files to batches: decode and resize once, cache by content, augment by (seed, epoch, image)."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from jaxtyping import Float32, Int64, UInt8
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from in4310repro.data.folders import Entry
from in4310repro.numerics import generator_for
from in4310repro.progress import SILENT, Progress
from in4310repro.runs import write_whole

# torchvision's normalisation for its ImageNet weights, of values in [0, 1].
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
# Raised when decoding or resizing changes, so that no cache made by older code is read.
DECODER = 2
# What Pillow raises on files that are no images or are cut short.
READING_ERRORS = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
)


@dataclass(frozen=True)
class ImageSet:
    """Decoded images and what they are; the four lists run in parallel."""

    name: str
    paths: tuple[str, ...]
    keys: tuple[str, ...]  # sha256 of each file
    labels: Int64[np.ndarray, " image"]
    pixels: UInt8[np.ndarray, "image height width channel"]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Batch:
    """What a loader yields: normalised images, their labels and paths."""

    images: Float32[torch.Tensor, "image channel height width"]
    labels: Int64[torch.Tensor, " image"]
    paths: tuple[str, ...]


def decode(file: Path, size: int) -> UInt8[np.ndarray, "height width channel"]:
    """Reads an image file of any mode and shape as a square RGB image.

    The short side is scaled to `size` (bilinear with antialiasing) and the middle is kept, so nothing is distorted.
    Transparent parts become white, as on a page; 16-bit grey keeps its upper 8 bits. Like torchvision's loader, it
    does not turn a photograph by its EXIF orientation.

    Raises:
        ValueError: the file is no image, or is cut short.
    """
    try:
        with Image.open(file) as opened:
            opened.load()
            return square(_to_rgb(opened), size)
    except READING_ERRORS as error:
        raise ValueError(f"{file} is not a readable image ({error}); replace or remove it") from None


def square(image: Image.Image, size: int) -> UInt8[np.ndarray, "height width channel"]:
    """The middle of an RGB image, its short side scaled to `size` pixels."""
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    resized = image.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + short, top + short))
    return np.asarray(resized)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow opens 16-bit grey as I;16 or, in older versions, as I.
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its values are floats, whose white is not known")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")


def cache_folder() -> Path:
    """Where decoded images and embedded scenes are kept: IN4310REPRO_CACHE, else the user's cache folder."""
    named = os.environ.get("IN4310REPRO_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "in4310repro"


def load(
    name: str,
    root: Path,
    entries: Sequence[Entry],
    size: int,
    *,
    cache: bool = True,
    progress: Progress = SILENT,
) -> ImageSet:
    """Decodes images, or reads them from the cache, which is keyed by their contents and every setting.

    A cache file appears by a rename, so an interrupted or simultaneous writer leaves a whole file or none.

    Raises:
        ValueError: a file is no image.
    """
    settings = [DECODER, PIL.__version__, size, [entry.sha256 for entry in entries]]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    file = cache_folder() / "pixels" / f"{key[:32]}.npy"
    pixels = _read_cache(file, (len(entries), size, size, 3)) if cache else None
    if pixels is None:
        pixels = np.empty((len(entries), size, size, 3), np.uint8)
        with progress.task(f"decoding {name}", len(entries)) as advance:
            for index, entry in enumerate(entries):
                pixels[index] = decode(root / entry.path, size)
                advance(1, "")
        if cache:
            write_whole(file, lambda stream: np.save(stream, pixels))
    labels = np.array([entry.label for entry in entries], np.int64)
    return ImageSet(
        name, tuple(entry.path for entry in entries), tuple(entry.sha256 for entry in entries), labels, pixels
    )


def _read_cache(file: Path, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """The cached pixels as a memory map, or None where there are none or they are not whole."""
    try:
        pixels = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None


def normalised(
    pixels: UInt8[np.ndarray, "image height width channel"],
) -> Float32[torch.Tensor, "image channel height width"]:
    """(pixel / 255 - mean) / deviation of each channel, in channels_last memory."""
    images = torch.from_numpy(pixels.astype(np.float32, order="C"))
    images.div_(255).sub_(torch.tensor(MEAN)).div_(torch.tensor(DEVIATION))
    return images.permute(0, 3, 1, 2)


def batches(images: ImageSet, size: int, flips: Sequence[bool] | None = None) -> Iterator[Batch]:
    """Every image once, in order, as it is: for evaluation.

    With `flips`, a list of booleans, some are flipped left to right: a departure that can be asked for.
    """
    for start in range(0, len(images), size):
        chosen = range(start, min(start + size, len(images)))
        pixels = images.pixels[start : start + size]
        if flips is not None:
            pixels = np.stack([images.pixels[index][:, :: -1 if flips[index] else 1] for index in chosen])
        yield _batch(images, chosen, pixels)


def training_batches(images: ImageSet, size: int, augmentation: str, seed: int, epoch: int) -> Iterator[Batch]:
    """Every image once, in the order and with the flips and shifts of (seed, epoch, image).

    Each image has a generator of its own, so neither its neighbours nor the number of images change what is done to
    it. A last batch of one image joins the batch before: batch norm cannot normalise a single value.
    """
    generators = [generator_for(seed, "epoch", epoch, key) for key in images.keys]
    order = np.argsort([generator.random() for generator in generators], kind="stable")
    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] == 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        chosen = order[start:end]
        pixels = [augmented(images.pixels[index], generators[index], augmentation) for index in chosen]
        yield _batch(images, chosen, np.stack(pixels))


def augmented(
    pixels: UInt8[np.ndarray, "height width channel"], generator: Any, augmentation: str
) -> UInt8[np.ndarray, "height width channel"]:
    """One image, flipped left to right in half of the cases and shifted by up to 1/16 of its size.

    What a shift uncovers is filled by reflection. The three draws are made for every kind of augmentation.
    """
    height, width = pixels.shape[:2]
    flip, down, right = generator.random(3)
    if augmentation != "none" and flip < 0.5:
        pixels = pixels[:, ::-1]
    if augmentation == "flip-shift":
        reach = height // 16
        rows = _shifted(height, int(down * (2 * reach + 1)) - reach)
        columns = _shifted(width, int(right * (2 * reach + 1)) - reach)
        pixels = pixels[rows][:, columns]
    return pixels


def _shifted(length: int, shift: int) -> NDArray[Any]:
    """Positions 0 to length - 1 moved by a shift and reflected at the borders."""
    positions = np.abs(np.arange(length) + shift)
    return np.where(positions >= length, 2 * (length - 1) - positions, positions)


def _batch(images: ImageSet, chosen: Sequence[int] | NDArray[Any], pixels: NDArray[Any]) -> Batch:
    labels = torch.from_numpy(images.labels[list(chosen)])
    return Batch(normalised(pixels), labels, tuple(images.paths[index] for index in chosen))
