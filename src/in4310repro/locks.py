"""One process at a time in a folder or at a file."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

_HELD: dict[Path, IO[str]] = {}


def lock(place: Path) -> None:
    """Holds a folder or a file for this process until it ends; the system releases even that of a killed one.

    Raises:
        ValueError: another process holds it.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    path = place.with_name(f".{place.name}.lock").absolute()
    if path in _HELD:
        return
    file = path.open("w")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise ValueError(f"another process works on {place}; wait for it, or give another --out") from None
    _HELD[path] = file
