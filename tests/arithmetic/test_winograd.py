"""Convolutions by fewer products match the formula bit for bit on every instruction set, and their rule of choice."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from in4310repro.arithmetic import functions, library
from in4310repro.arithmetic.products import convolution
from tests.arithmetic import test_weight_gradient, winograd
from tests.arithmetic.formulas import (
    THREADS,
    Floats,
    assert_same_bits_everywhere,
    batch_norm,
    compute_with,
    equal_bits,
    libraries,
    root_mean_square,
)
from tests.arithmetic.shapes import NAMES, Case, by_ours, error_ratios
from tests.arithmetic.test_convolution import forward_formula
from tests.arithmetic.winograd import METHODS, OF_MAPS, OF_WEIGHT, OUTPUT, Order, Scheme, four_at, method_of

# Of output, gradient of the maps and gradient of the weights.
FORMULA = {
    Case(3, 33, (8, 6), 17): ("two, two", "direct", "direct"),
    Case(2, 70, (9, 4), 40): ("two, four", "two, two", "direct"),
    Case(2, 40, (9, 8), 33, padding=(0, 2)): ("two, two", "two, two", "direct"),
    Case(2, 33, (7, 8), 70, padding=(2, 2)): ("direct", "two, four", "direct"),
    Case(2, 16, (7, 9), 130): ("direct", "two, four", "direct"),
    Case(3, 130, (8, 6), 16, padding=(2, 1)): ("two, two", "direct", "direct"),
    Case(3, 130, (2, 2), 70): ("pair, pair", "pair, pair", "direct"),
    Case(17, 32, (2, 2), 17): ("pair, pair", "direct", "direct"),
    Case(2, 64, (2, 4), 64): ("two, four", "two, four", "direct"),
    Case(2, 64, (3, 42), 70, padding=(0, 0)): ("two, four", "direct", "direct"),
    Case(1, 70, (8, 8), 64, padding=(3, 3)): ("two, four", "two, four", "direct"),  # 4 P = 3 D
    Case(1, 130, (12, 9), 70, padding=(2, 0)): ("two, four", "two, four", "two, two"),
    Case(9, 64, (5, 15), 70): ("two, four", "two, four", "two, two"),
    Case(17, 64, (8, 9), 64): ("two, four", "two, four", "two, two"),
    Case(3, 130, (10, 11), 64, padding=(0, 0)): ("two, four", "two, four", "two, two"),
    Case(2, 513, (4, 7), 16): ("four, four", "direct", "direct"),
    Case(1, 17, (7, 9), 512, padding=(1, 2)): ("direct", "four, four", "direct"),
    Case(2, 64, (10, 9), 70, padding=(0, 2), more=(3, -2)): ("two, four", "two, four", "two, two"),
    Case(2, 64, (2, 2), 64, padding=(1, 2), more=(0, -2)): ("direct", "direct", "direct"),  # 2 x 2, but not a pair
}


def sizes_of(case: Case) -> library.Shape:
    sizes = (case.images, case.channels, *case.size, case.outputs, *case.kernel, *case.stride)
    return library.Shape(*sizes, *case.ends[0], *case.ends[1], case.groups)


def by_kernels(case: Case) -> tuple[str, ...]:
    return tuple(METHODS[library.library().functions["method"](sizes_of(case), result)] for result in range(3))


def random_sizes(generator: np.random.Generator) -> Case:
    def pick(*values: int) -> int:
        return int(generator.choice(values))

    near = 1, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 130, 511, 512
    padding = pick(0, 1, 1, 2, 3), pick(0, 1, 1, 2, 3)
    other = generator.random() < 0.1
    kernel, stride = ((pick(1, 2, 3, 5), pick(2, 3, 4)), (pick(1, 2), pick(1, 2, 3))) if other else ((3, 3), (1, 1))
    least = [max(1, size - 2 * zeros) for size, zeros in zip(kernel, padding, strict=True)]
    longest = 20 if generator.random() < 0.8 else 200
    height, width = (int(generator.integers(low, pick(low, low + 1, 8, longest) + low + 1)) for low in least)
    groups = pick(2, 3, 16) if generator.random() < 0.1 else 1
    return Case(
        pick(1, 8, 9),
        groups * pick(*near),
        (height, width),
        groups * pick(*near),
        kernel,
        stride,
        padding,
        groups,
        (pick(0, 0, 1, 2), pick(0, 0, 1, 2)),
    )


def test_the_method_of_4000_random_convolutions_is_that_of_the_rule() -> None:
    generator, seen = np.random.default_rng(0), set()
    for _ in range(4000):
        case = random_sizes(generator)
        expected = tuple(method_of(case, result) for result in range(3))
        assert by_kernels(case) == expected, case
        seen |= set(enumerate(expected))
    assert seen == {
        *itertools.product((OUTPUT, OF_MAPS), METHODS),
        (2, "direct"),
        (2, "two, two"),
    }


Inputs = tuple[Tensor, Tensor, Tensor, Tensor]  # maps, weight, bias and gradient of the output


def inputs_of(case: Case) -> Inputs:
    (maps, gradient), (weight, bias) = case.draw(), case.draw_weight()
    return maps, weight, bias, gradient


def ours(case: Case, inputs: Inputs) -> list[Tensor]:
    """Return the output and the gradients of maps and weights."""
    maps, weight = (values.clone().requires_grad_() for values in inputs[:2])
    result = by_ours(case, maps, weight, inputs[2])
    return [result.detach(), *torch.autograd.grad(result, [maps, weight], inputs[3])]


def outputs_by_formula(case: Case, inputs: Inputs, order: Order | None = None) -> list[Tensor]:
    """Return the output and the gradient of the maps."""
    maps, weight, bias, gradient = inputs
    return [winograd.output(case, maps, weight, bias, order), winograd.maps_gradient(case, gradient, weight, order)]


@pytest.mark.parametrize("case", FORMULA, ids=str)
def test_all_results_have_the_bits_of_the_formula(case: Case) -> None:
    inputs = inputs_of(case)
    assert by_kernels(case) == FORMULA[case]
    maps, weight, bias, gradient = inputs
    expected = [*outputs_by_formula(case, inputs), winograd.weight_gradient(case, maps, gradient)]
    for name, value, formula in zip(NAMES, ours(case, inputs), expected, strict=False):
        assert equal_bits(value, formula), name
    without = convolution(maps, weight, None, padding=case.ends)
    assert equal_bits(without, winograd.output(case, maps, weight, torch.zeros_like(bias)))


FOUR, TWO, PAIR = (Case(1, 130, size, 100) for size in ((9, 7), (9, 6), (2, 2)))


def with_a_factor_rounded_up(scheme: Scheme) -> Scheme:
    def of_weights(*weights: Floats) -> tuple[Floats, ...]:
        first, *others = scheme.of_weights(*weights)
        return np.float32(1 + 2**-23) * first, *others

    return replace(scheme, of_weights=of_weights)


def added_from_the_left(g0: Floats, g1: Floats, g2: Floats) -> tuple[Floats, ...]:
    half = np.float32(0.5)
    return g0, half * ((g0 + g1) + g2), half * ((g0 - g1) + g2), g2


OTHERS = {
    "rows before columns": (Order(rows_first=True), (FOUR, TWO, PAIR)),
    "longer units": (Order(unit=128), (FOUR, TWO, PAIR)),
    "shorter units": (Order(unit=32), (FOUR, TWO, PAIR)),
    "longer parts": (Order(part=32), (FOUR, TWO, PAIR)),
    "shorter parts": (Order(part=8), (FOUR, TWO, PAIR)),
    "maps that go on at the other edge": (Order(edge="wrap"), (FOUR, TWO)),
    "maps whose edge goes on": (Order(edge="repeat"), (FOUR, TWO)),
    "points exchanged": (Order(four=four_at(3 / 2, 5 / 8)), (FOUR,)),
    "another point": (Order(four=four_at(5 / 8, 7 / 4)), (FOUR,)),
    "a factor rounded up": (Order(four=with_a_factor_rounded_up(winograd.FOUR)), (FOUR,)),
    "weights added from the left": (Order(two=replace(winograd.TWO, of_weights=added_from_the_left)), (FOUR, TWO)),
}


@functools.cache
def both(case: Case) -> tuple[list[Tensor], list[Tensor]]:
    """Return the output and the gradient of the maps by the kernels and by the formula."""
    inputs = inputs_of(case)
    return ours(case, inputs)[:2], outputs_by_formula(case, inputs)


@pytest.mark.parametrize("name", OTHERS)
def test_outputs_and_gradients_of_maps_in_another_order_have_other_bits(name: str) -> None:
    order, cases = OTHERS[name]
    for case in cases:
        other = outputs_by_formula(case, inputs_of(case), order)
        for found, expected, wrong in zip(*both(case), other, strict=True):
            assert torch.equal(found, expected)
            assert not torch.equal(found, wrong)


def test_sums_that_begin_from_the_bias_have_other_bits() -> None:
    maps, weight, bias, _ = inputs_of(TWO)
    other = winograd.output(TWO, maps, weight, bias, Order(bias_first=True))
    assert not torch.equal(by_ours(TWO, maps, weight, bias), other)
    torch.testing.assert_close(by_ours(TWO, maps, weight, bias), other, rtol=1e-4, atol=1e-4)


OTHERS_OF_WEIGHTS = {
    "rows before columns": Order(rows_first=True),
    "longer sections": Order(section=128),
    "shorter sections": Order(section=32),
    "longer parts": Order(part_of_section=16),
    "shorter parts": Order(part_of_section=4),
    "maps that go on at the other edge": Order(edge="wrap"),
    "maps whose edge goes on": Order(edge="repeat"),
    "a chain of leaves": Order(add=test_weight_gradient.chain_of),
    "sums turned into a gradient after the tree": Order(back_after_the_tree=True),
}


@pytest.mark.parametrize("name", OTHERS_OF_WEIGHTS)
def test_gradients_of_weights_in_another_order_have_other_bits(name: str) -> None:
    case = Case(25, 64, (8, 9), 64)
    maps, gradient = case.draw()
    result = test_weight_gradient.weight_gradient(case, maps, gradient)[:3, :5]
    assert torch.equal(result, winograd.weight_gradient(case, maps[:, :5], gradient[:, :3]))
    other = winograd.weight_gradient(case, maps[:, :5], gradient[:, :3], OTHERS_OF_WEIGHTS[name])
    assert not torch.equal(result, other)


LARGE = [
    Case(9, 64, (16, 16), 64),
    Case(3, 130, (12, 9), 70, padding=(2, 0)),
    Case(17, 70, (8, 9), 130),
    Case(33, 130, (2, 2), 70),
    Case(5, 33, (9, 8), 40, padding=(0, 2)),
]


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_all_results_have_equal_bits_on_every_instruction_set_and_number_of_threads(case: Case) -> None:
    assert_same_bits_everywhere(lambda: ours(case, inputs_of(case)))


@pytest.mark.parametrize("case", LARGE, ids=str)
def test_neighbours_in_the_batch_move_no_bit(case: Case) -> None:
    maps, weight, bias, gradient = inputs_of(case)
    output, of_maps, _ = ours(case, (maps, weight, bias, gradient))
    for image in range(case.images):
        one = slice(image, image + 1)
        alone, of_map, _ = ours(case, (maps[one], weight, bias, gradient[one]))
        assert torch.equal(alone, output[one])
        assert torch.equal(of_map, of_maps[one])


def test_the_weight_gradient_of_16_images_is_the_sum_of_those_of_8() -> None:
    case = Case(16, 70, (8, 9), 64)
    maps, gradient = case.draw()
    left, right = (
        test_weight_gradient.weight_gradient(replace(case, images=8), maps[at : at + 8], gradient[at : at + 8])
        for at in (0, 8)
    )
    assert torch.equal(test_weight_gradient.weight_gradient(case, maps, gradient), left + right)


# A convolution for each method of its output and of the gradient of its maps.
METHOD_CASES = [Case(3, 64, (7, 8), 64), Case(3, 40, (4, 6), 40), Case(3, 64, (2, 2), 64)]


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 2e38])
@pytest.mark.parametrize("case", METHOD_CASES, ids=str)
def test_only_an_image_with_a_result_that_is_not_finite_is_computed_directly(case: Case, value: float) -> None:
    maps, weight, bias, gradient = inputs_of(case)
    inputs = maps, weight / 1000, bias / 1000, gradient
    before = ours(case, inputs)
    # Two neighbours in a row: the sum of two times 2e38 is infinite, although no direct sum is.
    maps[1, 5, 1, :2] = gradient[1, 5, 1, :2] = value
    after = ours(case, inputs)
    for found, expected, finite in zip(after[:2], outputs_by_formula(case, inputs), before, strict=False):
        assert found[1].isfinite().all() == (value == 2e38)
        assert equal_bits(found, expected)
        assert equal_bits(found[::2], finite[::2])
    assert_same_bits_everywhere(lambda: ours(case, inputs)[:2])


@pytest.mark.parametrize("what", ["weight", "bias", "sum with the bias"])
@pytest.mark.parametrize("case", METHOD_CASES, ids=str)
def test_infinite_weights_and_biases_make_all_images_direct(case: Case, what: str) -> None:
    maps, weight, bias, gradient = inputs_of(case)
    if what == "weight":
        weight[3, 5, 1, 1] = float("inf")
    elif what == "bias":
        bias[3] = float("-inf")
    else:
        maps, bias[3] = 1e35 * maps, 3.4028e38
    inputs = maps, weight, bias, gradient
    output, of_maps, _ = ours(case, inputs)
    assert output.isfinite().flatten(2).all(2).all(0).tolist() == [place != 3 for place in range(case.outputs)]
    with np.errstate(all="ignore"):
        assert equal_bits(output, forward_formula(case, maps, weight, bias))
    assert equal_bits(of_maps, winograd.maps_gradient(case, gradient, weight))
    assert of_maps.isfinite().all() == (what != "weight")
    assert_same_bits_everywhere(lambda: ours(case, inputs)[:2])


@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
@pytest.mark.parametrize("value", [1.0, float("inf"), float("nan"), 2e38])
@pytest.mark.parametrize("case", METHOD_CASES, ids=str)
def test_a_fused_batch_norm_of_a_convolution_has_the_bits_of_a_separate_one(
    case: Case, value: float, activation: str
) -> None:
    maps, weight, bias, _ = inputs_of(case)
    weight = weight / 1000
    maps[1, 5, 1, :2] = value
    mean, scale, shift = torch.randn((3, case.outputs), generator=torch.Generator().manual_seed(2))
    scale[4] = 3e38  # results of the norm are infinite, those of the convolution are not
    norm = mean, torch.ones(case.outputs), scale, shift

    def fused() -> list[Tensor]:
        given = functions.Norm(*norm, training=False, activation=activation)
        with torch.no_grad():
            return [convolution(maps, weight, bias, (1, 1), case.padding, 1, given)]

    result = by_ours(case, maps, weight, bias)
    separate = batch_norm(result, *norm, training=False, epsilon=1e-5, activation=activation)
    assert equal_bits(fused()[0], separate)
    assert_same_bits_everywhere(fused)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 2e38])
@pytest.mark.parametrize("where", ["maps", "gradient"])
@pytest.mark.parametrize(("case", "image"), [(Case(17, 64, (8, 9), 64), 10), (Case(1, 64, (8, 8), 64), 0)], ids=str)
def test_only_a_leaf_whose_gradient_is_not_finite_is_computed_directly(
    case: Case, image: int, where: str, value: float
) -> None:
    maps, gradient = case.draw()
    if where == "maps":
        maps[image, 3, 1, :2], gradient = value, gradient / 1000
    else:
        gradient[image, 2, 0, :2], maps = value, maps / 1000
    result = test_weight_gradient.weight_gradient(case, maps, gradient)
    affected = result[:, 3] if where == "maps" else result[2]
    assert affected.isfinite().all() == result.isfinite().all() == (value == 2e38)
    assert equal_bits(result[:3, :5], winograd.weight_gradient(case, maps[:, :5], gradient[:, :3]))
    others = [result[:, place] if where == "maps" else result[place] for place in range(64) if place not in (2, 3)]
    assert torch.stack(others).isfinite().all()
    assert_same_bits_everywhere(lambda: [test_weight_gradient.weight_gradient(case, maps, gradient)])


def test_a_process_computes_its_leaf_directly_as_one_process_with_the_whole_batch_does() -> None:
    case = Case(9, 64, (8, 8), 64)
    maps, gradient = case.draw()
    maps[8, 3, 1, 1] = float("inf")
    left = test_weight_gradient.weight_gradient(replace(case, images=8), maps[:8], gradient[:8])
    right = torch.empty(64, 64, 3, 3).contiguous(memory_format=torch.channels_last)
    sizes = sizes_of(replace(case, images=1))
    library.library().call("weight_gradient", sizes, case.images, maps[8:], gradient[8:], right)
    assert equal_bits(test_weight_gradient.weight_gradient(case, maps, gradient), left + right)
    # As a batch, one image of 64 positions has sums in double.
    assert not equal_bits(right, test_weight_gradient.weight_gradient(replace(case, images=1), maps[8:], gradient[8:]))


ERRORS = [
    Case(8, 32, (16, 16), 32),
    Case(8, 64, (8, 8), 64),
    Case(8, 128, (16, 16), 128),
    Case(8, 256, (8, 8), 256),
    Case(8, 256, (4, 4), 512),
    Case(8, 512, (2, 2), 512),
]
ERRORS_OF_WEIGHTS = [Case(16, channels, size, channels) for channels in (64, 128) for size in ((16, 16), (8, 8))]


@pytest.mark.parametrize("case", ERRORS, ids=str)
def test_errors_on_the_layers_of_networks_are_at_or_below_torchs(case: Case) -> None:
    ratios, deviations = error_ratios(case, draws=3)
    assert "direct" not in by_kernels(case)[:2]
    assert (ratios[:2] <= 1 + 4 * deviations[:2] + 1e-3).all(), dict(zip(NAMES, ratios, strict=True))


@pytest.mark.parametrize("case", ERRORS_OF_WEIGHTS, ids=str)
def test_errors_of_weight_gradients_are_at_or_below_torchs(case: Case) -> None:
    maps, gradient = case.draw()
    assert by_kernels(case)[OF_WEIGHT] == "two, two"
    exact, theirs = (
        test_weight_gradient.by_torch(case, maps.to(dtype), gradient.to(dtype))
        for dtype in (torch.float64, torch.float32)
    )
    result = test_weight_gradient.weight_gradient(case, maps, gradient)
    assert root_mean_square(result - exact) <= root_mean_square(theirs - exact)


@pytest.mark.parametrize("case", [*METHOD_CASES, Case(9, 64, (8, 9), 64)], ids=str)
def test_denormal_numbers_stay(case: Case) -> None:
    maps, weight, bias, gradient = inputs_of(case)
    inputs, of_weight = (1e-39 * maps, weight, 1e-39 * bias, 1e-39 * gradient), (1e-20 * maps, 1e-21 * gradient)
    expected = [*outputs_by_formula(case, inputs), winograd.weight_gradient(case, *of_weight)]

    def results() -> list[Tensor]:
        return [*ours(case, inputs)[:2], test_weight_gradient.weight_gradient(case, *of_weight)]

    for kernels, threads, flush in itertools.product(libraries(), THREADS, (False, True)):
        with compute_with(kernels, threads):
            assert torch.set_flush_denormal(flush)
            try:
                found = results()
            finally:
                torch.set_flush_denormal(False)
        for name, value, formula in zip(NAMES, found, expected, strict=False):
            assert equal_bits(value, formula), f"{name}, {kernels.instruction_set}, {threads} threads, flush {flush}"
            assert ((value != 0) & (abs(value) < torch.finfo(torch.float32).tiny)).any()
