"""Pooling, and the elementwise sum of maps, by the compiled kernels. Formulas are in docs/arithmetic.md.

Maps are float32 [image, channel, height, width]; results lie in channels_last memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from in4310repro.arithmetic import buffers, library
from in4310repro.arithmetic.functions import Function, check_maps, first_only

Pair = tuple[int, int]


def adaptive_average_pool(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Pool maps [image, channel, height, width] as torch.nn.functional.adaptive_avg_pool2d does."""
    maps = check_maps("maps", maps)
    if min(size) < 1:
        raise ValueError(f"a map cannot be pooled to {size}; valid are two numbers from 1")
    if torch.is_grad_enabled():
        result: Tensor = _AveragePool.apply(maps, size)
        return result
    return _average_pool(maps, size)


def _average_pool(maps: Tensor, size: tuple[int, int]) -> Tensor:
    result = buffers.maps((*maps.shape[:2], *size))
    library.library().call("average_pool", *maps.shape, *size, maps, result)
    return result


class _AveragePool(Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: tuple[int, int]) -> Tensor:
        ctx.shape, ctx.size = maps.shape, size
        return _average_pool(maps, size)

    @staticmethod
    @first_only
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        result = buffers.maps(ctx.shape)
        library.library().call("average_pool_backward", *ctx.shape, *ctx.size, gradient, result)
        return result, None


def max_pool(maps: Tensor, kernel: Pair, stride: Pair, padding: Pair, round_up: bool = False) -> Tensor:
    """Pool maps [image, channel, height, width] with the same result, to the bit, as torch's max_pool2d.

    Raises:
        ValueError: the padding is more than half the kernel, or the kernel does not fit.
    """
    maps = check_maps("maps", maps)
    sides = zip(maps.shape[2:], kernel, stride, padding, strict=True)
    rows, columns = (_windows(*side, round_up) for side in sides)
    sizes = (*maps.shape, rows, columns, *kernel, *stride, *padding)
    if torch.is_grad_enabled():
        result: Tensor = _MaxPool.apply(maps, sizes)
        return result
    return _max_pool(maps, sizes, None)


def _windows(size: int, kernel: int, stride: int, padding: int, round_up: bool) -> int:
    """Return the number of pooling windows along an axis of `size` values.

    If `round_up` is True, a last window that does not fit completely is counted too. It is not counted if it
    begins in the padding after the values.
    """
    if not 0 <= 2 * padding <= kernel or stride < 1 or size + 2 * padding < kernel:
        raise ValueError(
            f"a window of {kernel}, stride {stride}, padding {padding} on {size}; valid are windows that fit, "
            "strides from 1 and paddings from 0 to half of the window"
        )
    room = size + 2 * padding - kernel
    windows = -(-room // stride) + 1 if round_up else room // stride + 1
    return windows - (round_up and (windows - 1) * stride >= size + padding)


def _max_pool(maps: Tensor, sizes: tuple[int, ...], places: Tensor | None) -> Tensor:
    result = buffers.maps((*sizes[:2], *sizes[4:6]))
    library.library().call("max_pool", *sizes, maps, result, None if places is None else places.view(torch.int32))
    return result


class _MaxPool(Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, sizes: tuple[int, ...]) -> Tensor:
        # 32-bit indices stored as floats; no arithmetic is done on them.
        places = buffers.maps((*sizes[:2], *sizes[4:6]))
        ctx.sizes = sizes
        ctx.save_for_backward(places)
        return _max_pool(maps, sizes, places)

    @staticmethod
    @first_only
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        result = buffers.maps(ctx.sizes[:4])
        library.library().call("max_pool_backward", *ctx.sizes, gradient, places.view(torch.int32), result)
        return result, None


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
    if torch.is_grad_enabled():
        result: Tensor = _Sum.apply(first, second)
        return result
    return _add(first, second)


def _add(first: Tensor, second: Tensor) -> Tensor:
    result = buffers.maps(first.shape)
    library.library().call("add", first.numel(), first, second, result)
    return result


class _Sum(Function):
    @staticmethod
    def forward(_ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        return _add(first, second)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, gradient


class _Fork(Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        return maps.view_as(maps), maps.view_as(maps)

    @staticmethod
    def backward(_ctx: Any, first: Tensor | None, second: Tensor | None) -> Tensor | None:
        if first is None or second is None:
            return second if first is None else first
        return add(first, second)
