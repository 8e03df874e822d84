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
from typing import Any, Literal

import torch
from jaxtyping import Float64
from torch import Tensor

from in4310repro.features.kernel import LEADING, Counts, column_sums, count, kernel_for, self_product, widen
from in4310repro.features.tensors import FeatureMaps, ImageMeans, Shift, Values


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Number, mean and scatter matrix of rows; the mean is stored as shift + offset to keep all digits."""

    rows: Float64[Tensor, ""]  # their number
    shift: Float64[Tensor, " channel"]
    offset: Float64[Tensor, " channel"]
    # The sum over rows of (x - mean)(x - mean)^T; only its upper triangle is used.
    scatter: Float64[Tensor, "channel channel"]

    @property
    def mean(self) -> Float64[Tensor, " channel"]:
        """Mean of each channel over all rows."""
        return self.shift + self.offset

    def to(self, device: torch.device | str) -> "Moments":
        """Return the moments with tensors on this device."""
        return Moments(**{name: value.to(device) for name, value in vars(self).items()})


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
    return Moments(
        rows=rows,
        shift=torch.where(empty, right.shift, left.shift),
        offset=torch.where(empty, right.offset, left.offset + right_share * mean_difference),
        scatter=left.scatter + right.scatter + torch.outer(weighted, mean_difference),
    )


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

    All rows are stored, since `moments` reads them twice. Only `add` changes the attributes.
    """

    def __init__(self, shift: Shift, precision: Precision) -> None:
        self._shift = shift
        self._precision = precision
        self._rows: list[Tensor] = []
        self._all_finite = True  # False also where it is not known: reading it would wait for the GPU

    @classmethod
    def from_state(cls, state: dict[str, Tensor], precision: Precision) -> "ImageRows":
        """Return an object with the rows stored in `state`; further maps can be added to it.

        Raises:
            ValueError: the state has wrong entries, or rows and shift differ in their number of channels.
        """
        channels = check_keys(state, torch.float32, "rows")
        check_tensor("rows", state["rows"], torch.float64, state["rows"].numel() // max(1, channels), channels)
        rows = cls(state["shift"], precision)
        rows._rows, rows._all_finite = [state["rows"]], False
        return rows

    def add(self, maps: FeatureMaps) -> Counts:
        """Append a row for each image, with its channel means minus the shift; return counts of values in `maps`.

        The counts are those of all, non-positive, zero and non-finite values.
        """
        means, counts = spatial_means(widen(maps), self._shift, self._precision)
        self._rows.append(means)
        self._all_finite &= not maps.is_cuda and int(counts.non_finite) == 0
        return counts

    def moments(self) -> Moments:
        """Return the moments of all rows so far whose values are all finite."""
        rows = torch.cat(self._rows)
        if self._all_finite:
            row_count, offset = rows.new_full((), len(rows)), column_sums(rows) / len(rows)
            centred = rows - offset
        else:
            finite = torch.isfinite(rows).all(dim=1, keepdim=True)
            rows, row_count = rows.where(finite, 0), finite.sum(dtype=torch.float64)
            offset = column_sums(rows) / row_count.clamp(min=1)
            centred = (rows - offset).where(finite, 0)
        return Moments(rows=row_count, shift=self._shift.double(), offset=offset, scatter=self_product(centred))

    def state(self) -> dict[str, Tensor]:
        """Return the tensors from which `from_state` restores these rows exactly."""
        return {"shift": self._shift, "rows": torch.cat(self._rows)}


class PositionRows:
    """Samples of one block of images, one per position; stored as float64 sums of values and of products.

    A row is the values at a position minus the shift. Sums and products are padded with zeros to a multiple of
    LEADING channels. Only `add` changes the attributes.
    """

    def __init__(self, shift: Shift, precision: Precision) -> None:
        self._precision = precision
        self._channels = len(shift)
        self._shift = torch.nn.functional.pad(shift, (0, -len(shift) % LEADING))
        self._row_count = shift.new_zeros((), dtype=torch.float64)
        self._sums = self._shift.new_zeros(len(self._shift), dtype=torch.float64)
        self._products = self._shift.new_zeros(len(self._shift), len(self._shift), dtype=torch.float64)

    @classmethod
    def from_state(cls, state: dict[str, Tensor], precision: Precision) -> "PositionRows":
        """Return an object with the sums stored in `state`; further maps can be added to it.

        Raises:
            ValueError: the state has wrong entries, or sums, products and shift differ in their number of channels.
        """
        check_keys(state, torch.float32, "row_count", "sums", "products")
        rows = cls(state["shift"], precision)
        for name, target in (("row_count", rows._row_count), ("sums", rows._sums), ("products", rows._products)):
            check_tensor(name, state[name], target.dtype, *target.shape)
            target.copy_(state[name])
        return rows

    def add(self, maps: FeatureMaps) -> Counts:
        """Add the samples at all positions with finite values to the sums; return counts of values in `maps`.

        The counts are those of all, non-positive, zero and non-finite values.
        """
        maps = widen(maps)
        rows = maps.shape[0] * maps.shape[2] * maps.shape[3]
        if kernel := kernel_for(maps):
            exact = self._precision == "exact"
            *kernel_counts, excluded = kernel.position_sums(maps, self._shift, self._sums, self._products, exact=exact)
            self._row_count += rows - excluded
            return Counts(maps.numel(), *kernel_counts)
        self._row_count += rows
        counts = count(maps)
        all_finite = not maps.is_cuda and int(counts.non_finite) == 0
        for part in split_images(maps):
            self._add(part, all_finite=all_finite)
        return counts

    def _add(self, maps: FeatureMaps, *, all_finite: bool) -> None:
        shift = self._shift[: self._channels, None, None]
        rows = maps.to(working_dtype(maps, self._precision)) - shift
        if all_finite and not bool(rows.isfinite().all()):
            # The difference of two finite float32 values can be infinite.
            rows = maps.double() - shift
        if not all_finite:
            finite = torch.isfinite(maps).all(dim=1, keepdim=True)
            self._row_count -= (~finite).sum()
            rows = rows.where(finite, 0)
        rows, units = scale(rows)
        matrix = rows.movedim(1, 0).reshape(self._channels, -1)
        with full_float32(maps.device.type):
            products = matrix @ matrix.T
        self._sums[: self._channels] += rows.sum(dim=(0, 2, 3)) * units
        self._products[: self._channels, : self._channels] += products * torch.outer(units, units)

    def moments(self) -> Moments:
        """Return the moments so far: scatter = products - sums sums^T / n, mean = shift + sums / n."""
        sums, products = self._sums[: self._channels], self._products[: self._channels, : self._channels]
        offset = sums / self._row_count.clamp(min=1)
        # The values that the kernel leaves below the diagonal depend on the instruction set.
        scatter = (products - torch.outer(sums, offset)).triu_()
        shift = self._shift[: self._channels].double()
        return Moments(rows=self._row_count.clone(), shift=shift, offset=offset, scatter=scatter)

    def state(self) -> dict[str, Tensor]:
        """Return the tensors from which `from_state` restores these sums exactly."""
        shift = self._shift[: self._channels]
        return {"shift": shift, "row_count": self._row_count, "sums": self._sums, "products": self._products.triu()}


def check_keys(state: dict[str, Tensor], dtype: torch.dtype, *names: str) -> int:
    """Check that a block's saved state has exactly `names` and `shift`, a vector of `dtype`; return its channels.

    Raises:
        ValueError: the entries are different: another version saved the state, or it is corrupt.
    """
    if state.keys() != {"shift", *names}:
        raise ValueError(f"a block saved with {sorted(state)}; {sorted(['shift', *names])} are valid")
    check_tensor("shift", state["shift"], dtype, state["shift"].numel())
    return state["shift"].numel()


def check_tensor(name: str, value: Tensor, dtype: torch.dtype, *shape: int) -> None:
    """Check the dtype and shape of a tensor from a saved state before code relies on them.

    Raises:
        ValueError: the tensor has a different dtype or shape.
    """
    if (value.dtype, tuple(value.shape), value.layout) != (dtype, shape, torch.strided):
        raise ValueError(f"{name} is {value.dtype} of shape {tuple(value.shape)}; {dtype} of shape {shape} is valid")


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


def scale(rows: FeatureMaps) -> tuple[Tensor, Float64[Tensor, " channel"]]:
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
