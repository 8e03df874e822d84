"""Benchmark of training by several processes: time and memory of steps.

torchrun starts the module as each of the processes; the first writes the measurements of all.

    torchrun --nproc-per-node 2 -m benchmarks.processes 64 32 5 1 measured.json

Arguments: image size in pixels, images in a batch, steps of each kind that are timed, threads of each process, file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.distributed.elastic.multiprocessing.errors import record

from benchmarks import tables
from benchmarks.measurement import peak_bytes, reset_peak
from benchmarks.records import ProcessesBenchmark, ProcessesRun, ProcessesWorkload, RankRow
from benchmarks.workloads import CLASSES, SGD
from in4310repro import models
from in4310repro.arithmetic import shares
from in4310repro.data.images import ImageSet
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes, write_file
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics, activate
from in4310repro.system.processes import ALONE, Processes, join
from in4310repro.system.progress import SILENT, Progress
from in4310repro.training.training import Epochs, TrainingInputs

# Image size in pixels, images in a batch, steps for each repeat.
WORKLOADS = ((64, 32, 4), (224, 32, 1))
SIZES = (2, 4)  # processes


@dataclass(frozen=True, kw_only=True)
class ProcessesOptions:
    """Options of the benchmark of training by several processes.

    Raises:
        ValueError: there is less than one repeat.
    """

    repeats: int = 5
    workloads: tuple[tuple[int, int, int], ...] = WORKLOADS
    sizes: tuple[int, ...] = SIZES

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats {self.repeats}; expected at least 1")


def benchmark(out: Path, options: ProcessesOptions | None = None, progress: Progress = SILENT) -> list[Path]:
    """Time training steps by one and by several processes; write processes.json and bench.md, return the paths.

    Raises:
        ValueError: portable arithmetic is unavailable, or the processes fail.
    """
    options = options or ProcessesOptions()
    cores = os.cpu_count() or 1
    runs = [(1, 1), (1, cores), *((size, 1) for size in options.sizes)]
    report = ProcessesBenchmark(fingerprint=fingerprint(activate("portable", "cpu")), cores=cores, workloads=[])
    with progress.task("bench, processes", len(options.workloads) * len(runs)) as advance:
        for image_size, batch_size, steps in options.workloads:
            repeats = steps * options.repeats
            workload = ProcessesWorkload(image_size=image_size, batch_size=batch_size, repeats=repeats, runs=[])
            for size, threads in runs:
                workload["runs"].append(measure(image_size, batch_size, repeats, size, threads))
                advance(1, f"{image_size} px, {size} processes")
            report["workloads"].append(workload)
    return tables.write(out, "processes", report)


def measure(image_size: int, batch_size: int, repeats: int, size: int, threads: int) -> ProcessesRun:
    """Start `size` processes by torchrun on this machine and return their measurements.

    Raises:
        ValueError: a process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measured.json"
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", f"{size}"]
        values = map(str, (image_size, batch_size, repeats, threads, file))
        words = [*torchrun, "-m", "benchmarks.processes", *values]
        ended = subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": f"{threads}"}, capture_output=True)
        if ended.returncode:
            output = ended.stderr.decode(errors="replace")[-2000:]
            raise ValueError(f"{size} processes of the benchmark failed: {output}")
        return ProcessesRun(threads=threads, ranks=json.loads(file.read_bytes()))


@record
def main(image_size: int, batch_size: int, repeats: int, threads: int, file: Path) -> None:
    """Measure in one of the processes that torchrun started; the first writes the measurements of all to `file`."""
    torch.set_num_threads(threads)
    with join("cpu") as processes:
        row = measure_rank(image_size, batch_size, repeats, processes, activate("portable", "cpu"))
        rows = [json.loads(each) for each in processes.gather(json_bytes(row))]
        if processes.leads:
            write_file(file, json_bytes(rows))


def measure_rank(image_size: int, batch_size: int, repeats: int, processes: Processes, numerics: Numerics) -> RankRow:
    """Return the measurements of this process: steps alone, and steps taken together with the other processes."""
    cpu = torch.device("cpu")
    reset_peak(cpu)
    processes.gather(b"ready")
    share = len(shares.images_of(batch_size, processes.connection))
    alone = seconds = time_steps(make_epochs(image_size, share, repeats, ALONE, numerics))
    if processes.connection:
        seconds = time_steps(make_epochs(image_size, batch_size, repeats, processes, numerics))
    peak = peak_bytes(cpu)
    return RankRow(seconds=seconds, alone=alone, resident_mb=None if peak is None else peak / 1e6)


def make_epochs(image_size: int, batch_size: int, repeats: int, processes: Processes, numerics: Numerics) -> Epochs:
    """Return a training on random pixels with SGD; an epoch has one step to warm up and `repeats` more."""
    count = batch_size * (repeats + 1)
    pixels = np.random.default_rng(0).integers(0, 256, (count, image_size, image_size, 3), dtype=np.uint8)
    names = tuple(map(str, range(count)))  # also the keys of the augmentation's random numbers
    images = ImageSet("noise", names, names, np.arange(count) % CLASSES, pixels)
    config = replace(PRESETS["demo"], model="resnet18", batch_size=batch_size, image_size=image_size, settings=(SGD,))
    inputs = TrainingInputs(
        model=models.build("resnet18", CLASSES, seed=0),
        training=images,
        validation=images,
        config=config,
        setting=SGD,
        context=Context(numerics, processes=processes),
    )
    return Epochs(inputs)


def time_steps(trained: Epochs) -> float:
    """Return the median seconds of a step, without the first."""
    times: list[float] = []

    def after_step() -> None:
        assert trained.last
        times.append(trained.last.seconds)

    trained.train(after_step)
    return median(times[1:])


if __name__ == "__main__":
    *numbers, written = sys.argv[1:]
    side, images_in_batch, steps, threads_of_each = map(int, numbers)
    main(side, images_in_batch, steps, threads_of_each, Path(written))
