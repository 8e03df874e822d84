"""Constructors of the optimizers in `OPTIMIZERS`, in portable or native arithmetic, and learning rate schedules."""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from in4310repro import arithmetic
from in4310repro.arithmetic import library
from in4310repro.arithmetic.steps import check_count
from in4310repro.runs.settings import OPTIMIZERS, Kept, OptimizerSetting, obstacle


def build(
    setting: OptimizerSetting, body: Iterable[Parameter], head: Iterable[Parameter] = (), *, portable: bool
) -> Optimizer:
    """Construct the optimizer of a setting, in portable or native arithmetic.

    Args:
        setting: the optimizer's name in `OPTIMIZERS`, learning rates, weight decay, and momentum (SGD only).
        body: trained parameters of the network except the head, already on their device.
        head: parameters of the head, which has its own learning rate.
        portable: use the kernels of `arithmetic` instead of torch's; state and state dict are the same.

    Raises:
        ValueError: the optimizer has no portable step.
    """
    if portable and (reason := obstacle(setting.optimizer)):
        raise ValueError(f"{reason}; native arithmetic allows all optimizers")
    options = {"lr": setting.learning_rate, "weight_decay": setting.weight_decay}
    if OPTIMIZERS[setting.optimizer].has_momentum:
        options["momentum"] = setting.momentum
    # Stored as initial_lr, as torch's schedules do: either group may be missing, so that positions are ambiguous.
    rates = (list(body), setting.learning_rate), (list(head), setting.head_learning_rate)
    groups = [{"params": each, "lr": rate, "initial_lr": rate} for each, rate in rates if each]
    optimizer = getattr(arithmetic if portable else torch.optim, setting.optimizer)(groups, **options)
    assert isinstance(optimizer, Optimizer)  # noqa: S101 - for the type checker
    return optimizer


def states_of(
    optimizer: Optimizer, tensors: Mapping[str, Tensor], new: Mapping[Parameter, Tensor], begun: bool, of_all: bool
) -> dict[int, dict[str, Tensor]]:
    """Return a dict from the index of each parameter to its optimizer state.

    Parameters without a state are omitted. A state has the memory layout of its parameter, which fused optimizers
    require.

    Args:
        optimizer: the optimizer, with parameters of the right shapes.
        tensors: tensors on the CPU, named `INDEX.NAME` by parameter index and state tensor, as read from
            a file.
        new: the values that each parameter is to have.
        begun: whether the training has taken a step, after which there is a state unless the optimizer keeps none.
        of_all: whether every parameter must have a state, of the same number of steps; if False, the state
            of a parameter may be missing, since a parameter that never had a gradient has none.

    Raises:
        ValueError: a tensor is missing, belongs to no parameter, or has a wrong dtype, shape or value; or
            the numbers of steps differ between parameters although `of_all` is True.
    """
    states, left, keeper = dict[int, dict[str, Tensor]](), dict(tensors), type(optimizer).__name__
    pairs = [(group, parameter) for group in optimizer.param_groups for parameter in group["params"]]
    for index, (group, parameter) in enumerate(pairs):
        kept = OPTIMIZERS[keeper].state_with(group.get("momentum", 0))
        names = {f"{index}.{name}": name for name in kept}
        missing = [key for key in names if key not in tensors]
        if not missing:
            states[index] = {
                name: _check_kept(kept[name], key, left.pop(key), parameter, new[parameter])
                for key, name in names.items()
            }
        elif of_all or len(missing) < len(names):
            raise ValueError(f"{missing[0]} is missing; {keeper} keeps {', '.join(names)}")
    if left:
        raise ValueError(f"{sorted(left)[0]} is not a state of {len(pairs)} parameters in {keeper}")
    if begun and not states:
        raise ValueError(f"it has no state of {keeper}, which a training has after a step")
    counts = {float(state["step"]): index for index, state in states.items() if "step" in state}
    if of_all and len(counts) > 1:
        first = ", ".join(f"{index}.step {count:g}" for count, index in sorted(counts.items())[:2])
        raise ValueError(f"{first}; all parameters must have the same number of steps, as each step updates all")
    return {index: state for index, state in states.items() if state}


def _check_kept(kept: Kept, key: str, value: Tensor, parameter: Tensor, new: Tensor) -> Tensor:
    if kept is Kept.COUNT:
        return check_count(value, key)
    like = parameter if kept.has_shape_of_parameter else torch.empty(())
    value = library.check(key, value, like.dtype, like.shape)
    if kept is Kept.FACTOR:
        if not 0 <= value.item() <= 1:
            raise ValueError(f"{key} is {value.item()}; it must be {kept.value}")
        return value
    if kept is Kept.SQUARES:
        # Infinite averages are accepted, since they occur if training diverges.
        for first in value[(value < 0) | (value.isnan() & ~new.isnan())].tolist():
            raise ValueError(f"{key} is {first}; it must be 0 or more, or nan where the weight is nan")
    return torch.empty_like(parameter.detach(), dtype=value.dtype).copy_(value)


def learning_rate_factor(step: int, steps: int, schedule: str, warm_up: float) -> float:
    """Return the factor in (0, 1] by which a step's learning rate is multiplied.

    It rises linearly to 1 during the warm-up. Then it stays at 1 (`constant`), or falls as half a cosine wave
    that would reach 0 after the last step (`cosine`: Loshchilov and Hutter, "SGDR", ICLR 2017, without
    restarts).

    Args:
        step: number of the step, from 0.
        steps: number of steps of the whole training.
        schedule: `constant` or `cosine`.
        warm_up: fraction of the steps, in [0, 1).
    """
    warm_up_steps = int(warm_up * steps)
    if step < warm_up_steps:
        return (step + 1) / (warm_up_steps + 1)
    if schedule == "constant":
        return 1.0
    # Rounded, since the last bit of libm's cosine depends on the processor.
    return round(0.5 + 0.5 * math.cos(math.pi * (step - warm_up_steps) / max(steps - warm_up_steps, 1)), 12)
