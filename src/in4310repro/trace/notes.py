"""Lines of a training's own code that read what `surroundings` and `execution` replace."""

import multiprocessing
import sys
import sysconfig
from pathlib import Path

OWN = str(Path(__file__).parents[1])
LIBRARIES = ("site-packages", "dist-packages")  # folders
STANDARD = tuple({sysconfig.get_path(each) for each in ("stdlib", "platstdlib")})


class Notes:
    """Log of the lines of user code that called a replaced function; worker processes append to the same file."""

    def __init__(self, file: Path) -> None:
        self._file, self._known = file, set[str]()

    def add(self, what: str) -> str:
        """Log `what` with the line of user code that led to this call, and return FILE:LINE.

        If a library made the call, log nothing and return an empty text.
        """
        if not (place := _place()):
            return ""
        where = " in a worker process" if multiprocessing.parent_process() else ""
        line = f"{what} at {place}{where}\n"
        if line not in self._known:
            self._known.add(line)
            with self._file.open("a", encoding="utf-8") as file:
                file.write(line)
        return place


def _place() -> str:
    """Return `FILE:LINE` of the innermost user code on the stack.

    The text is empty if this user code reached the present call through a library.
    """
    frame = sys._getframe(2)
    while frame := frame.f_back:  # type: ignore[assignment]
        name = frame.f_code.co_filename
        if is_library(name):
            return ""
        if is_own(name):
            return f"{Path(name).name}:{frame.f_lineno}"
    return ""


def is_direct() -> bool:
    """Return whether user code called this package directly, not through a library or Python itself."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(OWN) and frame.f_back:
        frame = frame.f_back
    return is_own(frame.f_code.co_filename)


def is_library(file: str) -> bool:
    """Return whether a source file belongs to an installed library."""
    return any(each in Path(file).parts for each in LIBRARIES)


def is_own(file: str) -> bool:
    """Return whether a source file is user code, not part of Python, a library or this package."""
    return not is_library(file) and not file.startswith(("<", OWN, *STANDARD))
