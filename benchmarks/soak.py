"""Training processes that are killed and resumed, whose files are compared with an undisturbed run.

Most processes are killed at a random moment, some in the middle of a write. `nox -s soak` kills 20 per optimizer, the
tests three. A fork server with torch loaded starts a process in a tenth of a second.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.processes import METHOD
from torch import nn

from in4310repro.runs.config import Config
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.names import CONFIG
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.record_types import SPEED
from in4310repro.system.context import Context
from in4310repro.system.files import file_sha256, read_json
from in4310repro.system.numerics import generator_for

# Files in whose write a process is killed: checkpoints, the scores, and kept epochs.
WRITES = ("checkpoint", "scores.npz", "/epochs/")
# Number of such files in a run: a checkpoint per step and one between its epochs.
NUMBERS = {"checkpoint": 5, "scores.npz": 1, "/epochs/": 2}


def train(config: Config, folder: Path, target: tuple[str, int] | None = None) -> None:
    """Run `in4310repro train --keep-epochs` in this process, with `--resume` if there is a run."""
    from in4310repro.models.sources import open_network
    from in4310repro.system.numerics import activate
    from in4310repro.training import experiment

    open_network(config.model).trust()
    if target:
        die_in_a_write(*target)
    experiment.train(
        config, folder, resume=(folder / CONFIG).is_file(), keep_epochs=True, context=Context(activate("auto", "cpu"))
    )


def die_in_a_write(word: str, number: int) -> None:
    """Make this process kill itself while it writes the `number`-th file whose path contains `word`."""
    replace, writes_to_go = Path.replace, [number]

    def die_or_replace(self: Path, target: Path) -> Path:
        writes_to_go[0] -= word in str(target)
        if writes_to_go[0] == 0:
            os.truncate(self, self.stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = die_or_replace  # type: ignore[method-assign, assignment]


def small_network(num_classes: int) -> nn.Module:
    layers = (nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(16, num_classes))


def make_config(position: int, model: str) -> Config:
    """Return the tiny preset with one setting (one optimizer), two steps per epoch and a checkpoint after each."""
    tiny = PRESETS["tiny"]
    settings = (tiny.settings[position],)
    return replace(tiny, model=model, settings=settings, split="16/12/20", checkpoint_steps=1)


class Soak:
    """Trainings that are killed and resumed, and undisturbed runs with which they are compared."""

    def __init__(self, folder: Path, model: str = "resnet18") -> None:
        self.folder, self.model = folder, model
        self.context: Any = multiprocessing.get_context(METHOD)
        self.seconds: dict[int, float] = {}

    def start(self, position: int, folder: Path, target: tuple[str, int] | None = None) -> BaseProcess:
        """Start a process that trains, or resumes, the run in the folder."""
        process = self.context.Process(target=train, args=(make_config(position, self.model), folder, target))
        process.start()
        return process  # type: ignore[no-any-return]

    def undisturbed(self, position: int) -> Path:
        """Return the folder of the undisturbed run, which is made once; `seconds` records its duration."""
        folder = self.folder / f"undisturbed-{position}"
        if not self.seconds:
            # The first process waits for the fork server to import torch.
            ready = self.context.Process(target=time.monotonic)
            ready.start()
            ready.join()
        if position not in self.seconds:
            start = time.monotonic()
            process = self.start(position, folder)
            process.join()
            if process.exitcode != 0:
                raise RuntimeError(f"an undisturbed run ended with exit code {process.exitcode}")
            self.seconds[position] = time.monotonic() - start
        return folder

    def kill_and_resume(self, position: int, generator: Any, write: str = "") -> tuple[int, list[str]]:
        """Kill a training at a random moment or in a file write, perhaps kill it once more, then let it finish.

        Returns:
            The number of processes killed before their end, and the names of the files that differ.
        """
        undisturbed = self.undisturbed(position)
        folder = Path(tempfile.mkdtemp(dir=self.folder)) / "run"
        kills = int(self._kill(position, folder, generator, write))
        if generator.random() < 1 / 3:
            kills += self._kill(position, folder, generator)
        last = self.start(position, folder)
        last.join()
        mismatches = [f"exit code {last.exitcode}"] if last.exitcode else find_differing_files(undisturbed, folder)
        shutil.rmtree(folder)
        return kills, mismatches

    def _kill(self, position: int, folder: Path, generator: Any, write: str = "") -> bool:
        """Start or resume the run in the folder, kill the process, and return True if it died before its end."""
        target = (write, 1 + int(generator.integers(NUMBERS[write]))) if write else None
        process = self.start(position, folder, target)
        process.join(timeout=None if target else float(generator.random()) * self.seconds[position])
        process.kill()
        process.join()
        return process.exitcode == -signal.SIGKILL


def find_differing_files(first: Path, second: Path) -> list[str]:
    """Return the files of two runs that differ in more than durations."""
    names = {file.relative_to(run).as_posix() for run in (first, second) for file in run.rglob("*") if file.is_file()}
    mismatches = [f"{name}, changed after its manifest entry" for name in RunFolder.open(second).changed_files()]
    if RunFolder.open(first).manifest().keys() != RunFolder.open(second).manifest().keys():
        mismatches.append("manifest.json")
    for name in sorted(names - {"manifest.json", "status.json"}):
        one, two = first / name, second / name
        if not (one.is_file() and two.is_file()):
            mismatches.append(f"{name} is in one run only")
        elif name.endswith("history.json"):
            if [remove_speed(row) for row in read_json(one)] != [remove_speed(row) for row in read_json(two)]:
                mismatches.append(name)
        elif file_sha256(one) != file_sha256(two):
            mismatches.append(name)
    return mismatches


def remove_speed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != SPEED}


def main() -> None:
    """Kill 20 times per optimizer; exit with 1 if a kill changed a result."""
    equal = total = 0
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder))
        for position, setting in enumerate(PRESETS["tiny"].settings):
            for number in range(20):
                # Ten kills at any moment, the others in a write of each kind in turn.
                write = "" if number % 2 else WRITES[number // 2 % len(WRITES)]
                generator = generator_for(1, "soak", position, number)
                kills, mismatches = 0, list[str]()
                # If the process ended before its moment came, draw another one.
                while not kills and not mismatches:
                    kills, mismatches = soak.kill_and_resume(position, generator, write)
                total += 1
                equal += not mismatches
                where = f"in {write}" if write else "at a random moment"
                sys.stdout.write(f"{setting.name} {number}: {kills} killed {where}, {mismatches or 'equal'}\n")
                sys.stdout.flush()
    sys.stdout.write(f"survived / equal: {equal} / {total}\n")
    sys.exit(equal != total)


if __name__ == "__main__":
    main()
