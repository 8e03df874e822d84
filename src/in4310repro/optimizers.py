"""The three optimizers in arithmetic that gives the same bits on Intel and AMD, and the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from in4310repro.presets import OptimizerSetting


def build(setting: OptimizerSetting, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer of a setting, over parameters that already lie on their device."""
    parameters = list(parameters)
    if setting.optimizer == "AdamW":
        # Fused: the default takes torch.sqrt, whose bits depend on the processor.
        return torch.optim.AdamW(parameters, lr=setting.learning_rate, weight_decay=setting.weight_decay, fused=True)
    if setting.optimizer == "RMSprop":
        return PortableRMSprop(parameters, setting.learning_rate, setting.weight_decay)
    return torch.optim.SGD(
        parameters, lr=setting.learning_rate, weight_decay=setting.weight_decay, momentum=setting.momentum
    )


class PortableRMSprop(torch.optim.Optimizer):
    """RMSprop as torch.optim.RMSprop has it (alpha 0.99, eps 1e-8, no momentum), but for the last bit of its root.

    v = alpha v + (1 - alpha) g^2;  p = p - rate g / (root(v) + eps), after Tieleman and Hinton 2012. The root is
    1 / rsqrt(v): torch.sqrt of float32 goes through MKL, which picks its code by processor.
    """

    def __init__(self, parameters: Iterable[torch.nn.Parameter], learning_rate: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": learning_rate, "weight_decay": weight_decay, "alpha": 0.99, "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Moves every parameter that has a gradient; takes no closure."""
        if closure is not None:
            raise ValueError("PortableRMSprop.step takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: torch.nn.Parameter, gradient: torch.Tensor, group: dict[str, Any]) -> None:
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
    """What the learning rate of a step (from 0) is multiplied by, in (0, 1].

    It rises linearly over the warm-up's share of the steps; then it stays (`constant`) or falls as half a cosine
    wave to 0 after the last step (`cosine`, Loshchilov and Hutter 2017).
    """
    rising = int(warm_up * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    if schedule == "constant":
        return 1.0
    # Rounded: libm's cosine differs in its last bit between processors.
    return round(0.5 + 0.5 * math.cos(math.pi * (step - rising) / max(steps - rising, 1)), 12)


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Gives every parameter group the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
