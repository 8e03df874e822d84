"""AdamW, RMSprop and SGD with steps that update all parameters in one pass of a compiled kernel.

Their options, parameter groups, state and state dict are those of torch's optimizers; only step() differs, which
refuses options that the kernels have not. Formulas are in docs/arithmetic.md.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from in4310repro.arithmetic import library

REFUSED = ("maximize", "capturable", "differentiable")  # options of torch's optimizers that no kernel has
MOST_STEPS = 1 << 24  # beyond, adding 1 to a float32 changes nothing
Group = dict[str, Any]
Updated = tuple[Tensor, Tensor, Tensor]  # a parameter, and its values and gradient as plain tensors


class _Steps(torch.optim.Optimizer):
    """An optimizer whose step is that of a kernel."""

    kernel: str
    moments: tuple[str, ...]  # names of a parameter's states
    counts = True  # whether a state has a number of steps
    refused: tuple[str, ...]  # options that the kernel has not
    # The kernel's numbers for the parameters of a group that are updated the n-th time.
    numbers: Callable[[Group, int], Sequence[float]]

    # A decorator of torch's leaves it uncompiled, and imports torch._dynamo, which takes more than a second.
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; does not support a closure."""
        name = type(self).__name__
        if closure is not None:
            raise ValueError(f"{name}.step takes no closure in portable arithmetic; call it without")
        for option in self.refused:
            if wrong := [group[option] for group in self.param_groups if group.get(option)]:
                raise ValueError(f"{name} with {option}={wrong[0]} has no portable kernel; {option} must be 0 or False")
        for group in self.param_groups:
            names = [each for each in self.moments if each != "momentum_buffer" or group["momentum"]]
            by_step: dict[int, list[list[Tensor]]] = {}
            for updated, state in self._states(group, names):
                step = int(state["step"].item()) if self.counts else 0
                by_step.setdefault(step, []).append([*updated, *(state[each] for each in names)])
            for step, rows in by_step.items():
                parameters, values, *others = map(list, zip(*rows, strict=True))
                sizes = torch.tensor([each.numel() for each in values], dtype=torch.int64, device="cpu")
                numbers = map(float, self.numbers(group, step))
                # None represents the moments of SGD without momentum.
                library.call(self.kernel, len(rows), *numbers, sizes, values, *others, *([] if names else [None]))
                # Autograd does not see the kernel's writes: a backward pass after the step must fail instead of using
                # new values.
                torch.autograd.graph.increment_version(parameters)

    def _states(self, group: Group, names: Sequence[str]) -> list[tuple[Updated, dict[str, Tensor]]]:
        """Return the parameters that have gradients, and the optimizer state of each.

        Missing state tensors are created. If `counts` is True, the `step` of each state is increased by 1.

        Raises:
            ValueError: the kernel cannot update a parameter because of its dtype, layout, gradient or state.
        """
        parameters = [_check_parameter(parameter) for parameter in group["params"] if parameter.grad is not None]
        updated = [(each, self.state[each[0]]) for each in parameters]
        for (parameter, values, _), state in updated:
            for name in names:
                if state.get(name) is None:
                    state[name] = torch.zeros_like(values, memory_format=torch.preserve_format)
                    continue
                moment = library.check(name, state[name], parameter.dtype, parameter.shape)
                same = moment.stride() == values.stride()
                state[name] = moment if same else torch.empty_like(values).copy_(moment)
            if self.counts:
                new = torch.tensor(0.0, dtype=torch.float32)
                state["step"] = check_count(state["step"]) if "step" in state else new
        if self.counts and updated:
            torch._foreach_add_([state["step"] for _, state in updated], 1)
        return updated


class AdamW(_Steps, torch.optim.AdamW):
    """AdamW (Loshchilov and Hutter 2019); the state of a parameter is step, exp_avg and exp_avg_sq."""

    kernel, moments, refused = "adamw", ("exp_avg", "exp_avg_sq"), ("amsgrad", *REFUSED)

    @staticmethod
    def numbers(group: Group, step: int) -> Sequence[float]:
        """Return the numbers of the kernel; see `_Steps.numbers`."""
        (beta1, beta2), lr = group["betas"], group["lr"]
        rate, scale = lr / (1 - power(beta1, step)), 1 / math.sqrt(1 - power(beta2, step))
        return 1 - lr * group["weight_decay"], 1 - beta1, beta2, 1 - beta2, rate, scale, group["eps"]


class RMSprop(_Steps, torch.optim.RMSprop):
    """RMSprop (Tieleman and Hinton 2012); the state of a parameter is step and square_avg."""

    kernel, moments, refused = "rmsprop", ("square_avg",), ("momentum", "centered", *REFUSED)
    numbers = staticmethod(lambda of, _: (of["weight_decay"], of["alpha"], 1 - of["alpha"], of["lr"], of["eps"]))


class SGD(_Steps, torch.optim.SGD):
    """Stochastic gradient descent with momentum as in torch.optim.SGD; a parameter's state is momentum_buffer."""

    kernel, moments, refused = "sgd", ("momentum_buffer",), ("dampening", "nesterov", *REFUSED)
    counts, numbers = False, staticmethod(lambda of, _: (of["weight_decay"], of["momentum"], of["lr"]))


def power(base: float, exponent: int) -> float:
    """Return base^exponent by repeated multiplication, since libm's pow differs between systems."""
    start, value = _reached.get(base, (0, 1.0))
    if start > exponent:
        start, value = 0, 1.0
    for _ in range(start, exponent):
        value *= base
    _reached[base] = (exponent, value)
    return value


# Last exponent and power by base: the next step needs the next power.
_reached: dict[float, tuple[int, float]] = {}


def _check_parameter(parameter: Tensor) -> Updated:
    values, shape = parameter, parameter.shape
    if not library.is_plain(parameter, torch.float32):
        values = library.check("a parameter", parameter, torch.float32, shape)
        if parameter._is_zerotensor():
            raise ValueError(
                "a parameter without memory, which torch knows to be zeros; it must be one that can be written"
            )
        dense = parameter.is_contiguous() or parameter.is_contiguous(memory_format=torch.channels_last)
        if not dense or parameter.is_neg():
            raise ValueError(f"a parameter with strides {parameter.stride()}; it must be contiguous or channels_last")
    gradient = library.check("a gradient", parameter.grad, torch.float32, shape)
    return parameter, values, gradient  # type: ignore[return-value]  # it is not None


def check_count(value: Tensor | None, name: str = "step") -> Tensor:
    """Return an optimizer's count of steps after checking it.

    Raises:
        ValueError: the count is not a float32 scalar on the CPU, or not a whole number from 0 to `MOST_STEPS`.
    """
    count = library.check(name, value, torch.float32, ())
    if count is None or not (0 <= count.item() <= MOST_STEPS and count.item() == int(count.item())):
        raise ValueError(f"{name}: {count and count.item()}; it must be a whole number from 0 to {MOST_STEPS}")
    return count
