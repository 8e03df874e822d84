"""Lines of a training's own code that read what `surroundings` and `execution` replace."""

from __future__ import annotations

import multiprocessing
import sys
import sysconfig
from pathlib import Path

OWN = str(Path(__file__).parents[1])
LIBRARIES = ("site-packages", "dist-packages")  # folders
STANDARD = tuple({sysconfig.get_path(each) for each in ("stdlib", "platstdlib")})


class Notes:
    """Lines of the training's own code that read what was replaced; worker processes append to the same file."""

    def __init__(self, file: Path) -> None:
        self._file, self._known = file, set[str]()

    def add(self, what: str) -> bool:
        """Note the line that led here, unless a library lies between; return whether it is the training's own code."""
        if not (place := _place()):
            return False
        where = " in a worker process" if multiprocessing.parent_process() else ""
        line = f"{what} at {place}{where}\n"
        if line not in self._known:
            self._known.add(line)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line)
        return True


def _place() -> str:
    """Return the innermost line of code outside of the standard library and of this package; empty in a library."""
    frame = sys._getframe(2)
    while frame := frame.f_back:  # type: ignore[assignment]
        name = frame.f_code.co_filename
        if is_library(name):
            return ""
        if is_own(name):
            return f"{Path(name).name}:{frame.f_lineno}"
    return ""


def is_direct() -> bool:
    """Return whether what called this package is the training's own code, and neither a library nor Python's."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(OWN) and frame.f_back:
        frame = frame.f_back
    return is_own(frame.f_code.co_filename)


def is_library(file: str) -> bool:
    """Return whether a file of code belongs to an installed library."""
    return any(each in Path(file).parts for each in LIBRARIES)


def is_own(file: str) -> bool:
    """Return whether a file of code is the training's own: of no library, and not of Python or this package."""
    return not is_library(file) and not file.startswith(("<", OWN, *STANDARD))
