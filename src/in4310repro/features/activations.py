"""Streaming histogram of a module's values, and the images to which each channel responds most.

A histogram bin holds the magnitudes whose floats agree in the exponent and in the FRACTION_BITS leading bits of the
fraction; zero has a bin of its own. Counts are integers, so that they add up in any order. A value differs
from the middle of its bin by at most RELATIVE_ERROR of the value. Subnormal values, below 2^-126, differ from
it by at most 2^-132.

The response of a channel to an image is the largest finite value over its positions, as a float32. Ties go to
the lower image index. Therefore the first K of all images can be found from the first K of each subset.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from in4310repro.features.kernel import SIDE, kernel_for, widen
from in4310repro.features.outputs import BinCounts, FeatureMaps, Keys, Record, Values

FRACTION_BITS = 5
RELATIVE_ERROR = 2.0 ** -(FRACTION_BITS + 1)  # of a quantile
DROPPED = 23 - FRACTION_BITS  # bits of a float32 that no bin depends on
INFINITE = 0x7F800000  # bits of the infinite float32
FINITE_BINS = 1 + (INFINITE >> DROPPED)  # of a sign: zero, and magnitudes that are finite


@dataclass(frozen=True)
class Histogram(Record):
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
    counts: BinCounts

    def quantile(self, share: float) -> float:
        """Return a quantile of the values, for example the median for share 0.5.

        The exact quantile is the value at position ceil(share n) of the n sorted values. The result is the middle of
        the histogram bin that contains it, with a relative error of at most 1/64. The share is taken as the decimal
        number that Python prints: 0.1 is exactly one tenth.

        Raises:
            ValueError: the share is not in 0..1, or no value is finite.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"a quantile at {share}; it must be from 0 to 1")
        if not len(self.counts):
            raise ValueError("no value is finite; quantiles of no values are undefined")
        ranks = self.counts.cumsum(0)
        rank = max(1, ceil(Fraction(str(float(share))) * int(ranks[-1])))
        return float(self.middles[int(torch.searchsorted(ranks, rank))])

    def by_exponent(self) -> list[tuple[int, int | None, int]]:
        """Count the values by sign and power of two; return triples (sign, exponent, count).

        The magnitudes of a triple lie in [2^exponent, 2^(exponent + 1)). Zero has the sign 0 and the exponent None.
        Subnormal magnitudes, which have no leading 1, all have the exponent -127.
        """
        exponents = (torch.frexp(self.middles).exponent - 1).clamp(min=-127)
        found = Counter[tuple[int, int | None]]()
        for sign, exponent, count in torch.stack([self.middles.sign().int(), exponents, self.counts], dim=1).tolist():
            found[sign, exponent if sign else None] += count
        return [(*key, count) for key, count in found.items()]


def histogram_of(counts: BinCounts) -> Histogram:
    """Return the histogram of the values that `count_bins` has counted in `counts`."""
    # The last bin ends at 2^128, which float32 cannot represent.
    edges = (torch.arange(FINITE_BINS, dtype=torch.int32, device="cpu") << DROPPED).view(torch.float32).double()
    edges[-1] = 2.0**128
    middles = (edges[:-1] + edges[1:]) / 2
    positive, negative = counts.cpu().view(2, SIDE)[:, :FINITE_BINS]
    values = torch.cat([-middles.flip(0), edges[:1], middles])
    ordered = torch.cat([negative[1:].flip(0), positive[:1] + negative[:1], positive[1:]])
    return Histogram(values[ordered > 0], ordered[ordered > 0])


def count_bins(output: Values, counts: BinCounts) -> None:
    """Count the values of `output` in histogram bins, and add the numbers to `counts` in place.

    Bins for positive values and 0 come first. Bins for negative values and -0 start at index SIDE. A float64
    value is rounded towards 0 to float32. If a nonzero value would become 0, it is counted in the bin of the
    smallest nonzero values of its sign.
    """
    values = widen(output)
    if kernel := kernel_for(values):
        kernel.histogram(values, counts)
        return
    values = values.resolve_neg()
    bits = values.float().view(torch.int32)
    magnitude = (bits & 0x7FFFFFFF).clamp(max=INFINITE)
    if values.dtype == torch.float64:
        # Rounding up may have moved it into the next bin.
        magnitude -= (values.float().double().abs() > values.abs()).int()
    bins = torch.where(values == 0, 0, 1 + (magnitude >> DROPPED))
    bins = (bins + torch.where(bits < 0, SIDE, 0)).long().flatten()
    counts.scatter_add_(0, bins, torch.ones_like(bins))


