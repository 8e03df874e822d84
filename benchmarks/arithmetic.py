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

from benchmarks import tables
from benchmarks.records import ArithmeticBenchmark, Bfloat16Row, LayerRow, LoopRow, NetworkRow, RatioRow
from benchmarks.workloads import SGD, Workload, layers, prepare_layer
from in4310repro.arithmetic.self_test import fused_operations
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics, activate
from in4310repro.system.progress import SILENT, Progress
from in4310repro.training import experiment

SIZES = (64, 128, 224)  # pixels
# Images in a batch of each size, such that a step takes at most about 2.5 s on one thread.
BATCHES = {
    "resnet18": (32, 32, 16),
    "resnet50": (16, 8, 8),
    "mobilenet_v2": (32, 16, 8),
    "efficientnet_lite0": (32, 16, 8),
}
WORKLOADS = tuple(
    Workload(model, image_size, batch_size, training)
    for model, batch_sizes in BATCHES.items()
    for image_size, batch_size in zip(SIZES, batch_sizes, strict=True)
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
    only: str = ""  # what the names of rows must contain


def benchmark(out: Path, options: ArithmeticOptions | None = None, progress: Progress = SILENT) -> list[Path]:
    """Time portable and native arithmetic; write arithmetic.json and bench.md, and return their paths.

    A ratio is the median over pairs that ran one after the other, since a shared machine changes its speed.

    Raises:
        ValueError: there is less than one repeat, no row has the name, or portable arithmetic is unavailable.
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
        bfloat16=list(_bfloat16_rows(options, modes[0], progress)),
        layers=list(_layer_rows(options, modes, progress)),
        loop=list(_loop_rows(options, modes, progress)),
    )
    if not (report["networks"] or report["layers"] or report["loop"]):
        raise ValueError(f"no row has {options.only!r} in its name")
    return tables.write(out, "arithmetic", report)


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
) -> Iterator[NetworkRow]:
    workloads = [workload for workload in options.workloads if options.only in workload.name]
    with progress.task("bench, networks", len(workloads) * len(options.threads)) as advance:
        for workload in workloads:
            for threads in options.threads:
                with use_threads(threads):
                    works = tuple(workload.prepare(mode) for mode in modes)
                    row, (native, portable) = _time_pair(workload.name, threads, works, options.repeats)
                advance(1, f"{row['name']}: {row['ratio']:.2f}")
                gflops = workload.operations() / portable / 1e6
                yield {**row, "native_ms": native, "portable_ms": portable, "gflops": gflops}


def _bfloat16_rows(options: ArithmeticOptions, native: Numerics, progress: Progress) -> Iterator[Bfloat16Row]:
    """Yield what oneDNN's bfloat16 takes for ResNet-18 beside float32."""
    workloads = [each for each in options.workloads if options.only in each.name and each.model == "resnet18"]
    with progress.task("bench, bfloat16", len(workloads) * len(options.threads)) as advance:
        for workload in workloads:
            for threads in options.threads:
                with use_threads(threads):
                    works = (workload.prepare(native), workload.prepare(native, bfloat16=True))
                    row, (float32, bfloat16) = _time_pair(workload.name, threads, works, options.repeats)
                advance(1, f"{row['name']}: {row['ratio']:.2f}")
                yield {**row, "float32_ms": float32, "bfloat16_ms": bfloat16}


def _layer_rows(options: ArithmeticOptions, modes: tuple[Numerics, Numerics], progress: Progress) -> Iterator[LayerRow]:
    sizes = [(size, batch, layer) for size, batch in options.layers for layer in layers(size)]
    rows = [
        (f"{size} px, {batch} images: {layer.name}, {kernel}", batch, layer, kernel)
        for size, batch, layer in sizes
        for kernel in layer.kernels
    ]
    rows = [row for row in rows if options.only in row[0]]
    with progress.task("bench, layers", len(rows)) as advance:
        for name, batch, layer, kernel in rows:
            # On several, the waiting threads of torch are in the way of those of the kernels, and the other way round.
            with use_threads(1):
                works = tuple(prepare_layer(layer, batch, kernel, mode) for mode in modes)
                row, (native, portable) = _time_pair(name, 1, works, options.repeats)
            yield {**row, "native_ms": native, "portable_ms": portable, "method": layer.method(kernel)}
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
    name: str, threads: int, works: tuple[Callable[[], None], ...], repeats: int
) -> tuple[RatioRow, tuple[float, float]]:
    """Time two programs alternately, `repeats` times each, and each time after an untimed run.

    Return the ratio of the second to the first, and the median milliseconds of each.
    """
    seconds: list[list[float]] = [[], []]
    for _ in range(repeats):
        for times, work in zip(seconds, works, strict=True):
            # In a training each step follows another, and no other program's threads are in the way.
            work()
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    first, second = seconds
    ratios = [theirs / ours for ours, theirs in zip(first, second, strict=True)]
    row = RatioRow(name=name, threads=threads, ratio=statistics.median(ratios), lowest=min(ratios), highest=max(ratios))
    return row, (1000 * statistics.median(first), 1000 * statistics.median(second))


def _loop_rows(options: ArithmeticOptions, modes: tuple[Numerics, Numerics], progress: Progress) -> Iterator[LoopRow]:
    """Yield the images per second of whole trainings, and of a bare torch loop over one batch in memory."""
    batches = [batch for batch in options.loop_batches if options.only in f"resnet18, 64 px, {batch} images, training"]
    with progress.task("bench, training loop", len(batches)) as advance:
        for batch_size in batches:
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
        run = experiment.train(config, Path(folder) / "run", context=Context(numerics))
    return run.histories[SGD.name][-1]["images_per_second"]
