"""Checks of the kernels on this processor: a hash of each kernel's results on fixed inputs, and the peak rate.

VERSION is the version of the expected bits; a change of the bits needs a new version.
"""

import hashlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from in4310repro.arithmetic import library
from in4310repro.arithmetic.functions import Norm, batch_norm, cross_entropy, losses, softmax
from in4310repro.arithmetic.pooling import adaptive_average_pool, max_pool
from in4310repro.arithmetic.products import convolution, linear, product
from in4310repro.arithmetic.steps import SGD, AdamW, RMSprop

# Increased whenever a bit of any kernel's result changes.
VERSION = 3


def obstacle() -> str:
    """Return the reason why the kernels cannot be used; an empty string if they can."""
    try:
        library.library()
    except (RuntimeError, ValueError) as error:
        return str(error)
    return ""


def instruction_set() -> str | None:
    """Return the instruction set of the library that is used; None if no library can be used."""
    usable = library.available()
    return usable.instruction_set if usable else None


def self_test() -> dict[str, str]:
    """Return a dict from kernel name to 12 hex digits of the sha256 of the kernel's results and gradients.

    The hashes should be equal on every processor and for any number of threads; docs/bits.md lists the machines
    on which they were compared. The inputs are computed in integer arithmetic, so they are equal everywhere.
    """
    hashes = {}
    for name, (compute, *given) in KERNELS.items():
        content = b"".join(result.contiguous().numpy().tobytes() for result in compute(*given))
        hashes[name] = hashlib.sha256(content).hexdigest()[:12]
    return hashes


def values(*shape: int, seed: int = 1) -> Tensor:
    """Return pseudo-random float32 numbers in [-1, 1), equal on every system (a linear congruential generator)."""
    number, multiplier, increment, least = math.prod(shape), 1664525, 1013904223, 2**32 - 1
    states = torch.tensor([seed * multiplier + increment]) & least
    while len(states) < number:
        # Take as many steps of the generator at once as there are states.
        states = torch.cat([states, (states * multiplier + increment) & least])
        increment = increment * (multiplier + 1) & least
        multiplier = multiplier * multiplier & least
    return ((states[:number] >> 8).double() / 2**23 - 1).float().reshape(shape)


def _with_gradients(function: Callable[..., Tensor], *inputs: Tensor | tuple[int, ...]) -> list[Tensor]:
    """Return a list with the result of a function, followed by the gradients of the function's inputs.

    Of an input that is a shape, the n-th has the values of seed n. Backpropagation starts from a fixed pseudo-random
    gradient of the result, or from 1 if the result is a scalar.
    """
    given = (values(*each, seed=seed) if isinstance(each, tuple) else each for seed, each in enumerate(inputs, 1))
    leaves = [each.requires_grad_() for each in given]
    with torch.enable_grad():
        result = function(*leaves)
        result.backward(values(*result.shape, seed=9) if result.ndim else None)  # type: ignore[no-untyped-call]
    return [result.detach(), *(leaf.grad for leaf in leaves)]  # type: ignore[list-item]


def _convolution(
    sizes: tuple[int, ...], outputs: int, stride: int = 1, groups: int = 1, bias: bool = True
) -> list[Tensor]:
    shapes = sizes, (outputs, sizes[1] // groups, 3, 3), (outputs,)
    return _with_gradients(
        lambda *given: convolution(*given, stride=(stride, stride), padding=(1, 1), groups=groups),  # type: ignore[misc]
        *shapes[: 2 + bias],
    )


def _batch_norm(activation: str = "none", training: bool = True, *others: tuple[int, ...]) -> list[Tensor]:
    running = torch.zeros(6), torch.ones(6)

    def normalised(maps: Tensor, weight: Tensor, bias: Tensor, *other: Tensor) -> Tensor:
        return batch_norm(maps, Norm(*running, weight, bias, training, 0.1, 1e-5, activation, *other))  # type: ignore[arg-type]

    return [*_with_gradients(normalised, MAPS, 8 * values(6, seed=2), (6,), *others), *running]


def _steps(kind: type[torch.optim.Optimizer], **settings: float) -> list[Tensor]:
    parameter = torch.nn.Parameter(values(50))
    optimizer = kind([parameter], lr=1e-2, weight_decay=0.1, **settings)  # type: ignore[call-arg, arg-type]
    for step in range(3):
        parameter.grad = values(50, seed=step + 5)
        optimizer.step()
    return [parameter.detach()]


MAPS = (9, 6, 7, 6)
# The functions that compute what is hashed, and their arguments.
KERNELS: dict[str, tuple[Any, ...]] = {
    "convolution": (_convolution, MAPS, 12),
    "convolution, stride 2": (_convolution, MAPS, 12, 2),
    "convolution, groups": (_convolution, MAPS, 12, 1, 3),
    "convolution, depth-wise": (_convolution, MAPS, 6, 2, 6, False),
    # By the smallest numbers of channels for which each method is used; see docs/arithmetic.md.
    "convolution, two by two": (_convolution, (2, 32, 5, 8), 33),
    "convolution, two by four": (_convolution, (9, 64, 8, 8), 64),
    "convolution, four by four": (_convolution, (2, 512, 4, 4), 16),
    "convolution, maps of two by two": (_convolution, (3, 32, 2, 2), 33),
    "linear": (_with_gradients, linear, (9, 20), (5, 20), (5,)),
    "batch norm": (_batch_norm,),
    "batch norm, ReLU": (_batch_norm, "relu"),
    "batch norm, ReLU6": (_batch_norm, "relu6"),
    "batch norm, sum, ReLU": (_batch_norm, "relu", True, MAPS),
    "batch norm, evaluation": (_batch_norm, "none", False),
    "average pooling": (_with_gradients, lambda maps: adaptive_average_pool(maps, (2, 3)), MAPS),
    "maximum pooling": (_with_gradients, lambda maps: max_pool(maps, (3, 3), (2, 2), (1, 1)), MAPS),
    "cross-entropy": (_with_gradients, lambda scores: cross_entropy(scores, torch.arange(9) % 6), (9, 6)),
    "losses": (lambda: [losses(values(9, 6), torch.arange(9) % 6)],),
    "softmax": (lambda: [softmax(values(9, 6))],),
    "AdamW": (_steps, AdamW),
    "RMSprop": (_steps, RMSprop),
    "SGD": (lambda: _steps(SGD, momentum=0.9),),
    "product": (lambda: [product(values(70, 9).double())],),
}
