"""Differences of the demo run's numbers between numeric classes (groups of processors with equal bits).

`nox -s evidence -- tolerances` trains the demo with 8 seeds in 3 numeric classes (portable, native, native on one
thread) and writes `tolerances.json`. A golden value holds in another class when it lies within three times the root
mean square of the differences between classes at equal seeds, or the largest difference seen, whichever is larger.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from tests.golden_cases import TOLERANCES, first_losses, headline_numbers

from in4310repro.evaluation.feature_maps import of_run
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes, write_file
from in4310repro.system.numerics import activate
from in4310repro.training import experiment

SEEDS = range(8)
CLASSES = ("portable", "native", "native-1-thread")


def measure(mode: str, seed: int) -> None:
    """Train the preset demo; print the numeric class (kind of arithmetic) and the run's main numbers."""
    numerics = activate(mode, "cpu")
    config = replace(PRESETS["demo"], seed=seed)
    with tempfile.TemporaryDirectory() as folder:
        run = experiment.train(config, Path(folder) / "run", context=Context(numerics))
        run = of_run.write_features(run, config, Context(numerics))
        numbers = headline_numbers(run) | first_losses(seed, numerics)
    sys.stdout.write(json.dumps({"numeric_class": numerics.numeric_class, "numbers": numbers}) + "\n")


def measure_in_process(name: str, seed: int, processors: set[int]) -> dict[str, Any]:
    """Run `measure` in a new process on the given processors."""
    # Linux sets the affinity by thread, and the process inherits it from the thread that starts it.
    os.sched_setaffinity(0, processors)
    command = [sys.executable, "-m", "benchmarks.tolerances", name.split("-")[0], str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    sys.stderr.write(f"seed {seed}, {name}: {done.stdout}")
    measurement: dict[str, Any] = json.loads(done.stdout)
    return measurement


def measure_class(name: str) -> list[dict[str, Any]]:
    """Return one measurement per seed of a numeric class (kind of arithmetic).

    Trainings on one thread run in parallel.
    """
    processors = os.sched_getaffinity(0)
    groups = [{processor} for processor in processors] if name.endswith("1-thread") else [processors]
    lanes = len(groups)
    with ThreadPoolExecutor(lanes) as executor:
        measurements = executor.map(
            lambda lane: [measure_in_process(name, seed, groups[lane]) for seed in SEEDS[lane::lanes]], range(lanes)
        )
    by_seed = {
        seed: run for lane, runs in enumerate(measurements) for seed, run in zip(SEEDS[lane::lanes], runs, strict=True)
    }
    return [by_seed[seed] for seed in SEEDS]


def compute_tolerance(values: np.ndarray[Any, Any]) -> float:
    """Return the tolerance of a number, from its values indexed by class, seed and list entry."""
    differences = np.stack([np.abs(values[one] - values[other]) for one, other in combinations(range(len(values)), 2)])
    return float(max(3 * np.sqrt((differences**2).mean()), differences.max()))


def main() -> None:
    """Measure all numeric classes (kinds of arithmetic), and write the tolerances between them.

    If the command line gives a mode and a seed, measure only this training.
    """
    if len(sys.argv) == 3:
        measure(sys.argv[1], int(sys.argv[2]))
        return
    runs = {name: measure_class(name) for name in CLASSES}
    reason = f"differences at equal seeds between {', '.join(CLASSES)} arithmetic, {len(SEEDS)} seeds"
    numbers = {}
    for key in runs["portable"][0]["numbers"]:
        values = np.array([[run["numbers"][key] for run in runs[name]] for name in CLASSES])
        numbers[key] = {"tolerance": compute_tolerance(values), "reason": reason}
    content = {
        "command": "nox -s evidence -- tolerances",
        "numbers": numbers,
        "measured": {name: [run["numbers"] for run in measurements] for name, measurements in runs.items()},
        "numeric_classes": {name: measurements[0]["numeric_class"] for name, measurements in runs.items()},
    }
    write_file(TOLERANCES, json_bytes(content))


if __name__ == "__main__":
    main()
