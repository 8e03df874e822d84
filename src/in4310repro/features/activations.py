"""Streaming histogram of a module's values, and the images to which each channel responds most.

A histogram bin holds the magnitudes whose floats agree in the exponent and in the FRACTION_BITS leading bits of the
fraction; zero has a bin of its own. Counts are integers, so that they add up in any order. A value differs
from the middle of its bin by at most RELATIVE_ERROR of the value. Subnormal values, below 2^-126, differ from
it by at most 2^-132.

The response of a channel to an image is the largest finite value over its positions, as a float32. Ties go to
the lower image index. Therefore the first K of all images can be found from the first K of each subset.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, inf
from typing import Any

import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from in4310repro.features.kernel import BINS, SIDE, kernel_for, make_dense, widen
from in4310repro.features.tensors import BinCounts, FeatureMaps, Keys, Values, finite_magnitudes

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
            raise ValueError(f"a quantile at {share}; 0 to 1 is valid")
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
        columns = (self.middles.sign().int(), exponents, self.counts)
        for sign, exponent, count in zip(*(column.tolist() for column in columns), strict=True):
            found[sign, exponent if sign else None] += count
        return [(*key, count) for key, count in found.items()]

    def to_json(self) -> dict[str, Any]:
        """Return the middles and counts of the bins as lists."""
        return {"middles": self.middles.tolist(), "counts": self.counts.tolist()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Histogram":
        """Return the histogram that a record from `to_json` describes."""
        middles = torch.tensor(content["middles"], dtype=torch.float64)
        return cls(middles, torch.tensor(content["counts"], dtype=torch.int64))


def histogram_of(counts: BinCounts) -> Histogram:
    """Return the histogram of the values that `count_bins` has counted in `counts`."""
    # The last bin ends at 2^128, which float32 cannot represent.
    edges = (torch.arange(FINITE_BINS, dtype=torch.int32, device="cpu") << DROPPED).view(torch.float32).double()
    edges[-1] = 2.0**128
    middles = torch.cat([edges.new_zeros(1), (edges[:-1] + edges[1:]) / 2])
    positive, negative = counts[:FINITE_BINS].cpu(), counts[SIDE : SIDE + FINITE_BINS].cpu()
    zeros = positive[:1] + negative[:1]
    values = torch.cat([-middles.flip(0)[:-1], middles])
    ordered = torch.cat([negative.flip(0)[:-1], zeros, positive[1:]])
    return Histogram(values[ordered > 0], ordered[ordered > 0])


def count_bins(output: Values, counts: BinCounts) -> None:
    """Count the values of `output` in histogram bins, and add the numbers to `counts` in place.

    Bins for positive values and 0 come first. Bins for negative values and -0 start at index SIDE. A float64
    value is rounded towards 0 to float32. If a nonzero value would become 0, it is counted in the bin of the
    smallest nonzero values of its sign.
    """
    values = widen(output)
    if kernel := kernel_for(values):
        kernel.histogram(make_dense(values), counts)
        return
    bins = _bins(values.resolve_neg()).flatten()
    counts.scatter_add_(0, bins, torch.ones_like(bins))


def _bins(values: Values) -> Int64[Tensor, "..."]:
    bits = values.float().view(torch.int32)
    magnitude = (bits & 0x7FFFFFFF).clamp(max=INFINITE)
    if values.dtype == torch.float64:
        # Rounding up may have moved it into the next bin.
        magnitude -= (values.float().double().abs() > values.abs()).int()
    bins = torch.where(values == 0, 0, 1 + (magnitude >> DROPPED))
    return (bins + torch.where(bits < 0, SIDE, 0)).long()


NO_IMAGE = -(2**63)  # the key below all others
INDICES = 2**32  # of images, below which the key of a response holds one
MAGNITUDE = 0x7FFFFFFF  # the bits of a float32 but for its sign


@dataclass(frozen=True)
class TopImages:
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

    def to_json(self) -> dict[str, Any]:
        """Return images and responses as lists, with None for missing responses."""
        responses = [[None if value == -inf else value for value in row] for row in self.responses.tolist()]
        return {"images": self.images.tolist(), "responses": responses}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "TopImages":
        """Return the top images that a record from `to_json` describes."""
        responses = [[-inf if value is None else value for value in row] for row in content["responses"]]
        return cls(torch.tensor(content["images"]), torch.tensor(responses, dtype=torch.float32))


def response_keys(maps: FeatureMaps, first_image: int) -> Int64[Tensor, "channel image"]:
    """Return sort keys of the images in each channel; a larger response has a larger key.

    An image's response is its largest finite value in the channel; without one, the key is NO_IMAGE. If two
    images have equal responses, the image with the lower index has the larger key.
    """
    responses = _responses(widen(maps))
    bits = responses.view(torch.int32)
    # Ordered as the floats: the magnitudes of negative ones are in reverse order.
    ordered = torch.where(bits < 0, bits ^ MAGNITUDE, bits).long()
    images = torch.arange(first_image, first_image + len(maps), device=maps.device)
    keys = (ordered << 32) | (INDICES - 1 - images)[:, None]
    return torch.where(responses == -inf, NO_IMAGE, keys).T


def _responses(maps: FeatureMaps) -> Float32[Tensor, "image channel"]:
    if kernel := kernel_for(maps):
        return kernel.peaks(maps)
    peaks = torch.where(maps.isfinite(), maps, -inf).amax(dim=(2, 3))
    # -0 becomes 0.
    return peaks.float() + 0.0


def first_keys(keys: Int64[Tensor, "channel image"], number: int) -> Keys:
    """Return each channel's `number` largest keys, in decreasing order; NO_IMAGE fills missing ones."""
    missing = number - keys.shape[1]
    if missing > 0:
        keys = torch.nn.functional.pad(keys, (0, missing), value=NO_IMAGE)
    return keys.topk(number, dim=1).values


