"""Functions that cannot be explained, each for another reason."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from tests.trace.trainings import batches, honest, training

NO_FUNCTION = 3


def read_settings() -> dict[str, str]:
    return {"rate": "fast"}


def raises() -> Any:
    return training(rate=float(read_settings()["rate"]))


def other_values() -> Any:
    return honest()[:3]


def other_order() -> Any:
    model, loss, optimizer, read = honest()
    return model, optimizer, loss, read


def with_arguments(rate: float) -> Any:
    return training(rate=rate)


def one_batch() -> Any:
    return training(read=batches(number=1))


def no_batches() -> Any:
    return training(read=iter(()))


def images_alone() -> Any:
    return training(read=[images for images, _ in batches()])


def loss_of_each_image() -> Any:
    made = honest()
    return made[0], torch.nn.CrossEntropyLoss(reduction="none"), *made[2:]


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
    "tests.trace.absent:make": r"there is no module 'tests\.trace\.absent'",
    "tests.trace.failing:absent": r"the module tests\.trace\.failing has no 'absent'",
    "tests.trace.failing:NO_FUNCTION": r"is int; a function that returns \(model, loss function, optimizer, batches\)",
    raises: r"ValueError: could not convert string to float: 'fast' \(failing\.py:\d+ in raises: return training",
    other_values: r"it returns a tuple of 3 values; \(model, loss function, optimizer, batches\) was expected",
    other_order: r"the second of the values that it returns is AdamW; expected: a loss function",
    with_arguments: r"with_arguments\(rate.* needs arguments",
    one_batch: r"end after 1 of 2 steps; --steps 1 is possible",
    no_batches: r"the batches of tests\.trace\.failing:no_batches are empty",
    images_alone: r"batch 0 is Tensor; a pair of tensors, images and labels, was expected",
    loss_of_each_image: r"the loss function returns a tensor of shape \(8,\); a tensor with one value was expected",
    wrong_labels: r"ValueError: Expected input batch_size \(8\) to match target batch_size \(3\)",
    leaves: r"it called sys\.exit\('no data'\) \(failing\.py:\d+ in leaves: sys\.exit",
    leaves_at_once: r"ended its process with exit code 7",
    crashes: r"ended its process with signal SIGSEGV.*failing\.py:\d+ in crashes",
    hangs: r"did not end within 2 s, and was stopped.*failing\.py:\d+ in hangs",
}
