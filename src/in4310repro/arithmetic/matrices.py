"""Linear layer with gradients, and a float64 matrix product, by the compiled kernels. See docs/arithmetic.md."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from in4310repro.arithmetic import convolutions, library, shares
from in4310repro.arithmetic.functions import first_only
from in4310repro.arithmetic.library import Shape


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
        result: Tensor = _Linear.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
        return result
    return _linear(rows, weight, bias)


def _linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    result = torch.empty((len(rows), len(weight)), dtype=torch.float32, device="cpu")
    library.library().call("linear", *rows.shape, len(weight), rows, weight, bias, result)
    return result


class _Linear(torch.autograd.Function):
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
            shape = Shape(images, features, 1, 1, len(weight), 1, 1, 1, 1, 0, 0, 1)
            of_weight = convolutions.weight_gradient(ctx.batch, ctx.weight, shape, rows, gradient)
        if ctx.needs_input_grad[2]:
            of_bias = convolutions.bias_gradient(ctx.batch, gradient)
        return of_rows, of_weight, of_bias


def product(centred: Tensor) -> Tensor:
    """Return centred.T @ centred as float64 [column, column], exactly symmetric, for float64 [row, column].

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
