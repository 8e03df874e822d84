"""Content of a file of weights, read once, so that tensors, metadata and hash belong to the same bytes."""

from __future__ import annotations

import hashlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from in4310repro.system.files import read_bytes
from in4310repro.system.tensors import metadata_of, tensors_of


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
    """Return the name of the first damaged part of a zip archive, found by its checksum; None if all are intact."""
    stream = io.BytesIO(data)
    if not zipfile.is_zipfile(stream):
        return None
    with zipfile.ZipFile(stream) as archive:
        return archive.testzip()
