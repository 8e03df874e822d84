"""Photographs on a page, as small JPEG files."""

import io
from pathlib import Path

from PIL import Image

from in4310repro.data.preprocessing import APPLIED, Preprocessing
from in4310repro.data.reading import decode

PIXELS, QUALITY = 96, 80


def load_jpeg(file: Path, sha256: str, orientation: str = APPLIED) -> bytes:
    """Return an image that a network reads in this orientation as a small JPEG file.

    Raises:
        ValueError: the image is missing, or its bytes do not match its sha256.
    """
    buffer = io.BytesIO()
    pixels = decode(file, PIXELS, sha256, Preprocessing(orientation=orientation))
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
