"""AdamW, RMSprop and SGD with steps that update all parameters in one pass of a compiled kernel.

Their parameter groups, state and state dict are those of torch's optimizers; only step() differs. Formulas
are in docs/arithmetic.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from in4310repro.arithmetic import library

MOST_STEPS = 1 << 24  # beyond, adding 1 to a float32 changes nothing
Group = dict[str, Any]
Parameters = Iterable[Tensor] | Iterable[Group]
Updated = tuple[Tensor, Tensor, Tensor]  # a parameter, and its values and gradient as plain tensors


class AdamW(torch.optim.AdamW):
    """AdamW (Loshchilov and Hutter 2019); the state of a parameter is step, exp_avg and exp_avg_sq."""

    def __init__(
        self,
        parameters: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; does not support a closure."""
        _refuse("AdamW", closure, self.param_groups, ("amsgrad", "maximize"))
        for group in self.param_groups:
            parameters, states = _states(self, group, ("exp_avg", "exp_avg_sq"))
            for step, members in _by_step(states).items():
                _adamw([parameters[i] for i in members], [states[i] for i in members], group, step)


def _adamw(parameters: list[Updated], states: list[dict[str, Tensor]], group: Group, step: int) -> None:
    beta1, beta2 = group["betas"]
    rate = group["lr"] / (1 - power(beta1, step))
    scale = 1 / math.sqrt(1 - power(beta2, step))
    numbers = (1 - group["lr"] * group["weight_decay"], 1 - beta1, beta2, 1 - beta2, rate, scale, group["eps"])
    _call("adamw", numbers, parameters, [[state[name] for state in states] for name in ("exp_avg", "exp_avg_sq")])


class RMSprop(torch.optim.RMSprop):
    """RMSprop (Tieleman and Hinton 2012); the state of a parameter is step and square_avg."""

    def __init__(
        self, parameters: Parameters, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0
    ) -> None:
        super().__init__(parameters, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; does not support a closure."""
        _refuse("RMSprop", closure, self.param_groups, ("momentum", "centered", "maximize"))
        for group in self.param_groups:
            parameters, states = _states(self, group, ("square_avg",))
            numbers = (group["weight_decay"], group["alpha"], 1 - group["alpha"], group["lr"], group["eps"])
            _call("rmsprop", numbers, parameters, [[state["square_avg"] for state in states]])


class SGD(torch.optim.SGD):
    """Stochastic gradient descent with momentum as in torch.optim.SGD; a parameter's state is momentum_buffer."""

    def __init__(self, parameters: Parameters, lr: float = 1e-3, momentum: float = 0, weight_decay: float = 0) -> None:
        super().__init__(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; does not support a closure."""
        _refuse("SGD", closure, self.param_groups, ("dampening", "nesterov", "maximize"))
        for group in self.param_groups:
            names = ("momentum_buffer",) if group["momentum"] else ()
            parameters, states = _states(self, group, names, counts=False)
            buffers = [state["momentum_buffer"] for state in states] if names else None
            _call("sgd", (group["weight_decay"], group["momentum"], group["lr"]), parameters, [buffers])


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


def _refuse(name: str, closure: object, groups: list[Group], options: Sequence[str]) -> None:
    if closure is not None:
        raise ValueError(f"{name}.step takes no closure in portable arithmetic; call it without")
    for option in options:
        if wrong := [group[option] for group in groups if group.get(option)]:
            raise ValueError(f"{name} with {option}={wrong[0]} has no portable kernel; valid is {option}=0 or False")


def _states(
    optimizer: torch.optim.Optimizer, group: Group, names: Sequence[str], counts: bool = True
) -> tuple[list[Updated], list[dict[str, Tensor]]]:
    """Return the parameters that have gradients, and the optimizer state of each.

    Missing state tensors are created. If `counts` is True, the `step` of each state is increased by 1.

    Raises:
        ValueError: the kernel cannot update a parameter because of its dtype, layout, gradient or state.
    """
    parameters = [_check_parameter(parameter) for parameter in group["params"] if parameter.grad is not None]
    states = [optimizer.state[parameter] for parameter, _, _ in parameters]
    for (parameter, values, _), state in zip(parameters, states, strict=True):
        for name in names:
            if state.get(name) is None:
                state[name] = torch.zeros_like(values, memory_format=torch.preserve_format)
            else:
                state[name] = _match_layout(values, check_moment(name, state[name], parameter))
        if counts:
            state["step"] = check_count(state["step"]) if "step" in state else torch.tensor(0.0, dtype=torch.float32)
    if counts and states:
        torch._foreach_add_([state["step"] for state in states], 1)
    return parameters, states


def _check_parameter(parameter: Tensor) -> Updated:
    values, shape = parameter, parameter.shape
    if not library.is_plain(parameter, torch.float32):
        values = library.check("a parameter", parameter, torch.float32, shape)
        if parameter._is_zerotensor():
            raise ValueError(
                "a parameter without memory, which torch knows to be zeros; valid is one that can be written"
            )
        dense = parameter.is_contiguous() or parameter.is_contiguous(memory_format=torch.channels_last)
        if not dense or parameter.is_neg():
            raise ValueError(f"a parameter with strides {parameter.stride()}; valid are contiguous and channels_last")
    gradient = library.check("a gradient", cast("Tensor", parameter.grad), torch.float32, shape)
    return parameter, values, gradient


def check_moment(name: str, value: object, parameter: Tensor) -> Tensor:
    """Return a tensor of optimizer state after checking that it has the dtype and shape of its parameter.

    Raises:
        ValueError: dtype or shape differ from the parameter's, or the tensor is not on the CPU.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"{name}: {value!r}; valid is {parameter.dtype} of shape {tuple(parameter.shape)}")
    return library.check(name, value, parameter.dtype, parameter.shape)


def check_count(value: object, name: str = "step") -> Tensor:
    """Return an optimizer's count of steps after checking it.

    Raises:
        ValueError: the count is not a float32 scalar on the CPU, or not a whole number from 0 to `MOST_STEPS`.
    """
    if not isinstance(value, Tensor):
        raise ValueError(f"{name}: {value!r}; valid is torch.float32 of shape ()")
    count = library.check(name, value, torch.float32, ())
    if not (0 <= count.item() <= MOST_STEPS and count.item() == int(count.item())):
        raise ValueError(f"{name}: {count.item()}; valid are whole numbers from 0 to {MOST_STEPS}")
    return count


def _match_layout(parameter: Tensor, value: Tensor) -> Tensor:
    if value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter).copy_(value)


def _by_step(states: list[dict[str, Tensor]]) -> dict[int, list[int]]:
    """Return a dict from number of optimizer steps to the indices of the parameters with that number."""
    places: dict[int, list[int]] = {}
    for place, state in enumerate(states):
        places.setdefault(int(state["step"].item()), []).append(place)
    return places


def _call(
    function: str, numbers: Sequence[int | float], parameters: list[Updated], states: Sequence[list[Tensor] | None]
) -> None:
    """Call the kernel named `function` with parameters, their gradients and their optimizer states.

    `numbers` are settings such as the learning rate. In `states`, None stands for a state that is not used.
    """
    values, gradients = ([each[place] for each in parameters] for place in (1, 2))
    sizes = torch.tensor([value.numel() for value in values], dtype=torch.int64, device="cpu")
    library.library().call(function, len(values), *map(float, numbers), sizes, values, gradients, *states)
    # Autograd does not see the kernel's writes: a backward pass after the step must fail instead of using new values.
    torch.autograd.graph.increment_version([parameter for parameter, _, _ in parameters])
