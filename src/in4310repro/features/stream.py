"""Statistics of one output tensor of one module, batch by batch, with settings, saved state and result."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import reduce
from typing import Any, Literal, get_args

import torch

from in4310repro.features import activations
from in4310repro.features.activations import INDICES, count_bins, first_keys
from in4310repro.features.blocks import BlockMoments, merge_nodes
from in4310repro.features.covariance import Moments, Precision, check_tensor, merge_moments
from in4310repro.features.kernel import BINS, Counts, count
from in4310repro.features.outputs import BinCounts, FeatureMaps, Keys, State, Values, check_range
from in4310repro.features.result import FeatureResult
from in4310repro.features.spectra import FlatMaps, gram_matrix

COUNTS, KEYS = "activations.counts", "activations.keys"  # tensors of a saved state

# Left out of a saved state at their defaults, so that older states stay readable.
OPTIONAL = ("histogram", "top_images")


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement; only statistics with equal settings can be merged.

    Raises:
        ValueError: a setting has an invalid value.
    """

    samples: Literal[None, "images", "positions", "flat"]
    precision: Precision
    calls: Literal["pool", "keep"]
    on_non_finite: Literal["count", "raise"]
    correction: Literal[0, 1]
    histogram: Literal[False, True] = False
    top_images: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            if (valid := get_args(field.type)) and (value := getattr(self, field.name)) not in valid:
                raise ValueError(f"{field.name} is {value!r}; it must be one of {', '.join(map(repr, valid))}")
        if self.top_images < 0:
            raise ValueError(f"top_images is {self.top_images}; it must be 0 or more images of each channel")

    def describe(self) -> dict[str, object]:
        """Return the settings by name. Those in OPTIONAL are omitted if they have the default value.

        States that were saved before these settings existed can then still be loaded.
        """
        return {name: value for name, value in vars(self).items() if value or name not in OPTIONAL}


class Stream:
    """Statistics of one output tensor over all images so far; image numbers start at `first_image`.

    Only `update`, `merge` and `restore` change its attributes. An error in one of them leaves it useless.
    """

    def __init__(self, settings: Settings, first_image: int) -> None:
        self.counts = Counts()
        self.sample_count = 0  # finite or not
        self.image_ranges: list[range] = []
        self.accumulator: BlockMoments | FlatMaps | None = FlatMaps() if settings.samples == "flat" else None
        if settings.samples in ("images", "positions"):
            self.accumulator = BlockMoments(settings.samples, settings.precision)
        self.bins: BinCounts | None = None  # numbers of values in each bin of the histogram
        self.keys: Keys | None = None  # of each channel's top images
        self._settings = settings
        self._next_image = first_image

    @property
    def widths(self) -> tuple[int | None, int | None]:
        """Numbers of values per image, of flattened maps, and of channels; None where nothing needs or tells them."""
        width = None if self.accumulator is None else self.accumulator.row_width
        channels = None if self.keys is None else len(self.keys)
        return (width, channels) if self._settings.samples == "flat" else (None, width or channels)

    def check_widths(self, others: tuple[int | None, int | None]) -> None:
        """Check that another output has as many values per image, and channels, as this stream.

        Raises:
            ValueError: the number of channels, or of values per image, differs.
        """
        for unit, before, now in zip(("values per image", "channels"), self.widths, others, strict=True):
            if before != now and None not in (before, now):
                raise ValueError(
                    f"{now} {unit}, and {before} before; they cannot be pooled: measure another module"
                    f"""{', or its calls separately with calls="keep"' if self._settings.calls == "pool" else ""}"""
                )

    def check(self, output: Values, axis: int, images: int) -> None:
        """Check that an output of `images` images can be added, before anything is changed.

        Raises:
            ValueError: float64 values are out of range, the images were measured already, flattened maps take too
                much memory, or images have indices that top images cannot hold.
        """
        stop = self._next_image + images
        join_ranges(self.image_ranges, [range(self._next_image, stop)])
        if self._settings.top_images and stop > INDICES:
            raise ValueError(f"image {stop - 1}; top images are only of images below {INDICES}: set top_images=0")
        if self.accumulator is not None:
            check_range(output, axis)
        elif self._settings.histogram or self._settings.top_images:
            check_range(output, None)
        if isinstance(self.accumulator, FlatMaps):
            self.accumulator.check(self._next_image, output)

    def update(self, output: Values, axis: int, images: int) -> None:
        """Add an output of `images` images, with channels on `axis`, to the statistics; `check` has passed it.

        Axis 0 of the output must be the images. If only values are counted, axis 0 may be anything.

        Raises:
            ValueError: a value is not finite while `on_non_finite` is "raise". On a GPU, `FeatureStatistics.result`
                checks for such values instead.
        """
        if self.accumulator is None:
            counts = count(output)
        else:
            maps = view_as_maps(output, axis)
            counts = self.accumulator.add(self._next_image, maps) if maps.numel() else Counts()
            self.sample_count += len(maps) * (math.prod(maps.shape[2:]) if self._settings.samples == "positions" else 1)
        if self._settings.histogram:
            if self.bins is None:
                self.bins = torch.zeros(BINS, dtype=torch.int64, device=output.device)
            count_bins(output, self.bins)
        if self._settings.top_images and output.numel():
            keys = activations.response_keys(view_as_maps(output, axis), self._next_image)
            self.keys = first_keys(self._settings.top_images, self.keys, keys)
        self.counts += counts
        if self._settings.on_non_finite == "raise" and not output.is_cuda and counts.non_finite:
            raise ValueError(f"{counts.non_finite} of {counts.values} values are not finite")
        stop = self._next_image + images
        self.image_ranges = join_ranges(self.image_ranges, [range(self._next_image, stop)])
        self._next_image = stop

    def merge(self, other: "Stream") -> None:
        """Add the images of another stream with equal settings.

        Raises:
            ValueError: both have measured the same images, or their numbers of channels differ.
        """
        self.image_ranges = join_ranges(self.image_ranges, other.image_ranges)
        self.check_widths(other.widths)
        if self.accumulator is not None:
            self.accumulator.merge(other.accumulator)  # type: ignore[arg-type]  # equal settings make equal types
        if other.bins is not None:
            self.bins = other.bins + (0 if self.bins is None else self.bins)
        if other.keys is not None:
            self.keys = first_keys(self._settings.top_images, self.keys, other.keys)
        self.counts += other.counts
        self.sample_count += other.sample_count

    def tensors(self) -> State:
        """Return the tensors that belong to the stream's state."""
        own = {COUNTS: self.bins, KEYS: self.keys}
        parts = {} if self.accumulator is None else self.accumulator.state()
        return parts | {name: part for name, part in own.items() if part is not None}

    def state(self) -> dict[str, Any]:
        """Return the stream's state as JSON values, without its tensors, after waiting for the GPU to finish."""
        return {
            "counts": [*self.counts.to_ints()],
            "sample_count": self.sample_count,
            "image_ranges": [[images.start, images.stop] for images in self.image_ranges],
            "next_image": self._next_image,
        }

    def restore(self, state: Mapping[str, Any], tensors: State) -> None:
        """Replace the statistics by those of a saved state, so that a measurement continues as if never interrupted.

        Raises:
            ValueError: the tensors do not fit together, or a count is negative.
        """
        self.counts, self.sample_count = Counts(*state["counts"]), state["sample_count"]
        self.image_ranges = [range(start, stop) for start, stop in state["image_ranges"]]
        self._next_image = state["next_image"]
        self.bins, self.keys = tensors.pop(COUNTS, None), tensors.pop(KEYS, None)
        if self.bins is not None:
            check_tensor(COUNTS, self.bins, torch.int64, BINS)
            if (smallest := int(self.bins.min())) < 0:
                raise ValueError(f"a histogram with a count of {smallest}; counts must be 0 or more")
        if self.keys is not None:
            check_tensor(KEYS, self.keys, torch.int64, *self.keys.shape[:1], self._settings.top_images)
        if self.accumulator is not None:
            self.accumulator.restore(tensors)


