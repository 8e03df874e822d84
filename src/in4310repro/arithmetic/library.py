"""The compiled kernels: one library per instruction set; all give equal bits.

setup.py builds them from the .cpp and .hpp files beside this module. They do not use Python's C interface, so
one build works with every version of Python. The library for the processor's widest instruction set is used.
kernels.txt declares their exported functions (see `signatures`); a test compares it with the C++ files.
"""

import ctypes
import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active
from torch._C._functorch import is_functorch_wrapped_tensor, is_legacy_batchedtensor
from torch.autograd import forward_ad
from torch.compiler import is_compiling

from in4310repro.arithmetic import compiler
from in4310repro.arithmetic.signatures import PLAIN, Argument, Signature, address, describe, in_memory, parse

FIELDS = [
    *("images", "channels", "height", "width", "outputs", "kernel_height", "kernel_width", "stride_y", "stride_x"),
    *("padding_top", "padding_bottom", "padding_left", "padding_right", "groups"),
]


class Shape(ctypes.Structure):
    """Sizes of a convolution; the fields are those of the struct in convolution.hpp."""

    _fields_ = tuple((name, ctypes.c_ssize_t) for name in FIELDS)

    @property
    def rows(self) -> int:
        """Number of rows of the convolution's result."""
        return int((self.padding_top + self.height + self.padding_bottom - self.kernel_height) // self.stride_y + 1)

    @property
    def columns(self) -> int:
        """Number of columns of the convolution's result."""
        return int((self.padding_left + self.width + self.padding_right - self.kernel_width) // self.stride_x + 1)

    @property
    def group_channels(self) -> int:
        """Number of input channels in each group."""
        return int(self.channels // self.groups)


SIGNATURES = parse(Path(__file__).with_name("kernels.txt").read_text(encoding="utf-8"), {"Shape": Shape})

SETS = ("avx512", "avx2", "base")  # the widest first
NATIVE = "compute it in native arithmetic, by a model that portable() has not changed"
NO_MEMORY = 1  # of enum Status in vectors.hpp

Maybe = Tensor | None
T = TypeVar("T")
V = TypeVar("V", bound=Maybe)


class Library:
    """The exported functions of one compiled library.

    Args:
        file: the library.
        instruction_set: the instruction set that it was compiled for.
        signatures: the signatures of its functions.
        source: the .cpp file that it must have been compiled from, with the .hpp files of this folder; None for all
            .cpp files of this folder.

    Raises:
        OSError: the library cannot be loaded.
        ValueError: the library was compiled from different source files.
    """

    def __init__(
        self,
        file: Path,
        instruction_set: str,
        signatures: Mapping[str, Signature] = SIGNATURES,
        source: Path | None = None,
    ) -> None:
        self.instruction_set, self.signatures = instruction_set, signatures
        loaded, folder = ctypes.CDLL(str(file)), Path(__file__).parent
        files = [source, *sorted(folder.glob("*.hpp"))] if source else sorted(folder.glob("*.[ch]pp"))
        if signatures["source"].declare(loaded)().decode() != hash_of(files):
            raise ValueError(f"{file.name} was compiled from other sources: install again, pip install -e .")
        self.functions = {name: signature.declare(loaded) for name, signature in signatures.items()}

    @property
    def usable(self) -> bool:
        """True if this processor can execute the library's instructions."""
        return bool(self.functions["usable"]())

    def call(self, function: str, *arguments: Argument) -> None:
        """Call an exported function whose first parameter is a number of threads, with torch's number of threads.

        Every tensor is checked against the function's declaration, see `signatures`.

        Raises:
            MemoryError: the working memory of the function cannot be allocated.
            ValueError: a tensor does not fit the function's declaration, or the function refuses the sizes.
        """
        for value in arguments if _are_functorch_transforms_active() else ():
            if isinstance(value, Tensor):
                refuse_transforms(function, value)
        passed, _kept = self.signatures[function].bind((torch.get_num_threads(), *arguments))
        status = self.functions[function](*passed)
        if status == NO_MEMORY:
            raise MemoryError(f"no working memory for {function} of {', '.join(_describe_arguments(arguments))}")
        if status:
            raise ValueError(f"{function} refuses {[value for value in arguments if isinstance(value, int | float)]}")


def _describe_arguments(arguments: Iterable[Argument]) -> Iterator[str]:
    """Describe arguments for an error message: shapes of tensors, and values of numbers."""
    for value in arguments:
        if isinstance(value, ctypes.Structure):
            yield " ".join(f"{name[0]} {getattr(value, name[0])}" for name in value._fields_)
        elif isinstance(value, Tensor):
            yield str(tuple(value.shape))
        elif value is not None:
            yield f"{len(value)} tensors" if isinstance(value, Sequence) else str(value)


def hash_of(files: Iterable[Path]) -> str:
    """Return the sha256 over the names and contents of files, as setup.py computes it."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def open_if_built(kind: Callable[[Path, str], T], file: Path, instruction_set: str) -> T | None:
    """Return `kind(file, instruction_set)`; `kind` is a class that loads the compiled library `file`.

    Return None if the file is missing or cannot be loaded.
    """
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
    """Return the library with the widest instruction set that this processor has; None if there is no library."""
    return next((library for library in map(open_library, SETS) if library and library.usable), None)


def library() -> Library:
    """Return the library of compiled kernels for this processor.

    Raises:
        RuntimeError: no library was built for this processor.
    """
    if usable := available():
        return usable
    raise RuntimeError(
        "no kernel was built for this processor (a C++ compiler and fused products are needed: pip install -e .); "
        f"there are {', '.join(built_instruction_sets()) or 'none'}"
    )


def call(function: str, *arguments: Argument) -> Tensor:
    """Call a function of `library`, see `Library.call`; return its last argument, the result."""
    library().call(function, *arguments)
    return arguments[-1]  # type: ignore[return-value]


def built_instruction_sets() -> list[str]:
    """Return the instruction sets for which a library was built."""
    return [name for name in SETS if Path(__file__).with_name(f"_arithmetic_{name}.so").exists()]


def as_plain(what: str, values: Tensor) -> Tensor:
    """Return the values as a plain strided tensor in CPU memory; gradients pass through.

    A subclass that keeps its values in memory, such as torchvision's images, becomes a plain tensor. Nested
    tensors, tensors inside of torch.func or with a tangent (forward-mode differentiation), and subclasses with their
    own `__torch_dispatch__` are refused.

    Raises:
        ValueError: the values are not dense or not in CPU memory, or the type of tensor is refused.
    """
    if is_plain(values, values.dtype):
        return values
    refuse_transforms(what, values)
    if values.layout is not torch.strided or not values.is_cpu:
        raise ValueError(f"{what}: {values.layout} on {values.device}; it must be dense values on the CPU")
    if type(values) not in PLAIN:
        with torch._C.DisableTorchFunctionSubclass():
            values = values.as_subclass(Tensor)
    values = in_memory(what, values)
    # Called only if needed: it is an operation of torch, and those are checked in networks.
    return values.resolve_neg() if values.is_neg() else values


def refuse_transforms(what: str, values: Tensor) -> None:
    """Raise ValueError if a tensor represents other values, or more values, than those in its memory."""
    if _is_wrapped(values):
        kind = "a tensor inside of torch.func"
    elif values.is_nested:
        kind = "a nested tensor"
    elif type(values).__torch_dispatch__ is not Tensor.__torch_dispatch__ or torch._is_functional_tensor(values):
        kind = "a functional tensor" if type(values) is Tensor else type(values).__name__
    elif _has_tangent(values):
        kind = "a tensor with a tangent of forward-mode differentiation"
    else:
        return
    raise ValueError(f"{what}: {kind}; it must be a dense torch.Tensor on the CPU, outside of torch.func; {NATIVE}")


def is_plain(values: Tensor, dtype: torch.dtype) -> bool:
    """Return whether values are in the usual form, so that `as_plain` has nothing to do."""
    if is_compiling():
        # Nothing has read memory before. Networks are left uncompiled from the start, see `networks`.
        compiler.leave_uncompiled()
    if type(values) not in PLAIN or forward_ad._current_level >= 0 or values.is_nested or _is_wrapped(values):
        return False
    return address(values, dtype) != 0


def _has_tangent(values: Tensor) -> bool:
    if forward_ad._current_level < 0:
        return False
    # In inference mode torch shows no tangent.
    with torch.inference_mode(False):
        return forward_ad.unpack_dual(values).tangent is not None  # type: ignore[no-untyped-call]


def _is_wrapped(values: Tensor) -> bool:
    # The second kind are the gradients of `is_grads_batched=True`.
    return is_functorch_wrapped_tensor(values) or is_legacy_batchedtensor(values)


def check(what: str, values: V, dtype: torch.dtype, shape: Sequence[int]) -> V:
    """Return the values, converted by `as_plain`, after checking their dtype and shape; None is returned as it is.

    Raises:
        ValueError: dtype, shape or device are wrong.
    """
    if values is None or (is_plain(values, dtype) and values.shape == shape):
        return values
    # A value in the state of an optimizer need not be a tensor.
    found = isinstance(values, Tensor) and not values.is_nested and (values.device.type, values.dtype, values.shape)  # type: ignore[redundant-expr]
    if found != ("cpu", dtype, tuple(shape)):
        raise ValueError(f"{what}: {describe(values)}; it must be {dtype} of shape {tuple(shape)} on the CPU")
    return as_plain(what, values)  # type: ignore[return-value]  # a Tensor for a Tensor
