"""Initial weights, each drawn from a random generator that depends only on the seed and the weight's name."""

from __future__ import annotations

import math

import torch
from torch import nn

from in4310repro.system.numerics import generator_for

# Modules whose weights are drawn by name; what others hold is what their network's constructor draws.
DRAWN = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)


def initial_state(model: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Draw initial weights and buffers, each from its own generator, seeded by (seed, name).

    Convolutions: normal with mean 0 and variance 2 / (outputs x kernel area), as torchvision does for ResNets (He
    et al., "Delving deep into rectifiers", ICCV 2015, fan out), and no bias. Linear layers: uniform within +-1 /
    sqrt(inputs), torch's default. Batch norm: weight 1, bias 0. Values of other modules stay as they are.

    Args:
        model: the network, for names, shapes and dtypes; it may be on the meta device if no other modules have
            values.
        seed: the seed of the weights.
    """
    state = model.state_dict()
    for prefix, module in model.named_modules():
        if isinstance(module, DRAWN):
            for name, value in module.state_dict(prefix=f"{prefix}." if prefix else "").items():
                state[name] = _initial_value(module, name, value, seed)
    return state


def _initial_value(module: nn.Module, name: str, value: torch.Tensor, seed: int) -> torch.Tensor:
    generator, shape = generator_for(seed, "weights", name), tuple(value.shape)
    if isinstance(module, nn.Linear):
        bound = 1 / math.sqrt(module.in_features)
        return torch.from_numpy((generator.random(shape) * 2 - 1) * bound).to(value.dtype)
    if isinstance(module, nn.Conv2d) and len(shape) == 4:
        standard_deviation = math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
        return torch.from_numpy(generator.standard_normal(shape) * standard_deviation).to(value.dtype)
    return torch.full(shape, 1 if name.endswith(("weight", "running_var")) else 0, dtype=value.dtype)
