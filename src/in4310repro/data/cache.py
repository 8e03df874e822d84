"""The cache folder for decoded images and drawn scenes: its path, its size limit and the removal of old files."""

import math
import os
import re
import reprlib
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO

import platformdirs

from in4310repro.system.files import try_lock
from in4310repro.system.machine import nearest, refuse_beyond_disk

CACHED = ("pixels", "scenes", "features")  # folders in that of the cache
SUFFIX = ".pixels"
LIMIT_VARIABLE = "IN4310REPRO_CACHE_LIMIT"
DEFAULT_LIMIT, LARGEST_LIMIT = 20.0, 1e9  # GB
NUMBER = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def cache_folder() -> Path:
    """Return the cache folder: IN4310REPRO_CACHE if set, otherwise a folder in the user's cache folder.

    Raises:
        ValueError: the user has no home folder, and the environment variable is not set.
    """
    if named := os.environ.get("IN4310REPRO_CACHE"):
        return Path(named)
    try:
        folder = platformdirs.user_cache_path("in4310repro", appauthor=False)
    except RuntimeError:
        folder = Path("~")
    # Older versions of platformdirs leave ~ in the path if there is no home folder.
    if folder.parts[0] == "~":
        raise ValueError("no home folder for the cache; IN4310REPRO_CACHE names another folder")
    return folder


def limit() -> int:
    """Return the maximum total size of all cached pixels, in bytes.

    The environment variable IN4310REPRO_CACHE_LIMIT sets it in GB; the default is 20 GB.

    Raises:
        ValueError: the variable is not a decimal number above 0 and at most `LARGEST_LIMIT`.
    """
    text = os.environ.get(LIMIT_VARIABLE, f"{DEFAULT_LIMIT}")
    # float() also accepts inf, nan, 1_000 and digits of other scripts.
    number = float(text) if NUMBER.fullmatch(text.strip(" ")) else math.nan
    if not 0 < number <= LARGEST_LIMIT:
        raise ValueError(
            f"{LIMIT_VARIABLE} is {reprlib.repr(text)}; it must be above 0 and up to {LARGEST_LIMIT:.0f} (GB), "
            f"such as {DEFAULT_LIMIT:.0f}; without the variable it is {DEFAULT_LIMIT:.0f}"
        )
    return int(number * 1e9)


def bytes_by_folder() -> dict[str, int]:
    """Return the number of bytes in each folder of the cache, by folder name."""
    folder = cache_folder()
    return {part: sum(file.lstat().st_size for file in (folder / part).rglob("*") if file.is_file()) for part in CACHED}


def make_room(file: Path, size: int, most: int) -> list[Path]:
    """Remove the least recently used files of decoded pixels until there is room for `file`.

    There is room if all files together take at most `most` bytes, and if the disk has enough free space. Files
    that a process has open are kept. `file` itself may be larger than `most`.

    Args:
        file: the file to be created or completed.
        size: the size in bytes that the file will have.
        most: the bytes that all files together may take (see `limit`).

    Returns:
        The removed files.

    Raises:
        ValueError: the disk has too little space even after the removals; the message gives the bytes needed and
            the bytes free.
    """
    others = sorted((*_measure(other), other) for other in file.parent.glob(f"*{SUFFIX}") if other != file)
    total, need, evicted = size + sum(taken for _, taken, _, _ in others), size - _measure(file)[2], []
    for _, taken, _, other in others:
        if total <= most and need <= shutil.disk_usage(nearest(file.parent)).free:
            break
        if _evict(other):
            total -= taken
            evicted.append(other)
    refuse_beyond_disk("decoded pixels take", need, file.parent, "; IN4310REPRO_CACHE names another folder")
    return evicted


def _measure(file: Path) -> tuple[float, int, int]:
    """Return when a file was last used, in seconds, its bytes, and those that it takes on the disk; 0 if it is gone."""
    try:
        status = file.stat()
    except OSError:
        return 0.0, 0, 0
    # Windows has no count of blocks, and gives a file its whole room at once.
    return status.st_mtime, status.st_size, min(status.st_size, getattr(status, "st_blocks", status.st_size) * 512)


def mark_used(stream: IO[bytes]) -> None:
    """Record that a file of decoded pixels is in use, and lock it while it is open or mapped into memory.

    A locked file is not removed. On a file system without locks, the file may be removed while it is in use,
    but processes that have it open can still read it.
    """
    # Another user's cache can be read but not modified.
    with suppress(OSError):
        os.utime(stream.fileno() if os.utime in os.supports_fd else stream.name)
    try_lock(stream, shared=True)


def claims_folder(file: Path) -> Path:
    """Return the folder of lock files by which processes share the work of decoding images into `file`."""
    return file.with_name(f".{file.stem}.claims")


def remove(file: Path) -> None:
    """Remove a file of decoded pixels; on Windows, only if no process has it open."""
    shutil.rmtree(claims_folder(file), ignore_errors=True)
    with suppress(PermissionError):
        file.unlink(missing_ok=True)


def _evict(file: Path) -> bool:
    """Remove a file unless a process uses it; return whether it has been removed."""
    with suppress(OSError), file.open("rb") as stream:
        if not try_lock(stream, shared=False):
            return False
    remove(file)
    return not file.exists()
