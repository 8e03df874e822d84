"""Sets of images, decoded once and cached by the content of the files, and batches of them for a network."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import numpy as np
import PIL.features
import torch
from jaxtyping import Float32, Float64, Int64
from numpy.typing import NDArray

from in4310repro.data.cache import SUFFIX, cache_folder, remove
from in4310repro.data.folders import HEIF, Entry
from in4310repro.data.pixel_cache import CachedPixels, Stack, sha256_of_pixels
from in4310repro.data.preprocessing import APPLIED, Preprocessing
from in4310repro.data.reading import DEFAULT, Pixels, UnreadableImagesError, decode
from in4310repro.system.files import bytes_sha256
from in4310repro.system.numerics import generator_for
from in4310repro.system.progress import SILENT, Progress

# To be increased when decoding or resizing changes, so that no pixels of older code are read from the cache.
DECODER = 4
FORMAT = 2  # of the files in the cache
Normalized = Float32[torch.Tensor, "image channel height width"]


@dataclass(frozen=True)
class ImageSet:
    """A set of decoded images with their paths, keys (sha256) and labels, all in the same order."""

    name: str  # for titles and progress
    paths: tuple[str, ...]  # below the root of the images
    keys: tuple[str, ...]  # sha256 of each image: what random draws depend on
    labels: Int64[np.ndarray, " image"]
    pixels: Stack
    cached: CachedPixels | None = None  # the file that the pixels are a memory map of, where they are
    preprocessing: Preprocessing = DEFAULT  # how they were cropped, and how they are normalised

    def __len__(self) -> int:
        return len(self.paths)

    def pixel_hashes(self) -> dict[str, str]:
        """Return the sha256 of each image's pixels [row][column][RGB] by path, in the order of the set."""
        hashes = self.cached.hashes if self.cached else map(sha256_of_pixels, self.pixels)
        return {path: each.hex() for path, each in zip(self.paths, hashes, strict=True)}

    def pixels_sha256(self) -> str:
        """Return one sha256 over the sha256 of each image's pixels, in the order of the set."""
        return sha256_of_hashes(self.pixel_hashes().values())

    def take(self, positions: Sequence[int]) -> Stack:
        """Return a copy of the pixels of the images at the indices `positions`.

        Raises:
            ValueError: the cache file of the pixels has been changed since they were loaded.
        """
        pixels = self.pixels[list(positions)]
        if self.cached:
            self.cached.check(positions, pixels)
        return pixels

    def at(self, positions: Sequence[int]) -> "ImageSet":
        """Return the images at the indices `positions`, in the order of `positions`, with copied pixels.

        Raises:
            ValueError: the cache file of the pixels has been changed since they were loaded.
        """
        paths, keys = (tuple(each[position] for position in positions) for each in (self.paths, self.keys))
        labels = self.labels[list(positions)]
        return replace(self, paths=paths, keys=keys, labels=labels, pixels=self.take(positions), cached=None)


def sha256_of_hashes(hashes: Iterable[str]) -> str:
    """Return the sha256 of the bytes of hashes, one behind the other."""
    return bytes_sha256(bytes.fromhex("".join(hashes)))


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
        cache: if False, do not use the cache: decode into a temporary file, deleted at the end of the process.
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
    how = (preprocessing.interpolation, preprocessing.crop_ratio)
    settings = [
        *(FORMAT, decoder(), size, [entry.sha256 for entry in entries]),
        *[how] * (how != (DEFAULT.interpolation, DEFAULT.crop_ratio)),
        # Without the orientation the key equals that of older versions, whose pixels older runs still read.
        *[APPLIED] * (preprocessing.orientation == APPLIED),
    ]
    key = bytes_sha256(json.dumps(settings).encode())
    unreadable: dict[int, Mapping[Path, str]] = {}

    def decode_entry(position: int) -> NDArray[np.uint8] | None:
        entry = entries[position]
        # Checked before caching: the cache would keep an image that has changed since it was hashed.
        try:
            return decode(root / entry.path, size, entry.sha256 if cache else None, preprocessing)
        except UnreadableImagesError as error:
            unreadable[position] = error.reasons
            return None

    file = cache_folder() / "pixels" / (f"{key[:32]}{SUFFIX}" if cache else "decoded pixels")
    decoded = CachedPixels(name, key, len(entries), size, decode_entry).load(file, progress, private=not cache)
    if unreadable:
        # Without the unreadable images it is a different set with a different key.
        remove(file)
        raise UnreadableImagesError({file: why for _, each in sorted(unreadable.items()) for file, why in each.items()})
    paths, keys = tuple(entry.path for entry in entries), tuple(entry.sha256 for entry in entries)
    labels = np.array([entry.label for entry in entries], np.int64)
    return ImageSet(name, paths, keys, labels, decoded.pixels, decoded, preprocessing)


