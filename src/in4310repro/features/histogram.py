"""Histogram with bins by sign, exponent and leading bits of values; its quantiles have a bounded error.

A bin holds the magnitudes whose floats agree in the exponent and in the FRACTION_BITS leading bits of the
fraction; zero has a bin of its own. Counts are integers, so that they add up in any order. A value differs
from the middle of its bin by at most RELATIVE_ERROR of the value. Subnormal values, below 2^-126, differ from
it by at most 2^-132.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from in4310repro.features.kernel import SIDE, kernel_for
from in4310repro.features.sparsity import make_dense, widen

FRACTION_BITS = 5
RELATIVE_ERROR = 2.0 ** -(FRACTION_BITS + 1)  # of a quantile
DROPPED = 23 - FRACTION_BITS  # bits of a float32 that no bin depends on
INFINITE = 0x7F800000  # bits of the infinite float32
FINITE_BINS = 1 + (INFINITE >> DROPPED)  # of a sign: zero, and magnitudes that are finite


@dataclass(frozen=True)
class Histogram:
    """Non-empty histogram bins of finite values, in the order of the values; 0 and -0 share a bin.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from in4310repro.features import FeatureStatistics
        >>> model = nn.Sequential(nn.ReLU())
        >>> with FeatureStatistics(model, ["0"], histogram=True) as statistics:
        ...     outputs = model(torch.arange(-50.0, 50.0).reshape(1, 1, 10, 10))
        >>> histogram = statistics.result()["0"].histogram
        >>> histogram.quantile(0.5), histogram.quantile(0.9)  # of 0 to 49, of which 51 are zeros; exactly 0 and 39
        (0.0, 39.5)
    """

    middles: Float64[Tensor, " bin"]
    counts: Int64[Tensor, " bin"]

    def quantile(self, share: float) -> float:
        """Return the quantile for a share of the values in 0..1, as the middle of its histogram bin.

        Its relative distance from the value at position ceil(share n) of the n sorted values is at most 1/64. The
        share is taken as the decimal number that Python prints for it: 0.1 is exactly one tenth.

        Raises:
            ValueError: the share is not in 0..1, or no value is finite.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"a quantile at {share}; 0 to 1 is valid")
        if not len(self.counts):
            raise ValueError("no value is finite; quantiles of no values are undefined")
        ranks = self.counts.cumsum(0)
        rank = max(1, ceil(Fraction(str(float(share))) * int(ranks[-1])))
        return float(self.middles[int(torch.searchsorted(ranks, rank))])

    def by_exponent(self) -> list[tuple[int, int | None, int]]:
        """Return (sign, exponent, number of values) per interval [2^exponent, 2^(exponent + 1)) of magnitudes.

        Zero has the sign 0 and the exponent None; subnormal magnitudes, which have no leading 1, all have -127.
        """
        _, exponents = torch.frexp(self.middles)
        exponents = (exponents - 1).clamp(min=-127)
        found: dict[tuple[int, int | None], int] = {}
        for sign, exponent, count in zip(
            self.middles.sign().int().tolist(), exponents.tolist(), self.counts.tolist(), strict=True
        ):
            key = (sign, exponent if sign else None)
            found[key] = found.get(key, 0) + count
        return [(sign, exponent, count) for (sign, exponent), count in found.items()]

    def to_json(self) -> dict[str, Any]:
        """Return the middles and counts of the bins as lists."""
        return {"middles": self.middles.tolist(), "counts": self.counts.tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Histogram":
        """Return the histogram that a record from `to_json` describes."""
        middles = torch.tensor(content["middles"], dtype=torch.float64)
        return cls(middles, torch.tensor(content["counts"], dtype=torch.int64))


def histogram_of(counts: Int64[Tensor, " bin"]) -> Histogram:
    """Return the histogram with the counts that `count_bins` made."""
    # The last bin ends at 2^128, which float32 cannot represent.
    edges = (torch.arange(FINITE_BINS, dtype=torch.int32) << DROPPED).view(torch.float32).double()
    edges[-1] = 2.0**128
    middles = torch.cat([edges.new_zeros(1), (edges[:-1] + edges[1:]) / 2])
    positive, negative = counts[:FINITE_BINS].cpu(), counts[SIDE : SIDE + FINITE_BINS].cpu()
    zeros = positive[:1] + negative[:1]
    values = torch.cat([-middles.flip(0)[:-1], middles])
    ordered = torch.cat([negative.flip(0)[:-1], zeros, positive[1:]])
    return Histogram(values[ordered > 0], ordered[ordered > 0])


def count_bins(output: Float[Tensor, "..."], counts: Int64[Tensor, " bin"]) -> None:
    """Add the values of an output to `counts` of values per bin, in place.

    Bins of negative values, and of -0, follow SIDE bins later. A float64 value is rounded towards 0 to float32.
    If the result would be 0, the value goes to the first bin of its sign.
    """
    values = widen(output)
    if kernel := kernel_for(values):
        kernel.histogram(make_dense(values), counts)
        return
    bins = _bins(values.resolve_neg()).flatten()
    counts.scatter_add_(0, bins, torch.ones_like(bins))


def _bins(values: Float[Tensor, "..."]) -> Int64[Tensor, "..."]:
    bits = values.float().view(torch.int32)
    magnitude = (bits & 0x7FFFFFFF).clamp(max=INFINITE)
    if values.dtype == torch.float64:
        # Rounding up may have moved it into the next bin.
        magnitude -= (values.float().double().abs() > values.abs()).int()
    bins = torch.where(values == 0, 0, 1 + (magnitude >> DROPPED))
    return (bins + torch.where(bits < 0, SIDE, 0)).long()
