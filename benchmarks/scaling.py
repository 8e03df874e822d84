"""An estimate of a training step's speed-up on many cores, from measurements on two."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.records import ScalingRow
from in4310repro.arithmetic.library import Library

CORES = (4, 8, 16)
# Kernels that read or write more than they compute: passes over maps, parameters and windows.
PASSES = ("normalis", "pool", "add", "adamw", "rmsprop", "sgd", "bias_leaves")


def measure(name: str, step: Callable[[], None], repeats: int) -> ScalingRow:
    """Time a step on one and two threads alternately; return times, shares of the time and estimated speed-ups.

    The serial share is the larger of two: what is spent outside of the kernels, and Amdahl's from both times,
    t2 / t1 = share + (1 - share) / 2.
    """
    seconds: dict[int, list[float]] = {1: [], 2: []}
    outside: list[float] = []
    passes: list[float] = []
    for _ in range(repeats + 1):
        for threads, times in seconds.items():
            with use_threads(threads), time_kernels() as inside:
                start = time.perf_counter()
                step()
                times.append(time.perf_counter() - start)
            if threads == 1:
                outside.append(1 - sum(inside.values()) / times[-1])
                in_passes = sum(taken for kernel, taken in inside.items() if any(word in kernel for word in PASSES))
                passes.append(in_passes / times[-1])
    # The first round warms up.
    one, two = (statistics.median(times[1:]) for times in seconds.values())
    ratio = statistics.median(b / a for a, b in zip(seconds[1][1:], seconds[2][1:], strict=True))
    of_kernels = statistics.median(outside[1:])
    row = ScalingRow(
        name=name,
        one_thread_ms=1000 * one,
        two_threads_ms=1000 * two,
        outside_share=of_kernels,
        serial_share=min(1.0, max(of_kernels, 2 * ratio - 1)),
        passes_share=statistics.median(passes[1:]),
        estimates={},
    )
    row["estimates"] = {str(cores): list(estimate(row["serial_share"], row["passes_share"], cores)) for cores in CORES}
    return row


def estimate(serial: float, passes: float, cores: int) -> tuple[float, float]:
    """Return a low and a high estimate of the speed-up over one thread.

    The high one is by Amdahl 1967: 1 / (s + (1 - s) / n). The low one assumes that two cores already use the whole
    memory bandwidth, so that passes over maps and parameters gain nothing from a third core:
    1 / (s + p / 2 + (1 - s - p) / n).
    """
    passes = min(passes, 1 - serial)
    low = serial + passes / min(2, cores) + (1 - serial - passes) / cores
    return 1 / low, 1 / (serial + (1 - serial) / cores)


@contextmanager
def time_kernels() -> Iterator[dict[str, float]]:
    """Yield a mapping that receives the seconds spent in each function of the compiled library during a block."""
    inside: dict[str, float] = {}
    call = Library.call

    def timed(self: Library, function: str, *arguments: Any, **options: Any) -> None:
        start = time.perf_counter()
        try:
            call(self, function, *arguments, **options)
        finally:
            inside[function] = inside.get(function, 0.0) + time.perf_counter() - start

    Library.call = timed  # type: ignore[method-assign]
    try:
        yield inside
    finally:
        Library.call = call  # type: ignore[method-assign]


@contextmanager
def use_threads(number: int) -> Iterator[None]:
    """Set the number of threads of torch's operations and of our kernels during a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
