"""Counts of feature-map values: all, non-positive, exactly zero, not finite."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

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


def count(maps: Float[Tensor, "..."], scratch: Scratch, *, finite: bool = False) -> Counts:
    """Counts over a tensor; -inf is non-positive, nan neither positive nor non-positive.

    On a processor by two sums over the signs s of a chunk: positive - negative = sum s, positive + negative = sum s^2.
    Sums run at the speed of the memory, comparisons at a third of it. A sum of values that is not finite betrays those
    whose sign says nothing, and the chunk is counted by comparing; `finite` says that there are none.
    """
    if maps.is_cuda:
        return compared(maps)
    number, difference, nonzero, odd = 0, 0, 0, []
    for values in chunks(maps):
        if not finite and not isfinite(values.sum().item()):
            odd.append(compared(values))
            continue
        signs = torch.sign(values, out=scratch.flat(values))
        number += len(values)
        difference += int(signs.sum().item())
        nonzero += int(signs.dot(signs).item())
    return sum(odd, Counts(number, number - (nonzero + difference) // 2, number - nonzero, 0))


def compared(values: Float[Tensor, "..."]) -> Counts:
    """Counts by comparing, in one pass each; they stay on the device."""
    counts = [kind.sum() for kind in (values <= 0, values == 0, ~values.isfinite())]
    return Counts(values.numel(), *(counts if values.is_cuda else map(int, counts)))


def chunks(maps: Float[Tensor, "..."]) -> Iterator[Float[Tensor, " value"]]:
    """The values in the order of memory, in parts of at most CHUNK, halves widened to float32."""
    if not maps.is_contiguous():
        maps = maps.permute(sorted(range(maps.ndim), key=maps.stride, reverse=True))
    values = maps.reshape(-1)
    for part in torch.split(values, CHUNK) if len(values) > CHUNK else (values,):
        yield part.float() if part.itemsize < 4 else part
