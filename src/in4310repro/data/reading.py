"""Decoding of image files to upright RGB pictures; no other module decodes pictures."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
from PIL import Image, UnidentifiedImageError

from in4310repro.data import exif, metadata
from in4310repro.data.folders import HEIF
from in4310repro.data.preprocessing import APPLIED

# Restricted because Pillow passes some formats to other programs, such as EPS to Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
OPAQUE_MODES = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
TRANSPARENT_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF's tags, and a value of the second
# Formats whose decoder turns the picture itself: Pillow by the tag of a TIFF, libheif by a property of the file.
TURNED_BY_DECODER = ("TIFF", "HEIF")


@dataclass(frozen=True)
class Picture:
    """A decoded picture, with the metadata that its file contains."""

    image: Image.Image  # 8-bit RGB
    mode: str  # Pillow's, of the file
    orientation: int  # that was applied to the stored pixels, a value of EXIF's tag; 1 where they were upright


def read_rgb(stream: IO[bytes], orientation: str = APPLIED) -> Picture:
    """Read an opened image file as an upright 8-bit RGB picture.

    Training and `data check` both read images here, so that they never disagree. Transparent parts become white,
    16-bit grey and 16-bit colours are reduced to their upper 8 bits, and an animation or a file of several pages
    is its first picture. A damaged or impossible orientation, in EXIF or XMP, counts as none.

    Args:
        stream: the file.
        orientation: `preprocessing.IGNORED` leaves the pixels as Pillow decodes them, as older versions did.

    Raises:
        ValueError: the bytes are no image, are truncated, claim more pixels than Pillow allows, or have a mode in
            which the value of white is unknown, such as floats and 32-bit integers. Known are 16-bit grey,
            `OPAQUE_MODES` and `TRANSPARENT_MODES`.
    """
    try:
        with _warnings.ignored(), Image.open(stream, formats=_formats()) as opened:
            by_decoder, to_apply = exif.UPRIGHT, exif.UPRIGHT
            if opened.format == "TIFF":
                by_decoder, to_apply = _orientations_of_tiff(opened, orientation)
            opened.load()
            if 0 in opened.size:
                raise ValueError(f"it has {opened.width} x {opened.height} pixels")
            if orientation == APPLIED and opened.format not in TURNED_BY_DECODER:
                to_apply = metadata.orientation(opened)
            image = _to_rgb(opened)
            if to_apply != exif.UPRIGHT:
                return Picture(image.transpose(exif.TRANSPOSITIONS[to_apply]), opened.mode, to_apply)
            return Picture(image, opened.mode, by_decoder)
    except UnidentifiedImageError:
        raise ValueError(f"it is none of {', '.join(_formats())}") from None
    # Pillow's readers can raise almost anything for a corrupt file: struct.error, IndexError, zlib.error, ...
    except Exception as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


def _orientations_of_tiff(image: Image.Image, orientation: str) -> tuple[int, int]:
    """Return two orientations of a TIFF: the one that Pillow applies on loading, and the one left to apply."""
    value = image.tag_v2.get(exif.TAG)  # type: ignore[attr-defined]  # Pillow forgets it as it loads
    if value is not None:
        return (value if value in exif.TRANSPOSITIONS else exif.UPRIGHT), exif.UPRIGHT
    if orientation != APPLIED:
        return exif.UPRIGHT, exif.UPRIGHT
    # Only some versions of Pillow apply this one.
    image.info.pop("xmp", None)
    return exif.UPRIGHT, metadata.xmp_orientation(metadata.tiff_xmp(image))


class _UserWarnings:
    """Switch for Pillow's warnings about damaged metadata, which do not affect pixels.

    `warnings.catch_warnings` alone would restore wrong filters if several threads used it.
    """

    def __init__(self) -> None:
        self._lock, self._threads, self._filters = threading.Lock(), 0, warnings.catch_warnings()

    @contextmanager
    def ignored(self) -> Iterator[None]:
        with self._lock:
            if not self._threads:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore", UserWarning)
            self._threads += 1
        try:
            yield
        finally:
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    self._filters.__exit__(None, None, None)


_warnings = _UserWarnings()


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return the image formats that can be read, after registering the reader of HEIF if it is installed."""
    if not HEIF:
        return FORMATS
    import pillow_heif

    pillow_heif.register_heif_opener()
    return (*FORMATS, "HEIF")


def _to_rgb(image: Image.Image) -> Image.Image:
    if _is_16_bit_grey(image):
        values = np.asarray(image)
        if "transparency" in image.info:
            values = np.where(values == image.info["transparency"], 65535, values)
        # Pillow's own conversion to RGB clips at 255.
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode not in OPAQUE_MODES + TRANSPARENT_MODES:
        raise ValueError(
            f"a {image.format} file of mode {image.mode} has no certain RGB values; valid are grey of 8 or 16 bits, "
            "palettes, RGB, CMYK and YCbCr, so save it as RGB"
        )
    if "transparency" in image.info or image.mode in TRANSPARENT_MODES:
        # Pillow converts La only to LA.
        opaque = image.convert("LA" if image.mode == "La" else image.mode).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")


def _is_16_bit_grey(image: Image.Image) -> bool:
    """Return whether an image's values are 16-bit grey, from 0 (black) to 65535 (white)."""
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]  # which only TIFF files have
        return (
            image.mode.startswith("I;16")
            and tags.get(BITS_PER_SAMPLE) == (16,)
            and tags.get(PHOTOMETRIC) != WHITE_IS_ZERO
        )
    # Older versions of Pillow open 16-bit PNG in mode I; all do so for PPM with more than 8 bits, scaled to 65535.
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
