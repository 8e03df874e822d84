"""One process of the benchmark of several processes, started by torchrun; rank 0 writes all measurements.

    torchrun --nproc-per-node 2 -m benchmarks.rank 64 32 5 1 measured.json

Arguments: image size in pixels, images in a batch, steps of each kind that are timed, threads of each process, file.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record

from benchmarks.measurement import peak_bytes, reset_peak
from benchmarks.messages import GRADIENTS, SMALL, STOP, count_messages
from benchmarks.records import RankRow, SharedRow
from benchmarks.workloads import CLASSES, SGD
from in4310repro import models
from in4310repro.arithmetic import shares, tree
from in4310repro.data.images import ImageSet
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes, write_file
from in4310repro.system.numerics import Numerics, activate
from in4310repro.system.processes import ALONE, Processes, join
from in4310repro.training.epochs import Epochs, TrainingInputs

MODEL = "resnet18"
SMALLER = 4  # number of smaller batches of 8, 16, ... images that one process alone is timed with


@record
def main(image_size: int, batch_size: int, repeats: int, threads: int, file: Path) -> None:
    """Measure in one of the processes that torchrun started; the first writes the measurements of all to `file`."""
    torch.set_num_threads(threads)
    with join("cpu") as processes:
        row = measure(image_size, batch_size, repeats, processes, activate("portable", "cpu"))
        rows = [json.loads(each) for each in processes.gather(json_bytes(row))]
        if processes.leads:
            write_file(file, json_bytes(rows))


def measure(image_size: int, batch_size: int, repeats: int, processes: Processes, numerics: Numerics) -> RankRow:
    """Return the measurements of this process: steps alone, and steps taken together with the other processes."""
    connection, cpu = processes.connection, torch.device("cpu")
    row = RankRow(alone={}, begun=[], shared=None, resident_mb=None)
    # One process alone shows how the time grows with the batch; several show what they cost each other.
    smaller = () if connection else range(tree.LEAF, batch_size, tree.LEAF)[:SMALLER]
    reset_peak(cpu)
    for images in (*smaller, len(shares.images_of(batch_size, connection))):
        processes.gather(b"ready")
        times, row["begun"] = _measure_alone(make_epochs(image_size, images, repeats, ALONE, numerics))
        row["alone"][str(images)] = median(times)
    if connection:
        trained = make_epochs(image_size, batch_size, repeats, processes, numerics)
        row["shared"] = _measure_shared(trained, connection)
    peak = peak_bytes(cpu)
    row["resident_mb"] = None if peak is None else peak / 1e6
    if connection and row["shared"]:
        _measure_messages(row["shared"], trained.model, batch_size, repeats, connection)
    return row


def make_epochs(image_size: int, batch_size: int, repeats: int, processes: Processes, numerics: Numerics) -> Epochs:
    """Return a training on random pixels with SGD; an epoch has one step to warm up and `repeats` more."""
    count = batch_size * (repeats + 1)
    pixels = np.random.default_rng(0).integers(0, 256, (count, image_size, image_size, 3), dtype=np.uint8)
    names = tuple(map(str, range(count)))  # also the keys of the augmentation's random numbers
    images = ImageSet("noise", names, names, np.arange(count) % CLASSES, pixels)
    config = replace(PRESETS["demo"], model=MODEL, batch_size=batch_size, image_size=image_size, settings=(SGD,))
    inputs = TrainingInputs(
        model=models.build(MODEL, CLASSES, seed=0),
        training=images,
        validation=images,
        config=config,
        setting=SGD,
        context=Context(numerics, processes=processes),
    )
    return Epochs(inputs)


def _last_seconds(trained: Epochs) -> float:
    assert trained.last  # noqa: S101 - for the type checker
    return trained.last.seconds


def _measure_alone(trained: Epochs) -> tuple[list[float], list[tuple[int, float]]]:
    """Time each step; also return when each gradient of the last step was begun, as a fraction of the step."""
    times: list[float] = []
    begun: list[tuple[int, float]] = []
    with _watch_gradients() as seen:

        def after_step() -> None:
            times.append(_last_seconds(trained))
            start = time.perf_counter() - times[-1]
            begun[:] = [(values, (moment - start) / times[-1]) for values, moment in seen]
            seen.clear()

        trained.train(after_step)
    return times[1:], begun


@contextmanager
def _watch_gradients() -> Iterator[list[tuple[int, float]]]:
    """Yield a list that receives (number of values, start time) of each weight gradient computed during a block.

    An entry of 0 values marks the end of a backward pass.
    """
    seen: list[tuple[int, float]] = []
    whole: Any = shares.Whole
    originals = whole.weight_gradient, whole.finish

    def gradient(batch: shares.Whole, weight: Tensor, *arguments: Any) -> Any:
        seen.append((weight.numel(), time.perf_counter()))
        return originals[0](batch, weight, *arguments)

    def finish(batch: shares.Whole) -> None:
        seen.append((0, time.perf_counter()))
        originals[1](batch)

    whole.weight_gradient, whole.finish = gradient, finish
    try:
        yield seen
    finally:
        whole.weight_gradient, whole.finish = originals


def _measure_shared(trained: Epochs, connection: shares.Connection) -> SharedRow:
    """Time steps taken together with the other processes; return medians, and the messages of the last step."""
    times: list[float] = []
    waiting: dict[str, list[float]] = {SMALL: [], GRADIENTS: [], STOP: []}
    last: dict[str, list[int]] = {}
    with count_messages(connection) as kinds:

        def after_step() -> None:
            times.append(_last_seconds(trained))
            for kind, sent in kinds.items():
                waiting[kind].append(sent.waiting)
                last[kind] = [*sent.sizes]
                sent.clear()

        trained.train(after_step)
    return SharedRow(
        seconds=median(times[1:]),
        waiting={kind: median(seconds[1:]) for kind, seconds in waiting.items()},
        bytes={kind: sum(sizes) for kind, sizes in last.items()},
        messages={kind: len(sizes) for kind, sizes in last.items()},
        alone={},
        cpu={},
    )


def _measure_messages(
    row: SharedRow, model: torch.nn.Module, batch_size: int, repeats: int, connection: shares.Connection
) -> None:
    """Time the messages of a step without other work, in seconds and CPU seconds, and add the times to `row`."""
    share = shares.Share(batch_size, connection)
    norms = [each.num_features for each in model.modules() if isinstance(each, torch.nn.BatchNorm2d)]
    rows = [torch.zeros(len(share.own), 2 * channels, dtype=torch.float64) for channels in norms]
    weights = [weight for weight in reversed([*model.parameters()]) if weight.ndim > 1]

    def small() -> None:
        for each in rows:
            share.total(each)

    def gradients() -> None:
        share = shares.Share(batch_size, connection)
        for weight in weights:
            share.weight_gradient(weight, len(share.images), lambda *_: None)
        share.finish()

    whole = torch.cat([weight.detach().flatten() for weight in weights])
    everybody = list(whole.new_empty((connection.size, len(whole))))

    def all_gather() -> None:
        dist.all_gather(everybody, whole, group=connection.gradients)
        tree.add(range(connection.size), {range(i, i + 1): each for i, each in enumerate(everybody)})

    for name, work, count in ((SMALL, small, len(rows)), (GRADIENTS, gradients, 1), ("all-gather", all_gather, 1)):
        row["alone"][name], row["cpu"][name] = (each / count for each in _time_calls(work, repeats))


def _time_calls(work: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Return the median seconds, and CPU seconds of this process, of `repeats` calls after an untimed one."""
    taken = []
    for _ in range(repeats + 1):
        start, before = time.perf_counter(), time.process_time()
        work()
        taken.append((time.perf_counter() - start, time.process_time() - before))
    seconds, cpu = (median(each[1:]) for each in zip(*taken, strict=True))
    return seconds, cpu


if __name__ == "__main__":
    *numbers, written = sys.argv[1:]
    side, images_in_batch, steps, threads_of_each = map(int, numbers)
    main(side, images_in_batch, steps, threads_of_each, Path(written))
