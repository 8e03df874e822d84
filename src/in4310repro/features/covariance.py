"""Moments (mean and scatter matrix) of rows of data, and of the feature maps in one block of images.

A sample is an image's spatial mean, or one position. All arithmetic is on data minus a shift, one value per channel,
fixed by the block's first image. Without it, a mean of 1e4 standard deviations costs all digits of a float32 product,
and half those of a float64 one.

On a CPU the compiled kernel computes counts, means and products in one pass over the maps. Without it, and on
a GPU, torch's operations compute them. On a CPU they give the kernel's bits for spatial means, but not for
products.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from in4310repro.features.kernel import LEADING, Counts, column_sums, count, kernel_for, self_product, widen
from in4310repro.features.outputs import FeatureMaps, ImageMeans, Record, Shift, State, Values, Vector


@dataclass(frozen=True)
class Moments(Record):
    """Number, mean and scatter matrix of rows; the mean is stored as shift + offset to keep all digits."""

    rows: Float64[Tensor, ""]  # their number
    shift: Vector
    offset: Vector
    # The sum over rows of (x - mean)(x - mean)^T; only its upper triangle is used.
    scatter: Float64[Tensor, "channel channel"]

    @property
    def mean(self) -> Vector:
        """Mean of each channel over all rows."""
        return self.shift + self.offset


def merge_moments(left: Moments, right: Moments) -> Moments:
    """Return the moments of the rows of `left` and `right` together; either may have no rows.

    scatter = S_l + S_r + (n_l n_r / n) d d^T, where d = mean_r - mean_l and n = n_l + n_r. S is the scatter and n
    the number of rows, with l for `left` and r for `right`.
    Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    """
    rows = left.rows + right.rows
    right_share = right.rows / rows.clamp(min=1)
    # The shifts are nearby float32 values: their difference is exact, that of the means would not be.
    mean_difference = (right.shift - left.shift) + (right.offset - left.offset)
    weighted = (left.rows * right_share) * mean_difference
    empty = left.rows == 0
    # Not addr: its fused product and sum has different bits for different numbers of threads.
    scatter = left.scatter + right.scatter + torch.outer(weighted, mean_difference)
    offset = torch.where(empty, right.offset, left.offset + right_share * mean_difference)
    return Moments(rows, torch.where(empty, right.shift, left.shift), offset, scatter)


Precision = Literal["fast", "exact"]

# Rows of one float32 product: longer ones lose digits. On a CPU also the rows that are widened at a time.
MAX_PRODUCT_ROWS = 16384
# Positions of the block's first image that fix its shift; any value near the mean would do.
SHIFT_POSITIONS = 1024
# Products of two channels whose largest magnitudes lie between these bounds, and their sums, lose nothing as float32.
SMALL, LARGE = 2.0**-50, 2.0**50
LANES = 16  # partial sums of a spatial sum, as in kernel.cpp


class ImageRows:
    """Samples of one block of images: for each image one row, with the mean of each channel over positions.

    All rows are stored, since `moments` reads them twice. Only `add` changes the attributes. The tensors of `state`
    restore the rows exactly; further maps can be added to them.
    """

    SAVED: ClassVar = {"rows": "rc"}  # in a state, besides the shift; see `check_state`

    def __init__(self, shift: Shift, precision: Precision, **saved: Tensor) -> None:
        self._shift = shift
        self._precision = precision
        self._rows = [*saved.values()]

    def add(self, maps: FeatureMaps) -> Counts:
        """Append a row for each image, with its channel means minus the shift; return counts of values in `maps`.

        The counts are those of all, non-positive, zero and non-finite values.
        """
        means, counts = spatial_means(widen(maps), self._shift, self._precision)
        self._rows.append(means)
        return counts

    def moments(self) -> Moments:
        """Return the moments of all rows so far whose values are all finite."""
        rows = torch.cat(self._rows)
        finite = torch.isfinite(rows).all(dim=1, keepdim=True)
        rows, row_count = rows.where(finite, 0), finite.sum(dtype=torch.float64)
        offset = column_sums(rows) / row_count.clamp(min=1)
        centred = (rows - offset).where(finite, 0)
        return Moments(row_count, self._shift.double(), offset, self_product(centred))

    def state(self) -> State:
        """Return the tensors, by name, that restore these rows exactly."""
        return {"shift": self._shift, "rows": torch.cat(self._rows)}


class PositionRows:
    """Samples of one block of images, one per position; stored as float64 sums of values and of products.

    A row is the values at a position minus the shift. Sums and products are padded with zeros to a multiple of
    LEADING channels. Only `add` changes the attributes. The tensors of `state` restore the sums exactly.
    """

    SAVED: ClassVar = {"row_count": "", "sums": "p", "products": "pp"}

    def __init__(self, shift: Shift, precision: Precision, **saved: Tensor) -> None:
        self._precision = precision
        self._channels = len(shift)
        self._shift = torch.nn.functional.pad(shift, (0, -len(shift) % LEADING))
        width, zeros = len(self._shift), partial(shift.new_zeros, dtype=torch.float64)
        new = {name: zeros([width] * len(axes)) for name, axes in self.SAVED.items()}
        self._row_count, self._sums, self._products = (new | saved).values()
        self._own = self._sums[: self._channels], self._products[: self._channels, : self._channels]

    def add(self, maps: FeatureMaps) -> Counts:
        """Add the samples at all positions with finite values to the sums; return counts of values in `maps`.

        The counts are those of all, non-positive, zero and non-finite values.
        """
        maps = widen(maps)
        rows = maps.shape[0] * maps.shape[2] * maps.shape[3]
        if kernel := kernel_for(maps):
            sums, exact = (self._shift, self._sums, self._products), self._precision == "exact"
            *kernel_counts, excluded = kernel.position_sums(maps, *sums, exact)
            self._row_count += rows - excluded
            return Counts(maps.numel(), *kernel_counts)
        self._row_count += rows
        counts = count(maps)
        all_finite = not maps.is_cuda and int(counts.non_finite) == 0
        shift = self._shift[: self._channels, None, None]
        for part in split_images(maps):
            values = part.to(working_dtype(part, self._precision)) - shift
            if all_finite and not bool(values.isfinite().all()):
                # The difference of two finite float32 values can be infinite.
                values = part.double() - shift
            if not all_finite:
                finite = torch.isfinite(part).all(dim=1, keepdim=True)
                self._row_count -= (~finite).sum()
                values = values.where(finite, 0)
            values, units = scale(values)
            matrix = values.movedim(1, 0).reshape(self._channels, -1)
            with full_float32(maps.device.type):
                products = matrix @ matrix.T
            self._own[0].add_(values.sum(dim=(0, 2, 3)) * units)
            self._own[1].add_(products * torch.outer(units, units))
        return counts

    def moments(self) -> Moments:
        """Return the moments so far: scatter = products - sums sums^T / n, mean = shift + sums / n."""
        sums, products = self._own
        offset = sums / self._row_count.clamp(min=1)
        # The values that the kernel leaves below the diagonal depend on the instruction set.
        scatter = (products - torch.outer(sums, offset)).triu_()
        return Moments(self._row_count.clone(), self._shift[: self._channels].double(), offset, scatter)

    def state(self) -> State:
        """Return the tensors, by name, that restore these sums exactly."""
        shift = self._shift[: self._channels]
        return {"shift": shift, "row_count": self._row_count, "sums": self._sums, "products": self._products.triu()}


def check_state(state: State, channels: int | None, shift: torch.dtype, **others: str) -> int:
    """Check the tensors of a block's saved state before code relies on them; return the number of channels.

    Args:
        state: the tensors by name.
        channels: their number, if it is known.
        shift: the dtype of the shift. All other tensors are float64.
        others: their axes by their names, each a letter: channels, padded channels, or rows.

    Raises:
        ValueError: the state has other tensors, or one of them another dtype or shape: another version saved it, or
            it is corrupt.
    """
    if state.keys() != {"shift", *others}:
        raise ValueError(f"a block saved with {sorted(state)}; it must have {sorted(['shift', *others])}")
    channels = channels or state["shift"].numel()
    check_tensor("shift", state["shift"], shift, channels)
    for name, axes in others.items():
        rows = state[name].numel() // max(1, channels)
        sizes = {"c": channels, "p": -(-channels // LEADING) * LEADING, "r": rows}
        check_tensor(name, state[name], torch.float64, *(sizes[axis] for axis in axes))
    return channels


def check_tensor(name: str, value: Tensor, dtype: torch.dtype, *shape: int) -> None:
    """Check the dtype and shape of a tensor from a saved state before code relies on them.

    Raises:
        ValueError: the tensor has a different dtype or shape.
    """
    if (value.dtype, tuple(value.shape), value.layout) != (dtype, shape, torch.strided):
        raise ValueError(f"{name} is {value.dtype} of shape {tuple(value.shape)}; it must be {dtype} of shape {shape}")


def estimate_shift(maps: FeatureMaps) -> Shift:
    """Return each channel's mean over some positions of the first image in `maps`; 0 if the mean is not finite.

    The mean is float32, so that the difference of two shifts is exact in float64.
    """
    step = max(1, maps[0, 0].numel() // SHIFT_POSITIONS)
    zero = torch.zeros(maps.shape[1], dtype=torch.float32, device=maps.device)
    mean = spatial_means(widen(maps[:1, :, ::step]), zero, "exact")[0][0].float()
    return torch.nan_to_num(mean, nan=0.0, posinf=0.0, neginf=0.0)


def spatial_means(maps: FeatureMaps, shift: Shift, precision: Precision) -> tuple[ImageMeans, Counts]:
    """Return each image's channel means over positions, minus the shift, and counts of the values in `maps`.

    The counts are those of all, non-positive, zero and non-finite values. On a CPU the compiled kernel and torch
    give equal bits.
    """
    if kernel := kernel_for(maps):
        means, kernel_counts = kernel.spatial_means(maps, shift)
        return means, Counts(maps.numel(), *kernel_counts)
    if not maps.is_cuda:
        return means_by_lanes(maps, shift), count(maps)
    return means_by_sums(maps, shift, precision), count(maps)


def means_by_sums(maps: FeatureMaps, shift: Shift, precision: Precision) -> ImageMeans:
    """Return each image's channel means over positions, minus the shift, by `torch.sum`; used on a GPU.

    The order in which a GPU adds the values may vary.
    """
    shifted = maps.to(working_dtype(maps, precision)) - shift[:, None, None]
    return shifted.sum(dim=(2, 3)).double() / maps[0, 0].numel()


def working_dtype(maps: Values, precision: Precision) -> torch.dtype:
    """Return float64 for the precision "exact" and for float64 maps, otherwise float32."""
    return torch.float64 if precision == "exact" or maps.dtype == torch.float64 else torch.float32


def scale(rows: FeatureMaps) -> tuple[Tensor, Vector]:
    """Divide each channel by a power of two; return the divided rows and the powers.

    The power is 1 for most channels. Channels with extremely large or small values are scaled, since float32
    products of such values would lose digits. The division loses no digits. kernel.cpp does the same.
    """
    peak = rows.abs().amax(dim=(0, 2, 3)) if rows.numel() else rows.new_zeros(rows.shape[1])
    outside = (peak < SMALL) | (peak > LARGE)
    if rows.dtype != torch.float32 or not (rows.is_cuda or bool(outside.any())):
        return rows, torch.ones_like(peak, dtype=torch.float64)
    # 2^120 brings every float32 within the bounds, and is one itself; the exponent of 0 is 0.
    exponents = torch.where(outside, torch.frexp(peak).exponent, 0).clamp(-120, 120).double()
    return rows * torch.exp2(-exponents).float()[:, None, None], torch.exp2(exponents)


def split_images(maps: FeatureMaps) -> tuple[Tensor, ...]:
    """Return the maps in slices of a few images each."""
    return torch.split(maps, max(1, MAX_PRODUCT_ROWS // max(1, maps[0, 0].numel())))


def means_by_lanes(maps: FeatureMaps, shift: Shift) -> ImageMeans:
    """Return each image's channel means minus the shift; sum positions in the order of the compiled kernel.

    Lane l sums positions l, l + 16, ... Then the upper half of the lanes is added to the lower half, repeatedly,
    until one lane is left.
    """
    positions = maps[0, 0].numel()
    sums = []
    for part in split_images(maps):
        values = torch.nn.functional.pad(part.double().flatten(start_dim=2), (0, -positions % LANES))
        # cumsum is torch's only sum whose order is known.
        lanes = values.reshape(*values.shape[:2], -1, LANES).cumsum(dim=2)[:, :, -1]
        while lanes.shape[2] > 1:
            lower, upper = lanes.chunk(2, dim=2)
            lanes = lower + upper
        sums.append(lanes[:, :, 0])
    # A float64 holds the sum of 2^29 float32 values of one size, and the product: no digit of the difference is lost.
    return (torch.cat(sums) - shift.double() * positions) / positions


@contextmanager
def full_float32(device: str) -> Iterator[None]:
    """Turn off TF32, bfloat16 and autocast within the `with` block, then restore the caller's settings."""
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
