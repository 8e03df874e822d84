"""EXIF orientation: how the stored pixels of a photograph must be turned to be upright."""

from __future__ import annotations

import struct

from PIL import Image

PREFIX = b"Exif\0\0"
ENTRY, COUNT = 12, 2  # bytes of an entry of a directory, and of their number before them
TAG = 0x0112
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


def orientation(block: bytes) -> int:
    r"""Return the orientation, 1 (upright) to 8, in a block of EXIF data; 1 if it contains none.

    Args:
        block: the bytes in the file, with or without JPEG's prefix.

    Examples:
        >>> orientation(b"MM\0*" + bytes([0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0]))
        6
        >>> orientation(b"MM\0*")
        1
    """
    return find_orientation(block) or UPRIGHT


def find_orientation(block: bytes) -> int | None:
    """Return the orientation, 1 (upright) to 8, in a block of EXIF data; None if it contains none.

    Pillow does not parse the block, since it warns of a damaged one and returns what it could read: pixels must
    not depend on how a process filters warnings. A block with an incomplete first directory has no entries. Any
    value outside 1 to 8 counts as 1.

    Args:
        block: the bytes in the file, with or without JPEG's prefix.
    """
    while block.startswith(PREFIX):
        block = block.removeprefix(PREFIX)
    try:
        value = _first_directory(block).get(TAG)
    except (struct.error, KeyError):
        return None
    return value if value is None or value in TRANSPOSITIONS else UPRIGHT


def _first_directory(block: bytes) -> dict[int, int]:
    """Return the first directory's values by tag; 0 for every value that is not a single integer.

    Raises:
        KeyError: the block does not begin like EXIF data.
        struct.error: the directory ends beyond the block.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}[block[:4]]
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, start)
    values = {}
    for place in range(start + COUNT, start + COUNT + count * ENTRY, ENTRY):
        tag, kind, numbers, field = struct.unpack_from(f"{order}HHI4s", block, place)
        if kind in WHOLE_NUMBERS and numbers == 1:
            (values[tag],) = struct.unpack_from(order + WHOLE_NUMBERS[kind], field)
        else:
            values.setdefault(tag, 0)
    return values
