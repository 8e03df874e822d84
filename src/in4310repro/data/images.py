"""Pixels of image files, decoded and resized once, and cached by the content of the files."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import PIL.features
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from PIL import Image

from in4310repro.data import pixel_cache
from in4310repro.data.cache import SUFFIX, cache_folder, remove
from in4310repro.data.folders import HEIF, Entry
from in4310repro.data.pixel_cache import CachedPixels
from in4310repro.data.preprocessing import APPLIED, Preprocessing
from in4310repro.data.reading import read_rgb
from in4310repro.system.files import open_regular, reason
from in4310repro.system.progress import SILENT, Progress

DEFAULT = Preprocessing()
SHOWN = 10  # files that an error names
# To be increased when decoding or resizing changes, so that no pixels of older code are read from the cache.
DECODER = 4
FORMAT = 2  # of the files in the cache


@dataclass(frozen=True)
class ImageSet:
    """Decoded images with their paths, keys and labels, all in the same order."""

    name: str  # for titles and progress
    paths: tuple[str, ...]  # below the root of the images
    keys: tuple[str, ...]  # sha256 of each image: what random draws depend on
    labels: Int64[np.ndarray, " image"]
    pixels: UInt8[np.ndarray, "image height width channel"]
    cached: CachedPixels | None = None  # the file that the pixels are a memory map of, where they are
    preprocessing: Preprocessing = DEFAULT  # how they were cropped, and how they are normalised

    def __len__(self) -> int:
        return len(self.paths)

    def pixels_sha256(self) -> str:
        """Return one sha256 over the sha256 of each image's pixels, in the order of the set."""
        if self.cached is not None:
            return hashlib.sha256(self.cached.hashes.tobytes()).hexdigest()
        hashes = (hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in self.pixels)
        return hashlib.sha256(b"".join(hashes)).hexdigest()

    def take(self, positions: Sequence[int]) -> UInt8[np.ndarray, "image height width channel"]:
        """Return a copy of the pixels of the images at some positions.

        Raises:
            ValueError: the cache file of the pixels has been changed since they were loaded.
        """
        pixels = self.pixels[list(positions)]
        if self.cached is not None:
            self.cached.check(positions, pixels)
        return pixels

    def at(self, positions: Sequence[int]) -> ImageSet:
        """Return the images at some positions, in any order, with copied pixels.

        Raises:
            ValueError: the cache file of the pixels has been changed since they were loaded.
        """
        return ImageSet(
            self.name,
            tuple(self.paths[position] for position in positions),
            tuple(self.keys[position] for position in positions),
            self.labels[list(positions)],
            self.take(positions),
            preprocessing=self.preprocessing,
        )


class UnreadableImagesError(ValueError):
    """Error for images that cannot be read, with the reason for each file."""

    def __init__(self, reasons: Mapping[Path, str]) -> None:
        super().__init__(_unreadable(reasons))
        self.reasons = reasons


def _unreadable(reasons: Mapping[Path, str]) -> str:
    (first, why), *others = reasons.items()
    if not others:
        return f"{first} is not a readable image ({why}); replace or remove it"
    listed = "; ".join(f"{file} ({why})" for file, why in itertools.islice(reasons.items(), SHOWN))
    more = f"; {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else ""
    return f"{len(reasons)} files are not readable images: {listed}{more}; replace or remove them"


def decode(
    file: Path, size: int, sha256: str | None = None, preprocessing: Preprocessing = DEFAULT
) -> UInt8[np.ndarray, "height width channel"]:
    """Read an image file as a square RGB image of the requested size.

    The short side is scaled to `size` (by default bilinear with antialiasing) and the rest of the long side is
    cropped, half at each end, so nothing is distorted. See `read_rgb` for orientation, modes, transparency and
    animations.

    Args:
        file: the image.
        size: width and height of the result, pixels.
        sha256: the expected sha256 of the file's bytes, in hex; None accepts any bytes.
        preprocessing: the interpolation, which fraction of the square is used, and whether the EXIF orientation
            is applied.

    Raises:
        UnreadableImagesError: the file is not an image that can be read.
        ValueError: the file's sha256 differs from the expected one.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("L", (60, 40), 200).save(Path(folder) / "grey.png")
        ...     pixels = decode(Path(folder) / "grey.png", size=32)
        >>> pixels.shape, pixels[0, 0].tolist()
        ((32, 32, 3), [200, 200, 200])
    """
    try:
        with open_regular(file) as stream:
            image = read_rgb(stream, preprocessing.orientation).image
            stream.seek(0)
            changed = sha256 is not None and hashlib.file_digest(stream, "sha256").hexdigest() != sha256
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else error
        raise UnreadableImagesError({file: f"{why}"}) from None
    if changed:
        raise ValueError(f"image {file} was changed while it was read; start again")
    return crop_square(image, size, preprocessing)


