"""Decoding of image files as upright RGB pictures, optionally square; no other module decodes pictures."""

import hashlib
import re
import struct
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from in4310repro.data.folders import HEIF
from in4310repro.data.preprocessing import APPLIED, Preprocessing
from in4310repro.system.files import open_regular, reason

if HEIF:
    import pillow_heif

    pillow_heif.register_heif_opener()
DEFAULT = Preprocessing()
Pixels = UInt8[np.ndarray, "height width channel"]
SHOWN = 10  # files that an error names
# Restricted because Pillow passes some formats to other programs, such as EPS to Ghostscript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP", *(("HEIF",) if HEIF else ()))
OPAQUE_MODES = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
TRANSPARENT_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF's tags, and a value of the second


class Picture(NamedTuple):
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
        with _ignore_warnings(), Image.open(stream, formats=FORMATS) as opened:
            if is_tiff := opened.format == "TIFF":
                # Pillow turns it as it loads: by this tag, which it then forgets, or by XMP, whose damage it ignores.
                found = opened.tag_v2.get(ORIENTATION_TAG)  # type: ignore[attr-defined]
                packet = opened.info.pop("xmp", None) if found is None and orientation == APPLIED else None
            opened.load()
            if 0 in opened.size:
                raise ValueError(f"it has {opened.width} x {opened.height} pixels")
            if not is_tiff:
                # libheif has turned the picture by a property of the file.
                found = UPRIGHT if opened.format == "HEIF" else exif_orientation(_exif_block(opened))
                packet = opened.info.get(XMP_TEXT, "").encode() if opened.format == "PNG" else opened.info.get("xmp")
            image, turn = _to_rgb(opened), _xmp_orientation(packet) if found is None else found
            by_pillow = is_tiff and found is not None
            if turn not in TRANSPOSITIONS or not (by_pillow or orientation == APPLIED):
                turn = UPRIGHT
            elif not by_pillow:
                image = image.transpose(TRANSPOSITIONS[turn])
            return Picture(image, opened.mode, turn)
    except UnidentifiedImageError:
        raise ValueError(f"it is none of {', '.join(FORMATS)}") from None
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


_lock = threading.Lock()
_ignoring: "list[warnings.catch_warnings[None]]" = []  # one for each thread that reads now; the first one is entered


