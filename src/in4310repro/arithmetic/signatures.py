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
TYPES: dict[str, Any] = {
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "int32_t": ctypes.c_int32,
    "int64_t": ctypes.c_int64,
    "ptrdiff_t": ctypes.c_ssize_t,
    "int": ctypes.c_int,
    "const char *": ctypes.c_char_p,
    "void": None,
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

    @property
    def c_type(self) -> str:
        """Type of the parameter in C++, without its name."""
        star = " *const *" if self.of_list else " *" if self.extents or self.structure else ""
        return f"{'const ' if self.read_only else ''}{self.base}{star}"

    @property
    def argtype(self) -> Any:
        """Type of the parameter in ctypes."""
        if self.structure:
            return ctypes.POINTER(self.structure)
        kind = ctypes.POINTER(TYPES[self.base]) if self.extents else TYPES[self.base]
        return ctypes.POINTER(kind) if self.of_list else kind

    @functools.cached_property
    def dtype(self) -> torch.dtype:
        """The dtype of an array."""
        return DTYPES[self.base]

    @functools.cached_property
    def at(self) -> Callable[[int], Any]:
        """Function that returns the value at an address, for ctypes."""
        at: Callable[[int], Any] = TYPES[self.base].from_address
        return at


@dataclass(frozen=True)
class Signature:
    """Signature of a compiled function: result type, name and parameters."""

    returns: str
    name: str
    parameters: tuple[Parameter, ...]

    def declare(self, library: ctypes.CDLL) -> Any:
        """Return the library's function of this name, with its argument and result types set for ctypes."""
        function = getattr(library, self.name)
        function.restype, function.argtypes = TYPES[self.returns], [each.argtype for each in self.parameters]
        return function

    def bind(self, arguments: Sequence[Argument]) -> tuple[list[object], list[object]]:
        """Return the arguments converted for ctypes, and the objects that must stay alive until the call returns.

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
        for place, parameter, extents in self._arrays(*map(operator.call, self._keys, arguments)):
            value = passed[place]
            if value is None and parameter.optional:
                continue
            if parameter.of_list:
                models = value if models is None else models
                number, sizes = extents[0], arguments[extents[1]]
                passed[place] = _table(f"{self.name}: {parameter.name}", parameter, value, models, number, sizes, kept)
                continue
            begin = address(value, parameter.dtype)
            if not (begin and _holds(value.shape, extents)):
                value = _fit(f"{self.name}: {parameter.name}", parameter, value, extents)
                begin = value.data_ptr()
            kept.append(value)
            passed[place] = parameter.at(begin)
        return passed, kept

    @functools.cached_property
    def _keys(self) -> list[Callable[[Any], Hashable]]:
        """Functions that turn the first arguments, up to the last size, into keys of the cache in `_arrays`."""
        named = {name.partition("/")[0] for each in self.parameters for name in each.extents}
        keys: list[Callable[[Any], Hashable]] = [
            bytes if each.structure else int if each.name in named and not each.extents else type
            for each in self.parameters
        ]
        return keys[: max((place + 1 for place, key in enumerate(keys) if key is not type), default=0)]

    @functools.cached_property
    def _arrays(self) -> Callable[..., list[tuple[int, Parameter, tuple[int, ...]]]]:
        """Function of the keys that returns the place of each array among the arguments, its parameter and its extents.

        The second extent of a list is the place of the array with the sizes of its tensors.
        """

        @functools.lru_cache(maxsize=1024)
        def arrays(*keys: Any) -> list[tuple[int, Parameter, tuple[int, ...]]]:
            numbered = [*enumerate(self.parameters)]
            sizes: dict[str, Any] = {each.name: place for place, each in numbered if each.base == "int64_t"}
            for parameter, key in zip(self.parameters, keys, strict=False):
                sizes[parameter.name] = key
                if parameter.structure:
                    sizes[""] = parameter.structure.from_buffer_copy(key)
            found = [(place, each) for place, each in numbered if each.extents]
            return [(place, each, tuple([_size(name, sizes) for name in each.extents])) for place, each in found]

        return arrays


def parse(declarations: str, structures: Structures) -> dict[str, Signature]:
    """Parse C++ declarations; return the signatures by function name."""
    return {
        name: Signature(returns, name, tuple(_parameter(each, structures) for each in filter(str.strip, of.split(","))))
        for returns, name, of in _DECLARATION.findall(declarations)
    }


def _parameter(text: str, structures: Structures) -> Parameter:
    if not (match := _PARAMETER.fullmatch(" ".join(text.split()))):
        raise ValueError(f"{text!r} is no parameter of a declaration")
    const, base, of_list, name, optional, extents = match.groups("")
    const, base = (const, base) if base else (extents, "float" if extents else "ptrdiff_t")
    structure = structures.get(base)
    return Parameter(name, base, bool(const), bool(optional), tuple(extents.split()), bool(of_list), structure)


def _size(name: str, sizes: Mapping[str, Any]) -> int:
    dividend, slash, divisor = name.partition("/")
    if slash:
        return -(-_size(dividend, sizes) // int(divisor))
    return int(sizes[name] if name in sizes else name if name.isdigit() else getattr(sizes[""], name))


def _fit(where: str, parameter: Parameter, value: Any, extents: tuple[int, ...]) -> Tensor:
    """Return `value` in the memory order that the function expects; only input tensors may be copied for this."""
    fits = _is_plain(value, parameter.dtype) and _holds(value.shape, extents)
    if fits and (parameter.read_only or _is_in_order(value)):
        found: Tensor = in_memory(where, value, read_only=parameter.read_only).detach().resolve_neg()
        return found.contiguous(memory_format=_order(found))
    valid = f"{parameter.dtype} of sizes {extents} side by side on the CPU"
    raise ValueError(f"{where} is {describe(value)}; valid is {valid}")


def _is_plain(value: Any, dtype: torch.dtype) -> bool:
    return type(value) in PLAIN and value.dtype is dtype and value.layout is STRIDED and value.is_cpu


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


def in_memory(what: str, values: Tensor, *, read_only: bool = True) -> Tensor:
    """Return `values`, after checking that memory exists for all of its elements.

    torch represents some tensors of zeros, such as some gradients, without memory. If `read_only` is True, such
    a tensor is copied to memory.

    Args:
        what: name of the tensor in error messages.
        values: a strided tensor.
        read_only: whether the tensor is only read, and not written.

    Raises:
        ValueError: the memory was freed or is too small, or a tensor to be written has none.
    """
    if values._is_zerotensor():
        if read_only:
            return values.clone()
        raise ValueError(f"{what}: zeros of shape {tuple(values.shape)} without memory; valid are values in memory")
    if torch._is_functional_tensor(values):
        raise ValueError(f"{what}: a tensor of torch.func.functionalize, without memory; valid are values in memory")
    # Most are contiguous, and kernels are called often: their extent is their number, without a sum over the axes.
    extent = values.numel()
    if extent and not values.is_contiguous():
        extent = 1 + sum((size - 1) * step for size, step in zip(values.shape, values.stride(), strict=True))
    needed = (values.storage_offset() + extent) * values.dtype.itemsize if extent else 0
    if (found := values.untyped_storage().nbytes()) < needed:
        text = f"{what}: {values.dtype} of shape {tuple(values.shape)} in {found} bytes of memory"
        raise ValueError(f"{text}; valid are {needed} or more")
    return values


def _is_in_order(value: Tensor) -> bool:
    """Return whether values are contiguous in the order of their axes or, for maps, in channels_last order."""
    return value.is_contiguous(memory_format=_order(value)) and not value.is_neg()


def _order(value: Tensor) -> torch.memory_format:
    return CHANNELS_LAST if value.ndim == 4 else torch.contiguous_format


@functools.lru_cache(maxsize=4096)
def _holds(shape: tuple[int, ...], extents: tuple[int, ...]) -> bool:
    """Return whether a tensor of this shape, with its channels side by side if it has 4 axes, has these extents."""
    return fits((shape[0], shape[2], shape[3], shape[1]) if len(shape) == 4 else shape, extents)


def fits(sizes: tuple[int, ...], extents: tuple[int, ...]) -> bool:
    """Return whether shape `sizes` becomes `extents` by only merging adjacent axes, or by only splitting axes.

    Examples:
        >>> fits((2, 5, 5, 3), (2, 25, 3)), fits((9, 6), (9, 2, 3)), fits((6, 9), (9, 6)), fits((54,), (9, 6))
        (True, True, False, True)
    """
    if min(extents, default=0) < 0 or math.prod(sizes) != math.prod(extents):
        return False
    borders, others = ({1, *itertools.accumulate(each, int.__mul__)} for each in (sizes, extents))
    return borders <= others or others <= borders


def describe(value: object) -> str:
    """Return a description of an argument's type, dtype, shape and strides, for an error message."""
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.is_nested or value.layout is not torch.strided:
        return f"a {'nested' if value.is_nested else value.layout} tensor"
    kind = "" if type(value) in PLAIN else f"{type(value).__name__} of "
    negative = " with a negative bit" if value.is_neg() else ""
    return f"{kind}{value.dtype} of shape {tuple(value.shape)} in steps of {value.stride()}{negative} on {value.device}"


def _table(
    where: str, parameter: Parameter, values: Any, models: Any, number: int, sizes: Any, kept: list[object]
) -> object:
    """Check the sizes and memory layouts of tensors; return a ctypes pointer to an array of their addresses."""
    if len(values) != number:
        raise ValueError(f"{where} has {len(values)} tensors; valid are {number}")
    tensors, begins = [], []
    for value, model, size in zip(values, models, sizes.tolist(), strict=True):
        begin = address(value, parameter.dtype)
        same = begin and (value is model or (value.shape == model.shape and value.stride() == model.stride()))
        if not (same and value.numel() == size):
            value = _match_layout(where, parameter, value, model, size)
            begin = value.data_ptr()
        tensors.append(value)
        begins.append(begin)
    addresses = torch.tensor(begins, dtype=torch.int64, device="cpu")
    kept += [tensors, addresses]
    return ctypes.POINTER(TYPES[parameter.base]).from_address(addresses.data_ptr())


def _match_layout(where: str, parameter: Parameter, value: Tensor, model: Tensor, size: int) -> Tensor:
    """Return `value` in the memory order of `model`; only input tensors may be copied for this."""
    if _is_plain(value, parameter.dtype) and value.shape == model.shape and value.numel() == size:
        value = in_memory(where, value, read_only=parameter.read_only)
        if parameter.read_only and (value.stride() != model.stride() or value.is_neg()):
            value = torch.empty_like(model, requires_grad=False).copy_(value.detach())
        dense = value.is_contiguous() or (value.ndim == 4 and _is_in_order(value))
        if dense and value.stride() == model.stride() and not value.is_neg():
            return value
    layout = f"{parameter.dtype} of shape {tuple(model.shape)} in steps of {model.stride()}"
    raise ValueError(f"{where} is {describe(value)}; valid is {layout}, side by side on the CPU")
