"""Benchmark of portable arithmetic (a fixed order of float operations) against torch's native arithmetic."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks import runtimes, tables
from benchmarks.plain import PlainScript
from benchmarks.records import ArithmeticBenchmark, Bfloat16Row, ContenderTimes, LayerRow, LoopRow, NetworkRow, RatioRow
from benchmarks.workloads import FORMATS, SGD, Workload, layers, prepare_layer
from in4310repro.arithmetic import library
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics, activate
from in4310repro.system.progress import SILENT, Progress
from in4310repro.training import experiment

BATCHES = {64: 32, 160: 16, 224: 16}  # image size in pixels -> images in a batch
TRAINED = ("resnet18", "mobilenet_v2", "efficientnet_lite0")
NETWORKS = (*TRAINED, "resnet50")
WORKLOADS = (
    *(Workload(model, size, batch, training=True) for model in TRAINED for size, batch in BATCHES.items()),
    *(
        Workload(model, size, images, training=False)
        for model in NETWORKS
        for size, batch in BATCHES.items()
        for images in (batch, 1)
    ),
)
# Of stock PyTorch's memory formats, before the pairs with the faster one.
FORMAT_REPEATS = 3
PLAIN, FOLDED = "plain script", "folded"
LARGEST_DIFFERENCE = (
    1e-3  # of scores, as a share of the largest; the networks are the same, and the order of sums is not
)
LAYERS = ((64, 32), (224, 8))  # image size in pixels, images in a batch
LOOP_BATCHES = (32, 64)


@dataclass(frozen=True, kw_only=True)
class ArithmeticOptions:
    """Options of the benchmark of portable and native arithmetic."""

    repeats: int = 7  # pairs of each row, native and portable one after the other
    seconds: float = 2.0  # that a network's pairs go on at least, since those of small networks take milliseconds
    threads: int = 2  # of batches; a single image has one
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
        runtimes={name: runtimes.version(name) for name in runtimes.RUNTIMES},
        networks=list(_network_rows(options, modes, progress)),
        bfloat16=list(_bfloat16_rows(options, modes[0], progress)),
        layers=list(_layer_rows(options, modes, progress)),
        loop=list(_loop_rows(options, modes, progress)),
    )
    if not (report["networks"] or report["layers"] or report["loop"]):
        raise ValueError(f"no row has {options.only!r} in its name")
    return tables.write(out, "arithmetic", report)


def fused_operations(rounds: int) -> int:
    """Compute chains of `rounds` float32 fused multiply-adds on one thread; return the number of operations.

    A fused multiply-add is two operations.
    """
    sink = torch.empty((), dtype=torch.float32, device="cpu")
    return int(library.library().functions["fused_operations"](rounds, sink.data_ptr()))


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
    if not workloads:
        return
    with PlainScript() as plain, progress.task("bench, networks", len(workloads)) as advance:
        for workload in workloads:
            row = _network_row(workload, options, modes, plain)
            yield row
            advance(1, f"{row['name']}: {row['ratio']:.2f}")


def _network_row(
    workload: Workload, options: ArithmeticOptions, modes: tuple[Numerics, Numerics], plain: PlainScript
) -> NetworkRow:
    """Time a workload by every contender, one after the other, at least `repeats` times."""
    native, portable = modes
    threads = options.threads if workload.batch_size > 1 else 1
    with use_threads(threads):
        works = {name: workload.prepare(native, memory_format=name) for name in FORMATS}
        times = _alternate({name: _timed(work) for name, work in works.items()}, FORMAT_REPEATS)
        memory_format = min(times, key=lambda name: statistics.median(times[name]))
        works = {"native": works[memory_format], "portable": workload.prepare(portable)}
        if not workload.training:
            works[FOLDED] = workload.prepare(native, memory_format=memory_format, folded=True)
            for name, prepare in runtimes.RUNTIMES.items():
                if runtimes.version(name):
                    works[name] = prepare(workload, threads)
            _check_scores(workload, works)
        contenders = {name: _timed(work) for name, work in works.items()}
        contenders[PLAIN] = plain.prepare(workload, threads, memory_format)
        seconds = _alternate(contenders, options.repeats, options.seconds)
    rows = {name: _times(each, seconds["native"]) for name, each in seconds.items()}
    ours = rows.pop("portable")
    return NetworkRow(
        name=workload.name,
        threads=threads,
        ratio=ours["ratio"],
        lowest=ours["lowest"],
        highest=ours["highest"],
        native_ms=rows.pop("native")["ms"],
        portable_ms=ours["ms"],
        gflops=workload.operations() / ours["ms"] / 1e6,
        pairs=len(seconds["native"]),
        memory_format=memory_format,
        contenders=rows,
        ratio_to_plain=_times(seconds["portable"], seconds[PLAIN])["ratio"],
    )


def _check_scores(workload: Workload, works: dict[str, Callable[[], object]]) -> None:
    """Raise ValueError where a contender's scores are not those of stock PyTorch, up to rounding."""
    scores = {name: torch.as_tensor(work()).double() for name, work in works.items()}
    expected = scores["native"]
    for name, each in scores.items():
        difference = float((each - expected).abs().max() / expected.abs().max())
        if not difference <= LARGEST_DIFFERENCE:
            raise ValueError(
                f"{workload.name}: scores of {name} differ from stock PyTorch's by {difference:.1g} of the largest; "
                f"expected at most {LARGEST_DIFFERENCE:g}"
            )


