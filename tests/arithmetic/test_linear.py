"""Linear layers and their gradients match the formula bit for bit on every instruction set and thread count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from in4310repro.arithmetic.products import linear
from tests.arithmetic.formulas import Floats, assert_same_bits_everywhere, batch_sum, fused, root_mean_square, tree

Sizes = tuple[int, int, int]  # images, features, outputs
SIZES = [(1, 1, 1), (2, 7, 3), (9, 33, 17), (17, 20, 65), (41, 5, 10), (300, 3, 2)]
NAMES = ["rows weight^T + bias", "gradient of rows", "gradient of weight", "gradient of bias"]


def draw(sizes: Sizes, seed: int = 0) -> list[Tensor]:
    """Draw rows, a weight, a bias and a gradient of the result."""
    images, features, outputs = sizes
    generator = torch.Generator().manual_seed(seed)
    shapes = ((images, features), (outputs, features), (outputs,), (images, outputs))
    return [torch.randn(shape, generator=generator) for shape in shapes]


def computed(drawn: list[Tensor], function=linear) -> list[Tensor]:  # type: ignore[no-untyped-def]
    """Return the result and the gradients of rows, weight and bias."""
    leaves = [value.clone().requires_grad_() for value in drawn[:3]]
    result = function(*leaves)
    return [result.detach(), *torch.autograd.grad(result, leaves, drawn[3])]


def products(left: Floats, right: Floats, start: Floats) -> Floats:
    """Return left @ right.T + start, accumulated column by column in float64."""
    total = np.broadcast_to(start, (len(left), len(right))).astype(np.float64)
    for column in range(left.shape[1]):
        total = total + left[:, column, None].astype(np.float64) * right[None, :, column].astype(np.float64)
    return total.astype(np.float32)


def leaf_sum(left: Floats, right: Floats) -> Floats:
    """Return left.T @ right for at most 8 rows: fused sums over 4 rows each, then the sum of these."""
    leaf = np.zeros((left.shape[1], right.shape[1]), np.float32)
    for first in range(0, len(left), 4):
        part = np.zeros_like(leaf)
        for i, j in zip(left[first : first + 4], right[first : first + 4], strict=True):
            part = fused(i[:, None], j[None], part)
        leaf = leaf + part
    return leaf


def formula(drawn: list[Tensor]) -> list[Tensor]:
    rows, weight, bias, gradient = (value.numpy() for value in drawn)
    zero = np.zeros((1, 1), np.float32)
    leaves = [leaf_sum(gradient[at : at + 8], rows[at : at + 8]) for at in range(0, len(rows), 8)]
    # Few images are a chain in float64.
    of_weight = tree(leaves) if len(rows) >= 8 else products(gradient.T, rows.T, zero)
    of_bias = batch_sum(gradient[:, None].astype(np.float64)).astype(np.float32)
    results = products(rows, weight, bias), products(gradient, weight.T, zero), of_weight, of_bias
    return [torch.from_numpy(result) for result in results]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_linear_has_the_bits_of_the_formula(sizes: Sizes) -> None:
    drawn = draw(sizes)
    for name, ours, expected in zip(NAMES, computed(drawn), formula(drawn), strict=True):
        assert torch.equal(ours, expected), name


def test_chains_follow_the_order_of_features_and_outputs() -> None:
    """In float64, 2^60 + 1 - 2^60 gives 0, but 2^60 - 2^60 + 1 gives 1."""
    big = 2.0**60
    for values, expected in (((big, 1.0, -big), 0.0), ((big, -big, 1.0), 1.0), ((1.0, big, -big), 0.0)):
        assert linear(torch.tensor([values]), torch.ones(1, 3)).tolist() == [[expected]]
        rows = torch.zeros((1, 1), requires_grad=True)
        (of_rows,) = torch.autograd.grad(linear(rows, torch.ones(3, 1)), rows, torch.tensor([values]))
        assert of_rows.tolist() == [[expected]]


def test_the_chain_starts_with_the_bias() -> None:
    big = 2.0**60
    assert linear(torch.tensor([[1.0, -big]]), torch.ones(1, 2), torch.tensor([big])).tolist() == [[0.0]]


def test_images_in_another_order_give_other_bits() -> None:
    rows, weight, bias, gradient = draw((17, 20, 65))
    ours = computed([rows, weight, bias, gradient])
    assert not torch.equal(ours[2], formula([rows.flip(0), weight, bias, gradient.flip(0)])[2])


@pytest.mark.parametrize("sizes", [*SIZES, (32, 512, 10), (8, 1280, 70)], ids=str)
def test_linear_has_equal_bits_on_every_instruction_set_and_number_of_threads(sizes: Sizes) -> None:
    drawn = draw(sizes)
    assert_same_bits_everywhere(lambda: computed(drawn))


@pytest.mark.parametrize("sizes", [(32, 512, 10), (32, 512, 64), (64, 512, 365), (17, 33, 65)], ids=str)
def test_errors_of_linear_are_at_or_below_torchs(sizes: Sizes) -> None:
    drawn = draw(sizes)
    by_torch = torch.nn.functional.linear
    theirs, exact = computed(drawn, by_torch), computed([value.double() for value in drawn], by_torch)
    for name, ours, their, truth in zip(NAMES, computed(drawn), theirs, exact, strict=True):
        assert root_mean_square(ours - truth) <= root_mean_square(their - truth), name


def test_an_image_has_the_same_result_in_any_batch() -> None:
    rows, weight, bias, _ = draw((17, 20, 65))
    together = linear(rows, weight, bias)
    for image in range(17):
        assert torch.equal(linear(rows[image : image + 1], weight, bias)[0], together[image])


def test_linear_without_bias_with_other_strides_and_on_another_default_device() -> None:
    rows, weight, _, _ = draw((9, 33, 17))
    expected = linear(rows, weight, torch.zeros(17))
    assert torch.equal(linear(rows, weight), expected)
    assert torch.equal(linear(rows.T.contiguous().T, weight.T.contiguous().T), expected)
    with torch.device("meta"):
        assert torch.equal(linear(rows, weight), expected)


def test_the_gradient_of_a_weight_that_lies_otherwise_in_memory_is_that_of_one_that_does_not() -> None:
    rows, weight = torch.rand(9, 4), torch.rand(4, 3).T.requires_grad_()
    assert not weight.is_contiguous()
    (found,) = torch.autograd.grad(linear(rows, weight).square().sum(), weight)
    straight = weight.detach().contiguous().requires_grad_()
    (needed,) = torch.autograd.grad(linear(rows, straight).square().sum(), straight)
    assert torch.equal(found, needed)
