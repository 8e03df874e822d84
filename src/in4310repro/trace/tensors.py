"""The tensors in arguments, results, gradients and optimizer states, each with a path that goes behind its name."""

import dataclasses
import hashlib
import math
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

Named = tuple[str, Tensor]


def iterate_tensors(value: object, path: str = "") -> Iterator[Named]:
    """Yield pairs (path, tensor) for each tensor in a value; a path is like `[0]`, `.key` or `.field`.

    Tuples, lists, mappings and dataclasses are searched. A sparse COO tensor yields its
    `.indices` and its `.values`.
    """
    if isinstance(value, Tensor):
        if value.layout is torch.sparse_coo:
            yield f"{path}.indices", value._indices()
            yield f"{path}.values", value._values()
        else:
            yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from iterate_tensors(each, f"{path}.{key}")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from iterate_tensors(getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, tuple | list):
        for i, each in enumerate(value):
            yield from iterate_tensors(each, f"{path}[{i}]")


def iterate_arguments(args: tuple[object, ...], kwargs: Mapping[str, object]) -> Iterator[Named]:
    """Yield pairs (path, tensor) for each tensor in the arguments of a call.

    Paths of positional arguments begin with an index such as `[0]`. The index is omitted if there is only one
    positional argument.
    """
    for i, each in enumerate(args):
        yield from iterate_tensors(each, f"[{i}]" if len(args) > 1 else "")
    yield from iterate_tensors(kwargs)


def batch_tensors(images: object) -> Iterator[Named]:
    """Yield pairs (name, tensor) for a batch; if `images` is one tensor, also a pair for each image.

    Raises:
        ValueError: the batch holds no tensor.
    """
    found = list(iterate_tensors(images, "images"))
    if not found:
        raise ValueError(
            f"images is {type(images).__name__} without a tensor; it must be a tensor or a container of them"
        )
    yield from found
    if isinstance(images, Tensor) and images.layout is torch.strided and images.ndim:
        yield from ((f"images[{i}]", each) for i, each in enumerate(images))


def model_tensors(model: nn.Module) -> list[Named]:
    """Return pairs (name, tensor) for parameters and buffers; lazy ones, which have no values yet, are left out."""
    found = [(plain_name(name), each) for name, each in (*model.named_parameters(), *model.named_buffers())]
    return [(name, each) for name, each in found if not is_lazy(each)]


def plain_name(name: str) -> str:
    """Return the name of a parameter or module without the part that torch.compile puts into it."""
    return name.replace("_orig_mod.", "").removesuffix("._orig_mod").removeprefix("_orig_mod")


def optimizer_tensors(optimizer: torch.optim.Optimizer, number: int, names: Mapping[int, str]) -> list[Named]:
    """Return pairs (name, tensor) for the state of an optimizer.

    Args:
        optimizer: the optimizer.
        number: its place among the optimizers of the training.
        names: names of parameters by their ids.
    """
    title = f"optimizer{number + 1}" if number else "optimizer"
    places = {id(each): i for i, each in enumerate(parameters_of(optimizer))}
    found: list[Named] = []
    for parameter, state in optimizer.state.items():
        name = names.get(id(parameter)) or f"other[{places.get(id(parameter), '')}]"
        found += iterate_tensors(_numbers_as_tensors(state), f"{title}.{name}")
    return found


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return the parameters of all groups of an optimizer."""
    return [each for group in optimizer.param_groups for each in group["params"]]


def _numbers_as_tensors(state: object) -> object:
    """Return one parameter's optimizer state, with plain numbers converted to tensors."""
    if isinstance(state, Mapping):
        return {
            key: torch.tensor(value, dtype=torch.float64) if isinstance(value, int | float) else value
            for key, value in state.items()
        }
    return state


def generator_states() -> Iterator[Named]:
    """Yield pairs (name, state or hash of the state) for torch's, NumPy's and Python's global generators."""
    yield "generator.torch", torch.get_rng_state()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for i, state in enumerate(torch.cuda.get_rng_state_all()):
            yield f"generator.cuda{i or ''}", state
    if "numpy.random" in sys.modules:
        # The generator that older code draws from.
        yield "generator.numpy", _hash(repr(_as_lists(np.random.get_state(legacy=False))).encode())
    yield "generator.python", _hash(repr(random.getstate()).encode())


def _as_lists(state: object) -> object:
    """Return a generator state with arrays replaced by lists, which are faster to convert to text."""
    if isinstance(state, Mapping):
        return {key: _as_lists(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


def _hash(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(hashlib.sha256(content).digest()), dtype=torch.uint8)


_NOT_PLAIN = object()


def plain_options(optimizer: torch.optim.Optimizer, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return class, options and the names of the parameters of each group, as JSON values.

    Infinite numbers and NaN, which JSON cannot express, are written as strings; other objects are left out.
    """
    kind = type(optimizer).__qualname__
    return [
        {key: plain for key, value in group.items() if key != "params" and (plain := _plain(value)) is not _NOT_PLAIN}
        | {"class": kind, "parameters": len(group["params"]), "of": _hash_names(group["params"], names)}
        for group in optimizer.param_groups
    ]


def _hash_names(parameters: Sequence[Tensor], names: Mapping[int, str]) -> str:
    shown = "\n".join(names.get(id(each), "") for each in parameters)
    return hashlib.sha256(shown.encode(errors="backslashreplace")).hexdigest()[:8]


def _plain(value: object) -> object:
    """Return an option as a JSON value; `_NOT_PLAIN` if that is impossible."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, tuple | list):
        plain = [_plain(each) for each in value]
        return plain if _NOT_PLAIN not in plain else _NOT_PLAIN
    return _NOT_PLAIN
