"""Processes under torchrun, one of which fails or hangs: one message, one exit code, and no hang."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest

from benchmarks.shares import find_free_port
from tests.torchrun import start_torchrun, wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="signals to another process, and /proc to see that it ended"),
]
SLOW, SOAK = pytest.mark.slow, pytest.mark.soak
WRONG, INTERRUPTED = "9 is wrong; 1 to 3 are valid", "interrupted; run is kept"


@pytest.mark.parametrize("by_command", [False, pytest.param(True, marks=SLOW)], ids=["forked", "started"])
def test_an_error_of_any_process_is_said_once_and_is_the_end_of_all(by_command: bool, tmp_path: Path) -> None:
    with start_torchrun(tmp_path, 2, "error on 1", by_command=by_command) as command:
        assert command.ends() == 1
    message = f"rank 1: {WRONG}"
    assert command.said() == ["printed by 0", f"in4310repro: {message}"]
    assert command.status() == (2, message, 1)
    assert "ValueError: 9 is wrong" in command.output()
    # Older launchers stop the others before they have said that they end, too.
    assert {*re.findall(r"exitcode +: (-?[0-9]+)", command.output())} == {"2"}


@pytest.mark.parametrize(
    ("number", "rank"),
    [
        (signal.SIGKILL, 1),
        pytest.param(signal.SIGKILL, 0, marks=SOAK),
        # Of a stopped process the others hear nothing: their main threads wait for it.
        pytest.param(signal.SIGSTOP, 1, marks=SOAK),
        pytest.param(signal.SIGSTOP, 0, marks=SOAK),
    ],
)
def test_a_killed_or_stopped_process_ends_the_others_and_is_named_with_what_is_kept(
    number: signal.Signals, rank: int, tmp_path: Path
) -> None:
    with start_torchrun(tmp_path, 3, "endless") as command:
        if rank == 0:
            # It tells the others once a second what is kept.
            command.number(0)
            time.sleep(2)
        command.send(number, rank)
        assert command.ends() == 1
    (_, said) = command.said()
    assert said.startswith(f"in4310repro: rank {rank} of 3 has not answered for ")
    assert said.endswith(" s; run is kept, with any number of processes")
    # Rank 0 alone writes into the folder of the run.
    if rank == 0:
        assert not (tmp_path / "run/status.json").exists()
    else:
        assert command.status() == (130, said.removeprefix("in4310repro: "), 1)


@SOAK
@pytest.mark.parametrize("case", ["busy 1", "ends early 0", "ends early 1"])
def test_a_process_that_is_busy_for_longer_than_the_silence_or_has_done_its_part_is_not_missed(
    case: str, tmp_path: Path
) -> None:
    with start_torchrun(tmp_path, 2, case) as command:
        assert command.ends() == 0
    assert command.said() == ["printed by 0"]
    assert command.status() == (0, "", 0)


@SOAK
def test_processes_that_were_all_stopped_for_long_go_on(tmp_path: Path) -> None:
    """A sleeping laptop stops all processes; after it wakes, no process may report another one as lost."""
    with start_torchrun(tmp_path, 2, "endless") as command:
        command.send(signal.SIGSTOP, 0, 1)
        time.sleep(16)
        command.send(signal.SIGCONT, 0, 1)
        time.sleep(4)
        command.agent.terminate()
        command.ends()
    assert command.said()[1:] == [f"in4310repro: {INTERRUPTED}"]


@SOAK
@pytest.mark.parametrize(
    ("case", "code", "message"),
    [
        ("error on 0", 2, WRONG),
        ("error before 0", 2, WRONG),
        # It ends those that wait for it.
        ("error before 1", 2, f"rank 1: {WRONG}"),
        ("fault on 1", 70, "rank 1: error in the program: KeyError: 'sea'; its traceback is in "),
    ],
)
def test_an_error_of_any_kind_and_moment_has_its_rank_and_exit_code(
    case: str, code: int, message: str, tmp_path: Path
) -> None:
    with start_torchrun(tmp_path, 2, case) as command:
        assert command.ends() == 1
    (line,) = (line for line in command.said() if line != "printed by 0")
    assert line.startswith(f"in4310repro: {message}")
    assert command.status() == (code, line.removeprefix("in4310repro: "), int(case[-1]))


@pytest.mark.parametrize(
    ("number", "to_processes", "to_torchrun"),
    [
        pytest.param(signal.SIGTERM, (), True, marks=SLOW),
        pytest.param(signal.SIGINT, (), True, marks=SOAK),
        # Ctrl-C reaches the processes twice: from the terminal, as members of its process group, and from torchrun.
        pytest.param(signal.SIGINT, (0, 1, 2), True, marks=SOAK),
        pytest.param(signal.SIGTERM, (1,), False, marks=SOAK),
    ],
)
def test_a_signal_to_torchrun_or_a_process_is_the_end_of_a_step_and_its_checkpoint(
    number: signal.Signals, to_processes: tuple[int, ...], to_torchrun: bool, tmp_path: Path
) -> None:
    with start_torchrun(tmp_path, 3, "endless") as command:
        command.number(2)
        command.send(number, *to_processes)
        if to_torchrun:
            os.kill(command.agent.pid, number)
        assert command.ends() == 1
    assert command.said() == ["printed by 0", f"in4310repro: {INTERRUPTED}"]
    assert (tmp_path / "checkpoint").exists()
    assert command.status() == (130, INTERRUPTED, 0)


@SOAK
def test_torchrun_that_is_killed_ends_its_processes(tmp_path: Path) -> None:
    # A forked process would be sent SIGINT by the system when its agent is killed.
    with start_torchrun(tmp_path, 2, "endless", by_command=True) as command:
        command.number(1)
        command.agent.kill()
        command.ends()
    (_, said) = command.said()
    assert said.startswith("in4310repro: torchrun does not answer at ")
    assert said.endswith("; run is kept")
    # torch prints the frames of each attempt to reach a store that is gone.
    assert len(command.output().splitlines()) < 100


@SOAK
def test_two_machines_say_it_once(tmp_path: Path) -> None:
    """One of four processes under two torchrun agents is killed; exactly one message reports it."""
    place = f"127.0.0.1:{find_free_port()}"
    shared = ("--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", place, "--rdzv-id", "test")
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    first_and_second = [start_torchrun(folder, 2, "endless", shared) for folder in folders]
    with first_and_second[0] as first, first_and_second[1] as second:
        wait_until(lambda: len([*tmp_path.glob("*/[0-3].process")]) == 4)
        (killed,) = tmp_path.glob("*/3.process")
        os.kill(int(killed.read_text()), signal.SIGKILL)
        assert [first.ends(), second.ends()] == [1, 1]
    printed, said = sorted([*first.said(), *second.said()], reverse=True)
    assert printed == "printed by 0"
    assert said.startswith("in4310repro: rank 3 of 4 has not answered for ")


@SOAK
@pytest.mark.parametrize(("case", "code"), [("whole", 0), ("error on 0", 2)])
def test_torchrun_with_one_process_has_a_status_too(case: str, code: int, tmp_path: Path) -> None:
    with start_torchrun(tmp_path, 1, case) as command:
        assert command.ends() == bool(code)
    assert command.status()[0] == code
