"""Max and average pooling: errors against torch's, equal bits on all processors, and bad input."""

from __future__ import annotations

import pytest
import torch

from in4310repro.arithmetic.pooling import adaptive_average_pool, fork, max_pool
from tests.arithmetic.formulas import assert_same_bits_everywhere, root_mean_square

SIZES = [(1, 1), (7, 7), (2, 3), (5, 4), (5, 5)]


def pooled(maps: torch.Tensor, size: tuple[int, int], function=adaptive_average_pool) -> list[torch.Tensor]:  # type: ignore[no-untyped-def]
    leaf = maps.clone().requires_grad_()
    result = function(leaf, size)
    result.backward(torch.ones_like(result) + torch.arange(result.numel()).reshape(result.shape) / result.numel())
    assert leaf.grad is not None
    return [result.detach(), leaf.grad]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shape", [(3, 19, 5, 4), (2, 64, 7, 7), (1, 3, 1, 1)], ids=str)
def test_errors_of_average_pooling_are_at_or_below_torchs(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 3
    by_torch = torch.nn.functional.adaptive_avg_pool2d
    exact, theirs = pooled(maps.double(), size, by_torch), pooled(maps, size, by_torch)
    for ours, their, truth in zip(pooled(maps, size), theirs, exact, strict=True):
        bound = max(root_mean_square(their - truth), 6e-8 * root_mean_square(truth))
        assert root_mean_square(ours - truth) <= bound


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_average_pooling_has_equal_bits_on_every_instruction_set_and_number_of_threads(size: tuple[int, int]) -> None:
    maps = torch.randn(3, 19, 5, 4, generator=torch.Generator().manual_seed(0))
    assert_same_bits_everywhere(lambda: pooled(maps, size))


def test_average_pooling_by_hand() -> None:
    maps = torch.tensor([[1.0, 2.0, 3.0]]).reshape(1, 1, 1, 3)
    assert adaptive_average_pool(maps, (1, 2)).flatten().tolist() == [1.5, 2.5]


@pytest.mark.parametrize("settings", [(3, 2, 1), (2, 2, 0), (3, 1, 1), (2, 1, 1)], ids=str)
@pytest.mark.parametrize("round_up", [False, True])
@pytest.mark.parametrize("shape", [(3, 19, 7, 5), (2, 64, 8, 8), (1, 3, 4, 3)], ids=str)
def test_max_pooling_is_torchs_to_the_bit(
    shape: tuple[int, ...], round_up: bool, settings: tuple[int, int, int]
) -> None:
    kernel, stride, padding = settings
    # Whole numbers, so that windows have ties; nan beats all.
    maps = torch.randint(-3, 3, shape, generator=torch.Generator().manual_seed(0)).float()
    maps[0, 0, 1, 1] = torch.nan

    def by_ours(maps: torch.Tensor, _: object) -> torch.Tensor:
        return max_pool(maps, (kernel, kernel), (stride, stride), (padding, padding), round_up)

    def by_torch(maps: torch.Tensor, _: object) -> torch.Tensor:
        return torch.nn.functional.max_pool2d(maps, kernel, stride, padding, ceil_mode=round_up)

    ours = pooled(maps, (1, 1), by_ours)
    for our, their in zip(ours, pooled(maps, (1, 1), by_torch), strict=True):
        assert torch.equal(our.nan_to_num(nan=9), their.nan_to_num(nan=9))
    assert_same_bits_everywhere(lambda: pooled(maps, (1, 1), by_ours))


def test_a_fork_adds_the_gradients_of_both_ways() -> None:
    leaf = torch.randn(2, 3, 4, 4, requires_grad=True)
    first, second = fork(leaf)
    (first * 2 + second.square()).sum().backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad, 2 + 2 * leaf.detach(), rtol=1e-6, atol=1e-6)
    leaf.grad = None
    fork(leaf)[1].sum().backward()  # type: ignore[no-untyped-call]
    assert torch.equal(leaf.grad, torch.ones_like(leaf))  # type: ignore[arg-type]
