"""Runs some steps of a user's training under one change, in a process of its own, and writes their trace.

    python -m in4310repro.trace.worker MODULE:FUNCTION FILE --steps 2 --change threads

Changes are applied before the user's module is imported. The environment variables of a change are set by `causes`.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

SHIFT = 10_000_019.25  # seconds, some four months


def list_in_other_order() -> None:
    """Let listings of folders come in another order, as on another file system."""
    listdir, scandir = os.listdir, os.scandir

    def key(name: str) -> int:
        return hash_of(name)

    class Scanned:
        """What os.scandir returns, in another order."""

        def __init__(self, entries: Iterable[Any]) -> None:
            self._entries = iter(sorted(entries, key=lambda each: key(each.name)))

        def __iter__(self) -> Iterator[Any]:
            return self._entries

        def __next__(self) -> Any:
            return next(self._entries)

        def __enter__(self) -> Scanned:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def close(self) -> None:
            """Do nothing: all entries were read."""

    def other_scandir(*arguments: Any) -> Scanned:
        with scandir(*arguments) as entries:
            return Scanned(list(entries))

    os.listdir = lambda *arguments: sorted(listdir(*arguments), key=lambda each: key(str(each)))  # type: ignore[assignment]
    os.scandir = other_scandir  # type: ignore[assignment]


def hash_of(name: str) -> int:
    """Return a number that orders names in no useful order, the same in each process."""
    import zlib

    return zlib.crc32(str(name).encode())


def sort_listings() -> None:
    """Let listings of folders come sorted."""
    global hash_of
    hash_of = str  # type: ignore[assignment]
    list_in_other_order()


def change_clock(now: Callable[[float], float]) -> None:
    """Replace the time of day by a function of it."""
    real = time.time

    class Datetime(datetime.datetime):
        """A datetime class whose `now` follows the changed clock."""

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            """Return the changed time."""
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            """Return the changed time in UTC."""
            return cls.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)

    time.time = lambda: now(real())
    time.time_ns = lambda: int(time.time() * 1e9)
    datetime.datetime = Datetime  # type: ignore[misc]


def shift_clock() -> None:
    """Let the clock be wrong by months."""
    change_clock(lambda real: real + SHIFT)


def stop_clock() -> None:
    """Let the clock stand."""
    change_clock(lambda _real: 1_600_000_000.0)


def change_workers() -> None:
    """Let each DataLoader have two worker processes, or none if it had some."""
    _replace_workers(lambda asked: 0 if asked else 2)


def stop_workers() -> None:
    """Let no DataLoader have worker processes."""
    _replace_workers(lambda _asked: 0)


def _replace_workers(choose: Callable[[int], int]) -> None:
    from torch.utils.data import DataLoader

    original = DataLoader.__init__

    def other(self: Any, *arguments: Any, **options: Any) -> None:
        options["num_workers"] = choose(options.get("num_workers", 0))
        if not options["num_workers"]:
            for name in ("prefetch_factor", "persistent_workers", "multiprocessing_context", "timeout"):
                options.pop(name, None)
        original(self, *arguments, **options)

    DataLoader.__init__ = other  # type: ignore[method-assign]


def change_threads() -> None:
    """Let torch compute with one thread, or with two if it had one."""
    import torch

    torch.set_num_threads(2 if torch.get_num_threads() == 1 else 1)


def use_one_thread() -> None:
    """Let torch compute with one thread."""
    import torch

    torch.set_num_threads(1)


def be_deterministic() -> None:
    """Let torch choose algorithms that repeat, as far as it has them."""
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def seed_generators() -> None:
    """Seed Python's, NumPy's and torch's global generators."""
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - what older code draws from
    torch.manual_seed(0)


def import_libraries_first() -> None:
    """Load libraries with a BLAS or OpenMP of their own before torch."""
    for name in ("numpy", "scipy.linalg", "sklearn", "cv2", "numba"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def allow_tf32() -> None:
    """Let products on a card use TF32."""
    import torch

    torch.backends.cuda.matmul.fp32_precision = "tf32"
    torch.backends.cudnn.fp32_precision = "tf32"


BEFORE: dict[str, Callable[[], None]] = {
    "listing": list_in_other_order,
    "sorted listing": sort_listings,
    "clock": shift_clock,
    "stopped clock": stop_clock,
    "workers": change_workers,
    "no workers": stop_workers,
    "threads": change_threads,
    "one thread": use_one_thread,
    "deterministic algorithms": be_deterministic,
    "seeded generators": seed_generators,
    "library order": import_libraries_first,
    "TF32": allow_tf32,
}


def main() -> None:
    """Run the steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("function")
    parser.add_argument("file", type=Path)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--change", action="append", default=[])
    options = parser.parse_args()
    for change in options.change:
        BEFORE.get(change, lambda: None)()
    sys.path.insert(0, str(Path.cwd()))
    module, _, name = options.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    if "again" in options.change:
        _run(function(), options.steps, None, options.change)
    _run(function(), options.steps, options.file, options.change)


def _run(made: Any, steps: int, file: Path | None, changes: list[str]) -> None:
    import torch

    from in4310repro.trace.recorder import Trace

    model, criterion, optimizer, batches = made
    forward = model
    if "memory format" in changes:
        model.to(memory_format=torch.channels_last)
    if "portable arithmetic" in changes:
        from in4310repro.arithmetic import portable

        forward = portable(model)
    if "compile" in changes:
        forward = torch.compile(model)
    half = "half a batch" in changes
    rows = None
    with contextlib.ExitStack() as stack:
        trace: Trace | None = None
        for number, (images, labels) in zip(range(steps), batches, strict=False):
            if "memory format" in changes and images.ndim == 4:
                images = images.contiguous(memory_format=torch.channels_last)
            if half or "first half" in changes:
                rows = len(images) // 2
            if half:
                images, labels = images[:rows], labels[:rows]
            if trace is None and file is not None:
                trace = stack.enter_context(
                    Trace(model, optimizer, file, modules="compile" not in changes, rows=rows)
                )
            with trace.step(images=images, labels=labels, number=number) if trace else contextlib.nullcontext() as step:
                loss = criterion(forward(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if step:
                    step.record(loss=loss)
        if trace is None and file is not None:
            sys.exit("the batches of the training are empty; at least one is needed")


if __name__ == "__main__":
    main()