def decoder() -> dict[str, str]:
    """Return the versions of the software that decodes images: this code, Pillow, and libraries for lossy formats."""
    versions = {"decode": f"{DECODER}", "pillow": PIL.__version__}
    versions |= {name: version for name in ("jpg", "libjpeg_turbo", "webp") if (version := PIL.features.version(name))}
    return versions | ({"pillow-heif": metadata.version("pillow-heif")} if HEIF else {})


@dataclass(frozen=True)
class Batch:
    """One batch: normalised images (see `normalize`) with their labels, paths and identities.

    An identity, by which dropout draws, is the begin of the sha256 of the image's key.
    """

    images: Normalized
    labels: Int64[torch.Tensor, " image"]
    paths: tuple[str, ...]
    identities: Int64[torch.Tensor, " image"]


def normalize(pixels: Stack, preprocessing: Preprocessing = DEFAULT) -> Normalized:
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
    """Return the batches of an epoch, each as a range of positions in the epoch's order of images.

    If a single image would be left for the last batch, it joins the batch before, since batch norm cannot
    normalise a single value.

    Args:
        images: images per epoch.
        size: images per batch.

    Examples:
        >>> training_ranges(9, 4)
        [range(0, 4), range(4, 9)]
    """
    starts = [*range(0, images, size)]
    if len(starts) > 1 and images - starts[-1] == 1:
        starts.pop()
    return [range(*ends) for ends in pairwise([*starts, images])]


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
    draws = np.array([generator_for(seed, "epoch", epoch, key).random(4) for key in images.keys])
    # One number orders the images, and the others augment them.
    order = np.argsort(draws[:, 0], kind="stable")
    for positions in map(part, training_ranges(len(images), size)[first:]):
        indices = order[positions.start : positions.stop].tolist()
        pixels = zip(images.take(indices), draws[indices, 1:], strict=True)
        yield _batch(images, indices, np.stack([augment(image, drawn, augmentation) for image, drawn in pixels]))


def augment(pixels: Pixels, draws: Float64[np.ndarray, " draw"], augmentation: str) -> Pixels:
    """Return an image that is randomly flipped left to right, and shifted by up to 1/16 of its side.

    A flip has probability 1/2. The strip that a shift leaves empty is filled with pixels reflected at the border.

    Args:
        pixels: the image.
        draws: random numbers in [0, 1) of this image in this epoch: of the flip, and of the shifts down and right.
        augmentation: `none` for no change, `flip` for the flip alone, or `flip-shift` for both.
    """
    # Three draws for every kind of augmentation, so that `flip` and `flip-shift` flip the same images.
    if augmentation != "none" and draws[0] < 0.5:
        pixels = pixels[:, ::-1]
    if augmentation == "flip-shift":
        height, width, _ = pixels.shape
        reach = height // 16
        top, left = (int(drawn * (2 * reach + 1)) for drawn in draws[1:])
        around = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
        pixels = around[top : top + height, left : left + width]
    return pixels


def _batch(images: ImageSet, indices: Sequence[int], pixels: NDArray[np.uint8]) -> Batch:
    """Return the images at `indices` as a batch; `pixels` are the pixels of these images, possibly augmented."""
    labels, paths = torch.from_numpy(images.labels[list(indices)]), tuple(images.paths[index] for index in indices)
    hashes = [hashlib.sha256(images.keys[index].encode()).digest()[:8] for index in indices]
    identities = torch.from_numpy(np.array(hashes, "S8").view("<i8"))
    return Batch(normalize(pixels, images.preprocessing), labels, paths, identities)
