"""Signatures of compiled functions: their types in ctypes, and checks of the tensors that are passed to them.

A declaration is written as in C, with the sizes of each array, in the order of memory, in brackets behind its
name. A number without a type is a ptrdiff_t, an array without a type a const float:

    int linear(threads, images, features, outputs, rows[images features], weight[outputs features], bias?[outputs],
               float result[images outputs])

A size is a number, the name of an earlier integer argument, a field or property of an earlier structure, or
`images/8`, rounded up. A `const` array is read, any other array is written; `?` allows None. `float *const`
is a list of arrays, one for each tensor: in `parameters[tensors sizes]`, `sizes` is an array of their sizes.
"""

import ctypes
import functools
import itertools
import math
import operator
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Argument = Tensor | Sequence[Tensor] | ctypes.Structure | int | float | None
Structures = Mapping[str, type[ctypes.Structure]]

DTYPES = {"float": torch.float32, "double": torch.float64, "int32_t": torch.int32, "int64_t": torch.int64}
# C types of results, and of parameters that are not arrays.
TYPES = {
    "double": ctypes.c_double,
    "ptrdiff_t": ctypes.c_ssize_t,
    "int": ctypes.c_int,
    "const char *": ctypes.c_char_p,
}
PLAIN = (Tensor, torch.nn.Parameter)
STRIDED, CHANNELS_LAST = torch.strided, torch.channels_last

_DECLARATION = re.compile(r"(const char \*|\w+)\s*(\w+)\(([^)]*)\)")
_PARAMETER = re.compile(r"(const )?(?:(\w+)( \*const)? \*?)?(\w+)(\??)(?:\[([^\]]+)\])?")


@dataclass(frozen=True)
class Parameter:
    """A parameter of a compiled function: its name, type and size."""

    name: str
    base: str  # type of a value
    read_only: bool
    optional: bool
    extents: tuple[str, ...]  # of an array
    of_list: bool  # an array for each tensor of a list
    structure: type[ctypes.Structure] | None

    @functools.cached_property
    def dtype(self) -> torch.dtype:
        """The dtype of an array."""
        return DTYPES[self.base]


@dataclass(frozen=True, eq=False)
class Signature:
    """Signature of a compiled function: result type, name and parameters."""

    returns: str
    name: str
    parameters: tuple[Parameter, ...]

    def declare(self, library: ctypes.CDLL) -> Any:
        """Return the library's function of this name, with its argument and result types set for ctypes."""
        function = getattr(library, self.name)
        function.restype = TYPES[self.returns]
        # Arrays are passed as addresses, of tensors that `bind` has checked.
        function.argtypes = [
            ctypes.POINTER(each.structure) if each.structure else ctypes.c_void_p if each.extents else TYPES[each.base]
            for each in self.parameters
        ]
        return function

    def bind(self, arguments: Sequence[Argument]) -> tuple[list[Any], list[object]]:
        """Return the arguments for ctypes, with addresses in place of tensors, and what must live until the call ends.

        A tensor that is only read may have any memory layout. It is copied if its memory has gaps, if its axes are in
        a wrong order, or if torch stores its values negated (the negative bit). A tensor that is written must have
        the layout in which the function writes it.

        Raises:
            TypeError: the number of arguments is wrong.
            ValueError: type, dtype, shape, layout or device of a tensor do not fit the function's declaration.
        """
        if len(arguments) != len(self.parameters):
            raise TypeError(f"{self.name} takes {len(self.parameters)} arguments, not {len(arguments)}")
        passed, kept, models = list[Any](arguments), list[object](), None
        for place, parameter, extents in _arrays(self, *map(operator.call, self._keys, arguments)):
            value = passed[place]
            if value is None and parameter.optional:
                continue
            if not parameter.of_list:
                begin = address(value, parameter.dtype)
                if not (begin and fits(value.shape, extents)):
                    kept.append(fitting := _fit(self.name, parameter, value, extents))
                    begin = fitting.data_ptr()
                passed[place] = begin
                continue
            models, begins = value if models is None else models, []
            if len(value) != extents[0]:
                raise ValueError(f"{self.name}: {parameter.name} has {len(value)} tensors; it must have {extents[0]}")
            sizes: Any = arguments[extents[1]]
            for each, model, size in zip(value, models, sizes.tolist(), strict=True):
                begin = address(each, parameter.dtype)
                same = begin and (each is model or (each.shape == model.shape and each.stride() == model.stride()))
                if not (same and each.numel() == size):
                    kept.append(fitting := _fit(self.name, parameter, each, (size,), model))
                    begin = fitting.data_ptr()
                begins.append(begin)
            kept.append(table := torch.tensor(begins, dtype=torch.int64, device="cpu"))
            passed[place] = table.data_ptr()
        return passed, kept

    @functools.cached_property
    def _keys(self) -> list[Callable[[Any], Hashable]]:
        """Functions that turn the arguments before the first array into keys of the cache of `_arrays`."""
        sizes = itertools.takewhile(lambda each: not each.extents, self.parameters)
        return [bytes if each.structure else int if each.base == "ptrdiff_t" else type for each in sizes]


