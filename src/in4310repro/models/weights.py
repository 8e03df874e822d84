"""Weights in files: each is read once, and transferred after checking names, shapes, types and values."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from in4310repro.system.files import read_bytes
from in4310repro.system.tensors import metadata_of, tensors_of

State = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Content:
    """Tensors, metadata and hash of a file of weights, or of weights that are not in a file."""

    source: str  # the file, for messages
    tensors: dict[str, torch.Tensor]
    sha256: str  # of the file's bytes; of the tensors where there is no file
    metadata: dict[str, str] = field(default_factory=dict)


def read_content(file: Path) -> Content:
    """Read weights from a .safetensors file, or from a .pth file with a state dict of torch.

    Raises:
        ValueError: the file is not a regular file, is damaged, or does not contain weights.
    """
    data = read_bytes(file)
    sha256 = hashlib.sha256(data).hexdigest()
    if file.suffix == ".safetensors":
        tensors = tensors_of(data, f"{file}")
        return Content(source=f"{file}", tensors=tensors, sha256=sha256, metadata=metadata_of(data))
    return Content(source=f"{file}", tensors=_unpickle(data, file), sha256=sha256)


def _unpickle(data: bytes, file: Path) -> dict[str, torch.Tensor]:
    """Return the state dict in a .pth file, by torch's restricted unpickler, which runs no code of the file."""
    try:
        with warnings.catch_warnings(action="ignore"):
            loaded: Any = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        damaged = _damaged_member(data)
    except Exception as error:
        # torch.load raises a dozen kinds of exception for a corrupt file, and some advise to run its code.
        raise ValueError(f"{file} holds no weights that can be read: {_why_unreadable(data, error)}") from None
    if damaged:
        raise ValueError(f"{file} is damaged: {damaged} has other bytes than were written")
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in loaded.items()
    ):
        held = f"keys {', '.join(map(str, loaded))[:80]}" if isinstance(loaded, Mapping) else type(loaded).__name__
        raise ValueError(f"{file} is no state dict, a dictionary of tensors by name: it holds {held}")
    return dict(loaded)


def _why_unreadable(data: bytes, error: Exception) -> str:
    if "TorchScript" in str(error) or "torch.jit" in str(error):
        return "it is a TorchScript archive; a state dict is valid"
    if not data.startswith((b"PK\3\4", b"\x80")):
        return "it is no file that torch.save writes"
    if isinstance(error, pickle.UnpicklingError) and "Unsupported" in str(error):
        return "it holds Python objects, which could run code; a state dict of tensors alone is valid"
    return "it is cut off or damaged"


def _damaged_member(data: bytes) -> str | None:
    """Return the name of the first file with a wrong checksum in a zip archive.

    The result is None if all files are intact, or if `data` is not a zip archive.
    """
    stream = io.BytesIO(data)
    if not zipfile.is_zipfile(stream):
        return None
    with zipfile.ZipFile(stream) as archive:
        return archive.testzip()


def merge_weights(initial: State, loaded: State, source: str, head: Callable[[], Set[str]]) -> State:
    """Return the loaded weights, with initial weights for the last layer if the number of classes differs.

    Args:
        initial: every weight and buffer of the network.
        loaded: the weights of a file; the batch counters of batch norm may be missing.
        source: the origin of the loaded weights, for the error message.
        head: function that returns the names of the weights whose shape depends on the number of classes.

    Raises:
        ValueError: a key is missing or extra or has a different shape (the message names up to eight of them), or
            a value is unusable, for example not finite, sparse or complex.
    """
    if not loaded:
        raise ValueError(f"{source} holds no tensors; the weights of the network are valid")
    expected, given = _shapes(initial), _shapes(loaded)
    # Tensors of another shape; those of a new head may differ only in the first axis, the number of classes.
    resized = {name for name in expected if name in given and given[name] != expected[name]}
    new_head = head() if resized and all(given[name][1:] == expected[name][1:] for name in resized) else set()
    needed = [name for name in expected if not (resized <= new_head and name in resized)]
    # Counters of batches are no weights, and files of old torch versions lack them.
    needed = [name for name in needed if name in given or not name.endswith("num_batches_tracked")]
    _refuse_mismatches(expected, given, needed, source)
    values = {name: _convert(name, loaded[name], initial[name].dtype, source) for name in needed}
    _refuse_unwritten(values, initial, source)
    return initial | values


