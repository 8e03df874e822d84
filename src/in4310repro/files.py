"""Files that are written whole or not at all, their hashes, and JSON."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Creates or replaces a file in one step.

    The content goes to a temporary file beside the target, is synced, and then renamed: a reader, or a process that is
    killed, finds the old file or the new one and never half of it.

    Args:
        path: the file; its folder is made where it is missing.
        write: puts the content into a binary stream.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own for each writer, so that two processes do not write into one temporary file.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, data: bytes) -> Path:
    """Creates or replaces a file with these bytes in one step; returns its path."""
    write_whole(path, lambda file: file.write(data))
    return path


def file_sha256(path: Path) -> str:
    """Lower-case hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_bytes(value: Any) -> bytes:
    """Readable JSON whose floats read back as they were.

    Raises:
        ValueError: a number is nan or infinite, which JSON has no words for.
    """
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        ValueError: the file is not there or holds no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path} is not there") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from None
