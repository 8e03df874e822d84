"""Locks: one process at a time, and none that a killed process leaves behind."""

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from in4310repro.locks import lock


def test_a_place_that_another_holds_is_refused_until_it_is_free(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".run.lock"), pytest.raises(ValueError, match=r"another process works on .*run; wait"):
        lock(tmp_path / "run")
    lock(tmp_path / "run")
    # The same process may go on.
    lock(tmp_path / "run")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no folder that nobody can write to")
def test_a_place_where_nothing_can_be_written_is_not_called_held() -> None:
    with pytest.raises(OSError, match=r"\.run\.lock"):
        lock(Path("/proc/run"))


@pytest.mark.process
def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    code = "import sys, os, signal, pathlib; from in4310repro.locks import lock; lock(pathlib.Path(sys.argv[1])); "
    with subprocess.Popen(
        [sys.executable, "-c", code + "print('held', flush=True); sys.stdin.read()", str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another process works on"):
            lock(tmp_path / "run")
        process.kill()
    lock(tmp_path / "run")
