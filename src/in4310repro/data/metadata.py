"""Orientation of an image according to its metadata: EXIF, EXIF in a text chunk of a PNG, or XMP."""

from __future__ import annotations

import re

from PIL import Image

from in4310repro.data import exif

RAW_PROFILE, XMP_TEXT = "Raw profile type exif", "XML:com.adobe.xmp"  # keywords of texts in a PNG
HEADER_LINES = 3  # of a raw profile: an empty one, the name and the length
XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"  # begins a JPEG's APP1
XMP_TAG = 700  # of a TIFF
# An attribute or an element; like Pillow, the first digit of its value is used.
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9]+)\s*["<]')


def orientation(image: Image.Image) -> int:
    """Return the orientation, 1 (upright) to 8, in an image's metadata; 1 if it is missing or invalid.

    Like Pillow's `ImageOps.exif_transpose`, it looks in EXIF first. A PNG without EXIF may have the raw profile
    that ImageMagick writes. XMP is used if neither has an entry. Pillow's function is not called, since older
    versions of it look for XMP only in PNG.

    Args:
        image: an opened and loaded image of any format but TIFF and HEIF.
    """
    found = exif.find_orientation(_exif_block(image))
    return found or xmp_orientation(_xmp(image))


def xmp_orientation(packet: bytes) -> int:
    """Return the orientation, 1 to 8, in a packet of XMP metadata; 1 if it contains none."""
    match = XMP_ORIENTATION.search(packet)
    # A value with more than one digit is not an orientation.
    value = int(match[1]) if match and len(match[1]) == 1 else exif.UPRIGHT
    return value if value in exif.TRANSPOSITIONS else exif.UPRIGHT


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
