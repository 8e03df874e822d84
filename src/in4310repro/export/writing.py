"""Writing of an export: files that are not in the way of others, and copies of a run and its report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from in4310repro.system.files import file_sha256, path_below, read_bytes, write_file


def write_files(to: Path, contents: Mapping[str, bytes | Path]) -> list[Path]:
    """Write files below a folder and return their paths; write none if one of them is in the way of another file.

    Args:
        to: the folder, which is created.
        contents: the content of each file by its path below `to`, or the file that it is a copy of.

    Raises:
        ValueError: a file is there with other bytes, or its path leads out of the folder.
        OSError: a file cannot be read or written.
    """
    places = {name: path_below(to, name) for name in contents}
    for name, place in places.items():
        if place.exists() and not _is_equal(place, contents[name]):
            raise ValueError(f"{place} is there with other content; --out takes a new or empty folder")
    return [
        write_file(places[name], content if isinstance(content, bytes) else read_bytes(content))
        for name, content in contents.items()
    ]


def _is_equal(place: Path, content: bytes | Path) -> bool:
    if isinstance(content, bytes):
        return place.is_file() and read_bytes(place) == content
    return place.is_file() and file_sha256(place) == file_sha256(content)
