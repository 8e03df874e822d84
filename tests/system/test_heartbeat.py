"""Processes under torchrun, one of them killed, stopped, busy or in error: one message, one exit code, no hang."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.torchrun import start_torchrun, status, wait_until

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="signals to another process, and /proc to see that it ended"),
]
# A command of small messages in place of a training, with our own beginning and end around it.
COMMAND = """
import ctypes, functools, os, sys, time
from pathlib import Path
from in4310repro.system import heartbeat, launch, signals
from in4310repro.cli import application
from in4310repro.cli.console import print_line
from in4310repro.system.processes import join
from in4310repro.system.progress import interrupts
from in4310repro.runs.folder import write_status
from in4310repro.__main__ import main

case, rank = sys.argv[1], int(os.environ["RANK"])
heartbeat.SILENCE, heartbeat.DOUBT = 12.0, 5.0

def command(**_options):
    folder = Path("run")
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    signals.kept = lambda: "run is kept"
    launch.record = functools.partial(write_status, folder)
    if case == f"error before {rank}":
        raise ValueError("9 is wrong; 1 to 3 are valid")
    with join("cpu") as processes:
        print_line(f"printed by {rank}")
        processes.gather(b"begun")
        Path(f"{rank}.new").write_text(str(os.getpid()))
        Path(f"{rank}.new").rename(f"{rank}.process")
        if case == f"error on {rank}":
            raise ValueError("9 is wrong; 1 to 3 are valid")
        if case == f"fault on {rank}":
            raise KeyError("sea")
        if case == f"busy {rank}":
            time.sleep(15)
            ctypes.PyDLL(None).sleep(4)  # which keeps the interpreter's lock
        if case == f"ends early {rank}":
            return
        with interrupts() as interrupted:
            for step in range(10 if case.split()[0] in ("busy", "whole") else 10**9):
                if case.startswith("ends early"):
                    time.sleep(15)
                    break
                if any(said == b"stop" for said in processes.gather(b"stop" if interrupted() else b"go")):
                    if rank == 0:
                        time.sleep(0.5)
                        Path("checkpoint").write_text(str(step))
                    raise KeyboardInterrupt
                time.sleep(0.01)

