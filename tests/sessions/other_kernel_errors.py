"""Errors of batch norm, linear layers and softmax beside torch's; used by kernel_errors.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from in4310repro import arithmetic
from in4310repro.arithmetic import functions, matrices
from in4310repro.system.numerics import generator_for

DRAWS = 6
MAPS = (32, 64, 16, 16)
ROWS, FEATURES, OUTPUTS = 32, (128, 512, 2048), (6, 1000)
SCORES = (32, 6)
Function = Callable[..., Tensor]


def measure() -> dict[str, Any]:
    """Return our errors and torch's for each kernel, kind of data and result."""
    found: dict[str, Any] = {}
    for mean in (0, 1000):
        errors = _errors(_batch_norm, _torch_batch_norm, MAPS, (MAPS[1],), (MAPS[1],), mean=mean)
        found[f"batch norm, {' x '.join(map(str, MAPS))}, mean {mean}, deviation 1"] = dict(
            zip(("output", "gradient of the maps", "gradient of the weight"), errors.T.tolist(), strict=False)
        )
    shapes = [((ROWS, features), (outputs, features), (outputs,)) for features in FEATURES for outputs in OUTPUTS]
    linear = np.array([_errors(matrices.linear, torch.nn.functional.linear, *shape) for shape in shapes])
    # The largest over the shapes, of both.
    found[f"linear, {ROWS} rows of {', '.join(map(str, FEATURES))} to {' and '.join(map(str, OUTPUTS))}: largest"] = (
        dict(zip(("output", "gradient of the rows"), linear.max(0).T.tolist(), strict=False))
    )
    softmax = _errors(arithmetic.softmax, _torch_softmax, SCORES, gradients=False, largest=True)
    found[f"softmax, {' x '.join(map(str, SCORES))} scores, largest error of a probability"] = {
        "output": softmax.T.tolist()[0]
    }
    return found


def _batch_norm(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functions.batch_norm(maps, None, None, weight, bias, training=True)


def _torch_batch_norm(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.nn.functional.batch_norm(maps, None, None, weight, bias, training=True)


def _torch_softmax(scores: Tensor) -> Tensor:
    return torch.softmax(scores, 1)


def _errors(
    ours: Function,
    torchs: Function,
    *shapes: Sequence[int],
    mean: float = 0,
    gradients: bool = True,
    largest: bool = False,
) -> NDArray[np.float64]:
    """Return errors [ours or torch's, result]: the relative root mean square, or the largest difference if asked."""
    squares, sizes, worst = [], [], []
    for draw in range(DRAWS):
        values = [_drawn(draw, place, shape, mean if place == 0 else 0) for place, shape in enumerate(shapes)]
        exact = _computed(torchs, [value.double() for value in values], gradients)
        results = [_computed(function, values, gradients) for function in (ours, torchs)]
        squares.append([[float((a - b).square().sum()) for a, b in zip(each, exact, strict=True)] for each in results])
        worst.append([[float((a - b).abs().max()) for a, b in zip(each, exact, strict=True)] for each in results])
        sizes.append([float(value.square().sum()) for value in exact])
    if largest:
        greatest: NDArray[np.float64] = np.array(worst).max(0)
        return greatest
    shares: NDArray[np.float64] = np.sqrt(np.array(squares).sum(0) / np.array(sizes).sum(0))
    return shares


def _drawn(draw: int, place: int, shape: Sequence[int], mean: float) -> Tensor:
    values = torch.from_numpy(generator_for(draw, place, *shape).standard_normal(tuple(shape), dtype="float32")) + mean
    return values.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else values


def _computed(function: Function, values: Sequence[Tensor], gradients: bool) -> list[Tensor]:
    leaves = [value.clone().requires_grad_() for value in values]
    result = function(*leaves)
    if not gradients:
        return [result.detach()]
    above = torch.from_numpy(generator_for(DRAWS, *result.shape).standard_normal(tuple(result.shape), dtype="float32"))
    return [result.detach(), *torch.autograd.grad(result, leaves, above.to(result.dtype))]


def table(kernels: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    lines = ["| kernel, data | of | here | torch |", "|---|---|---|---|"]
    for name, found in kernels.items():
        for what, (ours, torchs) in found.items():
            lines.append(f"| {name} | {what} | {ours:.1e} | {torchs:.1e} |")
    return "\n".join(lines)