@functools.lru_cache(maxsize=1 << 14)
def _arrays(signature: Signature, *keys: Any) -> list[tuple[int, Parameter, tuple[int, ...]]]:
    """Return the place of each array among the arguments, its parameter and its extents.

    The second extent of a list is the place of the array with the sizes of its tensors.
    """
    numbered = [*enumerate(signature.parameters)]
    sizes: dict[str, Any] = {each.name: place for place, each in numbered if each.base == "int64_t"}
    structure: Any = None
    for each, key in zip(signature.parameters, keys, strict=False):
        sizes[each.name] = key
        structure = each.structure.from_buffer_copy(key) if each.structure else structure

    def size(name: str) -> int:
        dividend, _, divisor = name.partition("/")
        value = int(dividend) if dividend.isdigit() else sizes.get(dividend)
        return -(-(getattr(structure, dividend) if value is None else value) // int(divisor or 1))

    return [(place, each, tuple(map(size, each.extents))) for place, each in numbered if each.extents]


def parse(declarations: str, structures: Structures) -> dict[str, Signature]:
    """Parse C++ declarations; return the signatures by function name."""
    return {
        name: Signature(returns, name, tuple(_parameter(each, structures) for each in filter(str.strip, of.split(","))))
        for returns, name, of in _DECLARATION.findall(declarations)
    }


def _parameter(text: str, structures: Structures) -> Parameter:
    if not (match := _PARAMETER.fullmatch(" ".join(text.split()))):
        raise ValueError(f"{text!r} is not a parameter of a declaration")
    const, base, of_list, name, optional, extents = match.groups("")
    const, base = (const, base) if base else (extents, "float" if extents else "ptrdiff_t")
    structure = structures.get(base)
    return Parameter(name, base, bool(const), bool(optional), tuple(extents.split()), bool(of_list), structure)


def _fit(name: str, parameter: Parameter, value: Any, extents: tuple[int, ...], model: Any = None) -> Tensor:
    """Return `value` in the memory order that the function expects; only input tensors may be copied for this.

    This is the order of `model`, for a tensor of a list, which must have its shape; else see `fits`.
    """
    what = f"{name}: {parameter.name}"
    valid = f"sizes {extents}" if model is None else f"shape {tuple(model.shape)} in steps of {model.stride()}"
    if type(value) in PLAIN and value.dtype is parameter.dtype and value.layout is STRIDED and value.is_cpu:
        like = value if model is None else model
        last = like.ndim == 4 and (model is None or model.is_contiguous(memory_format=CHANNELS_LAST))
        order = CHANNELS_LAST if last else torch.contiguous_format
        in_order = value.is_contiguous(memory_format=order) and not (value.is_neg() or value._is_zerotensor())
        same = fits(value.shape, extents) and (model is None or value.shape == model.shape)
        if same and (parameter.read_only or in_order):
            values = in_memory(what, value).detach().resolve_neg()
            return values.contiguous(memory_format=order)
    raise ValueError(f"{what} is {describe(value)}; it must be {parameter.dtype} of {valid} side by side on the CPU")


def address(value: Any, dtype: torch.dtype) -> int:
    """Return the address of a plain tensor of this dtype that lies in order at the begin of its memory, on the CPU.

    Return 0 for any other value. More than a thousand tensors are checked in a training step, and nearly all have such
    an address. Only the others need the functions below, which make a copy or say what is wrong.
    """
    usual = (
        type(value) in PLAIN
        and value.dtype is dtype
        and value.is_cpu
        and value.layout is STRIDED
        and (value.is_contiguous(memory_format=CHANNELS_LAST) if value.ndim == 4 else value.is_contiguous())
        and not value.is_neg()
        and not value.storage_offset()
        and value.numel() * dtype.itemsize <= value.untyped_storage().nbytes()
    )
    # 0 is also the address of zeros without memory, see `in_memory`.
    return value.data_ptr() if usual else 0


def in_memory(what: str, values: Tensor) -> Tensor:
    """Return `values`, after checking that memory exists for all of its elements.

    torch represents some tensors of zeros, such as some gradients, without memory. They are copied to memory.

    Args:
        what: name of the tensor in error messages.
        values: a strided tensor, which is only read.

    Raises:
        ValueError: the memory was freed or is too small.
    """
    if values._is_zerotensor():
        return values.clone()
    if torch._is_functional_tensor(values):
        raise ValueError(f"{what}: a tensor of torch.func.functionalize, without memory; its values must be in memory")
    # Most are contiguous, and kernels are called often: their extent is their number, without a sum over the axes.
    extent = values.numel()
    if extent and not values.is_contiguous():
        extent = 1 + sum((size - 1) * step for size, step in zip(values.shape, values.stride(), strict=True))
    needed = (values.storage_offset() + extent) * values.dtype.itemsize if extent else 0
    if (found := values.untyped_storage().nbytes()) < needed:
        text = f"{what}: {values.dtype} of shape {tuple(values.shape)} in {found} bytes of memory"
        raise ValueError(f"{text}; it must have {needed} or more")
    return values


@functools.lru_cache(maxsize=4096)
def fits(shape: tuple[int, ...], extents: tuple[int, ...]) -> bool:
    """Return whether `shape` becomes `extents` by only merging adjacent axes, or by only splitting axes.

    The channels of maps [image, channel, height, width] lie side by side in memory: they are taken as the last axis.

    Examples:
        >>> fits((2, 3, 5, 5), (2, 25, 3)), fits((9, 6), (9, 2, 3)), fits((6, 9), (9, 6)), fits((54,), (9, 6))
        (True, True, False, True)
    """
    if len(shape) == 4:
        shape = shape[0], shape[2], shape[3], shape[1]
    if min(extents, default=0) < 0 or math.prod(shape) != math.prod(extents):
        return False
    borders, others = ({1, *itertools.accumulate(each, operator.mul)} for each in (shape, extents))
    return borders <= others or others <= borders


def describe(value: object) -> str:
    """Return a description of an argument's type, dtype, shape and strides, for an error message."""
    if not isinstance(value, Tensor):
        return f"{value!r:.60}"
    if value.is_nested or value.layout is not torch.strided:
        return f"a {'nested' if value.is_nested else value.layout} tensor"
    kind = "" if type(value) in PLAIN else f"{type(value).__name__} of "
    steps = "" if value.is_contiguous() else f" in steps of {value.stride()}"
    bits = " with a negative bit" if value.is_neg() else " without memory" if value._is_zerotensor() else ""
    return f"{kind}{value.dtype} of shape {tuple(value.shape)}{steps}{bits} on {value.device}"
