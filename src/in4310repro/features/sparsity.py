"""Counts of feature-map values: all, non-positive, exactly zero, not finite."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from in4310repro.features.scratch import Scratch

# Values counted at a time: 4 MB of signs, which stay in the processor's cache; their sums are exact below 2**24.
CHUNK = 1 << 20


@dataclass(frozen=True)
class Counts:
    """Numbers of values; on a GPU int64 scalars that stay there until they are read."""

    values: int | Tensor = 0
    non_positive: int | Tensor = 0
    zeros: int | Tensor = 0
    non_finite: int | Tensor = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.values + other.values,
            self.non_positive + other.non_positive,
            self.zeros + other.zeros,
            self.non_finite + other.non_finite,
        )

    def numbers(self) -> tuple[int, int, int, int]:
        """The four counts on the host; waits for the GPU."""
        return int(self.values), int(self.non_positive), int(self.zeros), int(self.non_finite)


def count(maps: Float[Tensor, "..."], scratch: Scratch) -> Counts:
    """Counts over a tensor; -inf is non-positive, nan neither positive nor non-positive."""
    if maps.is_cuda:
        return counted(maps)
    return sum((counted_by_signs(part, scratch) for part in chunks(maps)), Counts())


def counted(values: Float[Tensor, "..."]) -> Counts:
    """Counts by comparing, in one pass each."""
    kinds = (values <= 0, values == 0, ~values.isfinite())
    counts = [kind.sum() for kind in kinds]
    return Counts(values.numel(), *(counts if values.is_cuda else map(int, counts)))


def counted_by_signs(values: Float[Tensor, " value"], scratch: Scratch) -> Counts:
    """Counts by two sums over the signs s: positive - negative = sum s, positive + negative = sum s^2.

    Reductions run at the speed of the memory, comparisons at a third of it. A sum that is not finite betrays the
    values whose sign says nothing; those few chunks are counted by comparing.
    """
    number = values.numel()
    if not values.sum().isfinite():
        return counted(values)
    signs = torch.sign(values, out=scratch.like(values))
    difference, nonzero = int(signs.sum()), int(signs.dot(signs))
    return Counts(number, number - (nonzero + difference) // 2, number - nonzero, 0)


def chunks(maps: Float[Tensor, "..."]) -> Iterator[Float[Tensor, " value"]]:
    """The values in the order of memory, in parts of at most CHUNK, halves widened to float32."""
    order = sorted(range(maps.ndim), key=maps.stride, reverse=True)
    for part in torch.split(maps.permute(order).reshape(-1), CHUNK):
        yield part.float() if part.itemsize < 4 else part
