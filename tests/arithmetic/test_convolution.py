"""Convolution and its input gradient match the formula bit for bit on every instruction set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.arithmetic.formulas import Floats, assert_same_bits_everywhere, fused, part_of, root_mean_square
from tests.arithmetic.shapes import (
    NAMES,
    Case,
    by_ours,
    by_ours_of_padded_maps,
    by_torch,
    computed,
    error_ratios,
    random_case,
)

FORMULA = [
    Case(3, 20, (5, 4), 7),  # two segments; the gradient has one
    Case(2, 3, (9, 8), 5, (7, 7), (2, 2), (3, 3)),  # as ResNet's first; segments that begin within a tap
    Case(9, 1, (4, 7), 2, (2, 5), (1, 2), (1, 2)),
    Case(2, 5, (6, 7), 70, (3, 3), (2, 2)),  # the gradient has more than a segment, and one for each parity
    Case(2, 6, (7, 6), 3, (2, 3), (3, 1), (0, 1)),  # rows of the maps that no tap reads
    Case(1, 130, (1, 1), 140, (1, 1), (1, 1), (0, 0)),
    Case(2, 4, (1, 1), 3),  # most taps are nowhere inside
    Case(1, 2, (2, 3), 3, (1, 1), (1, 1), (1, 2)),  # results without any tap inside
    Case(2, 6, (5, 5), 40, groups=2),
    Case(2, 19, (5, 4), 19, (3, 3), (2, 1), groups=19),  # depth-wise
    Case(1, 5, (13, 12), 5, (12, 12), (1, 1), (6, 6), groups=5),  # depth-wise, more steps than a segment
    Case(1, 2, (4, 5), 34, groups=2),  # one channel a group, more outputs
    Case(2, 3, (8, 6), 33, (3, 3), (2, 2), (0, 0), more=(1, 1)),  # as EfficientNet's first
    Case(2, 19, (8, 6), 19, (5, 5), (2, 2), (1, 1), groups=19, more=(1, 1)),  # depth-wise, likewise
    Case(1, 20, (5, 4), 7, (3, 3), (2, 1), (3, 0), more=(-3, 2)),  # segments without a step inside
]
ERRORS = [
    Case(8, 3, (64, 64), 64, (7, 7), (2, 2), (3, 3)),
    Case(8, 64, (16, 16), 64),
    Case(8, 64, (16, 16), 128, (3, 3), (2, 2)),
    Case(8, 64, (16, 16), 128, (1, 1), (2, 2), (0, 0)),
    Case(8, 256, (4, 4), 256),
    Case(8, 512, (2, 2), 512),
    Case(8, 256, (16, 16), 64, (1, 1), (1, 1), (0, 0)),
    Case(8, 96, (16, 16), 24, (1, 1), (1, 1), (0, 0)),
    Case(8, 96, (16, 16), 96, (3, 3), (2, 2), groups=96),
    Case(8, 128, (16, 16), 128, groups=32),
]
Step = tuple[int, Floats, Floats]  # number, factors


@dataclass(frozen=True)
class Order:
    """Order of the additions: by default that of docs/arithmetic.md; tests change a field to get a wrong order."""

    segment: int = 128
    part: Callable[[int], int] = part_of
    bias_last: bool = False
    count_inside: bool = False
    few: int = 32


OTHER_ORDERS = {
    "longer segments": Order(segment=256),
    "shorter segments": Order(segment=64),
    "longer parts": Order(part=lambda steps: 2 * part_of(steps)),
    "no parts": Order(part=lambda steps: steps),
    "bias at the end": Order(bias_last=True),
    "steps counted where they are inside": Order(count_inside=True),
}


def sum_by_segments(steps: list[Step], number: int, start: Floats, order: Order, depthwise: bool) -> Floats:
    """Return `start` plus the products of all steps, added in the order that `order` describes."""
    if not steps:
        return start
    if number <= order.few and not depthwise:
        # A product of two float32 is exact in float64.
        wide = start.astype(np.float64)
        for _, left, right in steps:
            wide = wide + left.astype(np.float64) * right.astype(np.float64)
        return wide.astype(np.float32)
    length, part = (number, number) if depthwise else (order.segment, min(order.segment, order.part(number)))
    segments: dict[int, dict[int, Floats]] = defaultdict(dict)
    zero = np.zeros_like(start)
    for place, (step, left, right) in enumerate(steps):
        counted = place if order.count_inside else step
        parts = segments[counted // length]
        parts[counted // part] = fused(left, right, parts.get(counted // part, start if depthwise else zero))
    total: Floats | None = None
    for _, parts in sorted(segments.items()):
        chain = start if total is None and not order.bias_last and not depthwise else zero
        for _, value in sorted(parts.items()):
            chain = chain + value
        total = chain if total is None else total + chain
    assert total is not None
    return total + start if order.bias_last else total


def forward_formula(case: Case, maps: Tensor, weight: Tensor, bias: Tensor, order: Order | None = None) -> Tensor:
    """Return the convolution, computed element by element by the formula in docs/arithmetic.md."""
    inner, outer = case.channels // case.groups, case.outputs // case.groups
    values = maps.contiguous().numpy().reshape(case.images, case.groups, inner, *case.size)
    weights = weight.numpy().reshape(case.groups, outer, inner, *case.kernel)
    start = np.broadcast_to(bias.numpy().reshape(case.groups, outer), (case.images, case.groups, outer))
    result = np.zeros((case.images, case.groups, outer, *case.result), np.float32)
    for row, column in np.ndindex(*case.result):
        steps: list[Step] = []
        for y, x, channel in np.ndindex(*case.kernel, inner):
            a, b = row * case.stride[0] + y - case.padding[0], column * case.stride[1] + x - case.padding[1]
            if 0 <= a < case.size[0] and 0 <= b < case.size[1]:
                step = (y * case.kernel[1] + x) * inner + channel
                steps.append((step, values[:, :, channel, a, b, None], weights[:, :, channel, y, x]))
        number = case.kernel[0] * case.kernel[1] * inner
        result[..., row, column] = sum_by_segments(steps, number, start, order or Order(), case.depthwise)
    return torch.from_numpy(result.reshape(case.images, case.outputs, *case.result))


def backward_formula(case: Case, gradient: Tensor, weight: Tensor, order: Order | None = None) -> Tensor:
    """Return the gradient of the input maps, computed element by element by the formula in docs/arithmetic.md."""
    inner, outer = case.channels // case.groups, case.outputs // case.groups
    values = gradient.contiguous().numpy().reshape(case.images, case.groups, outer, *case.result)
    weights = weight.numpy().reshape(case.groups, outer, inner, *case.kernel)
    start = np.zeros((case.images, case.groups, inner), np.float32)
    result = np.zeros((*start.shape, *case.size), np.float32)
    for position in np.ndindex(*case.size):
        padded = [at + padding for at, padding in zip(position, case.padding, strict=True)]
        first = [at % stride for at, stride in zip(padded, case.stride, strict=True)]
        rows, columns = (
            max(0, -((begin - size) // stride))
            for begin, size, stride in zip(first, case.kernel, case.stride, strict=True)
        )
        steps: list[Step] = []
        for a, b, output in np.ndindex(rows, columns, outer):
            y, x = first[0] + (rows - 1 - a) * case.stride[0], first[1] + (columns - 1 - b) * case.stride[1]
            row = padded[0] // case.stride[0] - (rows - 1) + a
            column = padded[1] // case.stride[1] - (columns - 1) + b
            if 0 <= row < case.result[0] and 0 <= column < case.result[1]:
                step = (a * columns + b) * outer + output
                steps.append((step, values[:, :, output, row, column, None], weights[:, output, :, y, x]))
        number = rows * columns * outer
        result[..., position[0], position[1]] = sum_by_segments(steps, number, start, order or Order(), case.depthwise)
    return torch.from_numpy(result.reshape(case.images, case.channels, *case.size))


@pytest.mark.parametrize("case", FORMULA, ids=str)
def test_a_convolution_has_the_bits_of_the_formula(case: Case) -> None:
    (maps, _), (weight, bias) = case.draw(), case.draw_weight()
    assert torch.equal(by_ours(case, maps, weight, bias), forward_formula(case, maps, weight, bias))


@pytest.mark.parametrize("case", FORMULA, ids=str)
def test_the_gradient_of_the_maps_has_the_bits_of_the_formula(case: Case) -> None:
    (_, gradient), (weight, _) = case.draw(), case.draw_weight()
    assert torch.equal(computed(case, by_ours)[1], backward_formula(case, gradient, weight))


@pytest.mark.parametrize("name", OTHER_ORDERS)
def test_sums_in_another_order_have_other_bits(name: str) -> None:
    case = Case(2, 32, (4, 4), 40, (3, 4))
    (maps, gradient), (weight, bias) = case.draw(), case.draw_weight()
    ours, of_maps, *_ = computed(case, by_ours)
    assert torch.equal(ours, forward_formula(case, maps, weight, bias))
    assert not torch.equal(ours, forward_formula(case, maps, weight, bias, OTHER_ORDERS[name]))
    if not OTHER_ORDERS[name].bias_last:
        assert not torch.equal(of_maps, backward_formula(case, gradient, weight, OTHER_ORDERS[name]))


@pytest.mark.parametrize("case", [*FORMULA, *ERRORS[2:5:2]], ids=str)
def test_a_convolution_has_equal_bits_on_every_instruction_set_and_number_of_threads(case: Case) -> None:
    assert_same_bits_everywhere(lambda: list(computed(case, by_ours)))


@pytest.mark.parametrize("case", ERRORS, ids=str)
def test_errors_on_the_layers_of_networks_are_at_or_below_torchs(case: Case) -> None:
    ratios, deviations = error_ratios(case, draws=5)
    # Where the chains are as long as torch's the errors are equally large and differ by chance.
    assert (ratios[:2] <= 1 + 4 * deviations[:2] + 1e-3).all(), dict(zip(NAMES, ratios, strict=True))


@pytest.mark.parametrize(
    "case",
    [
        Case(1, 160, (7, 14), 8, (3, 3), (2, 2), (3, 0), groups=8),  # weights of few positions
        Case(9, 2, (10, 5), 3, (1, 5), (1, 3), (1, 1)),  # few steps, which torch adds by tap
        Case(17, 40, (3, 14), 24, (1, 1), (3, 1), (1, 1), groups=8),  # likewise, the output too
        Case(8, 40, (2, 16), 512, (2, 2), (3, 1), (2, 2), groups=8),  # 20 steps
        Case(16, 256, (4, 4), 512, (1, 1), (2, 2), (0, 0)),  # weights over small maps
    ],
    ids=str,
)
def test_errors_are_at_or_below_torchs_where_it_cuts_a_short_sum_in_a_good_place(case: Case) -> None:
    ratios, deviations = error_ratios(case, draws=8)
    assert (ratios <= 1 + 4 * deviations + 1e-3).all(), dict(zip(NAMES, ratios, strict=True))


def test_200_random_convolutions_are_nearer_to_double_than_torch_and_have_equal_bits_on_every_instruction_set() -> None:
    generator, sums = np.random.default_rng(1), np.zeros((2, 2))
    for number in range(200):
        case = random_case(generator)
        exact = computed(case, by_torch, number, torch.float64)[:2]
        both = [computed(case, function, number) for function in (by_ours, by_torch)]
        for place, truth in enumerate(exact):
            scale = max(root_mean_square(truth), 1e-30)
            ours, theirs = (root_mean_square(values[place] - truth) / scale for values in both)
            # A chain of n steps errs by up to 3e-8 root n of its sum, on average; chains have at most 32.
            assert ours <= 2e-7, case
            sums[place] += ours, theirs
        if number % 8 == 0:
            assert_same_bits_everywhere(lambda case=case: list(computed(case, by_ours)[:2]))  # type: ignore[misc]
    assert (sums[:, 0] < sums[:, 1]).all()


def unequal_padding(generator: np.random.Generator) -> Case:
    """Draw a convolution of stride 2, of few channels or depth-wise, that is padded by other numbers at each end."""

    def pick(*values: int) -> int:
        return int(generator.choice(values))

    groups = pick(1, 8, 19, 40)
    channels, outputs = (3, pick(5, 32)) if groups == 1 else (groups, groups)
    side = pick(3, 5)
    padding = pick(*range(side)), pick(*range(side))
    more = tuple(pick(*(each for each in (-2, -1, 1, 2) if each + zeros >= 0)) for zeros in padding)
    size = int(generator.integers(side, 15)), int(generator.integers(side, 20))
    return Case(pick(1, 3, 8, 17), channels, size, outputs, (side, side), (2, 2), padding, groups, (more[0], more[1]))


def test_padding_of_unequal_ends_has_the_bits_of_zeros_around_the_maps_and_not_those_of_the_other_side() -> None:
    generator = np.random.default_rng(0)
    for number in range(60):
        case = unequal_padding(generator)
        (top, bottom), (left, right) = case.ends
        others = replace(case, padding=(bottom, right), more=(top - bottom, left - right))
        ours, zeros, wrong = (
            computed(each, function, number)
            for each, function in ((case, by_ours), (case, by_ours_of_padded_maps), (others, by_ours))
        )
        for name, value, expected, other in zip(NAMES[:3], ours, zeros, wrong, strict=False):
            assert torch.equal(value, expected), (case, name)
            assert value.shape == other.shape
            assert not torch.equal(value, other), (case, name)
        if number % 8 == 0:
            assert_same_bits_everywhere(lambda case=case, number=number: list(computed(case, by_ours, number)))  # type: ignore[misc]


def test_zeros_that_are_written_into_the_maps_are_steps() -> None:
    case = Case(2, 64, (6, 5), 8, (3, 3), (2, 2), (3, 0), more=(-2, 1))  # the first segment has no step inside
    ours, zeros = (computed(case, function) for function in (by_ours, by_ours_of_padded_maps))
    assert not torch.equal(ours[0], zeros[0])
    torch.testing.assert_close(ours[0], zeros[0], rtol=1e-5, atol=1e-5)
    assert all(torch.equal(value, other) for value, other in zip(ours[1:], zeros[1:], strict=True))
    (maps, _), (weight, bias) = case.draw(), case.draw_weight()
    weight[:, :, 0] = float("inf")
    assert by_ours(case, maps, weight, bias)[:, :, :2].isfinite().any()
    assert by_ours_of_padded_maps(case, maps, weight, bias)[:, :, :2].isnan().all()


@pytest.mark.parametrize("case", [Case(3, 20, (5, 4), 7), Case(2, 19, (5, 4), 19, groups=19)], ids=str)
def test_an_infinite_value_outside_of_the_taps_is_not_seen(case: Case) -> None:
    (maps, _), (weight, bias) = case.draw(), case.draw_weight()
    maps[0, :, 0, 0] = float("inf")
    finite = by_ours(case, maps, weight, bias).isfinite().all(dim=1)
    assert not finite[0, :2, :2].any()
    assert finite[0, 2:].all()
    assert finite[0, :, 2:].all()
    assert finite[1:].all()


@pytest.mark.parametrize("case", [FORMULA[0], FORMULA[3], FORMULA[9]], ids=str)
def test_layout_and_neighbours_in_the_batch_move_no_bit(case: Case) -> None:
    (maps, _), (weight, bias) = case.draw(), case.draw_weight()
    expected = by_ours(case, maps, weight, bias)
    assert torch.equal(by_ours(case, maps.contiguous(), weight.to(memory_format=torch.channels_last), bias), expected)
    strided = torch.cat([maps, maps], dim=3)[:, :, :, : case.size[1]]
    assert torch.equal(by_ours(case, strided, weight, torch.stack([bias, bias], 1)[:, 0]), expected)
    for image in range(case.images):
        assert torch.equal(by_ours(case, maps[image : image + 1], weight, bias), expected[image : image + 1])


def test_only_the_gradients_that_are_wanted_are_computed() -> None:
    case = Case(2, 5, (4, 4), 3)
    maps, gradient = case.draw()
    all_gradients = computed(case, by_ours)[1:]
    for wanted in range(3):
        inputs = [maps, *case.draw_weight()]
        inputs[wanted] = inputs[wanted].clone().requires_grad_()
        by_ours(case, *inputs).backward(gradient)  # type: ignore[no-untyped-call]
        assert [values.grad is not None for values in inputs] == [place == wanted for place in range(3)]
        assert torch.equal(inputs[wanted].grad, all_gradients[wanted])  # type: ignore[arg-type]


def test_denormal_weights_stay() -> None:
    case = Case(1, 3, (2, 2), 5)  # few steps, whose weights are copied to double
    maps, weight = torch.ones(1, 3, 2, 2), torch.full((5, 3, 3, 3), 1e-40)
    before = torch.set_flush_denormal(True)
    try:
        result = by_ours(case, maps, weight, torch.zeros(5))
    finally:
        torch.set_flush_denormal(False)
    assert before
    assert torch.equal(result, (12 * weight[0, 0, 0, 0].double()).float().expand_as(result))
