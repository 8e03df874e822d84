"""From feature maps to the moments of one block: each image's spatial mean, or every position, as a sample.

All arithmetic is on data minus a shift, one value a channel, fixed by the block's first image: without it a mean of
1e4 deviations costs all digits of a float32 product, and half those of a float64 one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any, Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import grad

from in4310repro.features.moments import Moments
from in4310repro.features.scratch import Scratch

Precision = Literal["fast", "exact"]

weight_gradient: Callable[..., Tensor] = grad.conv2d_weight  # torch leaves it without types

# Values subtracted and summed at a time: 4 MB of float32, which stay in the processor's cache in between.
CHUNK = 1 << 20
# Rows of one float32 product: longer ones lose digits, shorter ones pay for a float64 sum of channel x channel values.
LONGEST, SHORTEST = 16384, 2048
# From here on, computing half of the off-diagonal part saves more than cutting the channels in two costs.
MANY_CHANNELS = 128
# Positions of the block's first image that fix its shift; any value near the mean would do.
LOOKED_AT = 1024


class ImageRows:
    """One row an image, the mean over positions; a block's rows are kept, so that its moments take two passes."""

    def __init__(self, shift: Float[Tensor, " channel"], scratch: Scratch) -> None:
        self._shift = shift
        self._scratch = scratch
        self._rows: list[Tensor] = []

    @classmethod
    def begun(
        cls, maps: Float[Tensor, "image channel height width"], precision: Precision, scratch: Scratch
    ) -> "ImageRows":
        """No rows yet; the shift is taken from the first of the maps."""
        return cls(look_at(maps, precision)[0], scratch)

    @classmethod
    def restored(cls, state: dict[str, Tensor], scratch: Scratch) -> "ImageRows":
        """Where `state` left off."""
        rows = cls(state["shift"], scratch)
        rows._rows = [state["rows"]]
        return rows

    def add(self, maps: Float[Tensor, "image channel height width"], *, finite: bool) -> bool:
        """Append the spatial means minus the shift; rows that are not finite are left out of the moments.

        Returns:
            Whether all values are known to be finite, because their sums are; a GPU is not stopped to look.
        """
        for part in torch.split(maps, max(1, CHUNK // maps[0].numel())):
            sums = less(part, self._shift, self._scratch).sum(dim=(2, 3))
            self._rows.append(sums.double() / maps[0, 0].numel())
            finite = not sums.is_cuda and isfinite(sums.sum().item())
        return finite

    def moments(self) -> Moments:
        """Moments of the rows so far that hold no non-finite value."""
        rows = torch.cat(self._rows)
        kept = torch.isfinite(rows).all(dim=1, keepdim=True)
        rows = rows.where(kept, 0)
        number = kept.sum(dtype=torch.float64)
        offset = rows.sum(dim=0) / number.clamp(min=1)
        centred = (rows - offset).where(kept, 0)
        return Moments(rows=number, shift=self._shift.double(), offset=offset, scatter=centred.T @ centred)

    def state(self) -> dict[str, Tensor]:
        """What `restored` needs to go on to the same bits."""
        return {"shift": self._shift, "rows": torch.cat(self._rows)}


class PositionRows:
    """One row a position of each image: products of shifted data, summed in float64."""

    def __init__(self, shift: Float[Tensor, " channel"], scratch: Scratch) -> None:
        self._shift = shift
        self._scratch = scratch
        self._number = shift.new_zeros((), dtype=torch.float64)
        self._sums = shift.new_zeros(len(shift), dtype=torch.float64)
        self._products = shift.new_zeros(len(shift), len(shift), dtype=torch.float64)
        self._waiting: list[Tensor] = []

    @classmethod
    def begun(
        cls, maps: Float[Tensor, "image channel height width"], precision: Precision, scratch: Scratch
    ) -> "PositionRows":
        """No rows yet. In float32, means within two deviations cost no digits, and a shift of 0 saves a pass."""
        shift, variance = look_at(maps, precision)
        if shift.dtype == torch.float32:
            # torch.where and not if: a GPU is not stopped to look.
            shift = torch.where((shift.square() <= 4 * variance).all(), 0, shift)
        return cls(shift, scratch)

    @classmethod
    def restored(cls, state: dict[str, Tensor], scratch: Scratch) -> "PositionRows":
        """Where `state` left off."""
        rows = cls(state["shift"], scratch)
        rows._number, rows._sums, rows._products = state["number"], state["sums"], state["products"]
        if "waiting" in state:
            rows._waiting = [state["waiting"].clone(memory_format=torch.channels_last)]
        return rows

    def add(self, maps: Float[Tensor, "image channel height width"], *, finite: bool) -> bool:
        """Add sums and products; positions with a non-finite value are left out. `finite` is handed back."""
        positions = maps[0, 0].numel()
        for part in torch.split(maps, max(1, LONGEST // positions)):
            rows = less(part, self._shift, self._scratch)
            self._number += len(part) * positions
            if not finite:
                kept = torch.isfinite(rows).all(dim=1, keepdim=True)
                self._number -= (~kept).sum()
                rows = rows.where(kept, 0)
            self._hold(rows)
        return finite

    def _hold(self, rows: Float[Tensor, "image channel height width"]) -> None:
        self._waiting.append(rows)
        if sum(part.numel() for part in self._waiting) < SHORTEST * rows.shape[1]:
            # The next layer may overwrite the module's output before these rows have their turn.
            self._waiting[-1] = rows.clone(memory_format=torch.channels_last)
            return
        sums, products = summed(self._waiting)
        self._sums += sums
        self._products += products
        self._waiting = []

    def moments(self) -> Moments:
        """Moments of the rows so far: scatter = products - sums sums^T / n, mean = shift + sums / n."""
        sums, products = self._sums, self._products
        if self._waiting:
            last_sums, last_products = summed(self._waiting)
            sums, products = sums + last_sums, products + last_products
        offset = sums / self._number.clamp(min=1)
        scatter = torch.addr(products, sums, offset, alpha=-1)
        return Moments(rows=self._number.clone(), shift=self._shift.double(), offset=offset, scatter=scatter)

    def state(self) -> dict[str, Tensor]:
        """What `restored` needs to go on to the same bits."""
        sums = {"shift": self._shift, "number": self._number, "sums": self._sums, "products": self._products}
        return sums | ({"waiting": torch.cat(self._waiting)} if self._waiting else {})


def look_at(
    maps: Float[Tensor, "image channel height width"], precision: Precision
) -> tuple[Float[Tensor, " channel"], Float[Tensor, " channel"]]:
    """Mean and variance of each channel over some positions of the first image, in the type to compute in.

    That type is float64 for "exact" and for float64 maps, float32 otherwise: nothing is ever narrowed. The mean is a
    float32 value, so that the difference of two is exact, and 0 where it is not finite.
    """
    step = min(maps.shape[2], max(1, maps[0, 0].numel() // LOOKED_AT))
    some = maps[0, :, ::step].float()
    mean = torch.nan_to_num(some.mean(dim=(1, 2)), nan=0.0, posinf=0.0, neginf=0.0)
    variance = (some - mean[:, None, None]).square().mean(dim=(1, 2))
    dtype = torch.float64 if precision == "exact" or maps.dtype == torch.float64 else torch.float32
    return mean.to(dtype), variance.to(dtype)


def less(
    maps: Float[Tensor, "image channel height width"], shift: Float[Tensor, " channel"], scratch: Scratch
) -> Float[Tensor, "image channel height width"]:
    """The maps minus the shift in its type, in working memory; on a processor the maps themselves if it is 0."""
    wide = maps.to(shift.dtype)
    if not shift.is_cuda and not shift.any():
        return wide
    return torch.sub(wide, shift[:, None, None], out=scratch.like(wide))


def summed(
    parts: list[Float[Tensor, "_ channel height width"]],
) -> tuple[Float64[Tensor, " channel"], Float64[Tensor, "channel channel"]]:
    """Sums over all positions of x and of x x^T, each taken in the type of the parts."""
    rows = parts[0] if len(parts) == 1 else torch.cat(parts)
    channels = rows.shape[1]
    if rows.dtype == torch.float32 and not rows.is_cuda:
        with full_float32():
            products = products_by_gradient(rows)
    else:
        matrix = rows.movedim(1, 0).reshape(channels, -1)
        with full_float32():
            products = matrix @ matrix.T
    return rows.sum(dim=(0, 2, 3)).double(), products.double()


def products_by_gradient(
    rows: Float[Tensor, "_ channel height width"],
) -> Float[Tensor, "channel channel"]:
    """The weight gradient of a 1x1 convolution from x to x: sum over positions of x x^T.

    oneDNN computes it without a copy in either memory layout, twice as fast as MKL's matrix product on some AMD
    processors. Of many channels three quarters are computed, the last by symmetry.
    """
    channels = rows.shape[1]
    if channels < MANY_CHANNELS:
        return weight_gradient(rows, (channels, channels, 1, 1), rows)[:, :, 0, 0]
    half = channels // 2
    first, second = rows[:, :half], rows[:, half:]
    upper = weight_gradient(rows, (half, channels, 1, 1), first)[:, :, 0, 0]
    corner = weight_gradient(second, (channels - half, channels - half, 1, 1), second)[:, :, 0, 0]
    return torch.cat([upper, torch.cat([upper[:, half:].T, corner], dim=1)])


@contextmanager
def full_float32() -> Iterator[None]:
    """No TF32 or bfloat16 inside float32 products, whatever the caller has set; what he set is back afterwards."""
    backends: Any = torch.backends  # its typing lacks the precision of convolutions
    settings = (backends.cuda.matmul, backends.mkldnn.conv)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision
