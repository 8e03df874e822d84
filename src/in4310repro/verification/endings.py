"""Bytes after the end of a picture: decoders ignore them, but the random split depends on them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from in4310repro.data.splits import Split
from in4310repro.system.files import read_bytes
from in4310repro.system.progress import Progress
from in4310repro.verification.check import Note
from in4310repro.verification.evidence import Evidence

PNG, JPEG, GIF = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", (b"GIF87a", b"GIF89a")
# Of JPEG's coded data: the next marker that is no stuffed byte, no restart and no filling.
MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


def trailing_notes(evidence: Evidence) -> Iterator[Note]:
    """Yield one note if any images have bytes after the end of the picture; none for generated scenes.

    Raises:
        OSError: an image cannot be read.
    """
    found = images_with_trailing_bytes(evidence.split, evidence.context.progress) if evidence.run.config.data else []
    if found:
        yield Note(
            f"{len(found)} of {len(evidence.split.catalogue().entries)} images have bytes behind the end of the "
            f"picture, such as {found[0]}: no pixel shows them, and the part of the split that an image is drawn into "
            "depends on them"
        )


def images_with_trailing_bytes(split: Split, progress: Progress) -> list[str]:
    """Return the paths of the images that have bytes after the end of the picture.

    Raises:
        OSError: an image cannot be read.
    """
    entries, found = split.catalogue().entries, []
    with progress.task("ends of images", len(entries)) as advance:
        for entry in entries:
            if bytes_behind_end(read_bytes(split.root / entry.path)):
                found.append(entry.path)
            advance(1, "")
    return found


def bytes_behind_end(data: bytes) -> int:
    """Count the bytes after the end of a BMP, GIF, JPEG, PNG or WebP picture; 0 for other formats.

    Also return 0 if the file ends before its picture does, or does not state a length.
    """
    end: Callable[[bytes], int] | None = None
    if data.startswith(PNG):
        end = _end_of_png
    elif data.startswith(JPEG):
        end = _end_of_jpeg
    elif data.startswith(GIF):
        end = _end_of_gif
    elif data.startswith(b"BM"):
        end = _end_of_bmp
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        end = _end_of_webp
    try:
        return max(0, len(data) - end(data)) if end else 0
    except IndexError:
        return 0


def _end_of_png(data: bytes) -> int:
    place = len(PNG)
    while place < len(data):
        kind = data[place + 4 : place + 8]
        place += 12 + int.from_bytes(data[place : place + 4], "big")
        if kind == b"IEND":
            return place
    raise IndexError


def _end_of_jpeg(data: bytes) -> int:
    place = 2
    while True:
        while data[place] == 0xFF:
            place += 1
        marker = data[place]
        place += 1
        if marker == END_OF_IMAGE:
            return place
        if marker in WITHOUT_LENGTH:
            continue
        place += int.from_bytes(data[place : place + 2], "big")
        if marker == START_OF_SCAN:
            found = MARKER.search(data, place)
            if found is None:
                raise IndexError
            place = found.start()


def _end_of_gif(data: bytes) -> int:
    place = 13 + _colours(data[10])
    while (kind := data[place]) != 0x3B:
        place += 2 if kind == 0x21 else 11 + _colours(data[place + 9])
        while data[place]:
            place += data[place] + 1
        place += 1
    return place + 1


def _colours(flags: int) -> int:
    """Return the size in bytes of a GIF colour table, from its flags; 0 if the flags announce none."""
    return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0


def _end_of_bmp(data: bytes) -> int:
    # Some programs write 0 for the size of the file.
    return int.from_bytes(data[2:6], "little") or len(data)


def _end_of_webp(data: bytes) -> int:
    size = 8 + int.from_bytes(data[4:8], "little")
    return size + size % 2
