"""Packing of tensors and JSON values into one flat dictionary of tensors, as safetensors stores it."""

import json
from collections.abc import Mapping
from typing import TypedDict

import torch
from torch import Tensor

from in4310repro.features.stream import StreamState

METADATA = "metadata"  # a JSON text as uint8


class StreamEntry(TypedDict):
    """State of one stream (the statistics of one output tensor), with its module, call and path."""

    module: str
    call: int
    path: str
    state: StreamState


class StateMetadata(TypedDict):
    """All parts of a state except its tensors, as JSON values."""

    settings: dict[str, object]  # what must be equal for the state to be loaded
    streams: list[StreamEntry]


def pack(metadata: StateMetadata, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of the tensors in host memory, with the metadata stored as one more tensor."""
    text = torch.frombuffer(bytearray(json.dumps(metadata).encode()), dtype=torch.uint8)
    copies = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    return copies | {METADATA: text}


def unpack(state: Mapping[str, Tensor], device: torch.device) -> tuple[StateMetadata, dict[str, Tensor]]:
    """Return the metadata and the tensors of a packed dictionary, with the tensors copied to a device.

    Raises:
        ValueError: the dictionary was not made by `pack`.
    """
    if METADATA not in state:
        raise ValueError(f"no entry {METADATA!r} in a state of {sorted(state)}; it was not made by state_dict")
    metadata: StateMetadata = json.loads(bytes(state[METADATA].cpu().tolist()))
    return metadata, {key: value.to(device, copy=True) for key, value in state.items() if key != METADATA}


def tensors_of_stream(tensors: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """Return the tensors of one stream, by its position in the state, with the prefix removed from their names."""
    prefix = f"{index}."
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