def crop_square(
    image: Image.Image, size: int, preprocessing: Preprocessing = DEFAULT
) -> UInt8[np.ndarray, "height width channel"]:
    """Return the central square of an RGB image, resized to `size` x `size` pixels.

    Cropping and resizing are one step, so that a pixel at the edge is weighted by its fraction inside the square.
    """
    width, height = image.size
    side = min(width, height) * preprocessing.crop_ratio
    left, top = (width - side) / 2, (height - side) / 2
    method = Image.Resampling[preprocessing.interpolation.upper()]
    resized = image.resize((size, size), method, (left, top, left + side, top + side))
    return np.asarray(resized)


def load_images(
    name: str,
    root: Path,
    entries: Sequence[Entry],
    size: int,
    *,
    preprocessing: Preprocessing = DEFAULT,
    cache: bool = True,
    progress: Progress = SILENT,
) -> ImageSet:
    """Decode images (see `decode`), or read their pixels from the cache if they are there.

    The key of the cache is a hash of the images' contents, their order, the size, and the versions of the
    decoding software (see `decoder`). All threads of this machine decode, and processes that load the same images
    share the work. An interrupted decoding is continued. A file in the cache is checked completely here, and
    image by image when batches are made (see `pixel_cache`). Damaged images are decoded again, with a message.

    Args:
        name: the name of the set, for titles and progress.
        root: the folder that the entries' paths are relative to.
        entries: the images, in the order of the set.
        size: width and height of the decoded images, pixels.
        preprocessing: how images are cropped and resized (see `decode`), and how batches are normalised.
        cache: if False, decode the files now, into a file that is deleted with this process, without the cache.
        progress: where to show how many images have been decoded.

    Returns:
        The images. Their pixels are a read-only memory map: they are loaded when they are used.

    Raises:
        UnreadableImagesError: files are not images; the message names all of them.
        ValueError: a file's sha256 differs from its entry's, or the disk has too little space.

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
    settings = [FORMAT, decoder(), size, [entry.sha256 for entry in entries]]
    if (how := (preprocessing.interpolation, preprocessing.crop_ratio)) != (DEFAULT.interpolation, DEFAULT.crop_ratio):
        settings.append(how)
    # Without the orientation the key equals that of older versions, whose pixels older runs still read.
    if preprocessing.orientation == APPLIED:
        settings.append(APPLIED)
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    unreadable: dict[Path, str] = {}

    def decode_entry(position: int) -> NDArray[np.uint8] | None:
        entry = entries[position]
        # Checked before caching: the cache would keep an image that has changed since it was hashed.
        try:
            return decode(root / entry.path, size, entry.sha256 if cache else None, preprocessing)
        except UnreadableImagesError as error:
            unreadable.update(error.reasons)
            return None

    wanted = pixel_cache.Wanted(name=name, key=key, images=len(entries), size=size, decode=decode_entry)
    folder = cache_folder() / "pixels"
    file = folder / f"{key[:32]}{SUFFIX}"
    decoded = (
        pixel_cache.load(file, wanted, progress) if cache else pixel_cache.decode_privately(folder, wanted, progress)
    )
    if unreadable:
        # Without the unreadable images it is a different set with a different key.
        remove(file)
        files = (root / entry.path for entry in entries)
        raise UnreadableImagesError({file: unreadable[file] for file in files if file in unreadable})
    paths, keys = tuple(entry.path for entry in entries), tuple(entry.sha256 for entry in entries)
    labels = np.array([entry.label for entry in entries], np.int64)
    return ImageSet(name, paths, keys, labels, decoded.pixels, decoded, preprocessing)


def decoder() -> dict[str, str]:
    """Return the versions of the software that decodes images: this code, Pillow, and libraries for lossy formats."""
    libraries = {name: PIL.features.version(name) for name in ("jpg", "libjpeg_turbo", "webp")}
    versions = {"decode": f"{DECODER}", "pillow": PIL.__version__}
    versions |= {name: version for name, version in libraries.items() if version}
    return versions | ({"pillow-heif": metadata.version("pillow-heif")} if HEIF else {})
