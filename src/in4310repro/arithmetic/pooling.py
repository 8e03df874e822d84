"""Pooling, and the elementwise sum of maps, by the compiled kernels. Formulas are in docs/arithmetic.md.

Maps are float32 [image, channel, height, width]; results lie in channels_last memory.
"""

from typing import Any

import torch
from torch import Tensor

from in4310repro.arithmetic import buffers, library
from in4310repro.arithmetic.functions import Function, check_maps
from in4310repro.arithmetic.library import Maybe

Pair = tuple[int, int]


def adaptive_average_pool(maps: Tensor, size: Pair) -> Tensor:
    """Pool maps [image, channel, height, width] as torch.nn.functional.adaptive_avg_pool2d does."""
    maps = check_maps("maps", maps)
    if min(size) < 1:
        raise ValueError(f"a map cannot be pooled to {size}; it must be two numbers from 1")
    return _AveragePool.apply(maps, size)


class _AveragePool(Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: Pair) -> Tensor:
        ctx.sizes = *maps.shape, *size
        return library.call("average_pool", *ctx.sizes, maps, buffers.maps((*maps.shape[:2], *size)))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return library.call("average_pool_backward", *ctx.sizes, gradient, buffers.maps(ctx.sizes[:4])), None


def max_pool(maps: Tensor, kernel: Pair, stride: Pair, padding: Pair, round_up: bool = False) -> Tensor:
    """Pool maps [image, channel, height, width] with the same result, to the bit, as torch's max_pool2d.

    Raises:
        ValueError: the padding is more than half the kernel, or the kernel does not fit.
    """
    maps = check_maps("maps", maps)
    sides = zip(maps.shape[2:], kernel, stride, padding, strict=True)
    rows, columns = (_windows(*side, round_up) for side in sides)
    sizes = (*maps.shape, rows, columns, *kernel, *stride, *padding)
    return _MaxPool.apply(maps, sizes)


def _windows(size: int, kernel: int, stride: int, padding: int, round_up: bool) -> int:
    """Return the number of pooling windows along an axis of `size` values.

    If `round_up` is True, a last window that does not fit completely is counted too. It is not counted if it
    begins in the padding after the values.
    """
    if not 0 <= 2 * padding <= kernel or stride < 1 or size + 2 * padding < kernel:
        raise ValueError(
            f"a window of {kernel}, stride {stride}, padding {padding} on {size}; windows must fit, "
            "strides be 1 or more and paddings 0 to half of the window"
        )
    room = size + 2 * padding - kernel
    windows = -(-room // stride) + 1 if round_up else room // stride + 1
    return windows - (round_up and (windows - 1) * stride >= size + padding)


class _MaxPool(Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, sizes: tuple[int, ...]) -> Tensor:
        result = buffers.maps((*sizes[:2], *sizes[4:6]))
        # 32-bit indices.
        places = buffers.maps(result.shape).view(torch.int32) if ctx.needs_input_grad[0] else None
        ctx.sizes = sizes
        ctx.save_for_backward(places)
        library.call("max_pool", *sizes, maps, result, places)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        result = buffers.maps(ctx.sizes[:4])
        return library.call("max_pool_backward", *ctx.sizes, gradient, *ctx.saved_tensors, result), None


def fork(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the maps twice, for two branches of a network.

    In the backward pass, a kernel of this package adds the gradients of the two copies.
    """
    if not (torch.is_grad_enabled() and maps.requires_grad):
        return maps, maps
    maps = check_maps("maps", maps)
    first, second = _Fork.apply(maps)
    return first, second


def add(first: Tensor, second: Tensor) -> Tensor:
    """Return the elementwise sum of two maps [image, channel, height, width] of equal shape."""
    first = check_maps("first maps", first)
    second = library.check("second maps", second, torch.float32, first.shape)
    return _Sum.apply(first, second)


class _Sum(Function):
    once = False

    @staticmethod
    def forward(_ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        return library.call("add", first.numel(), first, second, buffers.maps(first.shape))

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, gradient


class _Fork(Function):
    once = False

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        return maps.view_as(maps), maps.view_as(maps)

    @staticmethod
    def backward(_ctx: Any, first: Maybe, second: Maybe) -> Maybe:
        if first is None or second is None:
            return second if first is None else first
        return add(first, second)
