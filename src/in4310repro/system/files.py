"""File access: atomic writes, reading restricted to regular files, hashes, and JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

LARGEST_TEXT = 2**28  # bytes of a file of JSON, TOML or CSV
LARGEST = 2**32  # bytes of any file that is read whole
REASONS = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EMFILE: "too many files are open; a higher `ulimit -n` allows more",
    errno.ENFILE: "too many files are open on this machine",
    errno.ENOENT: "it is not there",
    errno.ENOTDIR: "a part of the path is no folder",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "there is a file in the place of a folder",
    errno.ELOOP: "its links lead in a circle",
    errno.EIO: "the disk reports an error",
    errno.EFBIG: "the file would be larger than the disk or a limit (`ulimit -f`) allows",
} | ({errno.EDQUOT: "the quota of the disk is used up"} if hasattr(errno, "EDQUOT") else {})
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def reason(error: OSError) -> str:
    """Return the operating system's reason for an error in words, without the file's name."""
    return REASONS.get(error.errno or 0) or error.strerror or str(error)


def describe(error: OSError) -> str:
    """Return the error as a sentence, which names the file if the error has one."""
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {reason(error)}"
    # Of `write_atomically`, a sentence already.
    if error.strerror and error.errno is not None and error.strerror != os.strerror(error.errno):
        return error.strerror
    return reason(error)


@contextmanager
def open_regular(path: Path, largest: int = LARGEST) -> Iterator[BufferedReader]:
    """Open a regular file for reading; refuse other files, such as pipes, without blocking.

    Args:
        path: a file, or a link to one.
        largest: the file's maximal number of bytes.

    Raises:
        ValueError: the path leads to a folder, named pipe, socket or device, or the file is too large.
        OSError: the file does not exist or cannot be opened.
    """
    # Before it is opened too: to open a device can have an effect, and a socket cannot be opened.
    _refuse_irregular(path, path.stat())
    # A pipe that took the file's place since would wait for its writer.
    with open(path, "rb", opener=_open_without_waiting) as file:
        status = os.fstat(file.fileno())
        _refuse_irregular(path, status)
        if status.st_size > largest:
            raise ValueError(f"{path} has {status.st_size} bytes; up to {largest} are valid")
        yield file


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _refuse_irregular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in KINDS if is_kind(status.st_mode)), "no regular file")
        raise ValueError(f"{path} is {kind}; a regular file is needed")


def read_bytes(path: Path, largest: int = LARGEST) -> bytes:
    """Return the content of a regular file.

    Raises:
        ValueError: the path leads to a folder, named pipe, socket or device, or the file is too large.
        OSError: the file does not exist or cannot be opened.
    """
    with open_regular(path, largest) as file:
        return file.read()


def read_text(path: Path) -> str:
    """Return the text of a regular UTF-8 file.

    Raises:
        ValueError: the file is not regular or is too large, or its bytes are not UTF-8 (UnicodeDecodeError).
        OSError: the file does not exist or cannot be opened.
    """
    return read_bytes(path, LARGEST_TEXT).decode()


def write_atomically(path: Path, write: Callable[[IO[bytes]], object], size: int | None = None) -> None:
    """Create or replace a file in one step, so that no reader sees an incomplete file.

    The content is written to a temporary file in the same folder and synced to the disk. Then the file is
    renamed. If the process is killed, either the old file or the new one is there.

    Args:
        path: the file; its folder is created if it is missing.
        write: a function that writes the content to a binary stream.
        size: number of bytes of the content, for the message about a full disk.

    Raises:
        ValueError: the path is empty, or leads to a folder, named pipe, socket or device.
        OSError: the file cannot be written; the message names it and, for a full disk, the bytes needed and
            free.
    """
    if not path.name:
        raise ValueError(f"{path} is a folder; the name of a file is needed")
    # A name of its own for each writer, so that two processes do not write into one temporary file.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    with name_file_in_errors(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            _refuse_irregular(path, path.stat())
        try:
            with temporary.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def name_file_in_errors(path: Path, size: int | None = None) -> Iterator[None]:
    """Re-raise an OSError with the file's name and, if the disk is full, the bytes needed and free."""
    try:
        yield
    except OSError as error:
        raise type(error)(error.errno, f"{path} cannot be written: {reason(error)}{_need(error, path, size)}") from None


def _need(error: OSError, path: Path, size: int | None) -> str:
    """Return a clause on the bytes needed and free if the disk is full; empty for other errors."""
    # NumPy's has no number.
    if size is None or error.errno not in (None, errno.ENOSPC):
        return ""
    return f"; it takes {size} bytes and {shutil.disk_usage(path.parent).free} are free"


def write_file(path: Path, data: bytes) -> Path:
    """Create or replace a file in one step with these bytes; return its path.

    Raises:
        ValueError: the path is empty, or leads to a folder, named pipe, socket or device.
        OSError: the file cannot be written; the message names it.
    """
    write_atomically(path, lambda file: file.write(data), len(data))
    return path


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes in lower-case hex.

    Raises:
        ValueError: the path leads to a folder, named pipe, socket or device, or the file is too large.
        OSError: the file does not exist or cannot be opened.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_bytes(value: Any) -> bytes:
    """Return the value as indented JSON, with floats written so that they read back equal.

    Raises:
        ValueError: a number is nan or infinite, which JSON cannot represent.
    """
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        ValueError: the file does not exist, is not a regular file, or does not contain JSON.
    """
    try:
        content = read_bytes(path, LARGEST_TEXT)
    except FileNotFoundError:
        raise ValueError(f"{path} is not there") from None
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {strip_advice(error)}") from None


def strip_advice(error: Exception) -> str:
    """Return a parser's error message, without Python's advice to raise a limit of the interpreter."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    return "a number has too many digits" if "integer string conversion" in str(error) else str(error)
