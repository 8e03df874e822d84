"""Writing of an export: files, or one zip file of them, that are not in the way of others."""

from __future__ import annotations

import filecmp
from collections.abc import Mapping
from pathlib import Path

from in4310repro.system import archive
from in4310repro.system.files import file_sha256, path_below, read_bytes, write_file
from in4310repro.system.signals import temporary_folder

Contents = Mapping[str, bytes | Path]  # by path below a folder: what a file holds, or the file that it is a copy of
IN_THE_WAY = "is there with other content; --out takes a new or empty folder"


def write_files(to: Path, contents: Contents) -> list[Path]:
    """Write files below a folder, which is created; write none if one of them is in the way of another file.

    Raises:
        ValueError: a file is there with other bytes, or its path leads out of the folder.
        OSError: a file cannot be read or written.
    """
    places = {name: path_below(to, name) for name in contents}
    for name, place in places.items():
        if place.exists() and not _is_equal(place, contents[name]):
            raise ValueError(f"{place} {IN_THE_WAY}")
    return [
        write_file(places[name], content if isinstance(content, bytes) else read_bytes(content))
        for name, content in contents.items()
    ]


def write_archive(file: Path, contents: Contents) -> list[Path]:
    """Write files into one zip file, of equal bytes for equal files.

    Raises:
        ValueError: a file is there with other bytes, or a name is not valid everywhere.
        OSError: a file cannot be read or written.
    """
    if not file.exists():
        archive.write(file, contents)
        return [file]
    with temporary_folder() as place:
        archive.write(place / file.name, contents)
        if not filecmp.cmp(place / file.name, file, shallow=False):
            raise ValueError(f"{file} {IN_THE_WAY}")
    return [file]


def _is_equal(place: Path, content: bytes | Path) -> bool:
    if isinstance(content, bytes):
        return place.is_file() and read_bytes(place) == content
    return place.is_file() and file_sha256(place) == file_sha256(content)
