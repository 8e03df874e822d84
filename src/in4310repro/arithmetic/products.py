"""Convolutions, linear layers and matrix products by the compiled kernels, with gradients. See docs/arithmetic.md."""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from in4310repro.arithmetic import buffers, functions, library, shares, tree
from in4310repro.arithmetic.functions import Function
from in4310repro.arithmetic.library import Maybe, Shape

Pair = tuple[int, int]
Padding = tuple[int | Pair, int | Pair]
Gradients = tuple[Maybe, Maybe, Maybe]  # of maps or rows, weight and bias


@functools.lru_cache(maxsize=1024)
def shape_of(
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
        raise ValueError(f"maps {sizes}, weight {weight}; each must have four sizes from 1")
    if sizes[1] != weight[1] * groups or weight[0] % groups:
        raise ValueError(
            f"maps of {sizes[1]} channels, weight {weight}, {groups} groups; channels must be {weight[1]} x groups "
            "and outputs must be divisible by groups"
        )
    ends = [each if isinstance(each, tuple) else (each, each) for each in padding]
    if [len(each) for each in ends] != [2, 2]:
        raise ValueError(f"padding {padding}; it must be (rows, columns) or ((top, bottom), (left, right))")
    if min(stride) < 1 or min(map(min, ends)) < 0:
        raise ValueError(f"stride {stride}, padding {padding}; strides must be 1 or more and paddings 0 or more")
    shape = Shape(*sizes, weight[0], *weight[2:], *stride, *ends[0], *ends[1], groups)
    if sizes[2] + sum(ends[0]) < weight[2] or sizes[3] + sum(ends[1]) < weight[3]:
        raise ValueError(f"a kernel {weight[2:]} over maps {sizes[2:]} with padding {padding}; it must fit into them")
    return shape


def result_sizes(shape: Shape) -> tuple[int, int, int, int]:
    """Return the sizes of a convolution's result [image, output, row, column]."""
    return shape.images, shape.outputs, shape.rows, shape.columns


def convolution(
    maps: Tensor,
    weight: Tensor,
    bias: Maybe = None,
    stride: Pair = (1, 1),
    padding: Padding = (0, 0),
    groups: int = 1,
    norm: functions.Norm | None = None,
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
        norm: the arguments of `functions.batch_norm` to apply to the result. With gradients, both are one function of
            autograd; without, both are computed in one pass if statistics are fixed and there is no second map.

    Raises:
        ValueError: dtypes or shapes are wrong.
    """
    sizes, kernel = tuple(maps.shape), tuple(weight.shape)
    shape = shape_of(sizes, kernel, tuple(stride), tuple(padding), groups)
    maps = library.check("maps", maps, torch.float32, sizes).contiguous(memory_format=torch.channels_last)
    weight = library.check("weight", weight, torch.float32, kernel)
    bias = library.check("bias", bias, torch.float32, kernel[:1])
    checked: Any = functions.check_norm(result_sizes(shape), norm) if norm else ()
    if norm and not (torch.is_grad_enabled() or norm.training) and norm.other is None:
        scale, shift, _, norm = checked
        return _forward(maps, weight, bias, shape, True, functions.coefficients(scale, shift, norm), norm.form)
    return _Convolution.apply(maps, weight, bias, shape, *checked)


def _forward(
    maps: Tensor, weight: Tensor, bias: Maybe, shape: Shape, evaluates: bool, norm: Maybe = None, form: int = 0
) -> Tensor:
    kept = None
    if evaluates:
        room, kept = buffers.room_for(weight, groups=shape.groups), _KEPT.get(weight)  # type: ignore[no-untyped-call]
        if kept is None or len(kept) != room:
            kept = _KEPT[weight] = buffers.memory_for_packed(room)
    room, result = 0 if kept is None else len(kept), buffers.maps(result_sizes(shape))
    return library.call("convolution", shape, room, maps, weight, bias, norm, form, kept, result)


# Weight of a convolution -> what the kernel packed in evaluation. The kernel packs again when a hash of the weights has
# changed: no edit goes unnoticed.
_KEPT = WeakTensorKeyDictionary()


class _Convolution(Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Maybe, shape: Shape, *norm: Any) -> Tensor:
        between = result = _forward(maps, weight, bias, shape, isinstance(ctx, functions.Unrecorded))
        saved: tuple[Maybe, ...] = ()
        if norm:
            scale, shift, other, ctx.norm = norm
            result, statistics = functions.normalise(between, *norm)
            saved = bias, between, scale, shift, None if other is None else result, statistics
        ctx.shape, ctx.weight, ctx.batch = shape, weight, shares.current()
        ctx.save_for_backward(maps, weight, *saved)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Maybe, ...]:
        maps, weight, *saved = ctx.saved_tensors
        others: list[Maybe] = []
        gradient = library.as_plain("maps", gradient).contiguous(memory_format=torch.channels_last)
        if saved:
            gradient, *others = functions.normalise_backward(ctx.batch, gradient, saved[1:], ctx.norm)
        return *_gradients(ctx, maps, weight, gradient), None, *others, None


def _gradients(ctx: Any, inputs: Tensor, weight: Tensor, gradient: Tensor) -> Gradients:
    """Return those gradients of a layer's inputs, weight and bias that are needed, from that of its result.

    They are sums over the whole batch. With several processes the weight's is None: `finish` stores it in `.grad`.
    """
    batch, of_inputs, of_weight, of_bias = ctx.batch, None, None, None
    if ctx.needs_input_grad[0] and inputs.ndim == 4:
        of_inputs = library.call("convolution_backward", ctx.shape, gradient, weight, buffers.maps(inputs.shape))
    elif ctx.needs_input_grad[0]:
        sizes, result = (*inputs.shape, len(weight)), buffers.empty(*inputs.shape)
        of_inputs = library.call("linear_rows_gradient", *sizes, gradient, weight, result)
    if ctx.needs_input_grad[1]:
        whole, parts = batch.images_of_batch(len(inputs)), batch.parts(ctx.weight)
        for images, result in parts:
            shape, given = ctx.shape, (inputs, gradient)
            if batch.is_shared:
                shape, given = Shape.from_buffer_copy(shape), (inputs[images], gradient[images])
                shape.images = len(given[0])
            library.call("weight_gradient", shape, whole, *given, result)
        of_weight = None if batch.is_shared else parts[0][1]
    if ctx.needs_input_grad[2]:
        images, outputs = gradient.shape[:2]
        rows = tree.rows(images, 2 * outputs)
        library.call("bias_leaves", images, gradient[0, 0].numel(), outputs, gradient, rows)
        of_bias = tree.quotients(batch.total(rows)[:outputs])
    return of_inputs, of_weight, of_bias


def linear(rows: Tensor, weight: Tensor, bias: Maybe = None) -> Tensor:
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
        raise ValueError(f"{shapes}; they must be [image, feature] and [output, feature], none of them 0")
    rows = library.check("rows", rows, torch.float32, rows.shape)
    weight = library.check("weight", weight, torch.float32, weight.shape)
    return _Linear.apply(rows, weight, library.check("bias", bias, torch.float32, weight.shape[:1]))


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Maybe) -> Tensor:
        ctx.weight, ctx.batch = weight, shares.current()
        ctx.save_for_backward(rows, weight)
        result = buffers.empty(len(rows), len(weight))
        return library.call("linear", *rows.shape, len(weight), rows, weight, bias, result)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Gradients:
        rows, weight = ctx.saved_tensors
        ctx.shape = Shape(*rows.shape, 1, 1, len(weight), 1, 1, 1, 1, 0, 0, 0, 0, 1)
        return _gradients(ctx, rows, weight, gradient.contiguous())


def product(centred: Tensor) -> Tensor:
    """Return centred.T @ centred as float64, exactly symmetric. `centred` is a float64 matrix [row, column].

    Rows are divided into segments of 32. Each segment is summed by fused multiply-adds, starting from 0. The sums
    of the segments are then added in order.

    Raises:
        ValueError: the dtype is wrong, or the values are not a matrix with at least one column.
    """
    if centred.ndim != 2 or not centred.shape[1]:
        raise ValueError(f"a product of {tuple(centred.shape)}; it must be [row, column] with a column or more")
    values = library.check("rows of a product", centred, torch.float64, centred.shape)
    columns = centred.shape[1]
    return library.call("product", *centred.shape, values, buffers.empty(columns, columns, dtype=torch.float64))
