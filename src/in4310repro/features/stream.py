"""The running statistics of one tensor of one call of one module."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from in4310repro.features.blocks import BlockMoments
from in4310repro.features.covariance import Precision
from in4310repro.features.flat import FlatMaps
from in4310repro.features.sparsity import Counts, count

VALID: dict[str, tuple[object, ...]] = {
    "samples": (None, "images", "positions", "flat"),
    "precision": ("fast", "exact"),
    "calls": ("pool", "keep"),
    "on_non_finite": ("count", "raise"),
    "correction": (0, 1),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured and how; only statistics of equal settings merge.

    Raises:
        ValueError: a value that does not exist.
    """

    samples: Literal["images", "positions", "flat"] | None
    precision: Precision
    calls: Literal["pool", "keep"]
    on_non_finite: Literal["count", "raise"]
    correction: Literal[0, 1]

    def __post_init__(self) -> None:
        for field, valid in VALID.items():
            if (value := getattr(self, field)) not in valid:
                raise ValueError(f"{field} is {value!r}; it can be {', '.join(map(repr, valid))}")


class Stream:
    """Counts of all images so far, and their samples; images are numbered from `first_image` on."""

    def __init__(self, settings: Settings, first_image: int) -> None:
        self.counts = Counts()
        self.seen = 0  # samples, finite or not
        self.measured: list[range] = []
        self.samples: BlockMoments | FlatMaps | None = None
        if settings.samples == "flat":
            self.samples = FlatMaps()
        elif settings.samples is not None:
            self.samples = BlockMoments(settings.samples, settings.precision)
        self._settings = settings
        self._next_image = first_image

    @property
    def images(self) -> int:
        """Number of images so far."""
        return sum(map(len, self.measured))

    def update(self, output: Float[Tensor, "..."], axis: int, images: int) -> None:
        """Take in one output, channels on `axis`; images on axis 0 unless only counts are taken.

        Raises:
            ValueError: a non-finite value where those are to raise, or images that were measured already.
        """
        measured = continued(self.measured, range(self._next_image, self._next_image + images))
        if self.samples is None:
            counts = count(output)
        else:
            maps = image_maps(output, axis)
            counts = self.samples.add(self._next_image, maps) if maps.numel() else Counts()
            self.seen += len(maps) * (math.prod(maps.shape[2:]) if self._settings.samples == "positions" else 1)
        self.counts += counts
        if self._settings.on_non_finite == "raise" and not output.is_cuda and counts.non_finite:
            raise ValueError(f"{counts.non_finite} of {counts.values} values are not finite")
        self.measured = measured
        self._next_image += images

    def merge(self, other: "Stream") -> None:
        """Add the images of another stream of equal settings.

        Raises:
            ValueError: both measured the same images, or maps of different numbers of channels.
        """
        measured = joined(self.measured, other.measured)
        if isinstance(self.samples, BlockMoments) and isinstance(other.samples, BlockMoments):
            self.samples.merge(other.samples)
        if isinstance(self.samples, FlatMaps) and isinstance(other.samples, FlatMaps):
            self.samples.merge(other.samples)
        self.measured = measured
        self.counts += other.counts
        self.seen += other.seen

    def numbers(self) -> dict[str, Any]:
        """The state that is not tensors."""
        return {
            "counts": self.counts.numbers(),
            "seen": self.seen,
            "measured": [[images.start, images.stop] for images in self.measured],
            "next_image": self._next_image,
        }

    def restore(self, numbers: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Go on from a saved state, to the same bits."""
        self.counts = Counts(*numbers["counts"])
        self.seen = numbers["seen"]
        self.measured = [range(start, stop) for start, stop in numbers["measured"]]
        self._next_image = numbers["next_image"]
        if self.samples is not None:
            self.samples.restore(tensors)


LINES = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.MaxPool1d, nn.AvgPool1d, nn.AdaptiveAvgPool1d)


def channel_axis(module: nn.Module, ndim: int) -> int:
    """Axis of the channels in an output of `ndim` axes: the last for tokens, linear layers and layer norms, else 1."""
    # Exactly nn.LayerNorm: torchvision's LayerNorm2d derives from it and keeps channels on axis 1.
    if type(module) in (nn.Linear, nn.LayerNorm):
        return ndim - 1
    return 2 if ndim == 3 and not isinstance(module, LINES) else 1


def image_maps(output: Float[Tensor, "..."], axis: int) -> Float[Tensor, "image channel height width"]:
    """A view with four axes, channels on the second; an output without positions has one."""
    maps = output if axis == 1 else output.movedim(axis, 1)
    return maps if maps.ndim == 4 else maps.reshape(*maps.shape[:2], -1, 1)


def continued(measured: list[range], images: range) -> list[range]:
    """`measured` and `images`; mostly these follow on the last ones.

    Raises:
        ValueError: an index is in both.
    """
    if measured and measured[-1].stop == images.start:
        return [*measured[:-1], range(measured[-1].start, images.stop)]
    return joined(measured, [images])


def joined(first: list[range], second: list[range]) -> list[range]:
    """Ranges of image indices of both, in order, neighbours united.

    Raises:
        ValueError: an index is in both.
    """
    united: list[range] = []
    for images in sorted(filter(len, [*first, *second]), key=lambda images: images.start):
        last = united[-1] if united else range(-1, -1)
        if images.start < last.stop:
            again = range(images.start, min(images.stop, last.stop))
            raise ValueError(
                f"images {again.start} to {again.stop - 1} were measured before; each counts once: "
                "give each part the first_image of its own"
            )
        if images.start == last.stop:
            united[-1] = range(last.start, images.stop)
        else:
            united.append(images)
    return united
