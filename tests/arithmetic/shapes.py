"""Convolution cases for the tests: shapes, random inputs, gradients and errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from in4310repro.arithmetic.products import convolution

Pair = tuple[int, int]


@dataclass(frozen=True)
class Case:
    """Sizes of a convolution."""

    images: int
    channels: int
    size: Pair
    outputs: int
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Pair = (1, 1)
    groups: int = 1
    more: Pair = (0, 0)  # padding at the bottom and right beyond that at the top and left

    def __str__(self) -> str:
        values = [value for name, value in vars(self).items() if name != "more" or self.more != (0, 0)]
        return "-".join("x".join(map(str, value)) if isinstance(value, tuple) else str(value) for value in values)

    @property
    def ends(self) -> tuple[Pair, Pair]:
        """The padding as ((top, bottom), (left, right))."""
        (top, left), (below, right) = self.padding, self.more
        return (top, top + below), (left, left + right)

    @property
    def result(self) -> Pair:
        height, width = (
            (size + sum(ends) - kernel) // stride + 1
            for size, ends, kernel, stride in zip(self.size, self.ends, self.kernel, self.stride, strict=True)
        )
        return height, width

    @property
    def depthwise(self) -> bool:
        return 1 < self.groups == self.channels == self.outputs

    def draw(self, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Draw random maps and a gradient of the result, in channels_last memory."""
        generator = torch.Generator().manual_seed(seed)
        maps = torch.randn((self.images, self.channels, *self.size), generator=generator)
        gradient = torch.randn((self.images, self.outputs, *self.result), generator=generator)
        return maps.to(memory_format=torch.channels_last), gradient.to(memory_format=torch.channels_last)

    def draw_weight(self, seed: int = 0) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed + 1_000_000)
        weight = torch.randn((self.outputs, self.channels // self.groups, *self.kernel), generator=generator)
        return weight, torch.randn(self.outputs, generator=generator)


NAMES = ("output", "gradient of the maps", "gradient of the weight", "gradient of the bias")


def by_ours(case: Case, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return convolution(maps, weight, bias, case.stride, case.ends if any(case.more) else case.padding, case.groups)


def by_ours_of_padded_maps(case: Case, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return convolution(padded(case, maps), weight, bias, case.stride, (0, 0), case.groups)


def padded(case: Case, maps: Tensor) -> Tensor:
    (top, bottom), (left, right) = case.ends
    return torch.nn.functional.pad(maps, (left, right, top, bottom))


def by_torch(case: Case, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    maps, padding = (padded(case, maps), (0, 0)) if any(case.more) else (maps, case.padding)
    return torch.nn.functional.conv2d(maps, weight, bias, case.stride, padding, 1, case.groups)


def computed(
    case: Case,
    function: Callable[[Case, Tensor, Tensor, Tensor], Tensor],
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, ...]:
    """Return the result of `function` on random inputs, then the gradients of maps, weight and bias."""
    maps, gradient = (values.to(dtype) for values in case.draw(seed))
    return computed_of(case, function, (maps, *(values.to(dtype) for values in case.draw_weight(seed))), gradient)


def computed_of(
    case: Case, function: Callable[[Case, Tensor, Tensor, Tensor], Tensor], inputs: Iterable[Tensor], gradient: Tensor
) -> tuple[Tensor, ...]:
    """Return the result of `function` on maps, weight and bias, then their gradients."""
    leaves = [values.clone().requires_grad_() for values in inputs]
    result = function(case, *leaves)
    return result.detach(), *torch.autograd.grad(result, leaves, gradient)


Doubles = NDArray[np.float64]


def error_ratios(case: Case, draws: int, seed: int = 0) -> tuple[Doubles, Doubles]:
    """Return ratios of root mean square errors (package / torch), and the standard deviations of these ratios.

    The standard deviation is the jackknife estimate over draws. A ratio is 0 where our result is exact.
    """
    return ratios_of(squared_errors(case, draws, seed))


def ratios_of(squares: Doubles) -> tuple[Doubles, Doubles]:
    """Return the result of `error_ratios`, computed from the sums that `squared_errors` returns."""
    draws = len(squares)
    ratios = _ratio(squares.sum(0))
    left_out = np.array([_ratio(squares.sum(0) - row) for row in squares])
    return ratios, np.sqrt((draws - 1) / draws * ((left_out - left_out.mean(0)) ** 2).sum(0))


def squared_errors(case: Case, draws: int, seed: int = 0) -> Doubles:
    """Return sums of squares, indexed by draw, by (error of the package, error of torch, value) and by tensor."""
    return np.array([_squared_errors(case, seed + draw) for draw in range(draws)])


def _squared_errors(case: Case, seed: int) -> list[list[float]]:
    exact = computed(case, by_torch, seed, torch.float64)
    errors = [
        [
            float((value - truth).square().sum())
            for value, truth in zip(computed(case, function, seed), exact, strict=True)
        ]
        for function in (by_ours, by_torch)
    ]
    return [*errors, [float(truth.square().sum()) for truth in exact]]


def _ratio(squares: Doubles) -> Doubles:
    ours, theirs, _ = squares
    ratio: Doubles = np.sqrt(ours / np.where(theirs > 0, theirs, np.where(ours > 0, 1e-300, 1)))
    return ratio


def random_case(generator: np.random.Generator) -> Case:
    def pick(*values: int) -> int:
        return int(generator.choice(values))

    groups = pick(1, 1, 1, 2, 3, 8)
    channels, outputs = groups * pick(1, 2, 3, 5, 6, 7, 13, 20), groups * pick(1, 2, 3, 5, 16, 17, 30, 64, 70)
    if generator.random() < 0.15:
        groups = channels = outputs = pick(5, 16, 33, 70)
    kernel = pick(1, 2, 3, 3, 5, 7), pick(1, 2, 3, 3, 4, 5)
    padding = pick(*range(kernel[0] + 1)), pick(*range(kernel[1] + 1))
    low = max(1, kernel[0] - 2 * padding[0]), max(1, kernel[1] - 2 * padding[1])
    size = int(generator.integers(low[0], 12)), int(generator.integers(low[1], 18))
    stride = pick(1, 2, 3), pick(1, 2, 3)
    return Case(pick(1, 2, 7, 8, 9, 17, 25, 33), channels, size, outputs, kernel, stride, padding, groups)


def random_wide_case(generator: np.random.Generator, images: tuple[int, ...]) -> Case:
    """Draw a 3x3 convolution of stride 1 with channels enough for fewer products; see docs/arithmetic.md."""

    def channels() -> int:
        return int(generator.choice([32, 33, 48, 64, 65, 96, 128, 150, 256, 300]))

    padding = int(generator.choice([0, 1, 1, 2])), int(generator.choice([0, 1, 1, 2]))
    low = [max(2, 3 - 2 * zeros) for zeros in padding]
    size = int(generator.integers(low[0], 18)), int(generator.integers(low[1], 18))
    return Case(int(generator.choice(images)), channels(), size, channels(), padding=padding)