def top_images_of(keys: Keys) -> TopImages:
    """Decode sorted keys from `response_keys`; return each channel's top images and their responses."""
    keys = keys.cpu()
    absent = keys == NO_IMAGE
    bits = (keys >> 32).int()
    responses = torch.where(bits < 0, bits ^ MAGNITUDE, bits).view(torch.float32)
    images = INDICES - 1 - (keys & (INDICES - 1))
    return TopImages(torch.where(absent, -1, images), torch.where(absent, -inf, responses))


def without_repeats(keys: Keys) -> Keys:
    """Return the keys, with all but the first key of each image in a channel replaced by NO_IMAGE.

    The keys of a channel are in decreasing order, so that the first key of an image is its largest.
    """
    images = keys & (INDICES - 1)
    same = (images[:, :, None] == images[:, None, :]).tril(diagonal=-1)
    return torch.where(same.any(dim=2), NO_IMAGE, keys)


PREFIX = "activations."  # of the names in a saved state
LARGEST = torch.finfo(torch.float32).max


class Activations:
    """Value counts per histogram bin, and each channel's top images (those with its largest responses).

    Args:
        histogram: whether values are counted.
        top_images: how many images of each channel are kept.
    """

    def __init__(self, *, histogram: bool, top_images: int) -> None:
        self._histogram = histogram
        self._top_images = top_images
        self._counts: BinCounts | None = None
        self._keys: Keys | None = None

    @property
    def channels(self) -> int | None:
        """Number of channels; None before the first image, or if no top images are kept."""
        return None if self._keys is None else len(self._keys)

    def check(self, output: Values) -> None:
        """Check that no value of an output is too large for the histogram and the top images.

        Raises:
            ValueError: float64 values exceed the range of float32.
        """
        if not (self._histogram or self._top_images) or output.dtype != torch.float64 or not output.numel():
            return
        if (largest := float(finite_magnitudes(output).max())) > LARGEST:
            raise ValueError(
                f"the largest magnitude is {largest:.3g}, in float64; histograms and top images are of values up to "
                f"{LARGEST:.3g}: scale them"
            )

    def count(self, output: Values) -> None:
        """Count the values of an output, which may have any shape, in the bins of the histogram."""
        if self._histogram:
            if self._counts is None:
                self._counts = torch.zeros(BINS, dtype=torch.int64, device=output.device)
            count_bins(output, self._counts)

    def rank(self, first_image: int, maps: FeatureMaps) -> None:
        """Update each channel's top images with the maps of images first_image, first_image + 1, ..."""
        self._add_keys(response_keys(maps, first_image))

    def _add_keys(self, keys: Int64[Tensor, "channel image"]) -> None:
        self._keys = first_keys(keys if self._keys is None else torch.cat([self._keys, keys], dim=1), self._top_images)

    def merge(self, other: "Activations") -> None:
        """Add the counts and top images of `other`. The two must not have an image in common.

        Raises:
            ValueError: the numbers of channels differ.
        """
        if None not in (self.channels, other.channels) and self.channels != other.channels:
            raise ValueError(
                f"{other.channels} channels, and {self.channels} before; top images need the same channels in all "
                "images"
            )
        if other._counts is not None:
            self._counts = other._counts.clone() if self._counts is None else self._counts + other._counts
        if other._keys is not None:
            self._add_keys(other._keys)

    def state(self) -> dict[str, Tensor]:
        """Return the counts and top images as tensors, for `restore`. The names of the tensors start with PREFIX."""
        parts = {"counts": self._counts, "keys": self._keys}
        return {f"{PREFIX}{name}": part for name, part in parts.items() if part is not None}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Replace the counts and top images by those of a saved state.

        Raises:
            ValueError: an entry of the state has a wrong dtype or shape, or a count is negative.
        """
        counts, keys = self._counts, self._keys = state.get(f"{PREFIX}counts"), state.get(f"{PREFIX}keys")
        if wrong := [part.dtype for part in (counts, keys) if part is not None and part.dtype != torch.int64]:
            raise ValueError(f"histograms and top images of {wrong[0]}; torch.int64 is valid")
        if counts is not None and counts.shape != (BINS,):
            raise ValueError(f"a histogram of shape {tuple(counts.shape)}; {(BINS,)} is valid")
        if counts is not None and int(counts.min()) < 0:
            raise ValueError(f"a histogram with a count of {int(counts.min())}; counts from 0 are valid")
        if keys is not None and (keys.dim(), keys.shape[-1:]) != (2, (self._top_images,)):
            raise ValueError(f"top images of shape {tuple(keys.shape)}; {self._top_images} a channel are valid")


def check_poolable(channels: Iterable[int]) -> None:
    """Raise ValueError where the calls of a module differ in their number of channels."""
    if len(different := sorted({*channels})) > 1:
        raise ValueError(f'its calls have {different} channels and cannot be pooled; measure them with calls="keep"')


def pool_histogram(calls: Sequence[Activations]) -> Histogram | None:
    """Return the sum of the histograms of all calls of a module; None if no values were counted."""
    counts = [call._counts for call in calls if call._counts is not None]
    return histogram_of(torch.stack(counts).sum(dim=0)) if counts else None


def pool_top_images(calls: Sequence[Activations]) -> TopImages | None:
    """Return the top images over all calls of a module; None if none were kept.

    Raises:
        ValueError: the calls differ in their number of channels.
    """
    keys = [call._keys for call in calls if call._keys is not None]
    if not keys:
        return None
    check_poolable(map(len, keys))
    # An image among the top of all calls is among the top of the call in which its response is largest.
    number = keys[0].shape[1]
    every = torch.cat(keys, dim=1)
    return top_images_of(first_keys(without_repeats(first_keys(every, every.shape[1])), number))
