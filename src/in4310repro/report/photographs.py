"""Photographs on a page of the report: which are shown, and their JPEG encoding."""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from in4310repro.data.preprocessing import APPLIED, Preprocessing
from in4310repro.data.reading import decode
from in4310repro.report.exhibit import Exhibit

PIXELS, QUALITY = 96, 80


@dataclass(frozen=True)
class Photograph:
    """An image that a page may show: its file, and the sha256 that the file must have."""

    file: Path
    sha256: str
    orientation: str = APPLIED  # as the run's network reads it


def list_shown_paths(all_exhibits: Iterable[Exhibit]) -> list[str]:
    """Return the image paths of the photographs on a page in order of appearance, with repetitions."""
    return [path for each in sorted(all_exhibits, key=lambda each: each.last) for path in each.photographs]


def load_jpeg(photographs: Mapping[str, Photograph], path: str) -> bytes:
    """Return a photograph as a small JPEG file.

    Raises:
        ValueError: the image is not among the photographs, is missing, or its bytes do not match its sha256.
    """
    if path not in photographs:
        raise ValueError(f"image {path} is not in the split of the run; expected an image of the split")
    buffer = io.BytesIO()
    shown = photographs[path]
    pixels = decode(shown.file, PIXELS, shown.sha256, Preprocessing(orientation=shown.orientation))
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
