"""Functions that cannot be explained, each for another reason."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.trace.trainings import batches, honest, training


def read_settings() -> dict[str, str]:
    return {"rate": "fast"}


def raises() -> Any:
    return training(rate=float(read_settings()["rate"]))


def one_batch() -> Any:
    return training(read=batches(number=1))


def no_batches() -> Any:
    return training(read=iter(()))


def wrong_labels() -> Any:
    return training(read=[(images, labels[:3]) for images, labels in batches()])


def leaves() -> Any:
    sys.exit("no data")


def leaves_at_once() -> Any:
    os._exit(7)


def crashes() -> Any:
    ctypes.string_at(0)


def hangs() -> Any:
    while True:
        time.sleep(1)


def prints_much() -> Any:
    for stream in (sys.stdout, sys.stderr):
        stream.write("much\n" * 10**6)
    return honest()


# Function, and words of the message that explains what is wrong.
FAILING: dict[str | Callable[..., Any], str] = {
    "-m tests.trace.absent": r"No module named tests\.trace\.absent",
    raises: r"ValueError: could not convert string to float: 'fast' \(.*failing\.py:\d+ in raises: return training",
    one_batch: r"ended after 1 of 2 steps of its optimizers; --steps 1 is possible",
    no_batches: r"ended after 0 of 2 steps of its optimizers, if any",
    wrong_labels: r"ValueError: Expected input batch_size \(8\) to match target batch_size \(3\)",
    leaves: r"it called sys.exit\('no data'\) \(.*failing\.py:\d+ in leaves: sys\.exit",
    leaves_at_once: r"ended its process with exit code 7",
    crashes: r"ended its process with signal SIGSEGV.*failing\.py:\d+ in crashes",
    hangs: r"did not end within 2 s, and was stopped.*failing\.py:\d+ in hangs",
}
