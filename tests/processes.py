"""Helpers that start a process next to a test: one forked after all imports, and one that holds a lock."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Windows has no fork server; there, every process imports torch itself.
METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
if METHOD == "forkserver":
    # There is one such server a lane, and what is started first decides what it has imported.
    multiprocessing.set_forkserver_preload(["in4310repro.training.experiment", "tests.features.copies"])


@contextmanager
def held_by_another_process(place: Path) -> Iterator[None]:
    """Lock a folder or a file by another process during a `with` block."""
    imports = "import sys; from pathlib import Path; from in4310repro.system.files import lock"
    code = f"{imports}; lock(Path(sys.argv[1])); print()"
    words = [sys.executable, "-c", f"{code}; sys.stdout.flush(); sys.stdin.read()", str(place)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield
        process.communicate()
