"""Locks on folders and files, which only one process at a time can hold."""

from __future__ import annotations

import atexit
import contextlib
import os
from pathlib import Path

from filelock import FileLock, Timeout

_HELD: dict[Path, FileLock] = {}


def lock(place: Path) -> None:
    """Lock a folder or file until this process ends.

    The lock is a file beside the locked one, which is removed when the process ends. A killed process leaves
    the file behind, but the file then no longer locks anything.

    Raises:
        ValueError: another process has locked it.
        OSError: the lock's file cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    path = place.with_name(f".{place.name}.lock").absolute()
    if path in _HELD:
        return
    held = FileLock(path)
    try:
        while not _is_at_path(held, path):
            held.release()
    except Timeout:
        # FileLock takes a folder that cannot be written for one that is held. Not beforehand: where a system has no
        # locks, a file that is there is one that is held.
        path.touch()
        raise ValueError(f"another process works on {place}; wait for it, or give another --out") from None
    _HELD[path] = held
    atexit.register(_remove, path)


def _is_at_path(held: FileLock, path: Path) -> bool:
    """Acquire the lock; return whether its file is still the one at the path.

    If the previous holder has removed the file after it was opened here, the next process locks a new file.

    Raises:
        Timeout: another process holds the lock.
    """
    before = _status(path)
    held.acquire(blocking=False)
    after = _status(path)
    return after is not None and (before is None or os.path.samestat(before, after))


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _remove(path: Path) -> None:
    """Remove a lock's file and release the lock; Windows cannot remove a file that a process has open."""
    with contextlib.suppress(OSError):
        path.unlink()
    _HELD.pop(path).release()
