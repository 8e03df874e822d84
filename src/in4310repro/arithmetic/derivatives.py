"""Error for second derivatives of the kernels' functions, which autograd would silently compute wrongly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

Gradients = TypeVar("Gradients", bound=tuple[Any, ...] | Tensor | None)


def first_only(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Wrap backward() of an autograd.Function so that an attempt to differentiate its results raises an error.

    torch's once_differentiable raises only if the incoming gradient is differentiated. A penalty on gradients,
    as with `create_graph=True`, would silently have no gradient.
    """

    def differentiated(ctx: Any, *gradients: Tensor | None) -> Gradients:
        with torch.no_grad():
            results = backward(ctx, *gradients)
        # Gradients are recorded here only with create_graph=True.
        if not torch.is_grad_enabled():
            return results
        if isinstance(results, tuple):
            return tuple(map(_undifferentiable, results))  # type: ignore[return-value]
        refusing: Gradients = _undifferentiable(results)
        return refusing

    return differentiated


def _undifferentiable(value: Tensor | None) -> Any:
    if value is None:
        return None
    return _Refusal.apply(value.detach().requires_grad_())  # type: ignore[no-untyped-call]


class _Refusal(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(_ctx: Any, *_gradients: Tensor) -> Tensor:
        raise RuntimeError("portable arithmetic has no second derivatives; compute them in native arithmetic")
