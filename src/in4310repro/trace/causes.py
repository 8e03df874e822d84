"""What moves the bits of a training: some of its steps, run again under one change at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from in4310repro.trace.comparison import Comparison, compare
from in4310repro.trace.records import TraceFile, read_trace

TIMEOUT = 900.0  # seconds for a few steps
Shown = Callable[[str], None]


@dataclass(frozen=True)
class Change:
    """A change under which a training is run again."""

    name: str
    meaning: str  # what else would be different, if it moves bits
    cause: str  # what is wrong with a training that it moves
    options: tuple[str, ...] = ()  # of the worker
    variables: tuple[tuple[str, str], ...] = ()  # of the environment
    against: tuple[str, ...] = ()  # options of the run that it is compared with
    numerical: bool = False  # it moves bits by rounding alone, in most trainings
    needs: str = ""  # what must be there: linux, cuda or compiler


PLAIN = Change("repeat", "nothing at all", "it does not repeat")
CHANGES = (
    Change("hash seed", "PYTHONHASHSEED", "an order of a set or of hashes enters", variables=(("PYTHONHASHSEED", "1"),)),
    Change("listing", "the order in which folders are listed", "files are read in the order of the file system", ("listing",)),
    Change("clock", "the time of day", "the clock enters, for instance as a seed", ("clock",)),
    Change(
        "memory",
        "what memory holds before it is used",
        "memory is read that was not initialised",
        variables=(("MALLOC_PERTURB_", "165"),),
        needs="linux",
    ),
    Change("again", "a second training in the same process", "state is left from a training before", ("again",)),
    Change("workers", "the number of worker processes of DataLoaders", "what workers draw depends on their number", ("workers",)),
    Change("threads", "the number of threads", "sums are split among threads", ("threads",), numerical=True),
    Change(
        "instruction set",
        "the processor's vector instructions",
        "sums are split among vector lanes",
        variables=(("ATEN_CPU_CAPABILITY", "avx2"), ("ONEDNN_MAX_CPU_ISA", "AVX2"), ("MKL_CBWR", "AVX2")),
        numerical=True,
    ),
    Change("memory format", "channels_last instead of contiguous", "the layout decides the algorithm", ("memory format",), numerical=True),
    Change(
        "batch size",
        "half of each batch",
        "an image's result depends on the other images: batch norm in training mode, or an algorithm chosen by size",
        ("half a batch",),
        against=("first half",),
        numerical=True,
    ),
    Change("deterministic algorithms", "torch.use_deterministic_algorithms", "an algorithm does not repeat", ("deterministic algorithms",), numerical=True),
    Change("TF32", "products rounded to 10 bits", "products on the card are rounded", ("TF32",), numerical=True, needs="cuda"),
    Change("compile", "torch.compile", "fused operations round otherwise", ("compile",), numerical=True, needs="compiler"),
    Change("library order", "other libraries loaded before torch", "another BLAS or OpenMP is used", ("library order",)),
    Change("portable arithmetic", "the kernels of in4310repro.arithmetic", "sums have another order", ("portable arithmetic",), numerical=True),
)
# What is held fixed in both runs, to see whether a training then repeats.
FIXES = (
    Change("seeded generators", "global generators seeded", "a global generator has no seed", ("seeded generators",)),
    Change("stopped clock", "a clock that stands", "the clock enters, for instance as a seed", ("stopped clock",)),
    Change("sorted listing", "listings of folders sorted", "files are read in the order of the file system", ("sorted listing",)),
    Change("no workers", "no worker processes", "what workers draw is not seeded", ("no workers",)),
    Change("one thread", "one thread", "threads add in no fixed order", ("one thread",)),
    Change("deterministic algorithms", "torch.use_deterministic_algorithms", "an algorithm does not repeat", ("deterministic algorithms",)),
    Change("filled memory", "memory filled with one pattern", "memory is read that was not initialised", variables=(("MALLOC_PERTURB_", "165"),), needs="linux"),
)


@dataclass(frozen=True)
class Effect:
    """What a change did."""

    change: Change
    comparison: Comparison | None  # None: it could not be tried
    reason: str = ""  # why not

    @property
    def moved(self) -> bool:
        """True if bits differ."""
        return self.comparison is not None and not self.comparison.equal

    def to_json(self) -> dict[str, Any]:
        """Return the effect as JSON values."""
        found = self.comparison.to_json() if self.comparison else None
        return {"change": self.change.name, "moved": self.moved, "reason": self.reason, "comparison": found}


@dataclass(frozen=True)
class Explanation:
    """What moves the bits of a training, and what holds them."""

    repeats: bool
    effects: tuple[Effect, ...]  # of the changes; of a training that does not repeat, none
    holds: tuple[Effect, ...]  # of a training that does not repeat: each fix, and whether it repeats with it
    together: tuple[str, ...] = field(default=())  # settings with which threads and instruction set move nothing

    def causes(self) -> list[str]:
        """Return the causes in words, the ones that a user should mend first."""
        if not self.repeats:
            found = [f"{each.change.name}: {each.change.cause}" for each in self.holds if each.comparison and not each.moved]
            return found or ["it does not repeat, whatever was held: state outside of the process, or a generator of its own"]
        moved = [each for each in self.effects if each.moved]
        return [
            f"{each.change.name}: {each.change.cause}" for each in sorted(moved, key=lambda each: each.change.numerical)
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as JSON values."""
        return {
            "repeats": self.repeats,
            "effects": [each.to_json() for each in self.effects],
            "holds": [each.to_json() for each in self.holds],
            "together": list(self.together),
            "causes": self.causes(),
        }


