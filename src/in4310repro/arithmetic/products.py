"""Convolutions, linear layers and matrix products by the compiled kernels, with gradients. See docs/arithmetic.md."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from in4310repro.arithmetic import buffers, functions, library, products, shares, tree
from in4310repro.arithmetic.functions import Function, first_only
from in4310repro.arithmetic.library import Shape

Pair = tuple[int, int]
Padding = tuple[int | Pair, int | Pair]
Sizes = tuple[int, int, int, int, int, int, int, int, int, int, int, int]


@functools.lru_cache(maxsize=1024)
def _shape(
    sizes: tuple[int, ...],
    weight: tuple[int, ...],
    stride: Pair,
    padding: tuple[int | tuple[int, ...], ...],
    groups: int,
) -> Shape:
    """Check that maps, weight, stride, padding and groups of a convolution fit together; return them as a Shape.

    Raises:
        ValueError: the sizes do not fit together.
    """
    if len(sizes) != 4 or len(weight) != 4 or 0 in sizes or 0 in weight:
        raise ValueError(f"maps {sizes}, weight {weight}; valid are four sizes from 1 each")
    if sizes[1] != weight[1] * groups or weight[0] % groups:
        raise ValueError(
            f"maps of {sizes[1]} channels, weight {weight}, {groups} groups; valid are channels = {weight[1]} x groups "
            "and outputs divisible by groups"
        )
    ends = [each if isinstance(each, tuple) else (each, each) for each in padding]
    if [len(each) for each in ends] != [2, 2]:
        raise ValueError(f"padding {padding}; valid are (rows, columns) and ((top, bottom), (left, right))")
    if min(stride) < 1 or min(map(min, ends)) < 0:
        raise ValueError(f"stride {stride}, padding {padding}; valid are strides from 1 and paddings from 0")
    shape = Shape(*sizes, weight[0], *weight[2:], *stride, *ends[0], *ends[1], groups)
    if sizes[2] + sum(ends[0]) < weight[2] or sizes[3] + sum(ends[1]) < weight[3]:
        raise ValueError(f"a kernel {weight[2:]} over maps {sizes[2:]} with padding {padding}; it must fit into them")
    return shape


def _result_sizes(shape: Shape) -> tuple[int, int, int, int]:
    return shape.images, shape.outputs, shape.rows, shape.columns


def convolution(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Padding = (0, 0),
    groups: int = 1,
) -> Tensor:
    """Convolve maps as torch.nn.functional.conv2d does; the result has channels_last memory layout.

    Args:
        maps: float32 [image, channel, height, width].
        weight: float32 [output, channel of its group, kernel height, kernel width].
        bias: float32 [output] or None.
        stride: strides of rows and of columns.
        padding: number of zero rows above and below, and of zero columns left and right. Each is one number for both
            ends or a pair of numbers, as in ((top, bottom), (left, right)).
        groups: number of groups into which channels and outputs are divided.

    Raises:
        ValueError: dtypes or shapes are wrong.
    """
    shape, maps, weight, bias = _check(maps, weight, bias, stride, padding, groups)
    if torch.is_grad_enabled():
        result: Tensor = _Convolution.apply(maps, weight, bias, shape)
        return result
    return _forward(maps, weight, bias, shape)


@torch.no_grad()
def convolve_and_normalise(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Padding,
    groups: int,
    coefficients: Tensor,
    activation: str,
) -> Tensor:
    """Return activation(batch_norm(convolution(maps))) in one pass, with batch norm in evaluation mode.

    Args:
        maps: as in `convolution`.
        weight: as in `convolution`.
        bias: as in `convolution`.
        stride: as in `convolution`.
        padding: as in `convolution`.
        groups: as in `convolution`.
        coefficients: the result of `functions.coefficients` for the output channels.
        activation: "none", "relu" or "relu6".

    Returns:
        The output maps. Gradients cannot be computed through them.

    Raises:
        ValueError: dtypes or shapes are wrong, or the activation is unknown.
    """
    shape, maps, weight, bias = _check(maps, weight, bias, stride, padding, groups)
    coefficients = library.check("coefficients", coefficients, torch.float32, (3, shape.outputs))
    return _forward(maps, weight, bias, shape, coefficients, functions.form_of(activation))


def normalised_convolution(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Padding,
    groups: int,
    norm: Mapping[str, Any],
) -> Tensor:
    """Return batch_norm(convolution(maps)) as one function with gradients: one call by autograd instead of two.

    Args:
        maps: as in `convolution`.
        weight: as in `convolution`.
        bias: as in `convolution`.
        stride: as in `convolution`.
        padding: as in `convolution`.
        groups: as in `convolution`.
        norm: the arguments of `functions.batch_norm` after the maps, by name.

    Raises:
        ValueError: dtypes or shapes are wrong, or the activation is unknown.
    """
    shape, maps, weight, bias = _check(maps, weight, bias, stride, padding, groups)
    scale, shift, other, settings = functions.check_norm(_result_sizes(shape), **norm)
    result: Tensor = _NormalisedConvolution.apply(maps, weight, bias, scale, shift, other, shape, settings)
    return result


def _check(
    maps: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Padding, groups: int
) -> tuple[Shape, Tensor, Tensor, Tensor | None]:
    """Check the arguments of a convolution; return its sizes and the checked maps, weight and bias."""
    ends = tuple(padding)
    sizes, kernel = tuple(maps.shape), tuple(weight.shape)
    shape = _shape(sizes, kernel, tuple(stride), ends, groups)
    maps = library.check("maps", maps, torch.float32, sizes).contiguous(memory_format=torch.channels_last)
    weight = library.check("weight", weight, torch.float32, kernel)
    if bias is not None:
        bias = library.check("bias", bias, torch.float32, kernel[:1])
    return shape, maps, weight, bias


def _rows(values: Tensor) -> Tensor:
    return library.as_plain("maps", values).contiguous(memory_format=torch.channels_last)


def _forward(
    maps: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape, norm: Tensor | None = None, form: int = 0
) -> Tensor:
    result = buffers.maps(_result_sizes(shape))
    library.library().call("convolution", shape, maps, weight, bias, norm, form, result)
    return result


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.shape, ctx.weight, ctx.batch = shape, weight, shares.current()
        return _forward(maps, weight, bias, shape)

    @staticmethod
    @first_only
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        maps, weight = ctx.saved_tensors
        return *_gradients(ctx, maps, weight, _rows(gradient)), None


class _NormalisedConvolution(Function):
    @staticmethod
    def forward(
        ctx: Any,
        maps: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        scale: Tensor | None,
        shift: Tensor | None,
        other: Tensor | None,
        shape: Shape,
        settings: functions.Settings,
    ) -> Tensor:
        between = _forward(maps, weight, bias, shape)
        result, statistics = functions.normalise(between, scale, shift, other, settings)
        ctx.shape, ctx.settings, ctx.weight, ctx.batch = shape, settings, weight, shares.current()
        ctx.save_for_backward(maps, weight, bias, between, scale, shift, None if other is None else result, statistics)
        return result

    @staticmethod
    @first_only
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, _bias, *saved = ctx.saved_tensors
        of_between, *others = functions.normalise_backward(ctx.batch, gradient, saved, ctx.settings)
        return *_gradients(ctx, maps, weight, of_between), *others, None, None


def _gradients(
    ctx: Any, maps: Tensor, weight: Tensor, gradient: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of a convolution's maps, weight and bias that are needed, from that of its result."""
    of_maps = of_weight = of_bias = None
    if ctx.needs_input_grad[0]:
        of_maps = buffers.maps(maps.shape)
        library.library().call("convolution_backward", ctx.shape, gradient, weight, of_maps)
    if ctx.needs_input_grad[1]:
        of_weight = weight_gradient(ctx.batch, ctx.weight, ctx.shape, maps, gradient)
    if ctx.needs_input_grad[2]:
        of_bias = bias_gradient(ctx.batch, gradient)
    return of_maps, of_weight, of_bias


