"""Weights in files: each is read once, and transferred after checking names, shapes, types and values."""

import hashlib
import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from in4310repro.data.preprocessing import DECIDED_BY_WEIGHTS, METADATA, Preprocessing, from_json
from in4310repro.models.sources import Published
from in4310repro.system.files import read_bytes
from in4310repro.system.tensors import metadata_of, tensors_of

State = dict[str, torch.Tensor]
Head = Callable[[], Set[str]]  # returns the names of the weights whose shape depends on the number of classes


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of a network, with their origin and their preprocessing."""

    source: str  # the file, for messages
    tensors: State | None  # by the network's names, once they are adapted to it; None: all are drawn
    preprocessing: Preprocessing | None = None  # how images are prepared for them; None: the file does not say


def read_content(file: Path, published: Callable[[], Published | None] = lambda: None) -> Weights:
    """Read weights from a .safetensors file, or from a .pth file with a state dict of torch.

    The preprocessing is read from the file's metadata. A file without metadata gets the preprocessing of published
    weights if it has their file name, and if its hash begins with the digits at the end of that name.

    Raises:
        ValueError: the file is not a regular file, is damaged, or does not contain weights.
    """
    data, source, how = read_bytes(file), f"{file}", None
    is_safe = file.suffix == ".safetensors"
    tensors = tensors_of(data, source) if is_safe else _unpickle(data, source)
    if is_safe and (text := metadata_of(data).get(METADATA)) is not None:
        try:
            how = from_json(json.loads(text))
        except (KeyError, TypeError, ValueError) as error:
            valid = f"JSON with {', '.join(DECIDED_BY_WEIGHTS)} is valid"
            raise ValueError(f"{file}: preprocessing in its metadata is {text[:100]}; {valid} ({error})") from None
    elif (known := published()) and known.file and known.file.name == file.name:
        is_known = hashlib.sha256(data).hexdigest().startswith(file.stem.rsplit("-", 1)[1])
        how = known.preprocessing if is_known else None
    return Weights(source=source, tensors=tensors, preprocessing=how)


def _unpickle(data: bytes, file: str) -> State:
    """Return the state dict in a .pth file, by torch's restricted unpickler, which runs no code of the file."""
    stream = io.BytesIO(data)
    try:
        with warnings.catch_warnings(action="ignore"):
            loaded: Any = torch.load(stream, map_location="cpu", weights_only=True)
        damaged = zipfile.ZipFile(stream).testzip() if zipfile.is_zipfile(stream) else None
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


def fit_state(
    initial: State, given: Mapping[str, torch.Tensor], source: str, head: Head | None = None, *, of_file: bool = True
) -> State:
    """Return the weights and buffers of a network, converted to its dtypes.

    Args:
        initial: every weight and buffer of the network.
        given: weights and buffers, as they were saved.
        source: their origin, for the error message.
        head: function that returns the names of the weights whose shape depends on the number of classes. If it is
            given, the last layer keeps its initial weights where `given` has another number of classes, and the
            batch counters of batch norm may be missing.
        of_file: whether `given` was read from a file, which may be truncated.

    Raises:
        ValueError: a key is missing or extra or has a different shape (the message names up to eight of them), or
            a value is unusable, for example not finite, sparse or complex.
    """
    if not given:
        raise ValueError(f"{source} holds no tensors; the weights of the network are valid")
    shapes = {name: tuple(value.shape) for name, value in given.items()}
    expected = {name: tuple(value.shape) for name, value in initial.items()}
    needed = list(expected)
    if head:
        # Tensors of another shape; those of a new head may differ only in the first axis, the number of classes.
        resized = {name for name in expected.keys() & shapes if expected[name] != shapes[name]}
        if resized and all(expected[name][1:] == shapes[name][1:] for name in resized) and resized <= head():
            needed = [name for name in needed if name not in resized]
        # Counters of batches are no weights, and files of old torch versions lack them.
        needed = [name for name in needed if name in given or not name.endswith("num_batches_tracked")]
    mismatches = [f"{name} is missing" for name in needed if name not in given]
    mismatches += [f"{name} is extra" for name in sorted(given) if name not in expected]
    mismatches += [
        f"{name} has shape {shapes[name]} for {expected[name]}"
        for name in needed
        if shapes.get(name, expected[name]) != expected[name]
    ]
    if mismatches:
        more = f" and {len(mismatches) - 8} more" if len(mismatches) > 8 else ""
        raise ValueError(f"{source} does not fit the model: {'; '.join(mismatches[:8])}{more}")
    return initial | {name: _convert(name, given[name], initial[name], source, of_file=of_file) for name in needed}


def _convert(name: str, value: torch.Tensor, expected: torch.Tensor, source: str, *, of_file: bool) -> torch.Tensor:
    """Return a weight or buffer converted to the dtype that the network has for it.

    Raises:
        ValueError: the values are not dense, not finite, or of the wrong kind (whole or floating-point); or all
            are 0, as in a file that was not written completely. Only floating-point weights of a file with two or
            more axes are refused for that, unless they are all 0 in the network too.
    """
    floating = expected.is_floating_point()
    if value.layout != torch.strided or value.is_quantized or value.is_nested:
        problem = f"{name} is a sparse, quantized or nested tensor; dense values are valid"
    elif value.is_meta:
        problem = f"{name} has a shape and no values (device meta); save the weights themselves"
    elif value.is_floating_point() != floating or value.is_complex() or value.dtype == torch.bool:
        kind = "floating-point" if floating else "whole"
        problem = f"{name} holds {str(value.dtype).removeprefix('torch.')}; {kind} numbers are valid"
    else:
        converted = value.to(expected.dtype)
        if wrong := int((~converted.isfinite()).sum()):
            what = "too large for float32" if value.double().isfinite().all() else "nan or infinite"
            problem = f"{wrong} of {value.numel()} values of {name} are {what}"
        elif name.endswith("running_var") and (converted < 0).any():
            problem = f"{name} has values below 0, which no variance is"
        elif of_file and floating and value.ndim > 1 and not converted.any() and (expected.is_meta or expected.any()):
            problem = f"all values of {name} are 0, as in a file that was not written completely"
        else:
            return converted
    raise ValueError(f"{source}: {problem}")
