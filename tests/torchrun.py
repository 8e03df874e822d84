"""Start a command under torchrun's agent next to a test; it sends small messages instead of training.

The agent and its processes are forked with torch loaded, since each import of torch takes seconds;
`by_command` starts the processes as torchrun does.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import io
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from in4310repro.system.files import read_json
from tests.processes import METHOD

PATIENCE = 120.0  # seconds until a test fails; torchrun waits 30 for a process that is stopped
ONE_MACHINE = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--rdzv-id", "test")


def launch(folder: Path, words: tuple[str, ...], forked: Callable[..., None] | None, output: str = "output") -> None:
    """Run torchrun with `words` in a folder; unless `by_command`, its processes are forked and call `play`."""
    from torch.distributed.launcher.api import elastic_launch

    run: Any = importlib.import_module("torch.distributed.run")
    os.chdir(folder)
    with Path(output).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # As torchrun's `python -u` and the working folder of the tests have it.
    cast("io.TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
    config, program, arguments = run.config_from_args(run.parse_args([*words]))
    if forked:
        config.start_method, program, arguments = "fork", forked, arguments[arguments.index("-m") + 2 :]
    elastic_launch(config, program)(*arguments)


def play(case: str) -> None:
    """Run the package's main() with `command(case)` in place of its command line."""
    from in4310repro.__main__ import main
    from in4310repro.cli import application
    from in4310repro.system import heartbeat

    heartbeat.SILENCE, heartbeat.DOUBT = 12.0, 5.0
    application.invoke = functools.partial(command, case)
    main()


def command(case: str, _words: object) -> int:
    from in4310repro.cli.console import print_line
    from in4310repro.runs.folder import write_status
    from in4310repro.system import launch, signals
    from in4310repro.system.processes import join
    from in4310repro.system.signals import interrupts

    rank, folder = int(os.environ["RANK"]), Path("run")
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    signals.kept = lambda: "run is kept"
    launch.record = functools.partial(write_status, folder)
    if case == f"error before {rank}":
        raise ValueError("9 is wrong; 1 to 3 are valid")
    # Signals are taken over before any process says that it has begun, or one that is sent then would end it at once.
    with join("cpu") as processes, interrupts() as interrupted:
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
            return 0
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
    return 0


class Started:
    """A command running under torchrun in a folder, into which each process writes its process id."""

    def __init__(
        self, folder: Path, size: int, case: str, rendezvous: tuple[str, ...] = ONE_MACHINE, *, by_command: bool = False
    ) -> None:
        self.folder, self.size = folder, size
        words = (*rendezvous, "--nproc-per-node", f"{size}", "-m", "tests.torchrun", case)
        context: Any = multiprocessing.get_context(METHOD)
        self.agent = context.Process(target=launch, args=(folder, words, None if by_command else play))
        self.agent.start()

    def number(self, rank: int) -> int:
        """Return the process id of a rank, after waiting until that process has started its work."""
        file = self.folder / f"{rank}.process"
        wait_until(file.is_file)
        return int(file.read_text())

    def send(self, number: int, *ranks: int) -> None:
        """Send a signal to the processes of these ranks at once."""
        for process in [self.number(rank) for rank in ranks]:
            os.kill(process, number)

    def running(self) -> list[int]:
        """Return the ids of the processes that have begun their work and still exist."""
        return [number for file in self.folder.glob("*.process") if is_alive(number := int(file.read_text()))]

    def ends(self) -> int | None:
        """Wait for torchrun and for all its processes to end, and return torchrun's exit code."""
        self.agent.join(PATIENCE)
        wait_until(lambda: not self.running())
        code: int | None = self.agent.exitcode
        return code

    def output(self) -> str:
        return (self.folder / "output").read_text(errors="replace")

    def said(self) -> list[str]:
        return [line for line in self.output().splitlines() if line.startswith(("in4310repro: ", "printed "))]

    def status(self) -> tuple[int, str, int]:
        """Return the exit code, the message and the process rank that the run's status file records."""
        recorded = read_json(self.folder / "run/status.json")
        return recorded["code"], recorded["message"], recorded["rank"]


@contextmanager
def start_torchrun(*arguments: Any, **options: Any) -> Iterator[Started]:
    """Start a command under torchrun; kill those of its processes that still run when the block ends."""
    command = Started(*arguments, **options)
    try:
        yield command
    finally:
        command.agent.kill()
        command.agent.join()
        for number in command.running():
            os.kill(number, signal.SIGKILL)


def is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


if __name__ == "__main__":
    play(sys.argv[1])