def _timed(work: Callable[[], object]) -> Callable[[], float]:
    """Return a function that does the work once and returns its seconds."""

    def seconds() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return seconds


def _alternate(contenders: dict[str, Callable[[], float]], repeats: int, least: float = 0.0) -> dict[str, list[float]]:
    """Time programs in turn, each time after an untimed run; return the seconds of each.

    Args:
        contenders: name -> function that does the work once and returns its seconds.
        repeats: turns, at least.
        least: seconds that all turns take, at least.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    end = time.perf_counter() + least
    turns = itertools.count()
    while next(turns) < repeats or time.perf_counter() < end:
        for name, measure in contenders.items():
            # In a training each step follows another, and no other program's threads are in the way.
            measure()
            seconds[name].append(measure())
    return seconds


def _times(seconds: list[float], reference: list[float]) -> ContenderTimes:
    """Return the median milliseconds, and the ratio to the reference over pairs of the same turn."""
    ratios = [each / other for each, other in zip(seconds, reference, strict=True)]
    return ContenderTimes(
        ms=1000 * statistics.median(seconds), ratio=statistics.median(ratios), lowest=min(ratios), highest=max(ratios)
    )


def _bfloat16_rows(options: ArithmeticOptions, native: Numerics, progress: Progress) -> Iterator[Bfloat16Row]:
    """Yield what oneDNN's bfloat16 takes for batches of ResNet-18 beside float32."""
    chosen = [each for each in options.workloads if each.model == "resnet18" and each.batch_size > 1]
    workloads = [each for each in chosen if options.only in each.name]
    with progress.task("bench, bfloat16", len(workloads)) as advance:
        for workload in workloads:
            with use_threads(options.threads):
                works = (workload.prepare(native), workload.prepare(native, bfloat16=True))
                row, (float32, bfloat16) = _time_pair(workload.name, options.threads, works, options.repeats)
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
                native, portable = (prepare_layer(layer, batch, kernel, mode) for mode in modes)
                row, (first, second) = _time_pair(name, 1, (native, portable), options.repeats)
            yield {**row, "native_ms": first, "portable_ms": second, "method": layer.method(kernel)}
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
    name: str, threads: int, works: tuple[Callable[[], object], Callable[[], object]], repeats: int
) -> tuple[RatioRow, tuple[float, float]]:
    """Time two programs alternately; return the ratio of the second to the first, and the median ms of each."""
    seconds = _alternate({"first": _timed(works[0]), "second": _timed(works[1])}, repeats)
    first, second = (_times(each, seconds["first"]) for each in seconds.values())
    row = RatioRow(
        name=name, threads=threads, ratio=second["ratio"], lowest=second["lowest"], highest=second["highest"]
    )
    return row, (first["ms"], second["ms"])


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
