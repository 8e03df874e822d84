"""Streaming histogram of a module's values, and the images with each channel's largest responses."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from in4310repro.features.histogram import Histogram, count_bins, histogram_of
from in4310repro.features.kernel import BINS
from in4310repro.features.top_images import TopImages, first_keys, response_keys, top_images_of, without_repeats

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
        self._counts: Int64[Tensor, " bin"] | None = None
        self._keys: Int64[Tensor, "channel place"] | None = None

    @property
    def channels(self) -> int | None:
        """Number of channels; None before the first image, or if no top images are kept."""
        return None if self._keys is None else len(self._keys)

    def check(self, output: Float[Tensor, "..."]) -> None:
        """Check that no value of an output is too large for the histogram and the top images.

        Raises:
            ValueError: float64 values exceed the range of float32.
        """
        if not (self._histogram or self._top_images) or output.dtype != torch.float64 or not output.numel():
            return
        largest = float(torch.nan_to_num(output, nan=0.0, posinf=0.0, neginf=0.0).abs().max())
        if largest > LARGEST:
            raise ValueError(
                f"the largest magnitude is {largest:.3g}, in float64; histograms and top images are of values up to "
                f"{LARGEST:.3g}: scale them"
            )

    def count(self, output: Float[Tensor, "..."]) -> None:
        """Add the values of an output of any shape to the histogram."""
        if self._histogram:
            if self._counts is None:
                self._counts = torch.zeros(BINS, dtype=torch.int64, device=output.device)
            count_bins(output, self._counts)

    def rank(self, first_image: int, maps: Float[Tensor, "image channel height width"]) -> None:
        """Update each channel's top images with the maps of images first_image, first_image + 1, ..."""
        self._add_keys(response_keys(maps, first_image))

    def _add_keys(self, keys: Int64[Tensor, "channel image"]) -> None:
        self._keys = first_keys(keys if self._keys is None else torch.cat([self._keys, keys], dim=1), self._top_images)

    def merge(self, other: "Activations") -> None:
        """Add the counts and top images of another Activations; no image may be in both.

        Raises:
            ValueError: the numbers of channels differ.
        """
        if None not in (self.channels, other.channels) and self.channels != other.channels:
            raise ValueError(f"{other.channels} channels, and {self.channels} before; each has its own top images")
        if other._counts is not None:
            self._counts = other._counts.clone() if self._counts is None else self._counts + other._counts
        if other._keys is not None:
            self._add_keys(other._keys)

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that `restore` needs; their names start with PREFIX."""
        parts = {"counts": self._counts, "keys": self._keys}
        return {f"{PREFIX}{name}": part for name, part in parts.items() if part is not None}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Replace the counts and top images by those of a saved state.

        Raises:
            ValueError: the state's entries have a wrong dtype or shape, or counts below zero.
        """
        self._counts, self._keys = state.get(f"{PREFIX}counts"), state.get(f"{PREFIX}keys")
        for part in (self._counts, self._keys):
            if part is not None and part.dtype != torch.int64:
                raise ValueError(f"histograms and top images of {part.dtype}; torch.int64 is valid")
        if self._counts is not None and self._counts.shape != (BINS,):
            raise ValueError(f"a histogram of shape {tuple(self._counts.shape)}; {(BINS,)} is valid")
        if self._counts is not None and int(self._counts.min()) < 0:
            raise ValueError(f"a histogram with a count of {int(self._counts.min())}; counts from 0 are valid")
        if self._keys is not None and (self._keys.dim(), self._keys.shape[-1:]) != (2, (self._top_images,)):
            raise ValueError(f"top images of shape {tuple(self._keys.shape)}; {self._top_images} a channel are valid")


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
    channels = sorted(set(map(len, keys)))
    if len(channels) > 1:
        raise ValueError(f'its calls have {channels} channels and cannot be pooled; measure them with calls="keep"')
    # An image among the top of all calls is among the top of the call in which its response is largest.
    number = keys[0].shape[1]
    every = torch.cat(keys, dim=1)
    return top_images_of(first_keys(without_repeats(first_keys(every, every.shape[1])), number))
