"""Statistics of one output tensor of one module, updated batch by batch, with their settings and saved state."""

import copy
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor

from in4310repro.features.activations import INDICES, PREFIX, Activations
from in4310repro.features.blocks import BlockMoments
from in4310repro.features.covariance import Precision
from in4310repro.features.kernel import Counts, count
from in4310repro.features.spectra import FlatMaps
from in4310repro.features.tensors import FeatureMaps, Values, check_range

VALID_VALUES: dict[str, tuple[object, ...]] = {
    "samples": (None, "images", "positions", "flat"),
    "precision": ("fast", "exact"),
    "calls": ("pool", "keep"),
    "on_non_finite": ("count", "raise"),
    "correction": (0, 1),
    "histogram": (False, True),
}
# Left out of a saved state at their defaults, so that older states stay readable.
OPTIONAL = ("histogram", "top_images")


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement; only statistics with equal settings can be merged.

    Raises:
        ValueError: a setting has an invalid value.
    """

    samples: Literal["images", "positions", "flat"] | None
    precision: Precision
    calls: Literal["pool", "keep"]
    on_non_finite: Literal["count", "raise"]
    correction: Literal[0, 1]
    histogram: bool = False
    top_images: int = 0

    def __post_init__(self) -> None:
        for field, valid in VALID_VALUES.items():
            if (value := getattr(self, field)) not in valid:
                raise ValueError(f"{field} is {value!r}; it can be {', '.join(map(repr, valid))}")
        if self.top_images < 0:
            raise ValueError(f"top_images is {self.top_images}; 0 or more images of each channel are valid")

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
        self.activations = Activations(histogram=settings.histogram, top_images=settings.top_images)
        self._settings = settings
        self._next_image = first_image

    @property
    def images(self) -> int:
        """Number of images measured so far."""
        return sum(map(len, self.image_ranges))

    def check_width(self, output: Values, axis: int) -> None:
        """Check that an output has as many channels, or values per image, as the earlier outputs.

        Raises:
            ValueError: the number of channels, or of values per image, differs.
        """
        width = None if self.accumulator is None else self.accumulator.row_width
        flat = self._settings.samples == "flat"
        channels = self.activations.channels if flat or width is None else width
        hint = ', or its calls separately with calls="keep"' if self._settings.calls == "pool" else ""
        for unit, before, now in (
            ("values per image", width if flat else None, math.prod(output.shape[1:])),
            ("channels", channels, channels and output.shape[axis]),
        ):
            if before not in (None, now):
                raise ValueError(
                    f"{now} {unit}, and {before} before; they cannot be pooled: measure another module{hint}"
                )

    def check(self, output: Values, axis: int, images: int) -> None:
        """Check that an output of `images` images can be added, before anything is changed.

        Raises:
            ValueError: float64 values are out of range, the images were measured already, flattened maps take too
                much memory, or images have indices that top images cannot hold.
        """
        stop = self._next_image + images
        append_range(self.image_ranges, range(self._next_image, stop))
        if self._settings.top_images and stop > INDICES:
            raise ValueError(f"image {stop - 1}; top images are those of images below {INDICES}: top_images=0 is valid")
        self.activations.check(output)
        if self.accumulator is not None:
            maps = view_as_maps(output, axis)
            check_range(maps)
            if isinstance(self.accumulator, FlatMaps):
                self.accumulator.check(self._next_image, maps)

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
        self.activations.count(output)
        if self._settings.top_images and output.numel():
            self.activations.rank(self._next_image, view_as_maps(output, axis))
        self.counts += counts
        if self._settings.on_non_finite == "raise" and not output.is_cuda and counts.non_finite:
            raise ValueError(f"{counts.non_finite} of {counts.values} values are not finite")
        stop = self._next_image + images
        self.image_ranges = append_range(self.image_ranges, range(self._next_image, stop))
        self._next_image = stop

    def copy(self) -> "Stream":
        """Return a copy to merge others into, which replaces this stream. The two share their tensors."""
        new = copy.copy(self)
        new.accumulator, new.activations = copy.copy(self.accumulator), copy.copy(self.activations)
        return new

    def merge(self, other: "Stream") -> None:
        """Add the images of another stream with equal settings.

        Raises:
            ValueError: both have measured the same images, or their numbers of channels differ.
        """
        image_ranges = join_ranges(self.image_ranges, other.image_ranges)
        if self.accumulator is not None:
            self.accumulator.merge(other.accumulator)  # type: ignore[arg-type]  # equal settings make equal types
        self.activations.merge(other.activations)
        self.image_ranges = image_ranges
        self.counts += other.counts
        self.sample_count += other.sample_count

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that belong to the stream's state."""
        return (self.accumulator.state() if self.accumulator is not None else {}) | self.activations.state()

    def state(self) -> dict[str, Any]:
        """Return the stream's state as JSON values, without its tensors, after waiting for the GPU to finish."""
        return {
            "counts": [*self.counts.to_ints()],
            "sample_count": self.sample_count,
            "image_ranges": [[images.start, images.stop] for images in self.image_ranges],
            "next_image": self._next_image,
        }

    def restore(self, state: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
        """Replace the statistics by those of a saved state, so that a measurement continues as if never interrupted.

        Raises:
            ValueError: the tensors do not fit together.
        """
        self.counts, self.sample_count = Counts(*state["counts"]), state["sample_count"]
        self.image_ranges = [range(start, stop) for start, stop in state["image_ranges"]]
        self._next_image = state["next_image"]
        self.activations.restore(tensors)
        if self.accumulator is not None:
            self.accumulator.restore({name: part for name, part in tensors.items() if not name.startswith(PREFIX)})


def view_as_maps(output: Values, axis: int) -> FeatureMaps:
    """Return the output as maps with four axes.

    If the output has more or fewer axes, all its positions are placed on the height axis, and the width is 1.
    """
    maps = output.movedim(axis, 1)
    return maps if maps.ndim == 4 else maps.reshape(*maps.shape[:2], -1, 1)


def append_range(ranges: list[range], images: range) -> list[range]:
    """Return the ranges of image indices with the range `images` added.

    Raises:
        ValueError: an index in `images` is already in `ranges`.
    """
    if ranges and ranges[-1].stop == images.start:
        return [*ranges[:-1], range(ranges[-1].start, images.stop)]
    return join_ranges(ranges, [images])


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


METADATA = "metadata"  # a JSON text as uint8


class StateMetadata(TypedDict):
    """All parts of a state except its tensors, as JSON values."""

    settings: dict[str, object]  # what must be equal for the state to be loaded
    streams: list[dict[str, Any]]  # module, call, path and state of each


def pack(metadata: StateMetadata, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of the tensors in host memory, with the metadata stored as one more tensor."""
    text = torch.frombuffer(bytearray(json.dumps(metadata).encode()), dtype=torch.uint8)
    copies = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    return copies | {METADATA: text}


def unpack(state: Mapping[str, Tensor], device: torch.device) -> tuple[StateMetadata, dict[str, Tensor]]:
    """Return the metadata and the tensors of a packed dictionary, with the tensors copied to a device.

    Raises:
        ValueError: the dictionary was not made by `pack`.
    """
    if METADATA not in state:
        raise ValueError(f"no entry {METADATA!r} in a state of {sorted(state)}; it was not made by state_dict")
    metadata: StateMetadata = json.loads(bytes(state[METADATA].cpu().tolist()))
    return metadata, {key: value.to(device, copy=True) for key, value in state.items() if key != METADATA}


def tensors_of_stream(tensors: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """Return the tensors of stream number `index`, by name; the prefix with the number is removed."""
    prefix = f"{index}."
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