def explain(
    function: str, *, steps: int = 2, only: Collection[str] = (), shown: Shown = lambda _: None, cwd: Path | None = None
) -> Explanation:
    """Run steps of a training under one change at a time, each in a process of its own, and compare the traces.

    Args:
        function: `MODULE:FUNCTION`, which returns the model, the loss function, the optimizer and the batches, pairs of
            images and labels. It is imported in each process, from the working directory too.
        steps: of the training, in each process.
        only: names of changes; empty: all that this machine can try, but `compile`, which takes a minute.
        shown: called with the name of each run before it starts.
        cwd: working directory of the processes; None: this one.

    Raises:
        ValueError: no such change, or the plain training cannot be run; the message has the end of its output.
    """
    names = [each.name for each in CHANGES]
    if unknown := [each for each in only if each not in names]:
        raise ValueError(f"no change {', '.join(unknown)}; valid are {', '.join(names)}")
    with tempfile.TemporaryDirectory() as scratch:
        runner = _Runner(function, steps, Path(scratch), shown, cwd)
        plain, repeated = runner.trace(PLAIN), runner.trace(PLAIN)
        if not compare(plain, repeated).equal:
            return Explanation(False, (), tuple(runner.hold(each) for each in FIXES))
        chosen = [each for each in CHANGES if each.name in only or (not only and each.name != "compile")]
        effects = tuple(runner.effect(each, plain) for each in chosen)
        return Explanation(True, effects, (), tuple(runner.together(effects)))


class _Runner:
    """Runs the training in processes of its own."""

    def __init__(self, function: str, steps: int, scratch: Path, shown: Shown, cwd: Path | None) -> None:
        self._function, self._steps, self._scratch, self._shown, self._cwd = function, steps, scratch, shown, cwd
        self._runs = 0

    def trace(self, *changes: Change, options: Sequence[str] = ()) -> TraceFile:
        """Return the trace of a run under changes.

        Raises:
            ValueError: the run failed.
        """
        self._shown(", ".join(each.name for each in changes))
        self._runs += 1
        file = self._scratch / f"{self._runs}.trace"
        words = [sys.executable, "-m", "in4310repro.trace.worker", self._function, str(file)]
        words += ["--steps", str(self._steps)]
        for option in (*(option for each in changes for option in each.options), *options):
            words += ["--change", option]
        variables = {name: value for each in changes for name, value in each.variables}
        environment = {**os.environ, "PYTHONHASHSEED": "0", **variables}
        try:
            done = subprocess.run(
                words, env=environment, cwd=self._cwd, capture_output=True, text=True, check=False, timeout=TIMEOUT
            )
        except subprocess.TimeoutExpired as error:
            raise ValueError(f"{self._function} ran longer than {TIMEOUT:.0f} s for {self._steps} steps") from error
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise ValueError(f"{self._function} ended with {done.returncode}: {lines[-1] if lines else 'no output'}")
        return read_trace(file)

    def effect(self, change: Change, plain: TraceFile) -> Effect:
        """Return what a change does to the training."""
        if reason := _missing(change.needs):
            return Effect(change, None, reason)
        try:
            against = self.trace(PLAIN, options=change.against) if change.against else plain
            return Effect(change, compare(against, self.trace(change)))
        except ValueError as error:
            return Effect(change, None, str(error))

    def hold(self, fix: Change) -> Effect:
        """Return whether two runs with something held fixed are equal."""
        if reason := _missing(fix.needs):
            return Effect(fix, None, reason)
        try:
            return Effect(fix, compare(self.trace(fix), self.trace(fix)))
        except ValueError as error:
            return Effect(fix, None, str(error))

    def together(self, effects: Sequence[Effect]) -> Iterator[str]:
        """Yield the settings with which neither threads nor the instruction set move a bit."""
        moving = [each.change for each in effects if each.moved and each.change.name in ("threads", "instruction set")]
        if not moving:
            return
        for name in ("deterministic algorithms", "portable arithmetic"):
            fix = next(each for each in CHANGES if each.name == name)
            try:
                held = self.trace(fix)
                if all(compare(held, self.trace(fix, each)).equal for each in moving):
                    yield name
            except ValueError:
                continue


def _missing(needs: str) -> str:
    """Return what a change needs and this machine lacks; empty if it can be tried."""
    import shutil

    import torch

    if needs == "linux" and not sys.platform.startswith("linux"):
        return "memory is filled by the C library of Linux alone"
    if needs == "cuda" and not torch.cuda.is_available():
        return "there is no card"
    if needs == "compiler" and not (shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")):
        return "torch.compile needs a C++ compiler"
    return ""


def assert_same_training(function: str, under: Collection[str], *, steps: int = 2, cwd: Path | None = None) -> None:
    """Assert that a training repeats, and that none of the changes moves a bit of it; for tests of other projects.

    Args:
        function: as for `explain`.
        under: names of changes.
        steps: of the training.
        cwd: working directory of the processes; None: this one.

    Raises:
        AssertionError: the message has the first difference for each change that moves bits, or that could not be tried.
    """
    found = explain(function, steps=steps, only=under, cwd=cwd)
    if not found.repeats:
        raise AssertionError(f"{function} does not repeat: {'; '.join(found.causes())}")
    moved = [
        f"{each.change.name}: {each.comparison.paragraph() if each.comparison else each.reason}"
        for each in found.effects
        if each.moved or each.comparison is None
    ]
    if moved:
        raise AssertionError(f"{function} changes with {'; '.join(moved)}")
