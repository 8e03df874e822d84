"""Planted causes of different bits, and what names each: `diff` of two runs, and `explain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from in4310repro.trace.causes import explain
from in4310repro.trace.comparison import Comparison, compare
from in4310repro.trace.explanation import Explanation
from in4310repro.trace.processes import Processes, Training
from in4310repro.trace.records import TraceFile

ROOT = Path(__file__).parents[2]
MODULE = "tests.trace.trainings"
# Where batches are not read by a DataLoader, what is recorded is what the model and the loss make of them.
WITHOUT_LOADER = {"images": ("model.input",), "labels": ("loss",)}
RUN = ("-m", "tests.trace.run")  # before MODULE:FUNCTION


@dataclass(frozen=True)
class Planted:
    """A planted cause of different bits, and what `diff` and `explain` are expected to report."""

    what: str
    function: str  # in `trainings`
    first: str  # beginning of the name of the tensor or module that differs first, or several with | between
    named: str  # beginning of a cause of `explain`, or of the effect of a change, or several
    other: str = ""  # function of the second run, where it is another one
    options: tuple[str, ...] = ()  # of the second run, on another machine; see `trace.worker`
    variables: Mapping[str, str] | None = None
    threads: int = 0
    steps: int = 2


PLANTED = (
    Planted("a generator of a worker process has no seed", "unseeded_worker", "images", "entropy: "),
    Planted(
        "files in the order of the file system", "listed_files", "images", "listing: ", options=("shuffled listing",)
    ),
    Planted("classes numbered in this order", "listed_classes", "labels", "listing: ", options=("shuffled listing",)),
    Planted("dropout whose generator has no seed", "dropout", "6.output", "entropy: "),
    Planted("index_add_ by threads in no order", "index_add", "6.output", "order of threads: "),
    Planted("scatter_add_ of results in the order of their end", "scatter_add", "6.output", "order of results: "),
    Planted("a seed from the clock", "clock_seed", "images", "clock: "),
    Planted("a learning rate from the clock", "clock_rate", "0.weight", "clock: "),
    Planted("a seed from os.urandom", "system_seed", "images", "entropy: "),
    Planted("a seed from the process number", "process_seed", "images", "entropy: "),
    Planted(
        "a seed from an environment variable",
        "variable_seed",
        "images",
        "environment: ",
        variables={"SLURM_ARRAY_TASK_ID": "7"},
    ),
    Planted("the order of a set", "set_order", "images", "hash seed: "),
    Planted("an order by hash() of objects", "object_order", "images", "addresses: "),
    Planted("a buffer left from the training before", "left_buffer", "6.output", "again: ", options=("again",)),
    Planted("memory of torch.empty", "uninitialised_memory", "6.output", "memory: ", options=("filled memory",)),
    Planted(
        "batch norm of a frozen part in training mode",
        "frozen_batch_norm",
        "1",
        "mode: 1 (BatchNorm2d)",
        "moving_batch_norm",
    ),
    Planted("evaluation mode left after validation", "honest", "model", "mode: model", "left_in_evaluation"),
    Planted("a random crop without a seed", "random_crop", "images", "Python's seed: "),
    Planted("a shuffle without a seed", "shuffle", "images", "NumPy's seed: "),
    Planted(
        "NumPy's global generator in workers", "numpy_in_workers", "images", "workers: ", options=("other workers",)
    ),
    Planted("images split among workers", "worker_shards", "images", "workers: ", options=("other workers",)),
    Planted("batches by imap_unordered", "unordered_pool", "images", "order of results: "),
    Planted("weights drawn before any seed", "no_seed", "start.0.weight", "torch's seed: "),
    Planted("a sum on one thread and on two", "sum_on_threads", "6.output", "threads", threads=2),
    Planted(
        "a matrix product by other vector instructions",
        "wide_product",
        "1.output|3.output",
        "ONEDNN_MAX_CPU_ISA|MKL_CBWR|ATEN_CPU_CAPABILITY",
        variables={"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"},
    ),
)
# Rows without a training: entries of two heads.
HEADS = ({"pillow": "11.3.0", "jpeg": "libjpeg-turbo 3.1.2"}, {"pillow": "12.0.0", "jpeg": "libjpeg-turbo 2.1.5"})


@dataclass(frozen=True)
class Verdict:
    """Results of `diff` and `explain` for a planted cause."""

    planted: Planted
    comparison: Comparison
    explanation: Explanation

    @property
    def by_diff(self) -> bool:
        """True if `diff` names the expected tensor as the first that differs."""
        found = self.comparison.difference
        names = [each for name in self.planted.first.split("|") for each in (name, *WITHOUT_LOADER.get(name, ()))]
        return found is not None and found.name.startswith(tuple(names))

    @property
    def said(self) -> str:
        """Sentence of `explain` that names the planted cause; empty if there is none."""
        names = tuple(self.planted.named.split("|"))
        sentences = [*self.explanation.causes]
        sentences += [f"{each.change.name} {each.describe()}" for each in self.explanation.effects if each.moved]
        return next((each for each in sentences if each.startswith(names)), "")


def examine(planted: Planted, processes: Processes, **options: Any) -> Verdict:
    """Run the planted training twice, compare the two traces, and explain the training."""
    training = Training((*RUN, f"{MODULE}:{planted.function}"), steps=planted.steps, path=(str(ROOT),))
    other = (*RUN, f"{MODULE}:{planted.other or planted.function}")
    first = processes.open("hash seed 5", {"PYTHONHASHSEED": "5"}).run(training, threads=1 if planted.threads else 0)
    second = processes.open("hash seed 6", {"PYTHONHASHSEED": "6"}).run(
        replace(training, command=other), planted.options, planted.variables, planted.threads
    )
    found = explain(other, path=[str(ROOT)], processes=processes, **options)
    return Verdict(planted, compare(first.trace, second.trace), found)


def with_head(trace: TraceFile, entries: Mapping[str, str]) -> TraceFile:
    """Return the trace with these entries added to the environment in its header."""
    environment = {**trace.header["environment"], **entries}
    return replace(trace, header={**trace.header, "environment": environment})


def nearly_equal_pixels(trace: TraceFile) -> TraceFile:
    """Return the trace with a first image of another hash and nearly the same norm, as from another decoder."""

    def changed() -> Iterator[Any]:
        for event in trace.steps[0].events:
            near = event.tensor.name in ("images", "images[0]")
            yield event._replace(hash=event.hash[::-1], norm=event.norm * (1 + 1e-4)) if near else event

    return replace(trace, steps=(replace(trace.steps[0], events=tuple(changed())), *trace.steps[1:]))
