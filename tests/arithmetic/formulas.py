"""Slow, plain NumPy reference for docs/arithmetic.md, and helpers that compute with every library."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from in4310repro.arithmetic import functions, library

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Numbers = TypeVar("Numbers", Floats, Doubles)

THREADS = (1, 3, 16)


def fused(left: Floats, right: Floats, addend: Floats) -> Floats:
    """Return left * right + addend in float32, rounded once.

    The product is exact in double; their sum is rounded to odd, after which a second rounding does no harm (Boldo and
    Melquiond 2008).
    """
    product, addend64 = left.astype(np.float64) * right.astype(np.float64), addend.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        total = product + addend64
        part = total - product
        error = (product - (total - part)) + (addend64 - part)  # NaN if the total is not finite
        even = total.view(np.int64) % 2 == 0
        toward = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
        return np.where((abs(error) > 0) & even, toward, total).astype(np.float32)


def fused_double(left: float, right: float, addend: float) -> float:
    """Return left * right + addend of finite float64 numbers, rounded once."""
    return float(Fraction(float(left)) * Fraction(float(right)) + Fraction(float(addend)))


def part_of(steps: int) -> int:
    """Return the length of the partial sums of `steps` terms: the largest power of two <= min(32, sqrt(2 * steps))."""
    return min(32, 1 << ((2 * steps).bit_length() - 1) // 2)


def chain(rows: Doubles) -> Doubles:
    """Return the sum of the rows, added to zeros one after the other."""
    total = np.zeros(rows.shape[1:], rows.dtype)
    for row in rows:
        total = total + row
    return total


def tree(leaves: list[Numbers]) -> Numbers:
    """Return the sum of a list, split recursively at the largest power of two below its length."""
    if len(leaves) == 1:
        return leaves[0]
    left = 1
    while 2 * left < len(leaves):
        left *= 2
    added: Numbers = tree(leaves[:left]) + tree(leaves[left:])
    return added


def batch_sum(values: Doubles) -> Doubles:
    """Return the sum of each channel of [image, position, channel], added in the order of the kernels."""
    leaves = []
    for first in range(0, len(values), 8):
        rows = values[first : first + 8].reshape(-1, values.shape[2])
        segments = [chain(rows[at : at + 256]) for at in range(0, len(rows), 256)]
        total = segments[0]
        for segment in segments[1:]:
            total = total + segment
        leaves.append(total)
    return tree(leaves)


def rows_of(maps: Tensor) -> Floats:
    """Reorder [image, channel, height, width] to [image, position, channel]."""
    return np.asarray(maps.detach().permute(0, 2, 3, 1).flatten(1, 2).contiguous().numpy())


def maps_of(rows: Floats, like: Tensor) -> Tensor:
    """Reorder [image, position, channel] to [image, channel, height, width], with the shape of `like`."""
    images, channels, height, width = like.shape
    return torch.from_numpy(rows.reshape(images, height, width, channels)).permute(0, 3, 1, 2)


def libraries() -> list[library.Library]:
    """Return the libraries of all instruction sets that this processor has."""
    found = [library.open_library(name) for name in library.SETS]
    return [each for each in found if each is not None and each.usable]


@contextmanager
def compute_with(kernels: library.Library, threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(library, "library", lambda: kernels)
            yield
    finally:
        torch.set_num_threads(before)


def assert_same_bits_everywhere(compute: Callable[[], list[Tensor]]) -> None:
    """Assert that every instruction set and number of threads gives equal tensors."""
    reference = compute()
    for kernels in libraries():
        for threads in THREADS:
            with compute_with(kernels, threads):
                for place, (value, expected) in enumerate(zip(compute(), reference, strict=True)):
                    where = f"result {place}, {kernels.instruction_set}, {threads} threads"
                    equal = torch.equal(value, expected)
                    assert equal or torch.equal(value.nan_to_num(nan=7.25), expected.nan_to_num(nan=7.25)), where


def equal_bits(left: Tensor, right: Tensor) -> bool:
    """Return whether two tensors have the same dtype, shape and bits, except which NaN a NaN is."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    integers = torch.int32 if left.dtype == torch.float32 else torch.int64
    left, right = left.detach().contiguous(), right.detach().contiguous()
    equal = left.view(integers) == right.view(integers)
    return bool((equal | (left.isnan() & right.isnan())).all())


def batch_norm(maps: Tensor, *norm: Any, **options: Any) -> Tensor:
    """Return the package's batch norm, given the fields of `functions.Norm`."""
    return functions.batch_norm(maps, functions.Norm(*norm, **options))


def root_mean_square(error: Tensor) -> float:
    return float(error.double().square().mean().sqrt())


class RecordingLibrary(library.Library):
    """Library that keeps each call: function name and arguments, structures as dictionaries."""

    def __init__(self, kernels: library.Library) -> None:
        vars(self).update(vars(kernels))
        self.calls: list[tuple[Any, ...]] = []

    def call(self, function: str, *arguments: Any) -> None:
        fields = [
            {field[0]: getattr(value, field[0]) for field in type(value)._fields_}
            if isinstance(value, ctypes.Structure)
            else value
            for value in arguments
        ]
        self.calls.append((function, *fields))
        super().call(function, *arguments)


@contextmanager
def record_calls() -> Iterator[list[tuple[Any, ...]]]:
    """Yield a list to which each kernel call in the `with` block adds its name and arguments (structs as dicts)."""
    recording = RecordingLibrary(library.library())
    with compute_with(recording, torch.get_num_threads()):
        yield recording.calls
