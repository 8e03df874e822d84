"""The eight orientations of an image, and the perceptual hashes of all eight from one cosine transform."""

from __future__ import annotations

import numpy as np
import scipy.fftpack
from jaxtyping import Float64
from PIL import Image

SIDE, KEPT = 32, 8  # of the grey image that is transformed, and of the lowest frequencies that are kept
# Transformations of an image into each of its orientations, the first unchanged.
ORIENTATIONS = (
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_90,
    Image.Transpose.TRANSVERSE,
)
# Inverse transformation of each orientation.
INVERSE = (0, 1, 2, 3, 4, 6, 5, 7)
# Description of each orientation for a person.
NAMES = (
    "as it is",
    "mirrored",
    "mirrored upside down",
    "turned by 180 degrees",
    "mirrored along a diagonal",
    "turned right",
    "turned left",
    "mirrored along the other diagonal",
)
# A cosine of odd frequency changes sign when reversed.
SIGNS = np.where(np.arange(KEPT) % 2, -1.0, 1.0)


def turn(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image turned or mirrored into one of `ORIENTATIONS`."""
    method = ORIENTATIONS[orientation]
    return image if method is None else image.transpose(method)


def hashes(image: Image.Image) -> tuple[int, ...]:
    """Return the 64-bit perceptual hash, as `imagehash.phash` gives it, of an image in each of `ORIENTATIONS`.

    A bit of the hash says if one of the lowest frequencies of the grey image's cosine transform is above their
    median. The image is transformed only once: mirroring changes the sign of its odd frequencies, and mirroring
    along a diagonal transposes them.
    """
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    lowest = scipy.fftpack.dct(scipy.fftpack.dct(grey, axis=0), axis=1)[:KEPT, :KEPT]
    mirrored = [
        frequencies * down * right
        for frequencies in (lowest, lowest.T)
        for down in (1.0, SIGNS[:, None])
        for right in (1.0, SIGNS)
    ]
    return tuple(map(_bits, mirrored))


def _bits(frequencies: Float64[np.ndarray, "down right"]) -> int:
    """Return one bit per frequency, row by row, as an integer with the first bit as the most significant."""
    above = frequencies > np.median(frequencies)
    return int.from_bytes(np.packbits(above).tobytes(), "big")
