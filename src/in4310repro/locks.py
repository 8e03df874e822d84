"""One process at a time in a folder or at a file."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

_HELD: dict[Path, FileLock] = {}


def lock(place: Path) -> None:
    """Holds a folder or a file for this process until it ends; the system releases even that of a killed one.

    Raises:
        ValueError: another process holds it.
        OSError: no lock can be written there.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    path = place.with_name(f".{place.name}.lock").absolute()
    if path in _HELD:
        return
    held = FileLock(path)
    try:
        held.acquire(blocking=False)
    except Timeout:
        # FileLock takes a folder that cannot be written for one that is held. Not beforehand: where a system has no
        # locks, a file that is there is one that is held.
        path.touch()
        raise ValueError(f"another process works on {place}; wait for it, or give another --out") from None
    _HELD[path] = held
