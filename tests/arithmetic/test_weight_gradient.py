"""Gradients of convolution weights match the formula bit for bit on every instruction set and thread count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from in4310repro.arithmetic.products import convolution
from tests.arithmetic import shapes
from tests.arithmetic.formulas import (
    Floats,
    assert_same_bits_everywhere,
    fused,
    part_of,
    root_mean_square,
    rows_of,
    tree,
)
from tests.arithmetic.shapes import Case, random_case

FORMULA = [
    Case(17, 3, (7, 6), 5, (1, 1), (1, 1), (0, 0)),  # three leaves; more than a segment
    Case(3, 3, (5, 6), 18),  # few channels: two taps at a time
    Case(9, 1, (4, 7), 2, (2, 5), (1, 2), (1, 2)),
    Case(9, 7, (4, 3), 17, (3, 3), (2, 2)),  # odd channels
    Case(2, 2, (7, 5), 4, (7, 7), (2, 2), (3, 3)),
    Case(5, 4, (1, 1), 3),  # most taps are nowhere inside
    Case(41, 2, (2, 2), 3, (2, 3), (1, 2), (0, 1)),  # six leaves
    Case(1, 13, (5, 1), 33, (1, 1), (3, 3), (0, 0)),
    Case(10, 6, (5, 5), 4, groups=2),
    Case(10, 3, (5, 4), 12, groups=3),
    Case(9, 19, (5, 4), 19, (3, 3), (2, 1), groups=19),  # depth-wise, with a last vector that overlaps
    Case(9, 5, (7, 6), 5, groups=5),  # depth-wise, less than a vector, more than a segment
    Case(9, 3, (8, 6), 33, (3, 3), (2, 2), (0, 0), more=(1, 1)),  # as EfficientNet's first
    Case(2, 3, (8, 6), 5, (3, 3), (2, 2), (2, 0), more=(-2, 1)),  # few positions
    Case(9, 19, (8, 6), 19, (5, 5), (2, 2), (1, 1), groups=19, more=(1, -1)),  # depth-wise
]
ERRORS = [
    Case(16, 3, (64, 64), 64, (7, 7), (2, 2), (3, 3)),
    Case(16, 64, (16, 16), 64),
    Case(16, 64, (16, 16), 128, (3, 3), (2, 2)),
    Case(16, 64, (16, 16), 128, (1, 1), (2, 2), (0, 0)),
    Case(16, 128, (16, 16), 128, (1, 1), (1, 1), (0, 0)),
    Case(32, 256, (4, 4), 256),
    Case(32, 512, (2, 2), 512),
    Case(16, 96, (16, 16), 96, groups=96),
    Case(16, 64, (16, 16), 64, groups=16),
]


Product = tuple[Floats | None, Floats]  # map values, None where the tap is outside, and gradients


def weight_gradient(case: Case, maps: Tensor, gradient: Tensor) -> Tensor:
    weight = torch.zeros((case.outputs, case.channels // case.groups, *case.kernel), requires_grad=True)
    result = convolution(maps, weight, None, case.stride, case.ends, case.groups)
    return torch.autograd.grad(result, weight, gradient)[0]


def by_torch(case: Case, maps: Tensor, gradient: Tensor) -> Tensor:
    shape = (case.outputs, case.channels // case.groups, *case.kernel)
    weight = torch.zeros(shape, dtype=maps.dtype, requires_grad=True)
    result = shapes.by_torch(case, maps, weight, torch.zeros(case.outputs, dtype=maps.dtype))
    return torch.autograd.grad(result, weight, gradient)[0]


def chain_of(leaves: list[Floats]) -> Floats:
    """Return the sum of a list of arrays, added one after the other."""
    total = leaves[0]
    for leaf in leaves[1:]:
        total = total + leaf
    return total


def cut(products: list[Product], length: int) -> list[list[Product]]:
    return [products[at : at + length] for at in range(0, len(products), length)]


def double_chain(products: list[Product], zero: Floats) -> Floats:
    """Return `zero` plus all products, accumulated in float64 and rounded once to float32."""
    total = zero.astype(np.float64)
    for left, right in products:
        total = total if left is None else total + left.astype(np.float64) * right.astype(np.float64)
    return total.astype(np.float32)


def fused_chain(products: list[Product], total: Floats) -> Floats:
    for left, right in products:
        total = total if left is None else fused(left, right, total)
    return total


@dataclass(frozen=True)
class Order:
    """Order of the additions: by default that of docs/arithmetic.md; tests change a field to get a wrong order."""

    part: Callable[[int], int] = part_of
    few: int = 64
    section: int = 64
    segment: int = 256
    leaf: int = 8
    add: Callable[[list[Floats]], Floats] = tree


OTHER_ORDERS = {
    "longer parts": Order(part=lambda positions: 2 * part_of(positions)),
    "longer sections": Order(section=128),
    "longer segments": Order(segment=512),
    "larger leaves": Order(leaf=16),
    "a chain of leaves": Order(add=chain_of),
}


def formula(case: Case, maps: Tensor, gradient: Tensor, order: Order | None = None) -> Tensor:
    """Return the weight gradient by the formula of docs/arithmetic.md, with the additions in `order`."""
    order = order or Order()
    inner, outer = case.channels // case.groups, case.outputs // case.groups
    result = np.zeros((case.groups, outer, inner, *case.kernel), np.float32)
    zero = np.zeros((case.groups, outer, inner), np.float32)
    positions = case.result[0] * case.result[1]
    part = order.part(min(8, case.images) * positions)
    few = case.images < 8 and case.images * positions <= order.few

    def segment_sum(products: list[Product]) -> Floats:
        if few:
            return double_chain(products, zero)
        sections = [cut(section, part) for section in cut(products, order.section)]
        return chain_of([chain_of([zero, *(fused_chain(part, zero) for part in section)]) for section in sections])

    values, gradients = maps.permute(0, 2, 3, 1).numpy(), rows_of(gradient)
    for y, x in np.ndindex(*case.kernel):
        leaves = []
        for first in range(0, case.images, order.leaf):
            products: list[Product] = []  # at each position
            for image, row, column in np.ndindex(min(order.leaf, case.images - first), *case.result):
                a, b = row * case.stride[0] + y - case.padding[0], column * case.stride[1] + x - case.padding[1]
                inside = 0 <= a < case.size[0] and 0 <= b < case.size[1]
                left = values[first + image, a, b].reshape(case.groups, 1, inner) if inside else None
                right = gradients[first + image, row * case.result[1] + column].reshape(case.groups, outer, 1)
                products.append((left, right))
            leaves.append(chain_of([segment_sum(segment) for segment in cut(products, order.segment)]))
        result[:, :, :, y, x] = order.add(leaves)
    return torch.from_numpy(result.reshape(case.outputs, inner, *case.kernel))


@pytest.mark.parametrize("case", FORMULA, ids=str)
def test_weight_gradient_has_the_bits_of_the_formula(case: Case) -> None:
    maps, gradient = case.draw()
    assert torch.equal(weight_gradient(case, maps, gradient), formula(case, maps, gradient))


@pytest.mark.parametrize("name", OTHER_ORDERS)
def test_sums_in_another_order_have_other_bits(name: str) -> None:
    case = Case(33, 3, (7, 6), 5, (1, 1), (1, 1), (0, 0))
    maps, gradient = case.draw()
    ours = weight_gradient(case, maps, gradient)
    assert torch.equal(ours, formula(case, maps, gradient))
    assert not torch.equal(ours, formula(case, maps, gradient, OTHER_ORDERS[name]))


@pytest.mark.parametrize("case", [*FORMULA, *ERRORS[1:7:2]], ids=str)
def test_weight_gradient_has_equal_bits_on_every_instruction_set_and_number_of_threads(case: Case) -> None:
    maps, gradient = case.draw()
    assert_same_bits(case, maps, gradient)


@pytest.mark.parametrize("case", ERRORS, ids=str)
def test_errors_of_weight_gradients_are_at_or_below_torchs(case: Case) -> None:
    maps, gradient = case.draw()
    exact, theirs = by_torch(case, maps.double(), gradient.double()), by_torch(case, maps, gradient)
    ours = weight_gradient(case, maps, gradient)
    assert root_mean_square(ours - exact) <= root_mean_square(theirs - exact)


def assert_same_bits(case: Case, maps: Tensor, gradient: Tensor) -> None:
    assert_same_bits_everywhere(lambda: [weight_gradient(case, maps, gradient)])


def test_200_random_weight_gradients_agree_with_double_and_have_equal_bits_on_every_instruction_set() -> None:
    generator = np.random.default_rng(0)
    ours_sum = theirs_sum = 0.0
    for number in range(200):
        case = random_case(generator)
        maps, gradient = case.draw(number)
        exact, theirs = by_torch(case, maps.double(), gradient.double()), by_torch(case, maps, gradient)
        ours = weight_gradient(case, maps, gradient)
        scale = max(root_mean_square(exact), 1e-30)
        error = root_mean_square(ours - exact) / scale
        assert error < 4e-7, case
        ours_sum, theirs_sum = ours_sum + error, theirs_sum + root_mean_square(theirs - exact) / scale
        if number % 4 == 0:
            assert_same_bits(case, maps, gradient)
    assert ours_sum <= theirs_sum


@pytest.mark.parametrize(
    "case", [Case(9, 5, (4, 6), 18), Case(3, 3, (4, 6), 18), Case(9, 19, (4, 6), 19, groups=19)], ids=str
)
def test_positions_whose_tap_is_outside_add_nothing(case: Case) -> None:
    maps, gradient = case.draw()
    gradient[0, :, 0, 0] = float("inf")
    finite = weight_gradient(case, maps, gradient).isfinite().all(dim=0).all(dim=0)
    assert finite.tolist() == [[True, True, True], [True, False, False], [True, False, False]]


def test_gradients_and_maps_in_any_layout_give_the_same_bits() -> None:
    case = Case(9, 7, (6, 5), 20)
    maps, gradient = case.draw()
    expected = weight_gradient(case, maps, gradient)
    assert torch.equal(weight_gradient(case, maps.contiguous(), gradient.contiguous()), expected)


def test_a_batch_is_the_tree_of_its_leaves() -> None:
    """The weight gradient of 16 images equals the sum of the gradients of images 1 to 8 and of images 9 to 16."""
    case = Case(16, 7, (6, 5), 20)
    maps, gradient = case.draw()
    half = Case(8, 7, (6, 5), 20)
    left, right = (weight_gradient(half, maps[at : at + 8], gradient[at : at + 8]) for at in (0, 8))
    assert torch.equal(weight_gradient(case, maps, gradient), left + right)


@pytest.mark.parametrize(
    "case",
    [Case(1, 1, (1, 1), 1, (1, 1), (1, 1), (0, 0)), Case(9, 3, (2, 3), 5), Case(9, 5, (2, 3), 5, groups=5)],
    ids=str,
)
def test_denormal_results_stay(case: Case) -> None:
    maps, gradient = (torch.full_like(values, 1e-30 if place else 1e-12) for place, values in enumerate(case.draw()))
    assert_same_bits(case, maps, gradient)
    before = torch.set_flush_denormal(True)
    try:
        assert_same_bits(case, maps, gradient)
        result = weight_gradient(case, maps, gradient)
    finally:
        torch.set_flush_denormal(False)
    assert before
    bits = result.view(torch.int32)
    assert ((bits > 0) & (bits < 1 << 23)).all()