def weight_gradient(batch: shares.Whole, weight: Tensor, shape: Shape, maps: Tensor, gradient: Tensor) -> Tensor | None:
    """Return a weight's gradient, summed over the whole batch.

    `maps` are the inputs of the layer and `gradient` is the gradient of its output, for the images of this
    process. With several processes, the result is None. In this case `batch.finish` stores the weight's gradient
    in its `.grad`.
    """

    def compute(images: range, whole: int, result: Tensor) -> None:
        part, of_images = shape, (maps, gradient)
        if len(images) < shape.images:
            part = Shape.from_buffer_copy(shape)
            part.images = len(images)
            of_images = maps[images.start : images.stop], gradient[images.start : images.stop]
        library.library().call("weight_gradient", part, whole, *of_images, result)

    return batch.weight_gradient(weight, shape.images, compute)


def bias_gradient(batch: shares.Whole, gradient: Tensor) -> Tensor:
    """Return a bias's gradient, summed over the whole batch.

    `gradient` [image, output, ...] is the gradient of the layer's output for the images of this process.
    """
    images, outputs = gradient.shape[:2]
    positions = gradient[0, 0].numel()
    rows = tree.rows(images, 2 * outputs)
    library.library().call("bias_leaves", images, positions, outputs, gradient, rows)
    return tree.quotients(batch.total(rows)[:outputs])


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return rows @ weight.T + bias, as torch.nn.functional.linear does.

    Args:
        rows: float32 [image, feature].
        weight: float32 [output, feature].
        bias: float32 [output] or None.

    Returns:
        float32 [image, output].

    Raises:
        ValueError: dtypes or shapes are wrong.
    """
    if rows.ndim != 2 or weight.ndim != 2 or rows.shape[1] != weight.shape[1] or not rows.numel() * weight.numel():
        shapes = f"rows {tuple(rows.shape)}, weight {tuple(weight.shape)}"
        raise ValueError(f"{shapes}; valid are [image, feature] and [output, feature], none of them 0")
    rows = library.check("rows", rows, torch.float32, rows.shape)
    weight = library.check("weight", weight, torch.float32, weight.shape)
    if bias is not None:
        bias = library.check("bias", bias, torch.float32, weight.shape[:1])
    if torch.is_grad_enabled():
        result: Tensor = _Linear.apply(rows, weight, bias)
        return result
    return _linear(rows, weight, bias)


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    result = torch.empty((len(rows), len(weight)), dtype=torch.float32, device="cpu")
    library.library().call("linear", *rows.shape, len(weight), rows, weight, bias, result)
    return result


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight, ctx.batch = weight, shares.current()
        ctx.save_for_backward(rows, weight)
        return _linear(rows, weight, bias)

    @staticmethod
    @first_only
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        gradient, kernels, (images, features) = gradient.contiguous(), library.library(), rows.shape
        of_rows = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            of_rows = torch.empty((images, features), dtype=torch.float32, device="cpu")
            kernels.call("linear_rows_gradient", images, features, len(weight), gradient, weight, of_rows)
        if ctx.needs_input_grad[1]:
            shape = Shape(images, features, 1, 1, len(weight), 1, 1, 1, 1, 0, 0, 0, 0, 1)
            of_weight = products.weight_gradient(ctx.batch, ctx.weight, shape, rows, gradient)
        if ctx.needs_input_grad[2]:
            of_bias = products.bias_gradient(ctx.batch, gradient)
        return of_rows, of_weight, of_bias


def product(centred: Tensor) -> Tensor:
    """Return centred.T @ centred as float64, exactly symmetric. `centred` is a float64 matrix [row, column].

    Rows are divided into segments of 32. Each segment is summed by fused multiply-adds, starting from 0. The sums
    of the segments are then added in order.

    Raises:
        ValueError: the dtype is wrong, or the values are not a matrix with at least one column.
    """
    if centred.ndim != 2 or not centred.shape[1]:
        raise ValueError(f"a product of {tuple(centred.shape)}; valid is [row, column] with a column or more")
    values = library.rows("rows of a product", centred, centred.shape, torch.float64)
    result = torch.empty((centred.shape[1], centred.shape[1]), dtype=torch.float64, device="cpu")
    library.library().call("product", *centred.shape, values, result)
    return result
