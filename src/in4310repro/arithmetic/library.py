"""The compiled kernels: one library per instruction set; all give equal bits.

setup.py builds them from the .cpp and .hpp files beside this module. They do not use Python's C interface, so
one build works with every version of Python. The library for the processor's widest instruction set is used.
"""

import ctypes
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from in4310repro.arithmetic import exports
from in4310repro.arithmetic.signatures import PLAIN, Argument, Signature, in_memory

SETS = ("avx512", "avx2", "base")  # the widest first
NO_MEMORY = 1  # of enum Status in vectors.hpp

T = TypeVar("T")


class Library:
    """The exported functions of one compiled library.

    Args:
        file: the library.
        instruction_set: the instruction set that it was compiled for.
        signatures: the signatures of its functions.
        sources: hash of the source files that it must have been compiled from; None for those in this folder.
        others: phrase for the error message that names the sources of a library with a wrong hash.

    Raises:
        OSError: the library cannot be loaded.
        ValueError: the library was compiled from different source files.
    """

    def __init__(
        self,
        file: Path,
        instruction_set: str,
        signatures: Mapping[str, Signature] = exports.SIGNATURES,
        sources: str | None = None,
        others: str = "other sources",
    ) -> None:
        self.instruction_set = instruction_set
        self.signatures = signatures
        loaded = load(file, sources or source_hash(), others)
        self.functions = {name: signature.declare(loaded) for name, signature in signatures.items()}

    @property
    def usable(self) -> bool:
        """True if this processor can execute the library's instructions."""
        return bool(self.number("usable"))

    def call(self, function: str, *arguments: Argument, threads: int | None = None) -> None:
        """Call an exported function with these arguments and a number of threads, by default torch's.

        Every tensor is checked against the function's declaration, see `signatures`.

        Raises:
            MemoryError: there is no working memory.
            ValueError: a tensor does not fit the function's declaration, or the function refuses the sizes.
        """
        threads = torch.get_num_threads() if threads is None else threads
        status = self.number(function, threads, *arguments)
        if status == NO_MEMORY:
            raise MemoryError(f"no working memory for {function} of {', '.join(_describe_arguments(arguments))}")
        if status:
            raise ValueError(f"{function} refuses {[value for value in arguments if isinstance(value, int | float)]}")

    def number(self, function: str, *arguments: Argument) -> int:
        """Call an exported function without a thread-count argument; return its result as an integer.

        Raises:
            ValueError: a tensor does not fit the function's declaration.
        """
        passed, _kept = self.signatures[function].bind(arguments)
        return int(self.functions[function](*passed) or 0)


def _describe_arguments(arguments: Iterable[Argument]) -> Iterator[str]:
    """Describe arguments for an error message: shapes of tensors, and values of numbers."""
    for value in arguments:
        if isinstance(value, ctypes.Structure):
            yield " ".join(f"{name[0]} {getattr(value, name[0])}" for name in value._fields_)
        elif isinstance(value, Tensor):
            yield str(tuple(value.shape))
        elif value is not None:
            yield f"{len(value)} tensors" if isinstance(value, Sequence) else str(value)


@functools.cache
def source_hash() -> str:
    """Return the hash of all C++ source files of the kernels."""
    return hash_of(sorted(Path(__file__).parent.glob("*.[ch]pp")))


def hash_of(files: Iterable[Path]) -> str:
    """Return the sha256 over the names and contents of files, as setup.py computes it."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def load(file: Path, sources_now: str, others: str) -> ctypes.CDLL:
    """Load a compiled library from its file.

    Raises:
        OSError: the library cannot be loaded.
        ValueError: the library was compiled from source files that differ from the present ones.
    """
    loaded = ctypes.CDLL(str(file))
    loaded.source.restype = ctypes.c_char_p
    if loaded.source().decode() != sources_now:
        raise ValueError(f"{file.name} was compiled from {others}: install again, pip install -e .")
    return loaded


def open_if_built(kind: Callable[[Path, str], T], file: Path, instruction_set: str) -> T | None:
    """Return a library; None if it was not built or cannot be loaded."""
    try:
        return kind(file, instruction_set) if file.exists() else None
    except OSError:
        return None


@functools.cache
def open_library(instruction_set: str) -> Library | None:
    """Return the library for "avx512", "avx2" or "base"; None if it was not built or cannot be loaded.

    Raises:
        ValueError: the library was built from different source files.
    """
    return open_if_built(Library, Path(__file__).with_name(f"_arithmetic_{instruction_set}.so"), instruction_set)


@functools.cache
def available() -> Library | None:
    """Return the library for the widest instruction set that the processor has; None if there is no library."""
    libraries = (open_library(instruction_set) for instruction_set in SETS)
    return next((library for library in libraries if library and library.usable), None)


def library() -> Library:
    """Return the library that this process uses.

    Raises:
        RuntimeError: no library was built for this processor.
    """
    if usable := available():
        return usable
    raise RuntimeError(
        "no kernel was built for this processor (a C++ compiler and fused products are needed: pip install -e .); "
        f"there are {', '.join(built_instruction_sets()) or 'none'}"
    )


def built_instruction_sets() -> list[str]:
    """Return the instruction sets for which a library was built."""
    return [name for name in SETS if Path(__file__).with_name(f"_arithmetic_{name}.so").exists()]


def as_plain(what: str, values: Tensor) -> Tensor:
    """Return the values as a plain strided tensor in CPU memory; gradients pass through.

    A subclass with its own memory, such as torchvision's images, becomes a plain tensor; others are refused.

    Raises:
        ValueError: the values are not dense, not on the CPU, or not in memory.
    """
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(values)
    if wrapped or values.is_nested or type(values).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        kind = "a tensor inside of torch.func" if wrapped else "nested" if values.is_nested else type(values).__name__
        raise ValueError(f"{what}: {kind}, which holds no plain values; valid is a torch.Tensor on the CPU")
    if values.layout is not torch.strided or not values.is_cpu:
        raise ValueError(f"{what}: {values.layout} on {values.device}; valid are dense values on the CPU")
    if type(values) not in PLAIN:
        with torch._C.DisableTorchFunctionSubclass():
            values = values.as_subclass(Tensor)
    values = in_memory(what, values)
    # Called only if needed: it is an operation of torch, and those are checked in networks.
    return values.resolve_neg() if values.is_neg() else values


def check(what: str, values: Tensor, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    """Return the values, converted by `as_plain`, after checking their dtype and shape.

    Raises:
        ValueError: dtype, shape or device are wrong.
    """
    if values.is_nested or (values.device.type, values.dtype, tuple(values.shape)) != ("cpu", dtype, tuple(shape)):
        raise ValueError(f"{what}: {describe(values)}; valid is {dtype} of shape {tuple(shape)} on the CPU")
    return as_plain(what, values)


def describe(values: Tensor) -> str:
    """Return a description of a tensor's dtype, shape and device, for an error message."""
    if values.is_nested:
        return "a nested tensor"
    return f"{values.dtype} of shape {tuple(values.shape)} on {values.device}"


def rows(what: str, values: Tensor, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """Return the values after checking dtype and shape, contiguous (copied if necessary) and without gradients."""
    return check(what, values, dtype, shape).detach().contiguous()
