"""The compiled kernels of this room: one library for each instruction set, all of which give the same bits.

setup.py builds them from the .cpp and .hpp files beside this one; no Python is inside them, so one build serves every
version of Python. The widest one that the processor can run is taken.
"""

import ctypes
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

SETS = ("avx512", "avx2", "base")  # the widest first
NO_MEMORY = 1  # of enum Status in vectors.hpp

T = TypeVar("T")
Argument = Tensor | ctypes.Structure | int | float | None


class Library:
    """The functions of one compiled library."""

    def __init__(self, file: Path, instruction_set: str) -> None:
        self.instruction_set = instruction_set
        self._library = load(file, source_hash(), "other sources")
        self._library.usable.restype = ctypes.c_ssize_t

    @property
    def usable(self) -> bool:
        """Whether the processor has its instructions."""
        return bool(self._library.usable())

    def call(self, function: str, *arguments: Argument, threads: int | None = None) -> None:
        """Call an EXPORTED function with the number of threads, torch's if none is given, and the arguments.

        Tensors and structures are passed by address, None as null, int as ptrdiff_t, float as double.

        Raises:
            MemoryError: it found no working memory.
            ValueError: it refuses the sizes it was given.
        """
        threads = torch.get_num_threads() if threads is None else threads
        status = getattr(self._library, function)(ctypes.c_ssize_t(threads), *map(_passed, arguments))
        if status == NO_MEMORY:
            raise MemoryError(f"no working memory for {function} of {', '.join(_described(arguments))}")
        if status:
            raise ValueError(f"{function} refuses {[value for value in arguments if isinstance(value, int | float)]}")

    def number(self, function: str, *arguments: Argument) -> int:
        """What a function that counts something returns."""
        counted = getattr(self._library, function)
        counted.restype = ctypes.c_ssize_t
        return int(counted(*map(_passed, arguments)))


def _passed(value: Argument) -> object:
    if isinstance(value, Tensor):
        # Whatever a wrapper forgot: the kernel believes that the values lie one after the other in its memory.
        if value.device.type != "cpu" or not (value.is_contiguous() or _is_channels_last(value)):
            where = f"{tuple(value.shape)} in steps of {value.stride()} on {value.device}"
            raise ValueError(f"a tensor {where}; valid are values side by side on the CPU")
        return ctypes.c_void_p(value.data_ptr())
    if isinstance(value, ctypes.Structure):
        return ctypes.byref(value)
    if isinstance(value, float):
        return ctypes.c_double(value)
    return None if value is None else ctypes.c_ssize_t(value)


def _described(arguments: Iterable[Argument]) -> Iterator[str]:
    """Shapes of the tensors, and the numbers."""
    for value in arguments:
        if isinstance(value, ctypes.Structure):
            yield " ".join(f"{name[0]} {getattr(value, name[0])}" for name in value._fields_)
        elif value is not None:
            yield str(tuple(value.shape) if isinstance(value, Tensor) else value)


def _is_channels_last(value: Tensor) -> bool:
    return value.ndim == 4 and value.is_contiguous(memory_format=torch.channels_last)


@functools.cache
def source_hash() -> str:
    """The hash of all C++ files of the room."""
    return hash_of(sorted(Path(__file__).parent.glob("*.[ch]pp")))


def hash_of(files: Iterable[Path]) -> str:
    """sha256 of names and contents, as setup.py computes it."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def load(file: Path, sources_now: str, others: str) -> ctypes.CDLL:
    """A compiled library.

    Raises:
        OSError: it does not load.
        ValueError: it was compiled from sources of another hash than those of now.
    """
    loaded = ctypes.CDLL(str(file))
    loaded.source.restype = ctypes.c_char_p
    if loaded.source().decode() != sources_now:
        raise ValueError(f"{file.name} was compiled from {others}: install again, pip install -e .")
    return loaded


def if_built(kind: Callable[[Path, str], T], file: Path, instruction_set: str) -> T | None:
    """The functions of a library; None if it was not built or does not load."""
    try:
        return kind(file, instruction_set) if file.exists() else None
    except OSError:
        return None


@functools.cache
def compiled(instruction_set: str) -> Library | None:
    """The library of "avx512", "avx2" or "base"; None if it was not built or does not load.

    Raises:
        ValueError: it was built from other sources.
    """
    return if_built(Library, Path(__file__).with_name(f"_arithmetic_{instruction_set}.so"), instruction_set)


@functools.cache
def available() -> Library | None:
    """The library of the widest instruction set that was built and that the processor has; None if there is none."""
    libraries = (compiled(instruction_set) for instruction_set in SETS)
    return next((library for library in libraries if library and library.usable), None)


def library() -> Library:
    """The library in use.

    Raises:
        RuntimeError: none was built for this processor.
    """
    if usable := available():
        return usable
    raise RuntimeError(
        "no kernel was built for this processor (a C++ compiler and fused products are needed: pip install -e .); "
        f"there are {', '.join(built()) or 'none'}"
    )


def built() -> list[str]:
    """The instruction sets for which there is a library."""
    return [name for name in SETS if Path(__file__).with_name(f"_arithmetic_{name}.so").exists()]


def checked(what: str, values: Tensor, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    """The values, for code that believes what it is told of them.

    Raises:
        ValueError: they have another dtype, shape or device.
    """
    if (values.device.type, values.dtype, tuple(values.shape)) != ("cpu", dtype, tuple(shape)):
        given = f"{values.dtype} of shape {tuple(values.shape)} on {values.device}"
        raise ValueError(f"{what}: {given}; valid is {dtype} of shape {tuple(shape)} on the CPU")
    return values.detach().resolve_neg()


def rows(what: str, values: Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """The values of that shape, one after the other in memory: themselves or a copy."""
    return checked(what, values, dtype, shape).contiguous()


def channels_last(what: str, values: Tensor, shape: Sequence[int]) -> Tensor:
    """float32 maps of that shape [image, channel, height, width], the channels of a position side by side."""
    return checked(what, values, torch.float32, shape).contiguous(memory_format=torch.channels_last)
