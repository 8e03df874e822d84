"""The three optimizers, with the same bits on Intel and AMD processors, and the schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from in4310repro.config import OptimizerSetting


def build(setting: OptimizerSetting, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of a setting.

    Args:
        setting: the kind (`AdamW`, `RMSprop` or `SGD`), learning rate, weight decay and momentum, which SGD alone has.
        parameters: of the network, already on their device.
    """
    parameters = list(parameters)
    if setting.optimizer == "AdamW":
        # Fused: torch's default calls torch.sqrt, whose bits depend on the processor.
        return torch.optim.AdamW(parameters, lr=setting.learning_rate, weight_decay=setting.weight_decay, fused=True)
    if setting.optimizer == "RMSprop":
        return PortableRMSprop(parameters, setting.learning_rate, setting.weight_decay)
    return torch.optim.SGD(
        parameters, lr=setting.learning_rate, weight_decay=setting.weight_decay, momentum=setting.momentum
    )


class PortableRMSprop(torch.optim.Optimizer):
    """RMSprop as in torch.optim.RMSprop (alpha 0.99, eps 1e-8, no momentum), up to rounding of the square root.

    v = alpha v + (1 - alpha) g^2;  p = p - rate g / (sqrt(v) + eps), where g includes weight decay x p. Tieleman and
    Hinton, "Lecture 6.5: RMSProp" (2012).

    The root is computed as 1 / rsqrt(v): torch.sqrt of float32 calls MKL, which chooses its code by processor.

    Args:
        parameters: of the network, already on their device.
        learning_rate: the rate above.
        weight_decay: added to the gradient (L2), as in torch.optim.RMSprop; 0 for none.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], learning_rate: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": learning_rate, "weight_decay": weight_decay, "alpha": 0.99, "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Updates every parameter that has a gradient.

        Raises:
            ValueError: a closure is given, which would need the gradients to be computed again.
        """
        if closure is not None:
            raise ValueError("PortableRMSprop.step takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: torch.nn.Parameter, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        state = self.state[parameter]
        if not state:
            state["square_avg"] = torch.zeros_like(parameter)
        average = state["square_avg"]
        average.mul_(group["alpha"]).addcmul_(gradient, gradient, value=1 - group["alpha"])
        root = average.rsqrt().reciprocal_()
        parameter.addcdiv_(gradient, root.add_(group["eps"]), value=-group["lr"])


def learning_rate_factor(step: int, steps: int, schedule: str, warm_up: float) -> float:
    """The factor of the learning rate at a step, in (0, 1].

    It rises linearly to 1 during the warm-up. Then it stays at 1 (`constant`), or falls as half a cosine wave that
    would reach 0 after the last step (`cosine`: Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts).

    Args:
        step: from 0.
        steps: of the whole training.
        schedule: `constant` or `cosine`.
        warm_up: share of the steps, in [0, 1).
    """
    warm_up_steps = int(warm_up * steps)
    if step < warm_up_steps:
        return (step + 1) / (warm_up_steps + 1)
    if schedule == "constant":
        return 1.0
    # Rounded, since the last bit of libm's cosine depends on the processor.
    return round(0.5 + 0.5 * math.cos(math.pi * (step - warm_up_steps) / max(steps - warm_up_steps, 1)), 12)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the learning rate of every parameter group, from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
