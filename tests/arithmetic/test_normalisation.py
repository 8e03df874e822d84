"""Batch norm, with and without addition and ReLU, matches the formula bit for bit on all processors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from in4310repro.arithmetic import library, shares
from tests.arithmetic.formulas import (
    Doubles,
    assert_same_bits_everywhere,
    batch_norm,
    batch_sum,
    chain,
    fused,
    fused_double,
    maps_of,
    root_mean_square,
    rows_of,
    tree,
)

EPSILON = 1e-5
FORMS = ("none", "relu", "relu6", "sum relu")
# One position, odd channels, a leaf of 648 positions, several leaves, more channels than a thread takes at a time.
SHAPES = [(2, 3, 1, 1), (1, 5, 2, 3), (3, 17, 7, 5), (9, 18, 9, 9), (41, 4, 3, 2), (2, 150, 2, 2)]


class Case:
    """Random inputs of a batch norm: two maps, a gradient of the result, a weight and a bias."""

    def __init__(self, shape: tuple[int, int, int, int], mean: float = 0.5, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.maps, self.other, self.gradient = (torch.randn(shape, generator=generator) for _ in range(3))
        self.maps = self.maps + mean
        self.weight = torch.rand(shape[1], generator=generator) + 0.5
        self.bias = torch.randn(shape[1], generator=generator)

    def by_ours(self, form: str = "none", training: bool = True) -> list[Tensor]:
        """Return the package's result, running statistics and gradients."""
        leaves = [value.clone().requires_grad_() for value in (self.maps, self.weight, self.bias, self.other)]
        maps, weight, bias, other = leaves
        running = torch.zeros(len(bias)), torch.ones(len(bias))
        activation = {"sum relu": "relu"}.get(form, form)
        second = other if form == "sum relu" else None
        result = batch_norm(
            maps, *running, weight, bias, training=training, epsilon=EPSILON, activation=activation, other=second
        )
        result.backward(self.gradient)  # type: ignore[no-untyped-call]
        return [result.detach(), *running, *[leaf.grad for leaf in leaves if leaf.grad is not None]]

    def by_torch(self, form: str, dtype: torch.dtype, training: bool = True) -> list[Tensor]:
        leaves = [value.to(dtype).requires_grad_() for value in (self.maps, self.weight, self.bias, self.other)]
        maps, weight, bias, other = leaves
        running = torch.zeros(len(bias), dtype=dtype), torch.ones(len(bias), dtype=dtype)
        result = torch.nn.functional.batch_norm(maps, *running, weight, bias, training, eps=EPSILON)
        result = result + other if form == "sum relu" else result
        result = {"none": lambda x: x, "relu6": torch.nn.functional.relu6}.get(form, torch.relu)(result)
        result.backward(self.gradient.to(dtype))
        return [result.detach(), *running, *[leaf.grad for leaf in leaves if leaf.grad is not None]]

    def by_formula(self, form: str, summed=batch_sum) -> list[Tensor]:  # type: ignore[no-untyped-def]
        """Return the values of `by_ours` by the formulas in docs/arithmetic.md; `summed` sums over the batch."""
        x, second, dy = rows_of(self.maps), rows_of(self.other), rows_of(self.gradient)
        weight, bias, number = self.weight.double().numpy(), self.bias.double().numpy(), x.shape[0] * x.shape[1]
        wide = x.astype(np.float64)
        mean = summed(wide) / number
        squares = summed(wide * wide) / number
        variance = np.array([max(fused_double(-m, m, s), 0) for m, s in zip(mean, squares, strict=True)])
        inverse = 1 / np.sqrt(variance + EPSILON)
        centre, slope = mean.astype(np.float32), weight * inverse
        scale = slope.astype(np.float32)
        rest = centre.astype(np.float64) - mean
        shift = np.array([fused_double(r, s, b) for r, s, b in zip(rest, slope, bias, strict=True)]).astype(np.float32)
        away = x - centre
        y = fused(away, scale + 0 * x, shift + 0 * x) + np.float32(0)
        y = y + second if form == "sum relu" else y
        g = dy if form == "none" else np.where(y > 0, dy, np.float32(0))
        g = np.where(y < 6, g, np.float32(0)) if form == "relu6" else g
        y = y if form == "none" else np.maximum(y, np.float32(0))
        y = np.minimum(y, np.float32(6)) if form == "relu6" else y
        sums = summed(g.astype(np.float64))
        products = summed(g.astype(np.float64) * away.astype(np.float64))
        products = np.array([fused_double(r, s, p) for r, s, p in zip(rest, sums, products, strict=True)])
        tilt = -(slope * (inverse * inverse)) * (products / number)
        offset = -(slope * (sums / number)) + tilt * rest
        tilt32, offset32 = (value.astype(np.float32) + 0 * x for value in (tilt, offset))
        of_maps = fused(away, tilt32, fused(g, scale + 0 * x, offset32))
        unbiased = variance * (number / (number - 1))
        running = [0.9 * start + 0.1 * value for start, value in ((0, mean), (1, unbiased))]
        vectors = [*running, products * inverse, sums]
        found = [torch.from_numpy(np.asarray(value).astype(np.float32)) for value in vectors]
        others = [maps_of(g, self.maps)] if form == "sum relu" else []
        return [maps_of(y, self.maps), *found[:2], maps_of(of_maps, self.maps), *found[2:], *others]


