"""Moments of rows of data (number, mean, scatter matrix), and a formula that merges those of two sets of rows."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Number, mean and scatter matrix of rows; the mean is stored as shift + offset to keep all digits."""

    rows: Float64[Tensor, ""]  # their number
    shift: Float64[Tensor, " channel"]
    offset: Float64[Tensor, " channel"]
    # The sum over rows of (x - mean)(x - mean)^T; only its upper triangle is used.
    scatter: Float64[Tensor, "channel channel"]

    @property
    def mean(self) -> Float64[Tensor, " channel"]:
        """Mean over all rows."""
        return self.shift + self.offset

    def to(self, device: torch.device | str) -> "Moments":
        """Return the moments with tensors on this device."""
        return Moments(
            rows=self.rows.to(device),
            shift=self.shift.to(device),
            offset=self.offset.to(device),
            scatter=self.scatter.to(device),
        )


def merge_moments(left: Moments, right: Moments) -> Moments:
    """Return the moments of the rows of both together; either may have no rows.

    scatter = S_l + S_r + (n_l n_r / n) d d^T, d = mean_r - mean_l.
    Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    """
    rows = left.rows + right.rows
    right_share = right.rows / rows.clamp(min=1)
    # The shifts are nearby float32 values: their difference is exact, that of the means would not be.
    mean_difference = (right.shift - left.shift) + (right.offset - left.offset)
    weighted = (left.rows * right_share) * mean_difference
    empty = left.rows == 0
    # Not addr: its fused product and sum has different bits for different numbers of threads.
    return Moments(
        rows=rows,
        shift=torch.where(empty, right.shift, left.shift),
        offset=torch.where(empty, right.offset, left.offset + right_share * mean_difference),
        scatter=left.scatter + right.scatter + torch.outer(weighted, mean_difference),
    )
