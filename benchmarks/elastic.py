"""Trainings that are killed under torchrun and continued by other numbers of processes; writes docs/processes.json.

A round starts with 4 processes, kills one of them at a drawn moment, continues with 1, then 3, and finishes with 2.
Every file is compared with the undisturbed run of one process. This module plays the part of torchrun: it provides the
store, the environment, and SIGTERM to the other processes. A fork server with torch loaded starts a command in a tenth
of a second. `nox -s soak` plays 20 rounds, the tests two.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from tests.processes import METHOD
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from benchmarks import processes_page
from benchmarks.shares import describe_place, describe_rank, make_config
from benchmarks.soak import find_differing_files
from in4310repro.runs import names
from in4310repro.runs.presets import to_toml
from in4310repro.system.numerics import generator_for

SIZES = (4, 1, 3, 2)
ROUNDS = 20
PATIENCE = 90.0  # seconds within which the other processes must end after a kill
# Three leaves a batch, two steps an epoch, and a checkpoint after each step.
CONFIG = replace(make_config("resnet18", 20), epochs=4, checkpoint_steps=1)


def run_rank(rank: int, size: int, port: int, folder: Path) -> None:
    """Run one process of `torchrun -m in4310repro train`, with `--resume` if the folder contains a run."""
    describe_rank(rank, size, port)
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "elastic",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "LOCAL_WORLD_SIZE": f"{size}",
    }
    os.chdir(folder)
    with Path("said").open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(1)
    sys.argv = ["in4310repro", "train", "--config", "config.toml", "--out", "run", "--keep-epochs", "-q"]
    sys.argv += ["--resume"] if Path("run", names.CONFIG).is_file() else []
    from in4310repro.__main__ import main

    main()


class Elastic:
    """Trainings by several processes, the uninterrupted run for comparison, and durations by number of processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.context: Any = multiprocessing.get_context(METHOD)
        self.seconds: dict[int, float] = {}
        self.undisturbed = self.new_folder() / "run"
        self.wait_for_the_fork_server()
        self.measure(1, self.undisturbed.parent)

    def wait_for_the_fork_server(self) -> None:
        """Wait until the fork server has imported torch."""
        ready: BaseProcess = self.context.Process(target=time.monotonic)
        ready.start()
        ready.join()

    def new_folder(self) -> Path:
        """Create a folder with the configuration in it."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "config.toml").write_text(to_toml(CONFIG), encoding="utf-8")
        return folder

    def measure(self, size: int, folder: Path) -> None:
        """Train a run with `size` processes and record its duration."""
        start = time.monotonic()
        codes = [end(process) for process in self.start(size, folder)]
        if any(codes):
            raise RuntimeError(f"an undisturbed run of {size} processes ended with exit codes {codes}")
        self.seconds[size] = time.monotonic() - start

    def start(self, size: int, folder: Path) -> list[BaseProcess]:
        """Start `size` processes that begin or continue the training in the folder."""
        self.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        processes: list[BaseProcess] = [
            self.context.Process(target=run_rank, args=(rank, size, self.store.port, folder)) for rank in range(size)
        ]
        for process in processes:
            process.start()
        return processes

    def round(self, generator: Any) -> tuple[list[str], list[str]]:
        """Train with one number of processes after another, killing each but the last; return events and faults."""
        folder = self.new_folder()
        events, wrong = [], []
        for size in SIZES[:-1]:
            if size not in self.seconds:
                whole = self.new_folder()
                self.measure(size, whole)
                wrong += find_differing_files(self.undisturbed, whole / "run")
                shutil.rmtree(whole)
            rank, share = int(generator.integers(size)), generator.uniform(0.1, 0.35)
            processes = self.start(size, folder)
            processes[rank].join(share * self.seconds[size])
            processes[rank].kill()
            processes[rank].join()
            killed = processes[rank].exitcode == -signal.SIGKILL
            events.append(f"rank {rank} killed after {share:.0%}" if killed else "over")
            wrong += self.ending_of(size, rank, processes, folder) if killed else []
        codes = [end(process) for process in self.start(SIZES[-1], folder)]
        events.append("to the end")
        wrong += [f"exit codes {codes}"] if any(codes) else find_differing_files(self.undisturbed, folder / "run")
        shutil.rmtree(folder)
        return events, wrong

    def ending_of(self, size: int, rank: int, processes: list[BaseProcess], folder: Path) -> list[str]:
        """Stop the processes other than the killed `rank`; return the faults in their exit codes and output."""
        others = [process for process in processes if process is not processes[rank]]
        for process in others:
            process.terminate()
        codes = {end(process) for process in others}
        # A process that is stopped while it starts has not made the file yet.
        said = folder / "said"
        output = said.read_text() if said.exists() else ""
        said.unlink(missing_ok=True)
        # Before the processes are connected, or after their work, none notices the kill.
        wrong = [] if codes <= {130, 0, -signal.SIGTERM} else [f"the others of {size} ended with {codes}"]
        if output.count("in4310repro: ") > 1:
            wrong.append(f"the others of {size} printed more than one message: {output}")
        return wrong


def end(process: BaseProcess) -> int | None:
    """Return the exit code of a process, or kill it after `PATIENCE` seconds and return None."""
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        process.join()
        return None
    return process.exitcode


def main() -> None:
    """Run 20 rounds of killed and resumed trainings, and write a table; exit with 1 if a round changed a result."""
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        elastic = Elastic(Path(folder))
        for number in range(1, ROUNDS + 1):
            events, wrong = elastic.round(generator_for(1, "elastic", number))
            named = dict(zip(map(str, SIZES), events, strict=True))
            rounds.append({"events": named, "differing files": wrong})
            print(number, *events, *wrong, flush=True)  # noqa: T201
            processes_page.update("kills", {"made": describe_place(), "rounds": rounds})
    sys.exit(any(each["differing files"] for each in rounds))


if __name__ == "__main__":
    main()
