"""Replays of a run's epochs with every instruction set of this processor, compared bit for bit.

    python -m benchmarks.replay

Trains the tiny preset with the widest set and keeps its epochs; then `verify --replay` runs in a process for each set
(and under qemu-x86_64 as a Haswell, if that is installed). A control must fail: the same run with one training loss
changed by 1e-9. Takes about a minute.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from in4310repro import arithmetic, cli
from in4310repro.arithmetic import library
from in4310repro.features import kernel
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import activate
from in4310repro.training import experiment

OPTIONS = ("--replay", "1", "--draw", "0")
EMULATED = ("qemu-x86_64", "-cpu", "Haswell-v4")


def verify_with(instruction_set: str, words: Sequence[str]) -> None:
    """Run the command `verify` in this process with one instruction set ("any": the processor's choice)."""
    if instruction_set != "any":
        library.SETS = (instruction_set,)  # type: ignore[assignment]
        kernel.active_kernel = lambda: kernel.load_kernel(instruction_set)  # type: ignore[assignment]
    sys.stdout.write(f"kernels of {arithmetic.instruction_set()}\n")
    sys.argv = ["in4310repro", "verify", *words]
    cli.main()


def verify_in_process(instruction_set: str, run: Path, emulator: Sequence[str] = ()) -> tuple[int, str]:
    """Return the exit code and output of `verify --replay` in a new process with one instruction set."""
    words = [*emulator, sys.executable, "-m", "benchmarks.replay", instruction_set, str(run), *OPTIONS]
    done = subprocess.run(words, env=os.environ, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + (done.stderr[-1000:] if done.returncode > 1 else "")


def change_loss(run: Path, folder: Path) -> Path:
    """Copy a run, and change one training loss and the manifest."""
    shutil.copytree(run, folder, copy_function=os.link)
    copy = RunFolder.open(folder)
    for setting in copy.read_json("config.json")["settings"]:
        name = f"{setting['name']}/history.json"
        rows = copy.read_json(name)
        rows[0]["train_loss"] += 1e-9
        copy.write_json(name, rows)
    return folder


def main() -> None:
    """Print verify's output by instruction set; exit with 1 if a replay differs or a falsified run passes."""
    if words := sys.argv[1:]:
        verify_with(words[0], words[1:])
        return
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["IN4310REPRO_CACHE"] = f"{scratch}/cache"
        config = replace(PRESETS["tiny"], epochs=6)
        run = experiment.train(
            config, Path(scratch) / "run", keep_epochs=True, context=Context(activate("portable", "cpu"))
        ).folder
        control = change_loss(run, Path(scratch) / "control")
        sys.stdout.write(f"trained with {arithmetic.instruction_set()}\n")
        places: dict[str, tuple[str, tuple[str, ...]]] = {
            name: (name, ()) for name in library.SETS if (built := library.open_library(name)) and built.usable
        }
        if shutil.which(EMULATED[0]):
            places[" ".join(EMULATED)] = ("any", EMULATED)
        wrong = 0
        for place, (instruction_set, emulator) in places.items():
            code, printed = verify_in_process(instruction_set, run, emulator)
            caught, difference = verify_in_process(instruction_set, control, emulator)
            wrong += code != 0 or caught != 1
            sys.stdout.write(f"\n{place}: exit code {code}\n{printed}control: exit code {caught}\n{difference}")
            sys.stdout.flush()
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
