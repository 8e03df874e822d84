"""Packing tensors and JSON values together into one flat dictionary of tensors, as safetensors stores it."""

import json
from collections.abc import Mapping
from typing import TypedDict

import torch
from torch import Tensor

from in4310repro.features.stream import StreamState

METADATA = "metadata"  # a JSON text as uint8


class StreamEntry(TypedDict):
    """The stream of one module, call and path of a nested output; its tensors have its position as their prefix."""

    module: str
    call: int
    path: str
    state: StreamState


class StateMetadata(TypedDict):
    """The part of a state that is not tensors."""

    settings: dict[str, object]  # what must be equal for the state to be loaded
    streams: list[StreamEntry]


def pack(metadata: StateMetadata, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Independent copies of the tensors in the host's memory, and the metadata as one more tensor."""
    text = torch.frombuffer(bytearray(json.dumps(metadata).encode()), dtype=torch.uint8)
    copies = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    return copies | {METADATA: text}


def unpack(state: Mapping[str, Tensor], device: torch.device) -> tuple[StateMetadata, dict[str, Tensor]]:
    """Metadata and tensors of a packed dictionary, the tensors copied to a device.

    Raises:
        ValueError: the dictionary was not made by `pack`.
    """
    if METADATA not in state:
        raise ValueError(f"no entry {METADATA!r} in a state of {sorted(state)}; it was not made by state_dict")
    metadata: StateMetadata = json.loads(bytes(state[METADATA].cpu().tolist()))
    return metadata, {key: value.to(device, copy=True) for key, value in state.items() if key != METADATA}


def tensors_of_stream(tensors: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """Return the tensors of the stream at a position, under the names that its accumulator gave them."""
    prefix = f"{index}."
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
