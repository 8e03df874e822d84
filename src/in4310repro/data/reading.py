"""Decoding of image files as upright RGB pictures, optionally square; no other module decodes pictures."""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import struct
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from in4310repro.data.folders import HEIF
from in4310repro.data.preprocessing import APPLIED, Preprocessing
from in4310repro.system.files import open_regular, reason

DEFAULT = Preprocessing()
SHOWN = 10  # files that an error names
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

    Training and `data check` both read images with this function, so they always agree. Transparent parts become
    white. 16-bit grey and 16-bit colours are reduced to their upper 8 bits. From an animation or a file of
    several pages, the first picture is read. A damaged or invalid orientation in EXIF or XMP is ignored.

    Args:
        stream: the file.
        orientation: `preprocessing.IGNORED` leaves the pixels as Pillow decodes them, as older versions did.

    Raises:
        ValueError: the bytes are not an image, are truncated, claim more pixels than Pillow allows, or have a
            mode in which the value of white is unknown, such as floats and 32-bit integers. Valid modes are
            16-bit grey, `OPAQUE_MODES` and `TRANSPARENT_MODES`.
    """
    try:
        with _warnings.ignored(), Image.open(stream, formats=_formats()) as opened:
            by_decoder, to_apply = UPRIGHT, UPRIGHT
            if opened.format == "TIFF":
                by_decoder, to_apply = _orientations_of_tiff(opened, orientation)
            opened.load()
            if 0 in opened.size:
                raise ValueError(f"it has {opened.width} x {opened.height} pixels")
            if orientation == APPLIED and opened.format not in TURNED_BY_DECODER:
                to_apply = recorded_orientation(opened)
            image = _to_rgb(opened)
            if to_apply != UPRIGHT:
                return Picture(image.transpose(TRANSPOSITIONS[to_apply]), opened.mode, to_apply)
            return Picture(image, opened.mode, by_decoder)
    except UnidentifiedImageError:
        raise ValueError(f"it is none of {', '.join(_formats())}") from None
    # Pillow's readers can raise almost anything for a corrupt file: struct.error, IndexError, zlib.error, ...
    except Exception as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


def read_image(file: Path, orientation: str = APPLIED) -> Picture:
    """Read an image file as an upright 8-bit RGB picture; see `read_rgb`.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not an image that can be read.
    """
    with open_regular(file) as stream:
        return read_rgb(stream, orientation)


def _orientations_of_tiff(image: Image.Image, orientation: str) -> tuple[int, int]:
    """Return two orientations of a TIFF: the one that Pillow applies on loading, and the one still to be applied.

    Pillow applies the orientation in EXIF. If EXIF has none, the orientation in XMP is still to be applied,
    unless `orientation` says to ignore it.
    """
    value = image.tag_v2.get(ORIENTATION_TAG)  # type: ignore[attr-defined]  # Pillow forgets it as it loads
    if value is not None:
        return (value if value in TRANSPOSITIONS else UPRIGHT), UPRIGHT
    if orientation != APPLIED:
        return UPRIGHT, UPRIGHT
    # Only some versions of Pillow apply this one.
    image.info.pop("xmp", None)
    return UPRIGHT, xmp_orientation(tiff_xmp(image))


class _UserWarnings:
    """Suppression of Pillow's warnings about damaged metadata, which do not affect pixels.

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


EXIF_PREFIX = b"Exif\0\0"
EXIF_ENTRY, EXIF_COUNT = 12, 2  # bytes of an entry of a directory, and of their number before them
ORIENTATION_TAG = 0x0112
# struct formats of single whole numbers by entry type: SHORT, LONG, SBYTE, SSHORT, SLONG and IFD. BYTE is missing since
# Pillow returns it as bytes and does not turn pictures by it.
WHOLE_NUMBERS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
UPRIGHT = 1
# Transformations that make the stored pixels upright, by the tag's value.
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def exif_orientation(block: bytes) -> int:
    r"""Return the orientation, 1 (upright) to 8, in a block of EXIF data; 1 if it contains none.

    Args:
        block: the bytes in the file, with or without JPEG's prefix.

    Examples:
        >>> exif_orientation(b"MM\0*" + bytes([0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0]))
        6
        >>> exif_orientation(b"MM\0*")
        1
    """
    return find_orientation(block) or UPRIGHT


