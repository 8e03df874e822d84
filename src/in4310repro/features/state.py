"""One flat dictionary of tensors, as safetensors wants it, for tensors and plain numbers together."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

NUMBERS = "numbers"  # a JSON text as uint8


def joint(numbers: dict[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Independent copies of the tensors in the host's memory, and the numbers as one more."""
    text = torch.frombuffer(bytearray(json.dumps(numbers).encode()), dtype=torch.uint8)
    copies = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
    return copies | {NUMBERS: text}


def split(state: Mapping[str, Tensor], device: torch.device) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Numbers and tensors of a joint dictionary, the tensors copied to a device.

    Raises:
        ValueError: the dictionary was not made by `joint`.
    """
    if NUMBERS not in state:
        raise ValueError(f"no entry {NUMBERS!r} in a state of {sorted(state)}; it was not made by state_dict")
    numbers = json.loads(bytes(state[NUMBERS].cpu().tolist()))
    return numbers, {key: value.to(device, copy=True) for key, value in state.items() if key != NUMBERS}
