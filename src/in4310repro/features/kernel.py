"""Counts and sums of feature maps: compiled code for float32 values on a CPU (kernel.cpp), else torch's operations.

setup.py compiles it once for each instruction set; those with fused multiply-add give equal bits. Without a
compiler the package is installed without it.
"""

import ctypes
import functools
import math
import operator
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from in4310repro import arithmetic
from in4310repro.arithmetic import library, signatures
from in4310repro.features.outputs import BinCounts, ImageMeans, Shift, SingleMaps, Values

SOURCE = Path(__file__).with_name("kernel.cpp")
SIDE = 1 << 13  # bins of a histogram for each sign, as in kernel.cpp
BINS = 2 * SIDE
LEADING = 16  # the rows of a matrix of products are padded to a multiple of it


EXTENTS = ("images", "channels", "positions", "image_stride", "channel_stride", "position_stride")


class Maps(ctypes.Structure):
    """Address, shape and strides of feature maps, as the struct in kernel.cpp; strides are in values, not bytes."""

    _fields_ = (("data", ctypes.c_void_p), *((name, ctypes.c_ssize_t) for name in EXTENTS))


DECLARATIONS = """
const char *source()
int count(threads, number, values[number], int64_t counts[3])
int histogram(threads, number, values[number], int64_t counts[16384])
int peaks(threads, const Maps *maps, float peaks[images channels])
int spatial_means(threads, const Maps *maps, shift[channels], double means[images channels], int64_t counts[3])
int position_sums(threads, const Maps *maps, leading, exact, shift[leading], double sums[leading],
    double products[leading leading], int64_t counts[4])
"""
Numbers = tuple[int, ...]
SIGNATURES = signatures.parse(DECLARATIONS, {"Maps": Maps})


