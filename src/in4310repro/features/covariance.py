"""From feature maps to the moments of one block: each image's spatial mean, or every position, as a sample.

All arithmetic is on data minus a shift, one value a channel, fixed by the block's first image: without it a mean of
1e4 deviations costs all digits of a float32 product, and half those of a float64 one.

On a processor the compiled kernel takes counts, means and products in one pass over the maps. Where it was not built
torch's operations do, spatial means with the same bits and products with others, and so they do on a GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

from in4310repro.features.kernel import LEADING, kernel_for
from in4310repro.features.moments import Moments
from in4310repro.features.sparsity import Counts, count, widened

Precision = Literal["fast", "exact"]

# Rows of one float32 product: longer ones lose digits. On a processor also what is widened at a time.
LONGEST = 16384
# Positions of the block's first image that fix its shift; any value near the mean would do.
LOOKED_AT = 1024
LANES = 16  # partial sums of a spatial sum, as in kernel.cpp


class ImageRows:
    """One row an image, the mean over positions; a block's rows are kept, so that its moments take two passes."""

    def __init__(self, shift: Float32[Tensor, " channel"], precision: Precision) -> None:
        self._shift = shift
        self._precision = precision
        self._rows: list[Tensor] = []
        self._finite = True  # known to be; on a GPU nobody looks

    @classmethod
    def restored(cls, state: dict[str, Tensor], precision: Precision) -> "ImageRows":
        """Where `state` left off.

        Raises:
            ValueError: it has other parts.
        """
        has_parts(state, "shift", "rows")
        rows = cls(state["shift"].float(), precision)
        rows._rows = [state["rows"]]
        rows._finite = False
        return rows

    def add(self, maps: Float[Tensor, "image channel height width"]) -> Counts:
        """Append the spatial means minus the shift; rows that are not finite are left out of the moments."""
        means, counted = spatial_means(widened(maps), self._shift, self._precision)
        self._rows.append(means)
        self._finite &= not maps.is_cuda and int(counted.non_finite) == 0
        return counted

    def moments(self) -> Moments:
        """Moments of the rows so far that hold no non-finite value."""
        rows = torch.cat(self._rows)
        if self._finite:
            number, offset = rows.new_full((), len(rows)), rows.mean(dim=0)
            centred = rows - offset
        else:
            kept = torch.isfinite(rows).all(dim=1, keepdim=True)
            rows, number = rows.where(kept, 0), kept.sum(dtype=torch.float64)
            offset = rows.sum(dim=0) / number.clamp(min=1)
            centred = (rows - offset).where(kept, 0)
        return Moments(rows=number, shift=self._shift.double(), offset=offset, scatter=centred.T @ centred)

    def state(self) -> dict[str, Tensor]:
        """What `restored` needs to go on to the same bits."""
        return {"shift": self._shift, "rows": torch.cat(self._rows)}


class PositionRows:
    """One row a position of each image: products of shifted data, summed in float64.

    Sums and products are filled up with zeros to a multiple of LEADING channels.
    """

    def __init__(self, shift: Float32[Tensor, " channel"], precision: Precision) -> None:
        self._precision = precision
        self._channels = len(shift)
        self._shift = torch.nn.functional.pad(shift, (0, -len(shift) % LEADING))
        self._number = shift.new_zeros((), dtype=torch.float64)
        self._sums = self._shift.new_zeros(len(self._shift), dtype=torch.float64)
        self._products = self._shift.new_zeros(len(self._shift), len(self._shift), dtype=torch.float64)

    @classmethod
    def restored(cls, state: dict[str, Tensor], precision: Precision) -> "PositionRows":
        """Where `state` left off.

        Raises:
            ValueError: it has other parts, or sums and products of another number of channels than the shift.
        """
        has_parts(state, "shift", "number", "sums", "products")
        rows = cls(state["shift"].float(), precision)
        for own, saved in ((rows._number, "number"), (rows._sums, "sums"), (rows._products, "products")):
            # The kernel writes where these shapes say.
            if own.shape != state[saved].shape:
                raise ValueError(f"{saved} of shape {tuple(state[saved].shape)}; {tuple(own.shape)} is valid")
            own.copy_(state[saved])
        return rows

    def add(self, maps: Float[Tensor, "image channel height width"]) -> Counts:
        """Add sums and products; positions with a non-finite value are left out."""
        maps = widened(maps)
        rows = maps.shape[0] * maps.shape[2] * maps.shape[3]
        if kernel := kernel_for(maps):
            exact = self._precision == "exact"
            *counts, left_out = kernel.position_sums(maps, self._shift, self._sums, self._products, exact=exact)
            self._number += rows - left_out
            return Counts(maps.numel(), *counts)
        self._number += rows
        counted = count(maps)
        finite = not maps.is_cuda and int(counted.non_finite) == 0
        for part in pieces(maps):
            self._add(part, finite=finite)
        return counted

    def _add(self, maps: Float[Tensor, "image channel height width"], *, finite: bool) -> None:
        rows = maps.to(working_type(maps, self._precision)) - self._shift[: self._channels, None, None]
        if not finite:
            kept = torch.isfinite(rows).all(dim=1, keepdim=True)
            self._number -= (~kept).sum()
            rows = rows.where(kept, 0)
        matrix = rows.movedim(1, 0).reshape(self._channels, -1)
        with full_float32(maps.device.type):
            products = matrix @ matrix.T
        self._sums[: self._channels] += rows.sum(dim=(0, 2, 3))
        self._products[: self._channels, : self._channels] += products

    def moments(self) -> Moments:
        """Moments of the rows so far: scatter = products - sums sums^T / n, mean = shift + sums / n."""
        sums, products = self._sums[: self._channels], self._products[: self._channels, : self._channels]
        offset = sums / self._number.clamp(min=1)
        # What the kernel leaves below the diagonal depends on the instruction set.
        scatter = (products - torch.outer(sums, offset)).triu_()
        shift = self._shift[: self._channels].double()
        return Moments(rows=self._number.clone(), shift=shift, offset=offset, scatter=scatter)

    def state(self) -> dict[str, Tensor]:
        """What `restored` needs to go on to the same bits."""
        shift = self._shift[: self._channels]
        return {"shift": shift, "number": self._number, "sums": self._sums, "products": self._products.triu()}