def convert_state(expected: State, given: State, source: str, *, of_file: bool) -> State:
    """Return complete weights and buffers, converted to the dtypes of the network.

    Args:
        expected: every weight and buffer of the network.
        given: every weight and buffer, as a run saved them.
        source: the origin of the weights, for the error message.
        of_file: whether `given` was read from a file, which may be truncated.

    Raises:
        ValueError: keys, shapes or values do not fit.
    """
    _refuse_mismatches(_shapes(expected), _shapes(given), list(expected), source)
    converted = {name: _convert(name, value, expected[name].dtype, source) for name, value in given.items()}
    if of_file:
        _refuse_unwritten(converted, expected, source)
    return converted


def _refuse_unwritten(values: State, initial: State, source: str) -> None:
    """Raise ValueError if a weight in `values` has only zeros, as in a file that was not written completely.

    Only floating-point weights with two or more axes are checked. Weights that are all 0 in `initial` too
    are accepted.
    """
    for name, value in values.items():
        begins_with_0 = not initial[name].is_meta and not initial[name].any()
        if value.is_floating_point() and value.ndim > 1 and not value.any() and not begins_with_0:
            raise ValueError(f"{source}: all values of {name} are 0, as in a file that was not written completely")


def _convert(name: str, value: torch.Tensor, dtype: torch.dtype, source: str) -> torch.Tensor:
    """Return a weight or buffer converted to `dtype`, the dtype that the network has for it.

    Raises:
        ValueError: the values are not dense, not finite, or of the wrong kind (whole or floating-point).
    """
    if value.layout != torch.strided or value.is_quantized or value.is_nested:
        raise ValueError(f"{source}: {name} is a sparse, quantized or nested tensor; dense values are valid")
    if value.device.type == "meta":
        raise ValueError(f"{source}: {name} has a shape and no values (device meta); save the weights themselves")
    if value.is_floating_point() != dtype.is_floating_point or value.is_complex() or value.dtype == torch.bool:
        kind = "floating-point" if dtype.is_floating_point else "whole"
        raise ValueError(f"{source}: {name} holds {str(value.dtype).removeprefix('torch.')}; {kind} numbers are valid")
    converted = value.to(dtype)
    if dtype.is_floating_point:
        _refuse_values(name, value, converted, source)
    return converted


def _refuse_values(name: str, value: torch.Tensor, converted: torch.Tensor, source: str) -> None:
    wrong = int((~converted.isfinite()).sum())
    if wrong and bool(value.double().isfinite().all()):
        raise ValueError(f"{source}: {wrong} of {value.numel()} values of {name} are too large for float32")
    if wrong:
        raise ValueError(f"{source}: {wrong} of {value.numel()} values of {name} are nan or infinite")
    if name.endswith("running_var") and bool((converted < 0).any()):
        raise ValueError(f"{source}: {name} has values below 0, which no variance is")


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _refuse_mismatches(
    expected: dict[str, tuple[int, ...]], given: dict[str, tuple[int, ...]], needed: list[str], source: str
) -> None:
    mismatches = [f"{name} is missing" for name in needed if name not in given]
    mismatches += [f"{name} is extra" for name in sorted(given) if name not in expected]
    mismatches += [
        f"{name} has shape {given[name]} for {expected[name]}"
        for name in needed
        if given.get(name, expected[name]) != expected[name]
    ]
    if mismatches:
        more = f" and {len(mismatches) - 8} more" if len(mismatches) > 8 else ""
        raise ValueError(f"{source} does not fit the model: {'; '.join(mismatches[:8])}{more}")
