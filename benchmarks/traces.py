"""Benchmark of traces: a training step traced entirely, and one that torchlens logs, beside the bare step."""

from __future__ import annotations

import importlib
import importlib.metadata
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import tables
from benchmarks.arithmetic import use_threads
from benchmarks.records import TraceBenchmark, TraceRow
from benchmarks.workloads import CLASSES
from in4310repro import models
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import activate
from in4310repro.system.progress import SILENT, Progress
from in4310repro.trace import Trace, read_trace

Work = Callable[[], None]


@dataclass(frozen=True)
class Batch:
    """A batch in memory, and the file of a trace."""

    images: Tensor
    labels: Tensor
    file: Path


class Training:
    """Training steps of a network with AdamW in torch's native arithmetic."""

    def __init__(self, name: str) -> None:
        self.model: nn.Module = models.build(name, CLASSES, seed=0).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)

    def step(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Take a step by the scores of a forward pass; return the loss."""
        loss = nn.functional.cross_entropy(scores, labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss


@contextmanager
def bare_step(training: Training, batch: Batch) -> Iterator[Work]:
    """Yield a function that takes a step, and nothing else."""
    yield lambda: (training.step(training.model(batch.images), batch.labels), None)[1]


@contextmanager
def traced_step(training: Training, batch: Batch) -> Iterator[Work]:
    """Yield a function that takes a step and traces all of it."""
    with Trace(training.model, training.optimizer, batch.file) as trace:

        def work() -> None:
            with trace.step(images=batch.images, labels=batch.labels) as step:
                step.record(loss=training.step(training.model(batch.images), batch.labels))

        yield work


@contextmanager
def torchlens_step(training: Training, batch: Batch) -> Iterator[Work]:
    """Yield a function that takes a step whose forward pass torchlens logs, with its defaults."""
    torchlens: Any = importlib.import_module("torchlens")
    options = importlib.import_module("torchlens.options").CaptureOptions(unwrap_when_done=True)

    def work() -> None:
        with warnings.catch_warnings():
            # It warns that batch normalization is in training mode, and of a backward pass that it did not begin.
            warnings.simplefilter("ignore")
            logged = torchlens.trace(training.model, batch.images, capture=options)
            training.step(logged.layers[-1].out, batch.labels)

    yield work


Start = Callable[[Training, Batch], AbstractContextManager[Work]]
# Name of the row, the distribution that it needs, and the step.
CONTENDERS: tuple[tuple[str, str, Start], ...] = (
    ("traced: data, maps, gradients, state", "torch", traced_step),
    ("torchlens: operations of the forward pass", "torchlens", torchlens_step),
)


@dataclass(frozen=True, kw_only=True)
class TraceOptions:
    """Options of the benchmark of traces.

    Raises:
        ValueError: there is less than one repeat.
    """

    repeats: int = 30  # pairs of a bare step and another
    model: str = "resnet18"
    image_size: int = 64  # pixels
    batch_size: int = 32  # images
    threads: int = 2
    contenders: tuple[tuple[str, str, Start], ...] = field(default=CONTENDERS)

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats {self.repeats}; expected at least 1")


def benchmark(out: Path, options: TraceOptions | None = None, progress: Progress = SILENT) -> list[Path]:
    """Time traced steps beside bare ones; write traces.json and bench.md, and return their paths."""
    options = options or TraceOptions()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(options.batch_size, 3, options.image_size, options.image_size, generator=generator)
    with tempfile.TemporaryDirectory() as folder, use_threads(options.threads):
        batch = Batch(images, torch.arange(options.batch_size) % CLASSES, Path(folder) / "step.trace")
        report = TraceBenchmark(
            fingerprint=fingerprint(activate("native", "cpu")),
            model=options.model,
            image_size=options.image_size,
            batch_size=options.batch_size,
            threads=options.threads,
            rows=[],
            tensors=0,
            bytes_of_each=0.0,
        )
        with progress.task("bench, traces", len(options.contenders)) as advance:
            for name, needs, start in options.contenders:
                report["rows"].append(_measure(name, needs, start, batch, options))
                advance(1, name)
        if batch.file.exists():
            steps = read_trace(batch.file).steps
            report["tensors"] = len(steps[-1].events)
            report["bytes_of_each"] = batch.file.stat().st_size / sum(len(step.events) for step in steps)
    return tables.write(out, "traces", report)


def _measure(name: str, needs: str, start: Start, batch: Batch, options: TraceOptions) -> TraceRow:
    """Return the times of a contender and of bare steps, which alternate after an untimed round."""
    try:
        row = TraceRow(name=name, needs=needs, version=importlib.metadata.version(needs))
    except importlib.metadata.PackageNotFoundError:
        return TraceRow(name=name, needs=needs, version=None)
    seconds: list[list[float]] = [[], []]
    processor: list[list[float]] = [[], []]
    with bare_step(Training(options.model), batch) as bare, start(Training(options.model), batch) as other:
        for _ in range(options.repeats + 1):
            for times, spent, work in zip(seconds, processor, (bare, other), strict=True):
                began, spent_before = time.perf_counter(), time.process_time()
                work()
                times.append(time.perf_counter() - began)
                spent.append(time.process_time() - spent_before)
    bares, others = (times[1:] for times in seconds)
    ratios = sorted(theirs / ours for ours, theirs in zip(bares, others, strict=True))
    quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    row["repeats"] = options.repeats
    row["bare_ms"], row["ms"] = 1000 * statistics.median(bares), 1000 * statistics.median(others)
    row["ratio"], row["ratio_quartiles"] = quartiles[1], [quartiles[0], quartiles[2]]
    row["ratio_of_fastest"] = min(others) / min(bares)
    row["processor_ratio"] = statistics.median(
        theirs / ours for ours, theirs in zip(processor[0][1:], processor[1][1:], strict=True)
    )
    return row
