"""Hashes of tensors, and conversion between tensors and safetensors files with metadata."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from in4310repro.system.files import read_there

Tensors = Mapping[str, torch.Tensor]  # by name


def tensors_sha256(tensors: Tensors) -> str:
    """Return one sha256 of all names, dtypes, shapes and values; device and memory layout have no effect."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def tensor_hashes(tensors: Tensors) -> dict[str, str]:
    """Return a sha256 for each tensor, by name; each hash includes the name."""
    return {name: tensors_sha256({name: value}) for name, value in tensors.items()}


def tensor_bytes(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> bytes:
    """Return tensors as the bytes of a safetensors file; device and memory layout have no effect."""
    stored = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return bytes(safetensors.torch.save(stored, dict(metadata) if metadata else None))


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors in a safetensors file.

    Raises:
        ValueError: the file does not exist, is not a regular file, or is damaged.
    """
    return tensors_of(read_there(path), f"{path}")


def tensors_of(content: bytes, source: str) -> dict[str, torch.Tensor]:
    """Return the tensors that the bytes of a safetensors file contain.

    Raises:
        ValueError: the bytes are damaged; the message names the source.
    """
    try:
        return dict(safetensors.torch.load(content))
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{source} is not a complete safetensors file: {error}") from None


def metadata_of(data: bytes) -> dict[str, str]:
    """Return the metadata in the header of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(data[8 : 8 + length]).get("__metadata__", {}))


def load_state(model: torch.nn.Module, state: Tensors) -> None:
    """Load weights and buffers into a network, in place."""
    # Its own state carries the versions of its modules, which some ask for.
    filled = model.state_dict()
    filled.update(state)
    model.load_state_dict(filled)
