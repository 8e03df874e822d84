"""The three optimizers, portable or torch's own, and the schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from in4310repro import arithmetic
from in4310repro.config import OptimizerSetting


def build(
    setting: OptimizerSetting,
    body: Iterable[torch.nn.Parameter],
    head: Iterable[torch.nn.Parameter] = (),
    *,
    portable: bool,
) -> torch.optim.Optimizer:
    """The optimizer of a setting.

    Args:
        setting: the kind (`AdamW`, `RMSprop` or `SGD`), learning rates, weight decay and momentum, which SGD alone has.
        body: parameters of the network that are trained, already on their device.
        head: those that the learning rate of the head is for.
        portable: by the kernels of `arithmetic`, otherwise torch's; state and state dict are the same.
    """
    options = {"lr": setting.learning_rate, "weight_decay": setting.weight_decay}
    if setting.optimizer == "SGD":
        options["momentum"] = setting.momentum
    rates = {"params": list(body)}, {"params": list(head), "lr": setting.head_learning_rate}
    groups = [group for group in rates if group["params"]]
    optimizer = getattr(arithmetic if portable else torch.optim, setting.optimizer)(groups, **options)
    assert isinstance(optimizer, torch.optim.Optimizer)  # noqa: S101 - for the type checker
    return optimizer


def state_copies(setting: OptimizerSetting) -> int:
    """How many numbers the optimizer of a setting keeps for each parameter, between steps."""
    return {"AdamW": 2, "RMSprop": 1, "SGD": int(setting.momentum > 0)}[setting.optimizer]


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


def set_learning_rates(optimizer: torch.optim.Optimizer, setting: OptimizerSetting, factor: float) -> None:
    """Sets the learning rates of body and head, from the next step on, to those of the setting times a factor."""
    rates = (setting.learning_rate, setting.head_learning_rate)
    for group, rate in zip(optimizer.param_groups, rates, strict=False):
        assert rate is not None  # noqa: S101 - for the type checker: a second group has a rate of its own
        group["lr"] = rate * factor
