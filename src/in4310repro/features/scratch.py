"""Working memory that is used again: fresh pages cost more than the arithmetic done in them."""

import torch
from torch import Tensor


class Scratch:
    """One buffer for each type and device, as long as the longest request so far."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def flat(self, values: Tensor) -> Tensor:
        """Memory for as many values of the same type and device, holding anything; good until the next call."""
        key = (values.dtype, values.device)
        buffer = self._buffers.get(key)
        if buffer is None or buffer.numel() < values.numel():
            buffer = self._buffers[key] = values.new_empty(values.numel())
        return buffer[: values.numel()]

    def like(self, values: Tensor) -> Tensor:
        """The same in the shape and layout of `values`."""
        return self.flat(values).as_strided(values.shape, torch.empty_like(values, device="meta").stride())
