"""Counts of feature-map values: all, non-positive (the report's sparsity), zero, and not finite."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from in4310repro.features.kernel import kernel_for


@dataclass(frozen=True)
class Counts:
    """Counts of values; on a GPU they are int64 scalars, which remain there until they are read."""

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

    def to_ints(self) -> tuple[int, int, int, int]:
        """Return the four counts as Python integers; waits for the GPU."""
        return int(self.values), int(self.non_positive), int(self.zeros), int(self.non_finite)


def count(maps: Float[Tensor, "..."]) -> Counts:
    """Count the values of a tensor; -inf counts as non-positive, nan does not."""
    maps = widen(maps)
    if kernel := kernel_for(maps):
        return Counts(maps.numel(), *kernel.count(make_dense(maps)))
    counts = [mask.sum() for mask in (maps <= 0, maps == 0, ~maps.isfinite())]
    return Counts(maps.numel(), *(counts if maps.is_cuda else map(int, counts)))


def widen(maps: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return float64 maps as they are, and maps of other types as float32."""
    return maps if maps.dtype in (torch.float32, torch.float64) else maps.float()


def make_dense(maps: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return contiguous or channels-last maps as they are, and maps with another layout as a contiguous copy."""
    is_dense = maps.is_contiguous() or maps.is_contiguous(memory_format=torch.channels_last)
    return maps if is_dense and not maps.is_neg() else maps.resolve_neg().contiguous()
