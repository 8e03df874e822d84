"""Weights in files, each of which is read once."""

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from in4310repro.data.preprocessing import DECIDED_BY_WEIGHTS, METADATA, Preprocessing, from_json
from in4310repro.models.sources import Published
from in4310repro.system.files import bytes_sha256, read_bytes
from in4310repro.system.tensors import Tensors, metadata_of, tensors_of


class Weights(NamedTuple):
    """Weights of a network, with their origin and their preprocessing."""

    source: str  # the file, for messages
    tensors: Tensors | None  # by the network's names, once they are adapted to it; None: all are drawn
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
            raise ValueError(
                f"{file}: preprocessing in its metadata is {text[:100]}; it must be JSON with "
                f"{', '.join(DECIDED_BY_WEIGHTS)} ({error})"
            ) from None
    elif (known := published()) and known.file and known.file.name == file.name:
        how = known.preprocessing if bytes_sha256(data).startswith(file.stem.rsplit("-", 1)[1]) else None
    return Weights(source, tensors, how)


def _unpickle(data: bytes, file: str) -> Tensors:
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
        raise ValueError(
            f"{file} is not a state dict, a dictionary of tensors by name: it holds "
            f"{'keys ' + ', '.join(map(str, loaded))[:80] if isinstance(loaded, Mapping) else type(loaded).__name__}"
        )
    return dict(loaded)


def _why_unreadable(data: bytes, error: Exception) -> str:
    if "TorchScript" in str(error) or "torch.jit" in str(error):
        return "it is a TorchScript archive; a state dict is needed"
    if not data.startswith((b"PK\3\4", b"\x80")):
        return "it is not a file that torch.save writes"
    if isinstance(error, pickle.UnpicklingError) and "Unsupported" in str(error):
        return "it holds Python objects, which could run code; a state dict of tensors alone is needed"
    return "it is cut off or damaged"
