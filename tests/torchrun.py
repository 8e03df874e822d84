"""Processes that torchrun starts beside a test: one command, its output, and the process of each rank."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from in4310repro.system.files import read_json

PATIENCE = 120.0  # seconds until a test fails; torchrun waits 30 for a process that is stopped


class Started:
    """A command started by torchrun in a folder, into which each process writes its process id."""

    def __init__(self, folder: Path, processes: int, words: Sequence[str], launch: Sequence[str] = ()) -> None:
        self.folder, self.size = folder, processes
        launch = launch or ("--standalone", "--nproc-per-node", str(processes))
        # In a file: a pipe that a stopped process holds would never end.
        self.output = Path(tempfile.mkdtemp(dir=folder)) / "output"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                (sys.executable, "-m", "torch.distributed.run", *launch, *words),
                cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def number(self, rank: int) -> int:
        """Return the process id of a rank, once that process has begun its work."""
        file = self.folder / f"{rank}.process"
        wait_until(lambda: file.is_file() and file.read_text() != "")
        return int(file.read_text())

    def send(self, number: int, *ranks: int) -> None:
        """Send a signal to the processes of these ranks at once."""
        for process in [self.number(rank) for rank in ranks]:
            os.kill(process, number)

    def ends(self) -> int:
        """Return the exit code of torchrun, after a check that no process of the command is left."""
        code = self.process.wait(PATIENCE)
        for rank in range(self.size):
            if (self.folder / f"{rank}.process").exists():
                wait_until(lambda rank=rank: not is_alive(self.number(rank)))
        return code

    def said(self) -> list[str]:
        lines = self.output.read_text(errors="replace").splitlines()
        return [line for line in lines if line.startswith(("in4310repro: ", "printed "))]


@contextmanager
def start_torchrun(*arguments: object, **options: object) -> Iterator[Started]:
    """Start a command by torchrun, and kill its remaining processes when the block ends."""
    command = Started(*arguments, **options)  # type: ignore[arg-type]
    try:
        yield command
    finally:
        command.process.kill()
        command.process.wait()
        for rank in range(command.size):
            file = command.folder / f"{rank}.process"
            if file.exists() and is_alive(int(file.read_text())):
                os.kill(int(file.read_text()), signal.SIGKILL)


def is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: object) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: it never is.
    """
    end = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def status(folder: Path) -> tuple[int, str, int]:
    """Return exit code, message and rank of a run's status file."""
    recorded = read_json(folder / "status.json")
    return recorded["code"], recorded["message"], recorded["rank"]