class Kernel(library.Library):
    """Functions of a compiled library; counts are the numbers of non-positive, zero, and non-finite values.

    Args:
        file: the library.
        instruction_set: the instruction set that it was compiled for.

    Raises:
        MemoryError: there is no working memory; arguments that a function adds to are unchanged.
        ValueError: dtype, shape, layout or device of the values are not as annotated.
    """

    def __init__(self, file: Path, instruction_set: str) -> None:
        super().__init__(file, instruction_set, SIGNATURES, SOURCE)

    def _count(self, function: str, *arguments: signatures.Argument, number: int = 3) -> Numbers:
        """Call a function whose last argument is an array of counts; return these."""
        counts = torch.zeros(number, dtype=torch.int64, device="cpu")
        self.call(function, *arguments, counts)
        return tuple(counts.tolist())

    def count(self, values: Values) -> Numbers:
        """Return three numbers: how many values are non-positive, how many are zero, and how many are not finite."""
        return self._count("count", values.numel(), _in_one_row(values))

    def spatial_means(self, maps: SingleMaps, shift: Shift) -> tuple[ImageMeans, Numbers]:
        """Return the float64 means of (values - shift) over positions, and three counts.

        The counts are the numbers of non-positive, zero, and non-finite values.
        """
        maps, layout = locate(maps)
        means = torch.empty(maps.shape[:2], dtype=torch.float64, device="cpu")
        return means, self._count("spatial_means", layout, library.as_plain("shift", shift), means)

    def position_sums(
        self, maps: SingleMaps, shift: Float32[Tensor, " leading"], sums: Tensor, products: Tensor, exact: bool
    ) -> Numbers:
        """Add x = values - shift of each position to `sums`, and the upper triangle of x x^T to `products`.

        At each position, x has one component per channel. Positions with a value that is not finite are excluded. If
        `exact` is true, all products are added in float64; otherwise those of up to 256 positions are first added in
        float32.

        Returns:
            The three counts that `Kernel.count` returns, and the number of excluded positions.
        """
        maps, layout = locate(maps)
        leading = -(-maps.shape[1] // LEADING) * LEADING
        shift = library.as_plain("shift", shift)
        return self._count("position_sums", layout, leading, int(exact), shift, sums, products, number=4)

    def histogram(self, values: Values, counts: BinCounts) -> None:
        """Add the number of values in each histogram bin to `counts`."""
        # The kernel counts in 32 bits.
        for part in torch.split(_in_one_row(values), 2**31):
            self.call("histogram", part.numel(), part, counts)

    def peaks(self, maps: SingleMaps) -> Float32[Tensor, "image channel"]:
        """Return each channel's largest finite value in each image; -inf if no value is finite.

        A largest value of -0 is returned as 0.
        """
        maps, layout = locate(maps)
        peaks = torch.empty(maps.shape[:2], dtype=torch.float32, device="cpu")
        self.call("peaks", layout, peaks)
        return peaks


def _in_one_row(values: Values) -> Float32[Tensor, " value"]:
    """Flatten values to one axis, in memory order; copy them if they have gaps in memory."""
    values = library.as_plain("values", values)
    return (values.movedim(1, -1) if values.is_contiguous(memory_format=torch.channels_last) else values).reshape(-1)


@functools.cache
def load_kernel(instruction_set: str) -> Kernel | None:
    """Return the kernel for "avx512", "avx2" or "base"; None if it was not built or cannot be loaded.

    Raises:
        ValueError: the library was compiled from source files that differ from the present ones.
    """
    return library.open_if_built(Kernel, Path(__file__).with_name(f"_kernel_{instruction_set}.so"), instruction_set)


@functools.cache
def active_kernel() -> Kernel | None:
    """Return the kernel to use on this processor; None if none was built for it.

    If there are several, this is the kernel for the widest instruction set that the processor supports.
    """
    narrower = library.SETS[library.SETS.index(arithmetic.instruction_set() or "base") :]
    return next(filter(None, map(load_kernel, narrower)), None)


def column_sums(rows: Float64[Tensor, "row column"]) -> Float64[Tensor, " column"]:
    """Return the sum of each column. On a CPU the order of the additions is fixed, unlike in torch.sum."""
    # CUDA has no deterministic cumulative sum of floats; there a sum repeats on the same GPU.
    return rows.cumsum(dim=0)[-1] if rows.device.type == "cpu" else rows.sum(dim=0)


def self_product(centred: Float64[Tensor, "row column"]) -> Float64[Tensor, "column column"]:
    """Return centred.T @ centred.

    On a CPU portable arithmetic computes it if both its kernels and those of the statistics can be used here. In
    all other cases torch computes it.
    """
    if centred.device.type == "cpu" and active_kernel() and arithmetic.instruction_set():
        return arithmetic.product(centred)
    return centred.T @ centred


def kernel_description() -> str:
    """Return a phrase that describes the kernel used on this processor, for the fingerprint of a run."""
    kernel = active_kernel()
    return f"compiled, {kernel.instruction_set}" if kernel else "torch's operations: no kernel was built or loads"


def kernel_for(values: Values) -> Kernel | None:
    """Return the active kernel if it can read the values; None if it cannot or if there is no kernel.

    The kernel reads strided float32 tensors in CPU memory.
    """
    plain = type(values) in signatures.PLAIN and values.layout == torch.strided and values.device.type == "cpu"
    # The kernel counts the values of an image in 32 bits.
    small = math.prod(values.shape[1:]) < 2**31
    return active_kernel() if plain and small and values.dtype == torch.float32 else None


def locate(maps: SingleMaps) -> tuple[SingleMaps, Maps]:
    """Return the maps and their memory layout, as the kernel needs them.

    The maps are copied unless channels or positions are adjacent in memory and the distance from one
    position to the next is the same everywhere.

    Raises:
        ValueError: the maps are not float32 values with four axes on a CPU.
    """
    if maps.ndim != 4:
        raise ValueError(f"maps of shape {tuple(maps.shape)}; it must be [image, channel, height, width]")
    maps = library.check("maps", maps, torch.float32, maps.shape)
    (images, channels, height, width), (image, channel, row, position) = maps.shape, maps.stride()
    # An axis of size 1 has an arbitrary stride.
    gaps = height > 1 < width and row != width * position
    position = row if width == 1 else position
    channel = 1 if channels == 1 and position != 1 else channel
    position = 1 if height * width == 1 and channel != 1 else position
    if gaps or 1 not in (channel, position):
        return locate(maps.contiguous())
    return maps, Maps(maps.data_ptr(), images, channels, height * width, image, channel, position)


class Counts(NamedTuple):
    """Numbers of all, non-positive, zero and non-finite values, as integers or as scalars on the GPU."""

    values: int | Tensor = 0
    non_positive: int | Tensor = 0
    zeros: int | Tensor = 0
    non_finite: int | Tensor = 0

    def __add__(self, other: "Counts") -> "Counts":  # type: ignore[override]
        return Counts(*map(operator.add, self, other))

    def to_ints(self) -> Numbers:
        """Return the four counts as Python integers. If they are on the GPU, this waits until they are computed."""
        return tuple(map(int, self))


def count(maps: Values) -> Counts:
    """Count the values of a tensor: all of them, the non-positive, the zero and the non-finite ones.

    -inf counts as non-positive, nan does not.
    """
    maps = widen(maps)
    if kernel := kernel_for(maps):
        return Counts(maps.numel(), *kernel.count(maps))
    counts = [mask.sum() for mask in (maps <= 0, maps == 0, ~maps.isfinite())]
    return Counts(maps.numel(), *(counts if maps.is_cuda else map(int, counts)))


def widen(maps: Values) -> Values:
    """Return float64 maps as they are, and maps of other types as float32.

    Raises:
        ValueError: the maps are complex: they have no order.
    """
    if maps.is_complex():
        raise ValueError(f"maps of {maps.dtype}; they must be real numbers")
    return maps if maps.dtype in (torch.float32, torch.float64) else maps.float()
