"""The compiled pass over float32 maps on a processor (kernel.cpp); where it was not built, torch's operations stand in.

setup.py compiles it once for each instruction set, all with the same bits; a missing compiler fails no installation.
"""

import ctypes
import functools
import hashlib
import importlib.util
from pathlib import Path

import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor

LEADING = 16  # rows of a matrix of products are filled up to a multiple
SETS = {"AVX512": "avx512", "AVX2": "avx2", "base": "base"}  # by torch's names of them, the widest first


class Maps(ctypes.Structure):
    """Where the values are, as kernel.cpp has it; strides in values."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("images", ctypes.c_ssize_t),
        ("channels", ctypes.c_ssize_t),
        ("positions", ctypes.c_ssize_t),
        ("image_stride", ctypes.c_ssize_t),
        ("channel_stride", ctypes.c_ssize_t),
        ("position_stride", ctypes.c_ssize_t),
    )


class Kernel:
    """The functions of one compiled library. Counts are non-positive values, zeros, values that are not finite."""

    def __init__(self, file: Path, instruction_set: str) -> None:
        self.instruction_set = instruction_set
        self._library = ctypes.CDLL(str(file))
        self._library.source.restype = ctypes.c_char_p
        source = Path(__file__).with_name("kernel.cpp")
        if self._library.source().decode() != hashlib.sha256(source.read_bytes()).hexdigest():
            raise ValueError(f"{file} was compiled from another {source.name}: install again, pip install -e .")

    def count(self, values: Float32[Tensor, "..."]) -> tuple[int, ...]:
        """Counts of values that lie one after the other, in any order."""
        counts = (ctypes.c_int64 * 3)()
        self._library.count(_address(values), ctypes.c_ssize_t(values.numel()), torch.get_num_threads(), counts)
        return tuple(counts)

    def spatial_means(
        self, maps: Float32[Tensor, "image channel height width"], shift: Float32[Tensor, " channel"]
    ) -> tuple[Float64[Tensor, "image channel"], tuple[int, ...]]:
        """Means over positions of the values less the shift in float64, and counts."""
        maps, where = _located(maps)
        means = torch.empty(maps.shape[:2], dtype=torch.float64)
        counts = (ctypes.c_int64 * 3)()
        threads = torch.get_num_threads()
        self._library.spatial_means(ctypes.byref(where), _address(shift), threads, _address(means), counts)
        return means, tuple(counts)

    def position_sums(
        self,
        maps: Float32[Tensor, "image channel height width"],
        shift: Float32[Tensor, " leading"],
        sums: Float64[Tensor, " leading"],
        products: Float64[Tensor, "leading leading"],
        *,
        exact: bool,
    ) -> tuple[int, ...]:
        """Add x to `sums` and the upper triangle of x x^T to `products`, x the values of a position less the shift.

        Returns:
            The counts, and the number of positions left out for a value that is not finite.
        """
        maps, where = _located(maps)
        counts = (ctypes.c_int64 * 4)()
        self._library.position_sums(
            ctypes.byref(where),
            _address(shift),
            int(exact),
            torch.get_num_threads(),
            _address(sums),
            _address(products),
            ctypes.c_ssize_t(len(shift)),
            counts,
        )
        return tuple(counts)


@functools.cache
def compiled(instruction_set: str) -> Kernel | None:
    """The kernel of "avx512", "avx2" or "base"; None if it was not built.

    Raises:
        ValueError: it was built from another source.
    """
    found = importlib.util.find_spec(f"in4310repro.features._kernel_{instruction_set}")
    return Kernel(Path(found.origin), instruction_set) if found and found.origin else None


@functools.cache
def in_use() -> Kernel | None:
    """The kernel of the widest instruction set that was built and that torch uses too."""
    capability = torch.backends.cpu.get_cpu_capability()
    names = list(SETS)
    usable = names[names.index(capability if capability in SETS else "base") :]
    return next(filter(None, (compiled(SETS[name]) for name in usable)), None)


def described() -> str:
    """What takes the statistics on this processor, for a fingerprint."""
    kernel = in_use()
    return f"compiled, {kernel.instruction_set}" if kernel else "torch's operations: no C++ compiler at installation"


def kernel_for(values: Float[Tensor, "..."]) -> Kernel | None:
    """The kernel if it can take these values: float32 in the memory of a processor."""
    return in_use() if values.dtype == torch.float32 and values.device.type == "cpu" else None


def _located(
    maps: Float32[Tensor, "image channel height width"],
) -> tuple[Float32[Tensor, "image channel height width"], Maps]:
    """The maps or a copy of them, whose channels or whose positions lie one after the other, and where they are."""
    images, channels, height, width = maps.shape
    image, channel, row, position = maps.stride()
    # An axis with one index has no step of its own.
    if width == 1:
        position = row
    elif height > 1 and row != width * position:
        return _located(maps.contiguous())
    if channels == 1 and position != 1:
        channel = 1
    if height * width == 1 and channel != 1:
        position = 1
    if 1 not in (channel, position) or maps.is_neg():
        return _located(maps.resolve_neg().contiguous())
    return maps, Maps(maps.data_ptr(), images, channels, height * width, image, channel, position)


def _address(values: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.data_ptr())
