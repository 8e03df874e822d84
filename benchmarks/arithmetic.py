"""Benchmark of portable arithmetic (a fixed order of float operations) against torch's native arithmetic."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.records import ArithmeticBenchmark, LoopRow, PairedRow
from benchmarks.tables import arithmetic_table
from benchmarks.workloads import KERNELS, SGD, Workload, layers, prepare_layer
from in4310repro.arithmetic.self_test import fused_operations
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes, write_file
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics, activate
from in4310repro.system.progress import SILENT, Progress
from in4310repro.training import experiment

WORKLOADS = tuple(
    Workload(model, image_size, batch_size, training)
    for model, image_size, batch_size in (("resnet18", 64, 32), ("resnet18", 224, 16), ("resnet50", 224, 8))
    for training in (True, False)
)
LAYERS = ((64, 32), (224, 8))  # image size in pixels, images in a batch
LOOP_BATCHES = (32, 64)


@dataclass(frozen=True, kw_only=True)
class ArithmeticOptions:
    """Options of the benchmark of portable and native arithmetic."""

    repeats: int = 7  # pairs of each row, native and portable one after the other
    threads: tuple[int, ...] = (1, 2)
    workloads: tuple[Workload, ...] = WORKLOADS
    layers: tuple[tuple[int, int], ...] = LAYERS
    loop_batches: tuple[int, ...] = LOOP_BATCHES
    loop_images: int = 1920


def benchmark(out: Path, options: ArithmeticOptions | None = None, progress: Progress = SILENT) -> list[Path]:
    """Time portable and native arithmetic; write arithmetic.json and arithmetic.md, and return their paths.

    A ratio is the median over pairs that ran one after the other, since a shared machine changes its speed.

    Raises:
        ValueError: there is less than one repeat, or portable arithmetic is unavailable.
    """
    options = options or ArithmeticOptions()
    if options.repeats < 1:
        raise ValueError(f"repeats {options.repeats}; expected at least 1")
    modes = (activate("native", "cpu"), activate("portable", "cpu"))
    report = ArithmeticBenchmark(
        fingerprint=fingerprint(modes[0]),
        repeats=options.repeats,
        gflops_per_thread=peak_gflops(),
        networks=list(_network_rows(options, modes, progress)),
        layers=list(_layer_rows(options, modes, progress)),
        loop=list(_loop_rows(options, modes, progress)),
    )
    files = {"arithmetic.json": json_bytes(report), "arithmetic.md": arithmetic_table(report).encode()}
    return [write_file(out / name, data) for name, data in files.items()]


def peak_gflops(seconds: float = 0.2) -> float:
    """Return the peak rate of fused float32 multiply-adds per thread, in units of 1e9 operations per second."""
    rounds = 1 << 12
    rates = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        operations = fused_operations(rounds)
        taken = time.perf_counter() - start
        rates.append(operations / taken / 1e9)
        rounds = rounds * 2 if taken < 0.02 else rounds
    return max(rates)


def _network_rows(
    options: ArithmeticOptions, modes: tuple[Numerics, Numerics], progress: Progress
) -> Iterator[PairedRow]:
    with progress.task("bench, networks", len(options.workloads) * len(options.threads)) as advance:
        for workload in options.workloads:
            for threads in options.threads:
                with use_threads(threads):
                    works = tuple(workload.prepare(mode) for mode in modes)
                    row = _time_pair(workload.name, threads, works, options.repeats, workload.operations())
                advance(1, f"{row['name']}: {row['ratio']:.2f}")
                yield row


def _layer_rows(
    options: ArithmeticOptions, modes: tuple[Numerics, Numerics], progress: Progress
) -> Iterator[PairedRow]:
    rows = [(size, batch, layer) for size, batch in options.layers for layer in layers(size)]
    with progress.task("bench, layers", len(rows) * len(KERNELS)) as advance:
        for size, batch, layer in rows:
            for kernel in KERNELS:
                name = f"{size} px, {batch} images: {layer.name}, {kernel}"
                with use_threads(options.threads[-1]):
                    works = tuple(prepare_layer(layer, batch, kernel, mode) for mode in modes)
                    yield _time_pair(name, options.threads[-1], works, options.repeats, 0.0)
                advance(1, "")


@contextmanager
def use_threads(number: int) -> Iterator[None]:
    """Set the number of threads of torch's operations and of our kernels during a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _time_pair(
    name: str, threads: int, works: tuple[Callable[[], None], ...], repeats: int, operations: float
) -> PairedRow:
    """Time native and portable arithmetic alternately, `repeats` times each after an untimed round."""
    seconds: list[list[float]] = [[], []]
    for _ in range(repeats + 1):
        for times, work in zip(seconds, works, strict=True):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    native, portable = (times[1:] for times in seconds)
    ratios = [theirs / ours for ours, theirs in zip(native, portable, strict=True)]
    return PairedRow(
        name=name,
        threads=threads,
        native_ms=1000 * statistics.median(native),
        portable_ms=1000 * statistics.median(portable),
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        gflops=operations / statistics.median(portable) / 1e9,
    )


def _loop_rows(options: ArithmeticOptions, modes: tuple[Numerics, Numerics], progress: Progress) -> Iterator[LoopRow]:
    """Yield the images per second of whole trainings, and of a bare torch loop over one batch in memory."""
    with progress.task("bench, training loop", len(options.loop_batches)) as advance:
        for batch_size in options.loop_batches:
            native, portable = (run_speed(mode, batch_size, options.loop_images) for mode in modes)
            bare = Workload("resnet18", 64, batch_size, training=True).prepare(modes[0])
            seconds = []
            for _ in range(2 * options.repeats):
                start = time.perf_counter()
                bare()
                seconds.append(time.perf_counter() - start)
            yield LoopRow(
                batch_size=batch_size,
                native=native,
                portable=portable,
                bare_native=batch_size / statistics.median(seconds[1:]),
            )
            advance(1, f"{portable:.0f} and {native:.0f} images/s")


def run_speed(numerics: Numerics, batch_size: int, images: int) -> float:
    """Return images per second in the second epoch of a run with SGD on generated scenes of 64 pixels."""
    each = -(-(images + 60) // 6)
    config = replace(
        PRESETS["demo"],
        scenes=each,
        split=f"{6 * each - 60}/30/30",
        batch_size=batch_size,
        epochs=2,
        settings=(SGD,),
        augmentation="flip",
        checkpoint_steps=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = experiment.train(config, Context(numerics), Path(folder) / "run")
    return run.histories[SGD.name][-1]["images_per_second"]
