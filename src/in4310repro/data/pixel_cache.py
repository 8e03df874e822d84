"""Decoded pixels in a file: for each image a record of its pixels and a sha256, checked before they are used.

The sha256 is of the key of the set, the image's position and its pixels, so that a changed byte, a record at another
position and a file of other images are all noticed, when the file is opened and again whenever an image is taken from
it. It needs no secret: who changes pixels on purpose can write the sha256 that belongs to them. Nothing that tests a
run may therefore rest on this file, and `verify` decodes the images itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from in4310repro.files import write_whole
from in4310repro.progress import Advance

HASH_BYTES = 32


@dataclass(frozen=True)
class CachedPixels:
    """The pixels in a file that was intact when it was opened."""

    file: Path
    key: str
    pixels: UInt8[np.ndarray, "image height width channel"]  # a read-only memory map
    hashes: UInt8[np.ndarray, "image 32"]  # in memory, so that they stay what they were

    def check(self, positions: Sequence[int], pixels: UInt8[np.ndarray, "image height width channel"]) -> None:
        """Checks a copy of the pixels at some positions.

        Raises:
            ValueError: they are not those that were in the file when it was opened.
        """
        for position, image in zip(positions, pixels, strict=True):
            if _sha256(self.key, position, image) != self.hashes[position].tobytes():
                raise ValueError(
                    f"{self.file} was changed while it was in use (image {position}); start again, or with --resume, "
                    "and its images are decoded again"
                )


def read(file: Path, key: str, images: int, size: int, advance: Advance) -> CachedPixels | None:
    """The pixels in a file, all of which are checked; None where any byte is not as it was written.

    Args:
        file: which `write` wrote.
        key: of the set (see `write`).
        images: number of images.
        size: width and height, pixels.
        advance: told of each image that was checked.
    """
    try:
        if file.stat().st_size != images * _record(size).itemsize:
            return None
        records = np.memmap(file, _record(size), mode="r", shape=(images,))
    except (OSError, ValueError):
        return None
    cached = CachedPixels(file, key, records["pixels"], np.array(records["sha256"]))
    for position in range(images):
        if _sha256(key, position, cached.pixels[position]) != cached.hashes[position].tobytes():
            return None
        advance(1, "")
    return cached


def write(file: Path, key: str, pixels: UInt8[np.ndarray, "image height width channel"]) -> None:
    """Writes pixels with their hashes, whole or not at all.

    Args:
        file: created or replaced.
        key: text that differs for sets of other images, of another order or another decoding.
        pixels: of all images.
    """

    def write_records(stream: IO[bytes]) -> None:
        for position, image in enumerate(pixels):
            stream.write(image.tobytes() + _sha256(key, position, image))

    write_whole(file, write_records, pixels.nbytes)


def _record(size: int) -> np.dtype[np.void]:
    return np.dtype([("pixels", np.uint8, (size, size, 3)), ("sha256", np.uint8, HASH_BYTES)])


def _sha256(key: str, position: int, image: NDArray[np.uint8]) -> bytes:
    digest = hashlib.sha256(f"{key} {position} ".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()