application.app = command
main()
"""

SLOW, SOAK = pytest.mark.slow, pytest.mark.soak


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "command.py"
    file.write_text(COMMAND)
    return file


def test_an_error_of_any_process_is_said_once_and_is_the_end_of_all(script: Path, tmp_path: Path) -> None:
    with start_torchrun(tmp_path, 2, (str(script), "error on 1")) as command:
        assert command.ends() == 1
    message = "rank 1: 9 is wrong; 1 to 3 are valid"
    assert command.said() == ["printed by 0", f"in4310repro: {message}"]
    assert status(tmp_path / "run") == (2, message, 1)
    summary = command.output.read_text()
    assert "ValueError: 9 is wrong" in summary
    # Older launchers stop the others before they have said that they end, too.
    assert {*re.findall(r"exitcode +: (-?[0-9]+)", summary)} == {"2"}


def test_a_killed_process_is_named_with_what_is_kept(script: Path, tmp_path: Path) -> None:
    with start_torchrun(tmp_path, 3, (str(script), "endless")) as command:
        command.send(signal.SIGKILL, 1)
        assert command.ends() == 1
    (_, said) = command.said()
    assert said.startswith("in4310repro: rank 1 of 3 has not answered for ")
    assert said.endswith(" s; run is kept, with any number of processes")
    assert status(tmp_path / "run") == (130, said.removeprefix("in4310repro: "), 1)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.soak
def test_a_stopped_process_ends_the_others_whose_main_threads_wait_for_it(
    rank: int, script: Path, tmp_path: Path
) -> None:
    with start_torchrun(tmp_path, 3, (str(script), "endless")) as command:
        command.send(signal.SIGSTOP, rank)
        assert command.ends() == 1
    (_, said) = command.said()
    assert said.startswith(f"in4310repro: rank {rank} of 3 has not answered for ")
    # Rank 0 alone writes into the folder of the run.
    assert (tmp_path / "run/status.json").exists() == (rank != 0)


@pytest.mark.soak
def test_a_killed_rank_0_is_named_by_the_next_one(script: Path, tmp_path: Path) -> None:
    with start_torchrun(tmp_path, 3, (str(script), "endless")) as command:
        command.send(signal.SIGKILL, 0)
        assert command.ends() == 1
    assert command.said()[1].startswith("in4310repro: rank 0 of 3 has not answered for ")
    assert len(command.said()) == 2


@pytest.mark.soak
def test_a_process_that_is_busy_for_longer_than_the_silence_is_alive(script: Path, tmp_path: Path) -> None:
    with start_torchrun(tmp_path, 2, (str(script), "busy 1")) as command:
        assert command.ends() == 0
    assert command.said() == ["printed by 0"]
    assert status(tmp_path / "run") == (0, "", 0)


@pytest.mark.soak
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_has_done_its_part_is_not_missed(rank: int, script: Path, tmp_path: Path) -> None:
    with start_torchrun(tmp_path, 2, (str(script), f"ends early {rank}")) as command:
        assert command.ends() == 0
    assert command.said() == ["printed by 0"]


@pytest.mark.soak
def test_processes_that_were_all_stopped_for_long_go_on(script: Path, tmp_path: Path) -> None:
    """A laptop that slept stops all processes at once, so that none of them misses another one."""
    with start_torchrun(tmp_path, 2, (str(script), "endless")) as command:
        command.send(signal.SIGSTOP, 0, 1)
        time.sleep(16)
        command.send(signal.SIGCONT, 0, 1)
        time.sleep(4)
        command.process.terminate()
        command.ends()
    assert command.said()[1:] == ["in4310repro: interrupted; run is kept"]


@pytest.mark.soak
@pytest.mark.parametrize("case", ["error on 0", "error before 0"])
def test_an_error_of_rank_0_is_said_as_that_of_one_process(case: str, script: Path, tmp_path: Path) -> None:
    with start_torchrun(tmp_path, 2, (str(script), case)) as command:
        assert command.ends() == 1
    assert command.said()[-1] == "in4310repro: 9 is wrong; 1 to 3 are valid"
    assert status(tmp_path / "run") == (2, "9 is wrong; 1 to 3 are valid", 0)


@pytest.mark.soak
def test_an_error_before_the_processes_meet_ends_those_that_wait(script: Path, tmp_path: Path) -> None:
    with start_torchrun(tmp_path, 2, (str(script), "error before 1")) as command:
        assert command.ends() == 1
    assert command.said() == ["in4310repro: rank 1: 9 is wrong; 1 to 3 are valid"]


@pytest.mark.soak
def test_an_error_of_ours_on_another_process_has_its_own_exit_code(script: Path, tmp_path: Path) -> None:
    with start_torchrun(tmp_path, 2, (str(script), "fault on 1")) as command:
        assert command.ends() == 1
    code, message, rank = status(tmp_path / "run")
    assert (code, rank) == (70, 1)
    assert message.startswith("rank 1: error in the program: KeyError: 'sea'; its traceback is in ")


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=SLOW), pytest.param(signal.SIGINT, marks=SOAK)])
def test_a_signal_to_torchrun_is_the_end_of_a_step_and_its_checkpoint(
    number: signal.Signals, script: Path, tmp_path: Path
) -> None:
    with start_torchrun(tmp_path, 3, (str(script), "endless")) as command:
        command.number(2)
        command.process.send_signal(number)
        command.ends()
    assert command.said() == ["printed by 0", "in4310repro: interrupted; run is kept"]
    assert (tmp_path / "checkpoint").exists()
    assert status(tmp_path / "run") == (130, "interrupted; run is kept", 0)


@pytest.mark.soak
def test_a_signal_that_torchrun_repeats_is_one_signal(script: Path, tmp_path: Path) -> None:
    """Ctrl-C reaches the processes twice: from the terminal, as members of its process group, and from torchrun."""
    with start_torchrun(tmp_path, 2, (str(script), "endless")) as command:
        command.send(signal.SIGINT, 0, 1)
        command.process.send_signal(signal.SIGINT)
        command.ends()
    assert command.said() == ["printed by 0", "in4310repro: interrupted; run is kept"]
    assert (tmp_path / "checkpoint").exists()


@pytest.mark.soak
def test_a_signal_to_one_process_ends_all_in_its_step(script: Path, tmp_path: Path) -> None:
    with start_torchrun(tmp_path, 3, (str(script), "endless")) as command:
        command.send(signal.SIGTERM, 1)
        assert command.ends() == 1
    assert command.said() == ["printed by 0", "in4310repro: interrupted; run is kept"]
    assert (tmp_path / "checkpoint").exists()


@pytest.mark.soak
def test_torchrun_that_is_killed_ends_its_processes(script: Path, tmp_path: Path) -> None:
    with start_torchrun(tmp_path, 2, (str(script), "endless")) as command:
        command.number(1)
        command.process.kill()
        command.ends()
    (_, said) = command.said()
    assert said.startswith("in4310repro: torchrun does not answer at ")
    assert said.endswith("; run is kept")


@pytest.mark.soak
def test_two_machines_say_it_once(script: Path, tmp_path: Path) -> None:
    """Two agents on one host: one's process is killed, and the other notices only that its messages stop."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    shared = ("--nnodes", "2", "--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", place)
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    words, launch = (str(script), "endless"), (*shared, "--rdzv-id", "test")
    with start_torchrun(folders[0], 4, words, launch) as first, start_torchrun(folders[1], 4, words, launch) as second:
        wait_until(lambda: len([*tmp_path.glob("*/[0-3].process")]) == 4)
        by_rank = {int(file.stem): file for file in tmp_path.glob("*/[0-3].process")}
        os.kill(int(by_rank[3].read_text()), signal.SIGKILL)
        codes = [each.process.wait(120) for each in (first, second)]
    assert codes == [1, 1]
    printed, said = sorted([*first.said(), *second.said()], reverse=True)
    assert printed == "printed by 0"
    assert said.startswith("in4310repro: rank 3 of 4 has not answered for ")


@pytest.mark.soak
def test_torchrun_with_one_process_has_a_status_too(script: Path, tmp_path: Path) -> None:
    for case, code in (("whole", 0), ("error on 0", 2)):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        with start_torchrun(tmp_path, 1, (str(script), case)) as command:
            assert command.ends() == bool(code)
        assert json.loads((tmp_path / "run/status.json").read_text())["code"] == code