def has_parts(state: dict[str, Tensor], *names: str) -> None:
    """Nothing, if a saved block has exactly these parts.

    Raises:
        ValueError: it has not: another version saved it, or it is damaged.
    """
    if state.keys() != set(names):
        raise ValueError(f"a block saved with {sorted(state)}; {sorted(names)} are valid")


def look_at(maps: Float[Tensor, "image channel height width"]) -> Float32[Tensor, " channel"]:
    """Mean of each channel over some positions of the first image; 0 where it is not finite.

    It is a float32 value, so that the difference of two is exact.
    """
    step = min(maps.shape[2], max(1, maps[0, 0].numel() // LOOKED_AT))
    zero = torch.zeros(maps.shape[1], dtype=torch.float32, device=maps.device)
    mean = spatial_means(widened(maps[:1, :, ::step]), zero, "exact")[0][0].float()
    return torch.nan_to_num(mean, nan=0.0, posinf=0.0, neginf=0.0)


def spatial_means(
    maps: Float[Tensor, "image channel height width"], shift: Float32[Tensor, " channel"], precision: Precision
) -> tuple[Float64[Tensor, "image channel"], Counts]:
    """Means over positions less the shift, on a processor the same bits whatever takes them; and counts."""
    if kernel := kernel_for(maps):
        means, counts = kernel.spatial_means(maps, shift)
        return means, Counts(maps.numel(), *counts)
    if not maps.is_cuda:
        return means_by_lanes(maps, shift), count(maps)
    shifted = maps.to(working_type(maps, precision)) - shift[:, None, None]
    return shifted.sum(dim=(2, 3)).double() / maps[0, 0].numel(), count(maps)


def working_type(maps: Float[Tensor, "..."], precision: Precision) -> torch.dtype:
    """float64 for "exact" and for float64 maps, float32 otherwise: nothing is ever narrowed."""
    return torch.float64 if precision == "exact" or maps.dtype == torch.float64 else torch.float32


def pieces(maps: Float[Tensor, "image channel height width"]) -> tuple[Tensor, ...]:
    """The maps, a few images at a time."""
    return torch.split(maps, max(1, LONGEST // max(1, maps[0, 0].numel())))


def means_by_lanes(
    maps: Float[Tensor, "image channel height width"], shift: Float32[Tensor, " channel"]
) -> Float64[Tensor, "image channel"]:
    """Means over positions less the shift, summed as the kernel does: lane l sums positions l, l + 16, ... in order.

    Then the upper half of the lanes is added to the lower one until one is left.
    """
    positions = maps[0, 0].numel()
    sums = []
    for part in pieces(maps):
        values = torch.nn.functional.pad(part.double().flatten(start_dim=2), (0, -positions % LANES))
        # A cumulative sum is the one sum of torch's whose order is known.
        lanes = values.reshape(*values.shape[:2], -1, LANES).cumsum(dim=2)[:, :, -1]
        while lanes.shape[2] > 1:
            lower, upper = lanes.chunk(2, dim=2)
            lanes = lower + upper
        sums.append(lanes[:, :, 0])
    # A float64 holds the sum of 2^29 float32 values of one size, and the product: no digit of the difference is lost.
    return (torch.cat(sums) - shift.double() * positions) / positions


@contextmanager
def full_float32(device: str) -> Iterator[None]:
    """No TF32, bfloat16 or autocast inside products, whatever the caller has set; what he set is back afterwards."""
    backends: Any = torch.backends  # its typing lacks the precision of products
    settings = (backends.cuda.matmul, backends.mkldnn.matmul)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        with torch.autocast(device, enabled=False):
            yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision
