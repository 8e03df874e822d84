"""Benchmark of training by several processes: time, messages and memory of steps, and a model of step time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes_table import processes_table
from benchmarks.records import ProcessesBenchmark, ProcessesRun, ProcessesWorkload
from in4310repro.system.files import json_bytes, write_file
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import activate
from in4310repro.system.progress import SILENT, Progress

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
    """Time training steps by one and by several processes; write processes.json and processes.md, return the paths.

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
    files = {"processes.json": json_bytes(report), "processes.md": processes_table(report).encode()}
    return [write_file(out / name, data) for name, data in files.items()]


def measure(image_size: int, batch_size: int, repeats: int, size: int, threads: int) -> ProcessesRun:
    """Start `size` processes by torchrun on this machine and return their measurements.

    Raises:
        ValueError: a process fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measured.json"
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", f"{size}"]
        values = map(str, (image_size, batch_size, repeats, threads, file))
        words = [*torchrun, "-m", "benchmarks.rank", *values]
        ended = subprocess.run(words, env=os.environ | {"OMP_NUM_THREADS": f"{threads}"}, capture_output=True)
        if ended.returncode:
            output = ended.stderr.decode(errors="replace")[-2000:]
            raise ValueError(f"{size} processes of the benchmark failed: {output}")
        return ProcessesRun(threads=threads, ranks=json.loads(file.read_bytes()))
