"""From image files to pixels: decoded and resized once, cached by content."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from in4310repro.data.folders import Entry
from in4310repro.files import write_whole
from in4310repro.progress import SILENT, Progress

# To be increased when decoding or resizing changes, so that no pixels of older code are read from the cache.
DECODER = 2
# What Pillow raises for files that are no images or are truncated.
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
    """Decoded images with their paths, keys and labels, in one order."""

    name: str  # for titles and progress
    paths: tuple[str, ...]  # below the root of the images
    keys: tuple[str, ...]  # sha256 of each image: what random draws depend on
    labels: Int64[np.ndarray, " image"]
    pixels: UInt8[np.ndarray, "image height width channel"]

    def __len__(self) -> int:
        return len(self.paths)


def decode(file: Path, size: int) -> UInt8[np.ndarray, "height width channel"]:
    """Reads an image file of any mode and shape as a square RGB image.

    The short side is scaled to `size` (bilinear with antialiasing) and the rest of the long side is cropped, half at
    each end, so nothing is distorted. Transparent parts become white; 16-bit grey is reduced to its upper 8 bits. As
    in torchvision's loader, the EXIF orientation is ignored.

    Args:
        file: in any format that Pillow reads.
        size: width and height of the result, pixels.

    Raises:
        ValueError: the file is no image, is truncated, or holds floating-point values.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (60, 40), 200).save(Path(folder) / "grey.png")
        ...     pixels = decode(Path(folder) / "grey.png", size=32)
        >>> pixels.shape, pixels[0, 0].tolist()
        ((32, 32, 3), [200, 200, 200])
    """
    try:
        with Image.open(file) as opened:
            opened.load()
            return crop_square(_to_rgb(opened), size)
    except READING_ERRORS as error:
        raise ValueError(f"{file} is not a readable image ({error}); replace or remove it") from None


def crop_square(image: Image.Image, size: int) -> UInt8[np.ndarray, "height width channel"]:
    """The central square of an RGB image, resized to `size` x `size` pixels (bilinear with antialiasing).

    Cropping and resizing are one step, so that pixels at the edges are weighted by their share in the square.
    """
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    resized = image.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + short, top + short))
    return np.asarray(resized)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow opens 16-bit grey as I;16 or, in older versions, as I; its own conversion to RGB clips at 255.
        return Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("its values are floats, and which of them is white is unknown")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")


def cache_folder() -> Path:
    """The folder for decoded images and embedded scenes: IN4310REPRO_CACHE, else one in the user's cache folder."""
    named = os.environ.get("IN4310REPRO_CACHE")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "in4310repro"


def load_images(
    name: str,
    root: Path,
    entries: Sequence[Entry],
    size: int,
    *,
    cache: bool = True,
    progress: Progress = SILENT,
) -> ImageSet:
    """Decodes images (see `decode`), or reads their pixels from the cache.

    The key of the cache is a hash of the images' contents, their order, the size, and the versions of Pillow and of
    the decoding. A file in the cache is complete or absent, also after an interruption and with simultaneous writers.

    Args:
        name: of the set, for titles and progress.
        root: the folder that the entries' paths are relative to.
        entries: the images, in the order of the set.
        size: width and height of the decoded images, pixels.
        cache: False decodes and writes nothing; the pixels are the same.
        progress: where to show how many images have been decoded.

    Returns:
        The images. Pixels from the cache are a read-only memory map: they are loaded when they are used.

    Raises:
        ValueError: a file is no image.

    Examples:
        >>> import tempfile
        >>> from in4310repro.data.embedded import write_scenes
        >>> from in4310repro.data.folders import catalogue
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_scenes(Path(folder), images_per_class=2, size=16, seed=0)
        ...     entries = catalogue(Path(folder)).entries
        ...     images = load_images("scenes", Path(folder), entries, size=32, cache=False)
        >>> images.pixels.shape, images.paths[0], images.labels.tolist()
        ((12, 32, 32, 3), 'buildings/0000.bmp', [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
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
    paths, keys = tuple(entry.path for entry in entries), tuple(entry.sha256 for entry in entries)
    return ImageSet(name, paths, keys, np.array([entry.label for entry in entries], np.int64), pixels)


def _read_cache(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The cached pixels as a memory map; None where there is no file or it is corrupt."""
    try:
        pixels = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None