@contextmanager
def _ignore_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings about damaged metadata, which do not affect pixels.

    `warnings.catch_warnings` alone would restore wrong filters if several threads used it.
    """
    with _lock:
        _ignoring.append(warnings.catch_warnings(action="ignore", category=UserWarning))
        if len(_ignoring) == 1:
            _ignoring[0].__enter__()
    try:
        yield
    finally:
        with _lock:
            if len(_ignoring) == 1:
                _ignoring[0].__exit__(None, None, None)
            _ignoring.pop()


def _to_rgb(image: Image.Image) -> Image.Image:
    # Only TIFF files have tags.
    tags = getattr(image, "tag_v2", {BITS_PER_SAMPLE: (16,)})
    is_grey = image.mode.startswith("I;16") and tags.get(BITS_PER_SAMPLE) == (16,)
    # 16-bit grey from 0 (black) to 65535 (white); Pillow opens PPM with more than 8 bits in mode I, scaled to 65535.
    if (is_grey and tags.get(PHOTOMETRIC) != WHITE_IS_ZERO) or (image.mode, image.format) == ("I", "PPM"):
        values = np.asarray(image)
        if "transparency" in image.info:
            values = np.where(values == image.info["transparency"], 65535, values)
        # Pillow's own conversion to RGB clips at 255.
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode not in OPAQUE_MODES + TRANSPARENT_MODES:
        raise ValueError(
            f"a {image.format} file of mode {image.mode} has no certain RGB values; it must be grey of 8 or 16 bits, "
            "a palette, RGB, CMYK or YCbCr, so save it as RGB"
        )
    if "transparency" in image.info or image.mode in TRANSPARENT_MODES:
        # Pillow converts La only to LA.
        opaque = image.convert("LA" if image.mode == "La" else image.mode).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")


class UnreadableImagesError(ValueError):
    """Error for images that cannot be read, with the reason for each file."""

    def __init__(self, reasons: Mapping[Path, str]) -> None:
        self.reasons = reasons
        count, listed = len(reasons), [f"{file} ({why})" for file, why in reasons.items()][:SHOWN]
        several = (
            f"{count} files are not readable images: {'; '.join(listed)}"
            f"{f'; {count - SHOWN} more' if count > SHOWN else ''}; replace or remove them"
        )
        (file, why), *_ = reasons.items()
        super().__init__(several if count > 1 else f"{file} is not a readable image ({why}); replace or remove it")


def decode(file: Path, size: int, sha256: str | None = None, preprocessing: Preprocessing = DEFAULT) -> Pixels:
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
        raise UnreadableImagesError({file: reason(error)}) from None
    if changed:
        raise ValueError(f"image {file} was changed while it was read; start again")
    return crop_square(image, size, preprocessing)


def crop_square(image: Image.Image, size: int, preprocessing: Preprocessing = DEFAULT) -> Pixels:
    """Return the central square of an RGB image, resized to `size` x `size` pixels.

    Cropping and resizing are one step, so that a pixel at the edge is weighted by its fraction inside the square.
    """
    side = min(image.size) * preprocessing.crop_ratio
    left, top = ((length - side) / 2 for length in image.size)
    method = Image.Resampling[preprocessing.interpolation.upper()]
    return np.asarray(image.resize((size, size), method, (left, top, left + side, top + side)))


EXIF_PREFIX, EXIF_ENTRY = b"Exif\0\0", 12  # before the data in a JPEG; bytes of an entry of a directory
ORIENTATION_TAG, UPRIGHT = 0x0112, 1
# struct formats of single whole numbers by entry type: SHORT, LONG, SBYTE, SSHORT, SLONG and IFD. BYTE is missing since
# Pillow returns it as bytes and does not turn pictures by it.
WHOLE_NUMBERS = {3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I"}
# Transformations that make the stored pixels upright, by the tag's value.
Turn = Image.Transpose
TRANSPOSITIONS = {
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_90,
}
RAW_PROFILE, XMP_TEXT = "Raw profile type exif", "XML:com.adobe.xmp"  # keywords of texts in a PNG
HEADER_LINES = 3  # of a raw profile: an empty one, the name and the length
# An attribute or an element, of one digit.
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9]+)\s*["<]')


def exif_orientation(block: bytes) -> int | None:
    r"""Return the orientation, 1 (upright) to 8, in a block of EXIF data; None if it contains none, 1 if it is invalid.

    Pillow is not used to parse the block. For a damaged block it warns and returns what it could read, so the
    pixels would depend on how a process filters warnings. A block with an incomplete first directory counts as
    empty.

    Args:
        block: the bytes in the file, with or without JPEG's prefix.

    Examples:
        >>> exif_orientation(b"MM\0*" + bytes([0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0]))
        6
        >>> exif_orientation(b"MM\0*")
    """
    while block.startswith(EXIF_PREFIX):
        block = block.removeprefix(EXIF_PREFIX)
    try:
        order = {b"II*\0": "<", b"MM\0*": ">"}[block[:4]]
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
    except (struct.error, KeyError):
        return None
    directory, found = block[start + 2 :][: count * EXIF_ENTRY], None
    if len(directory) < count * EXIF_ENTRY:
        return None
    for tag, kind, numbers, field in struct.iter_unpack(f"{order}HHI4s", directory):
        if tag == ORIENTATION_TAG and kind in WHOLE_NUMBERS and numbers == 1:
            (found,) = struct.unpack_from(order + WHOLE_NUMBERS[kind], field)
        elif tag == ORIENTATION_TAG:
            found = found or 0
    return found if found is None or found in TRANSPOSITIONS else UPRIGHT


def _xmp_orientation(packet: object) -> int:
    """Return the orientation in a packet of XMP metadata; `UPRIGHT` if it contains none or is not bytes."""
    match = XMP_ORIENTATION.search(packet) if isinstance(packet, bytes) else None
    return int(match[1]) if match and len(match[1]) == 1 else UPRIGHT


def _exif_block(image: Image.Image) -> bytes:
    """Return the EXIF data of a loaded image, of a PNG also from the raw profile that ImageMagick writes."""
    if (block := image.info.get("exif")) is not None:
        # A compressed text of a PNG with this keyword is not EXIF.
        return block if isinstance(block, bytes) else b""
    try:
        return bytes.fromhex("".join(image.info.get(RAW_PROFILE, "").split("\n")[HEADER_LINES:]))
    except ValueError:
        return b""