def one_chain(values: Doubles) -> Doubles:
    """Sum each channel over the whole batch one value after the other, which is the wrong order."""
    return chain(values.reshape(-1, values.shape[2]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_is_its_formula_to_the_bit(shape: tuple[int, int, int, int], form: str) -> None:
    case = Case(shape)
    ours, formula = case.by_ours(form), case.by_formula(form)
    # 0.9 x + 0.1 y is rounded once less in the kernel.
    for place in (1, 2):
        torch.testing.assert_close(ours.pop(1), formula.pop(1), rtol=1.2e-7, atol=1e-9, msg=f"running {place}")
    for place, (value, expected) in enumerate(zip(ours, formula, strict=True)):
        assert torch.equal(value, expected), place


def test_sums_of_leaves_are_their_formula_and_another_order_has_other_bits() -> None:
    maps = Case((19, 4, 9, 9), mean=30).maps.contiguous(memory_format=torch.channels_last)
    rows = torch.empty(3, 2, 4, dtype=torch.float64)
    library.library().call("normalisation_leaves", 19, 81, 4, maps, rows)
    values = rows_of(maps).astype(np.float64)
    leaves = [np.stack([batch_sum(part), batch_sum(part * part)]) for part in np.split(values, [8, 16])]
    assert np.array_equal(rows.numpy(), np.stack(leaves))
    assert np.array_equal(tree(leaves)[1], batch_sum(values * values))
    # Sums of floats are often exact in double, those of squares are not.
    assert (one_chain(values * values) != batch_sum(values * values)).any()


def test_a_batch_that_is_shared_by_one_process_has_the_bits_of_a_whole_one() -> None:
    case, batch = Case((19, 5, 3, 2)), shares.Whole()
    expected, batch.is_shared = case.by_ours("sum relu"), True
    with batch:
        assert all(map(torch.equal, case.by_ours("sum relu"), expected))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [*SHAPES, (33, 64, 8, 8)], ids=str)
def test_batch_norm_has_equal_bits_on_every_instruction_set_and_number_of_threads(
    shape: tuple[int, int, int, int], form: str
) -> None:
    assert_same_bits_everywhere(lambda: Case(shape).by_ours(form))
    assert_same_bits_everywhere(lambda: Case(shape).by_ours(form, training=False))


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("mean", [0.0, 1e3])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(17, 40, 5, 5), (32, 64, 16, 16), (9, 130, 2, 1)], ids=str)
def test_errors_of_batch_norm_are_at_or_below_torchs(
    shape: tuple[int, int, int, int], form: str, mean: float, training: bool
) -> None:
    case = Case(shape, mean)
    exact = case.by_torch(form, torch.float64, training)
    for place, (ours, theirs, truth) in enumerate(
        zip(case.by_ours(form, training), case.by_torch(form, torch.float32, training), exact, strict=True)
    ):
        size = root_mean_square(truth)
        # Half a unit in the last place of float32 is 6e-8; below it no comparison is due.
        bound = max(root_mean_square(theirs - truth), 6e-8 * size)
        assert root_mean_square(ours - truth) <= bound, place


