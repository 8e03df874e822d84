"""Changes of what a training reads around it: listings of folders, clocks, entropy, and environment variables.

Each function of `READ` replaces functions of the standard library for the rest of this process, which `worker` starts
for one run.
"""

import collections
import datetime
import functools
import hashlib
import itertools
import os
import random
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from in4310repro.trace.notes import Notes, is_direct

SHIFT = 10_000_019.25  # seconds, some four months
STOPPED = 1_600_000_000.0  # seconds since 1970


def shuffle_listings(notes: Notes) -> None:
    """Make folders list their files in shuffled order, as a different file system might do."""
    _order_listings(notes, _shuffle)


def sort_listings(notes: Notes) -> None:
    """Make folders list their files in alphabetic order."""
    _order_listings(notes, sorted)


def _shuffle(names: list[str]) -> list[str]:
    ordered = sorted(names, key=lambda each: zlib.crc32(os.fsencode(each)))
    return ordered if ordered != names else ordered[::-1]


class _Scanned:
    """Replacement for the result of os.scandir, with the entries in a given order."""

    def __init__(self, entries: Iterable[os.DirEntry[str]]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[os.DirEntry[str]]:
        return self._entries

    def __next__(self) -> os.DirEntry[str]:
        return next(self._entries)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: the entries were already read."""


def _order_listings(notes: Notes, order: Callable[[list[str]], list[str]]) -> None:
    listdir, scandir = os.listdir, os.scandir

    def ordered_listdir(*arguments: Any) -> list[str]:
        notes.add("a folder is listed")
        return order(listdir(*arguments))

    def ordered_scandir(*arguments: Any) -> _Scanned:
        notes.add("a folder is listed")
        with scandir(*arguments) as entries:
            by_name = {each.name: each for each in entries}
        return _Scanned([by_name[name] for name in order(list(by_name))])

    os.listdir = ordered_listdir  # type: ignore[assignment]
    os.scandir = ordered_scandir  # type: ignore[assignment]


def shift_clock(notes: Notes) -> None:
    """Set the time of day about four months ahead."""
    _set_clock(notes, "time", lambda real: real + SHIFT)


def stop_clock(notes: Notes) -> None:
    """Stop the time of day for all code. Stop timers such as perf_counter only where user code calls them."""
    _set_clock(notes, "time", lambda _real: STOPPED)
    for name in ("perf_counter", "monotonic", "process_time"):
        _set_clock(notes, name, lambda real: STOPPED if is_direct() else real)


def _set_clock(notes: Notes, name: str, change: Callable[[float], float]) -> None:
    """Replace a clock of the module `time`.

    For the time of day, also replace the functions that read it, such as localtime and datetime.now.
    """
    real = getattr(time, name)

    def changed() -> float:
        notes.add("the clock is read")
        return change(real())

    setattr(time, name, changed)
    setattr(time, f"{name}_ns", lambda: int(changed() * 1e9))
    if name != "time":
        return
    for each in ("localtime", "gmtime", "ctime"):
        original = getattr(time, each)
        setattr(time, each, functools.partial(_of_now, original, changed))
    strftime = time.strftime
    time.asctime = functools.partial(_of_now, time.asctime, time.localtime)
    time.strftime = lambda form, moment=None: _of_now(functools.partial(strftime, form), time.localtime, moment)

    class Datetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(changed(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.fromtimestamp(changed(), datetime.UTC).replace(tzinfo=None)

    # Pickle looks for it under the name that it replaces.
    Datetime.__module__, Datetime.__qualname__ = "datetime", "datetime"
    datetime.datetime = Datetime  # type: ignore[misc]


def _of_now(function: Callable[[Any], Any], now: Callable[[], Any], moment: Any = None) -> Any:
    return function(now() if moment is None else moment)


def fix_entropy(notes: Notes) -> None:
    """Make os.urandom, unseeded generators and the process id give the same values in every process."""
    import torch

    # A number for each line of user code: threads of libraries read entropy too, at moments that differ.
    counters: dict[str, Iterator[int]] = collections.defaultdict(itertools.count)

    def urandom(size: int) -> bytes:
        place = notes.add("entropy of the system is read")
        return hashlib.shake_256(f"{place} {next(counters[place])}".encode()).digest(size)

    os.urandom = random._urandom = urandom  # type: ignore[attr-defined]
    real_seed, real_number = random.seed, os.getpid

    def seed(a: Any = None, version: int = 2) -> None:
        if a is None:
            notes.add("a generator gets no seed")
        real_seed(0 if a is None else a, version)

    class Random(random.Random):
        def seed(self, a: Any = None, version: int = 2) -> None:
            if a is None:
                notes.add("a generator gets no seed")
            super().seed(0 if a is None else a, version)

    class Generator(torch.Generator):
        def seed(self) -> int:
            notes.add("a generator gets no seed")
            self.manual_seed(0)
            return 0

    def torch_seed() -> int:
        notes.add("a generator gets no seed")
        torch.manual_seed(0)
        return 0

    random.seed, random.Random = seed, Random  # type: ignore[misc]
    torch.Generator, torch.seed, torch.random.seed = Generator, torch_seed, torch_seed  # type: ignore[misc]
    # Libraries need the true process number.
    os.getpid = lambda: 1 if is_direct() and notes.add("the process number is read") else real_number()


def seed_python(_: Notes) -> None:
    """Seed Python's global generator."""
    random.seed(0)


def seed_torch(_: Notes) -> None:
    """Seed torch's global generators."""
    import torch

    torch.manual_seed(0)


def seed_numpy(_: Notes) -> None:
    """Seed NumPy's global generator."""
    import numpy as np

    np.random.seed(0)


def change_variables(notes: Notes) -> None:
    """Add 1 to each whole number that user code reads from an environment variable.

    If the variable is not set, add 1 to the default value that the code passes, if it is a whole number.
    """

    class Environment(type(os.environ)):  # type: ignore[misc]
        def __getitem__(self, key: str) -> str:
            return str(self._change(key, super().__getitem__(key)))

        def get(self, key: str, default: Any = None) -> Any:
            return self[key] if key in set(self) else self._change(key, default)

        def _change(self, key: str, value: Any) -> Any:
            number = isinstance(value, int | str) and str(value).isdecimal()
            return (
                type(value)(int(value) + 1)
                if number and notes.add(f"the environment variable {key} is read")
                else value
            )

    os.environ.__class__ = Environment


READ: dict[str, Callable[[Notes], None]] = {
    "shuffled listing": shuffle_listings,
    "sorted listing": sort_listings,
    "shifted clock": shift_clock,
    "stopped clock": stop_clock,
    "fixed entropy": fix_entropy,
    "seeded Python": seed_python,
    "seeded NumPy": seed_numpy,
    "seeded torch": seed_torch,
    "other variables": change_variables,
}
