"""Locks: only one process at a time, and no lock remains after a process is killed."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from filelock import FileLock

from in4310repro.system.files import lock, refuse_locked, release, try_lock
from tests.processes import held_by_another_process

HOLD = "import sys, pathlib; from in4310repro.system.files import lock; lock(pathlib.Path(sys.argv[1])); "


def test_a_place_that_another_holds_is_refused_until_it_is_free(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".run.lock"), pytest.raises(ValueError, match=r"another process works on .*run; wait"):
        lock(tmp_path / "run")
    lock(tmp_path / "run")
    # The same process may go on.
    lock(tmp_path / "run")


def test_what_a_killed_process_left_or_this_one_holds_may_be_read(tmp_path: Path) -> None:
    place, left = tmp_path / "run", tmp_path / ".run.lock"
    left.touch()
    refuse_locked(place)
    # It may belong to another process, which is just about to lock it.
    release(place)
    assert left.exists()
    lock(place)
    refuse_locked(place)
    release(place)
    pytest.importorskip("fcntl")
    with FileLock(left), pytest.raises(ValueError, match=r"another process works on .*run; wait"):
        refuse_locked(place)


def test_several_may_share_a_lock_that_nobody_has_alone(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    (tmp_path / "used").touch()
    with ExitStack() as files:
        first, second, other = [files.enter_context((tmp_path / "used").open("rb")) for _ in range(3)]
        assert try_lock(first, shared=True)
        assert try_lock(second, shared=True)
        assert not try_lock(other, shared=False)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no folder that nobody can write to")
def test_a_place_where_nothing_can_be_written_is_not_called_held() -> None:
    with pytest.raises(OSError, match=r"\.run\.lock"):
        lock(Path("/proc/run"))


@pytest.mark.process
def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD + "print('held', flush=True); sys.stdin.read()", str(tmp_path / "run")],
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


@pytest.mark.process
@pytest.mark.parametrize("end", ["", "sys.exit(2)", "raise KeyboardInterrupt"])
def test_a_process_that_ends_leaves_no_file_of_its_lock(end: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", HOLD + end, str(tmp_path / "maps.json")], capture_output=True, check=False)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.process
@pytest.mark.parametrize("next_one", [True, False])
def test_a_file_that_its_holder_removes_meanwhile_is_no_lock(
    next_one: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, acquire, calls = tmp_path / ".run.lock", FileLock.acquire, []
    path.touch()
    with ExitStack() as others:

        def removed_while_it_is_locked(self: FileLock, *, blocking: bool) -> object:
            calls.append(self)
            held = acquire(self, blocking=blocking)
            if len(calls) == 1:
                path.unlink()
                if next_one:
                    others.enter_context(held_by_another_process(tmp_path / "run"))
            return held

        monkeypatch.setattr(FileLock, "acquire", removed_while_it_is_locked)
        if next_one:
            with pytest.raises(ValueError, match="another process works on"):
                lock(tmp_path / "run")
        else:
            lock(tmp_path / "run")
            assert path.exists()
    assert len(calls) == 2
