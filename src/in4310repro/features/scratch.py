"""Working memory that is used again: fresh pages cost more than the arithmetic done in them."""

import torch
from torch import Tensor


class Scratch:
    """One buffer for each type and device, as long as the longest request so far."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def like(self, values: Tensor) -> Tensor:
        """Memory of the shape, type, device and layout of `values`, holding anything; good until the next call."""
        key = (values.dtype, values.device)
        if key not in self._buffers or self._buffers[key].numel() < values.numel():
            self._buffers[key] = values.new_empty(values.numel())
        strides = torch.empty_like(values, device="meta").stride()
        return self._buffers[key].as_strided(values.shape, strides)