def find_orientation(block: bytes) -> int | None:
    """Return the orientation, 1 (upright) to 8, in a block of EXIF data; None if it contains none.

    Pillow is not used to parse the block. For a damaged block it warns and returns what it could read, so the
    pixels would depend on how a process filters warnings. A block with an incomplete first directory counts as
    empty. A value outside 1 to 8 counts as 1.

    Args:
        block: the bytes in the file, with or without JPEG's prefix.
    """
    while block.startswith(EXIF_PREFIX):
        block = block.removeprefix(EXIF_PREFIX)
    try:
        value = _first_directory(block).get(ORIENTATION_TAG)
    except (struct.error, KeyError):
        return None
    return value if value is None or value in TRANSPOSITIONS else UPRIGHT


def _first_directory(block: bytes) -> dict[int, int]:
    """Return the values of the first EXIF directory by tag; 0 for each value that is not a single integer.

    Raises:
        KeyError: the block does not begin like EXIF data.
        struct.error: the directory ends beyond the block.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}[block[:4]]
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, start)
    values = {}
    for place in range(start + EXIF_COUNT, start + EXIF_COUNT + count * EXIF_ENTRY, EXIF_ENTRY):
        tag, kind, numbers, field = struct.unpack_from(f"{order}HHI4s", block, place)
        if kind in WHOLE_NUMBERS and numbers == 1:
            (values[tag],) = struct.unpack_from(order + WHOLE_NUMBERS[kind], field)
        else:
            values.setdefault(tag, 0)
    return values


RAW_PROFILE, XMP_TEXT = "Raw profile type exif", "XML:com.adobe.xmp"  # keywords of texts in a PNG
HEADER_LINES = 3  # of a raw profile: an empty one, the name and the length
XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"  # begins a JPEG's APP1
XMP_TAG = 700  # of a TIFF
# An attribute or an element; like Pillow, the first digit of its value is used.
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9]+)\s*["<]')


def recorded_orientation(image: Image.Image) -> int:
    """Return the orientation, 1 (upright) to 8, in an image's metadata; 1 if it is missing or invalid.

    EXIF is read first, as by Pillow's `ImageOps.exif_transpose`. A PNG may hold its EXIF data in the raw profile
    that ImageMagick writes. If EXIF has no orientation, XMP is read. Pillow's function is not called, since older
    versions of it look for XMP only in PNG files.

    Args:
        image: an opened and loaded image of any format but TIFF and HEIF.
    """
    found = find_orientation(_exif_block(image))
    return found or xmp_orientation(_xmp(image))


def xmp_orientation(packet: bytes) -> int:
    """Return the orientation, 1 to 8, in a packet of XMP metadata; 1 if it contains none."""
    match = XMP_ORIENTATION.search(packet)
    # A value with more than one digit is not an orientation.
    value = int(match[1]) if match and len(match[1]) == 1 else UPRIGHT
    return value if value in TRANSPOSITIONS else UPRIGHT


def tiff_xmp(image: Image.Image) -> bytes:
    """Return the XMP packet of an opened TIFF; empty if it has none."""
    packet = image.tag_v2.get(XMP_TAG)  # type: ignore[attr-defined]  # which only TIFF files have
    if isinstance(packet, tuple) and len(packet) == 1:
        packet = packet[0]
    return packet if isinstance(packet, bytes) else b""


def _exif_block(image: Image.Image) -> bytes:
    block = image.info.get("exif")
    if block is not None:
        # A compressed text of a PNG with this keyword is not EXIF.
        return block if isinstance(block, bytes) else b""
    profile = image.info.get(RAW_PROFILE)
    if not isinstance(profile, str):
        return b""
    try:
        return bytes.fromhex("".join(profile.split("\n")[HEADER_LINES:]))
    except ValueError:
        return b""


def _xmp(image: Image.Image) -> bytes:
    """Return the XMP packet of an opened image; empty if it has none."""
    segments = [content for name, content in getattr(image, "applist", ()) if name == "APP1"]
    packets = [content.removeprefix(XMP_SEGMENT) for content in segments if content.startswith(XMP_SEGMENT)]
    if packets:
        return bytes(packets[-1])
    packet = image.info.get("xmp" if image.format == "WEBP" else XMP_TEXT, b"")
    return packet.encode() if isinstance(packet, str) else bytes(packet)
