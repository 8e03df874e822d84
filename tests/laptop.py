"""Simulate a laptop: `python -m tests.laptop COMMAND ...` runs commands, `--imports` imports every module.

Modules that only POSIX systems have cannot be imported, nor those that `pip install in4310repro` does not
install. As on Windows, a file that this process has open or mapped can be neither renamed nor removed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

POSIX_ONLY = {"fcntl", "grp", "posixshmem", "pty", "pwd", "resource", "syslog", "termios", "tty"}
# filelock keeps its file open while it removes it, on systems that allow that.
LOCK = ".lock"


class Missing(MetaPathFinder):
    """Import finder that raises ModuleNotFoundError for the modules `names`, as if they were not installed."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> None:
        if name.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def brought_by_extras() -> set[str]:
    """Return the modules of distributions that are required only by this package's extras."""
    mandatory: set[str] = set()
    extra: set[str] = set()
    for requirement in metadata.requires("in4310repro") or []:
        name = "".join(c if c.isalnum() or c in "-_." else " " for c in requirement).split()[0].lower()
        (extra if "extra ==" in requirement else mandatory).add(name)
    names = {name.replace("-", "_") for name in extra - mandatory}
    return names | {module for module, owners in metadata.packages_distributions().items() if {*owners} & extra}


def refuse_in_use(event: str, arguments: tuple[object, ...]) -> None:
    """Raise PermissionError if an open or mapped file is renamed or removed (an audit hook)."""
    if event not in ("os.rename", "os.remove"):
        return
    for argument in arguments[:2]:
        if isinstance(argument, str | os.PathLike) and os.path.lexists(argument):
            place = f"{Path(argument).resolve()}"
            used = [file for file in in_use() if file == place or file.startswith(f"{place}{os.sep}")]
            if used and not place.endswith(LOCK):
                raise PermissionError(f"{event} of {place} while {used[0]} is in use")


def in_use() -> set[str]:
    """Return the files that this process has open or mapped; empty if the system does not list them."""
    if not Path("/proc/self/fd").exists():
        return set()
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    files = {line.split(maxsplit=5)[5] for line in maps if "/" in line}
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208  # a Path for each would be opened and closed too
        try:
            files.add(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
        except OSError:
            continue
    return files


def main(words: list[str]) -> None:
    """Run commands separated by the word `then`, or import all modules."""
    missing = POSIX_ONLY | brought_by_extras()
    sys.meta_path.insert(0, Missing(missing))
    # Which would raise what the finder raises, and not say None.
    find_spec = importlib.util.find_spec
    importlib.util.find_spec = lambda name, package=None: None if name in missing else find_spec(name, package)
    sys.addaudithook(refuse_in_use)
    if words == ["--imports"]:
        import in4310repro

        for module in pkgutil.walk_packages(in4310repro.__path__, "in4310repro."):
            # The kernels look like modules to Python, by their files' ending.
            if not module.name.endswith(("__main__", "_avx2", "_avx512", "_base")):
                importlib.import_module(module.name)
        return
    from in4310repro import cli

    while words:
        end = words.index("then") if "then" in words else len(words)
        sys.argv, words = ["in4310repro", *words[:end]], words[end + 1 :]
        try:
            cli.main()
        except SystemExit as stop:
            if stop.code:
                raise


if __name__ == "__main__":
    main(sys.argv[1:])