@pytest.mark.parametrize("form", FORMS[1:])
def test_fused_and_separate_passes_have_equal_bits(form: str) -> None:
    case = Case((9, 24, 5, 5))
    leaves = [value.clone().requires_grad_() for value in (case.maps, case.weight, case.bias, case.other)]
    maps, weight, bias, other = leaves
    result = batch_norm(maps, None, None, weight, bias, training=True)
    result = result + other if form == "sum relu" else result
    result = torch.nn.functional.relu6(result) if form == "relu6" else torch.relu(result)
    result.backward(case.gradient)  # type: ignore[no-untyped-call]
    ours = case.by_ours(form)
    separate = [result.detach(), *ours[1:3], *[leaf.grad for leaf in leaves if leaf.grad is not None]]
    for place, (value, expected) in enumerate(zip(ours, separate, strict=True)):
        assert torch.equal(value, expected), place


@pytest.mark.parametrize("images", [1, 7, 16])
def test_an_image_in_evaluation_does_not_depend_on_its_neighbours(images: int) -> None:
    case = Case((64, 24, 3, 3))
    running = torch.randn(24), torch.rand(24)

    def evaluated(maps: Tensor) -> Tensor:
        return batch_norm(maps, *running, case.weight, case.bias, training=False, activation="relu")

    together = evaluated(case.maps)
    for first in range(0, 64, images):
        assert torch.equal(evaluated(case.maps[first : first + images]), together[first : first + images])


def test_the_layout_of_the_maps_does_not_move_a_bit() -> None:
    case = Case((5, 6, 3, 4))
    expected = case.by_ours("sum relu")
    case.maps = case.maps.contiguous(memory_format=torch.channels_last)
    case.gradient = case.gradient.transpose(2, 3).contiguous().transpose(2, 3)
    for value, same in zip(case.by_ours("sum relu"), expected, strict=True):
        assert torch.equal(value, same)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("form", FORMS)
def test_values_that_are_not_finite_reach_what_they_reach_in_torch(form: str, value: float) -> None:
    case = Case((4, 6, 3, 3))
    case.gradient[1, 2, 0, 0] = value
    case.maps[2, 4, 1, 1] = value
    for ours, theirs in zip(case.by_ours(form), case.by_torch(form, torch.float32), strict=True):
        assert torch.equal(ours.isfinite(), theirs.isfinite())


def test_a_caller_that_flushes_denormals_gets_the_same_bits() -> None:
    case = Case((4, 6, 3, 3))
    case.weight, case.bias, case.gradient = case.weight * 1e-38, case.bias * 1e-38, case.gradient * 1e-38
    expected = case.by_ours("relu")
    assert any(((value != 0) & (value.abs() < 1.17e-38)).any() for value in expected)
    torch.set_flush_denormal(True)
    try:
        flushed = case.by_ours("relu")
    finally:
        torch.set_flush_denormal(False)
    for value, same in zip(flushed, expected, strict=True):
        assert torch.equal(value.view(torch.int32), same.view(torch.int32))


def test_batch_norm_by_hand() -> None:
    maps = torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1)
    running = torch.zeros(1), torch.ones(1)
    result = batch_norm(maps, *running, torch.tensor([3.0]), torch.tensor([1.0]), training=True, epsilon=0.0)
    assert result.flatten().tolist() == [-2, 4]
    torch.testing.assert_close(torch.cat(running), torch.tensor([0.2, 1.1]), rtol=1e-7, atol=0)