NO_IMAGE = -(2**63)  # the key below all others
INDICES = 2**32  # of images, below which the key of a response holds one
MAGNITUDE = 0x7FFFFFFF  # the bits of a float32 but for its sign


@dataclass(frozen=True)
class TopImages(Record):
    """Each channel's images with the largest responses, in decreasing order.

    If fewer images had a finite value in a channel, the remaining entries are image -1 and response -inf.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> from in4310repro.features import FeatureStatistics
        >>> model = nn.Sequential(nn.Identity())
        >>> with FeatureStatistics(model, ["0"], top_images=2) as statistics:
        ...     outputs = model(torch.tensor([[[[-3.0, 3.0]], [[0.0, -4.0]]], [[[-1.0, 5.0]], [[-2.0, 0.0]]]]))
        >>> top = statistics.result()["0"].top_images
        >>> top.images.tolist(), top.responses.tolist()
        ([[1, 0], [0, 1]], [[5.0, 3.0], [0.0, 0.0]])
        >>> top.never_positive.tolist()
        [False, True]
    """

    images: Keys
    responses: Float32[Tensor, "channel place"]

    @property
    def never_positive(self) -> Bool[Tensor, " channel"]:
        """Mask of the channels that had no finite value above 0 in any image."""
        return self.responses[:, 0] <= 0


def response_keys(maps: FeatureMaps, first_image: int) -> Int64[Tensor, "channel image"]:
    """Return sort keys of the images in each channel; a larger response has a larger key.

    An image's response is its largest finite value in the channel; without one, the key is NO_IMAGE. If two
    images have equal responses, the image with the lower index has the larger key.
    """
    maps = widen(maps)
    if kernel := kernel_for(maps):
        responses = kernel.peaks(maps)
    else:
        # -0 becomes 0.
        responses = torch.where(maps.isfinite(), maps, -inf).amax(dim=(2, 3)).float() + 0.0
    bits = responses.view(torch.int32)
    # Ordered as the floats: the magnitudes of negative ones are in reverse order.
    ordered = torch.where(bits < 0, bits ^ MAGNITUDE, bits).long()
    images = torch.arange(first_image, first_image + len(maps), device=maps.device)
    keys = (ordered << 32) | (INDICES - 1 - images)[:, None]
    return torch.where(responses == -inf, NO_IMAGE, keys).T


def first_keys(number: int, *parts: Int64[Tensor, "channel _"] | None) -> Keys:
    """Return each channel's `number` largest keys of all parts, in decreasing order; NO_IMAGE fills missing ones."""
    keys = torch.cat([part for part in parts if part is not None], dim=1)
    missing = number - keys.shape[1]
    if missing > 0:
        keys = torch.nn.functional.pad(keys, (0, missing), value=NO_IMAGE)
    return keys.topk(number, dim=1).values


def top_images_of(calls: Sequence[Keys]) -> TopImages:
    """Return each channel's top images over all calls of a module and their responses, from keys of `first_keys`."""
    # An image among the top of all calls is among the top of the call in which its response is largest.
    keys = first_keys(sum(call.shape[1] for call in calls), *calls)
    images = keys & (INDICES - 1)
    # The first key of an image is its largest.
    repeated = (images[:, :, None] == images[:, None, :]).tril(diagonal=-1).any(dim=2)
    keys = first_keys(calls[0].shape[1], torch.where(repeated, NO_IMAGE, keys)).cpu()
    absent = keys == NO_IMAGE
    bits = (keys >> 32).int()
    responses = torch.where(bits < 0, bits ^ MAGNITUDE, bits).view(torch.float32)
    images = INDICES - 1 - (keys & (INDICES - 1))
    return TopImages(torch.where(absent, -1, images), torch.where(absent, -inf, responses))