def view_as_maps(output: Values, axis: int) -> FeatureMaps:
    """Return the output as maps with four axes.

    If the output has more or fewer axes, all its positions are placed on the height axis, and the width is 1.
    """
    maps = output.movedim(axis, 1)
    return maps if maps.ndim == 4 else maps.reshape(*maps.shape[:2], -1, 1)


def join_ranges(first: list[range], second: list[range]) -> list[range]:
    """Return the image indices of both lists as sorted ranges, with adjacent ranges joined.

    Raises:
        ValueError: an index is in more than one range.
    """
    joined: list[range] = []
    for images in sorted(filter(len, [*first, *second]), key=lambda images: images.start):
        last = joined.pop() if joined else range(images.start, images.start)
        if images.start < last.stop:
            raise ValueError(
                f"images {images.start} to {min(images.stop, last.stop) - 1} were measured before; each counts once: "
                "give each part its own first_image"
            )
        joined += [range(last.start, images.stop)] if images.start == last.stop else [last, images]
    return joined


def finalize(streams: list[Stream], settings: Settings) -> FeatureResult:
    """Return the result over all `streams`, each of which holds the statistics of one call of a module.

    If the statistics are on a GPU, this function waits until the GPU has computed them.

    Raises:
        ValueError: only empty batches were measured, a value is not finite and `on_non_finite` is "raise",
            or the calls differ in their channels.
    """
    counts = sum((stream.counts for stream in streams), Counts()).to_ints()
    if not counts[0]:
        raise ValueError("only empty batches passed; statistics of no values are undefined")
    if counts[-1] and settings.on_non_finite == "raise":
        raise ValueError(f"{counts[-1]} of {counts[0]} values are not finite")
    for stream in streams[1:]:
        streams[0].check_widths(stream.widths)
    parts = [stream.accumulator for stream in streams]
    totals = [vars(merge_nodes(part.nodes())) for part in parts if isinstance(part, BlockMoments)]
    calls = [Moments(**{name: value.cpu() for name, value in total.items()}) for total in totals]
    moments = reduce(merge_moments, calls) if calls else None
    maps = [part.maps() for part in parts if isinstance(part, FlatMaps)]
    gram = gram_matrix(torch.cat(maps)).cpu() if maps else None
    rows = int(moments.rows) if moments is not None else 0 if gram is None else len(gram)
    bins = [stream.bins for stream in streams if stream.bins is not None]
    keys = [stream.keys for stream in streams if stream.keys is not None]
    images = max(sum(map(len, stream.image_ranges)) for stream in streams)
    left_out = sum(stream.sample_count for stream in streams) - rows
    histogram = activations.histogram_of(torch.stack(bins).sum(dim=0)) if bins else None
    top = activations.top_images_of(keys) if keys else None
    row: Any = (images, rows, left_out, *counts, settings.correction, moments, gram, histogram, top)
    return FeatureResult(*row)
