"""Dropout whose masks depend on seed, step, layer, image and element alone. The formula is in docs/arithmetic.md."""

import math
from typing import Any

import torch
from torch import Tensor

from in4310repro.arithmetic import buffers, library, shares
from in4310repro.arithmetic.functions import Function


def dropout(values: Tensor, share: float, axes: int | None = None) -> Tensor:
    """Return values [image, ...] of which a share is multiplied by 0, and the others by 1 / (1 - share).

    A call takes one number of torch's random generator. Where an image is in its batch does not matter within a
    `with` block of a `shares.Whole` or `Share` that was given the images' identities.

    Args:
        values: float32 values of each image.
        share: in [0, 1].
        axes: None to draw each value by itself. To draw channels of [image, channel, ...], the number of axes.

    Raises:
        ValueError: the share is not in [0, 1], the values have another number of axes or dtype, or their first axis
            does not have the batch's images.
    """
    values = library.check("values of dropout", values, torch.float32, values.shape)
    if not 0 <= share <= 1:
        raise ValueError(f"dropout with p={share}; it must be in [0, 1]")
    if values.ndim != (axes or values.ndim or 1):
        raise ValueError(f"dropout of values of shape {tuple(values.shape)}; they must have {axes or '1 or more'} axes")
    # To draw is an operation of torch, and those are checked in networks.
    with torch._C._DisableTorchDispatch():
        identities = shares.current().identities(len(values))
        # torch's generator begins from the lower 32 bits of its seed.
        key = torch.initial_seed() ^ int(torch.empty((), dtype=torch.int64, device="cpu").random_())
    shape = values.shape
    rows, channels = (math.prod(shape[2:]), shape[1]) if axes else (1, math.prod(shape[1:]))
    if axes:
        values = values.reshape(shape[0], channels, rows, 1)
    sizes, scale = (shape[0], rows, channels), 1 / (1 - share) if share < 1 else 0.0
    return _Dropout.apply(values, (*sizes, identities, key, int(share * 2**32), scale)).reshape(shape)


class _Dropout(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, drawn: tuple[Any, ...]) -> Tensor:
        ctx.drawn = drawn
        return library.call("dropout", *drawn, values, buffers.maps(values.shape))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return library.call("dropout", *ctx.drawn, gradient, buffers.maps(gradient.shape)), None
