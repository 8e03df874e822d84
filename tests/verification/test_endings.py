"""Bytes after the end of a picture, tested on files that Pillow wrote."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from in4310repro.data.folders import catalogue
from in4310repro.data.splits import stratified_split
from in4310repro.system.progress import SILENT
from in4310repro.verification.endings import bytes_behind_end, images_with_trailing_bytes

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8))


def written(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    PICTURE.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("BMP", {}),
        ("PNG", {}),
        ("GIF", {}),
        ("GIF", {"save_all": True, "append_images": [PICTURE.quantize(8), PICTURE.rotate(90)]}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_blocks": 1}),
        # A preview has an end of its own.
        ("JPEG", {"exif": b"Exif\0\0" + written("JPEG")}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_bytes_behind_the_end_are_counted_and_a_picture_as_written_has_none(kind: str, options: Any) -> None:
    data = written(kind, **options)
    assert bytes_behind_end(data) == 0
    assert bytes_behind_end(data + b"xyz") == 3
    assert bytes_behind_end(data + data) == len(data)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(Image.open(io.BytesIO(data + b"xyz"))))
    # What is cut has nothing behind its end, wherever it is cut.
    assert not any(bytes_behind_end(data[:length]) for length in range(0, len(data), 7))


@pytest.mark.parametrize(
    "data", [b"", b"BM", b"\xff\xd8", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"text" * 50]
)
def test_what_is_no_picture_has_no_end(data: bytes) -> None:
    assert bytes_behind_end(data) in (0, 4)


def test_images_with_bytes_behind_their_end_are_counted(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(6):
            Image.new("RGB", (8, 8), (number, 40 * (label == "a"), 0)).save(tmp_path / f"{label}/{number}.png")
    split = stratified_split(catalogue(tmp_path), (6, 3, 3), 0)
    assert images_with_trailing_bytes(split, SILENT) == []
    file = tmp_path / "b/3.png"
    file.write_bytes(file.read_bytes() + b"ground")
    assert images_with_trailing_bytes(split, SILENT) == ["b/3.png"]
