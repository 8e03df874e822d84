"""Optimizer steps: torch's formulas and state, computed in one pass, with equal bits on all processors."""

from __future__ import annotations

import copy
import itertools
import math
import operator
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from in4310repro.arithmetic import SGD, AdamW, RMSprop
from in4310repro.arithmetic.steps import power
from tests.arithmetic.formulas import assert_same_bits_everywhere, fused, record_calls, root_mean_square

CASES = {
    "AdamW": (AdamW, torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1}),
    "RMSprop": (RMSprop, torch.optim.RMSprop, {"lr": 1e-2, "weight_decay": 0.1}),
    "RMSprop without decay": (RMSprop, torch.optim.RMSprop, {"lr": 1e-2}),
    "SGD": (SGD, torch.optim.SGD, {"lr": 1e-2, "weight_decay": 0.1, "momentum": 0.9}),
    "SGD without momentum": (SGD, torch.optim.SGD, {"lr": 1e-2}),
}
cases = pytest.mark.parametrize("case", CASES)
# More than a thread takes at a time, a channels_last weight, less than a vector.
SHAPES = [(300, 200), (8, 5, 3, 3), (37,), (1,)]


def parameters(dtype: torch.dtype = torch.float32) -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(1)
    values = [torch.randn(shape, generator=generator).to(dtype) for shape in SHAPES]
    values[1] = values[1].contiguous(memory_format=torch.channels_last)
    return [torch.nn.Parameter(value) for value in values]


def give_gradients(values: list[torch.nn.Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(100 + step)
    for value in values:
        value.grad = torch.randn(value.shape, generator=generator).to(value.dtype)


def take_steps(
    kind: type[Any], settings: dict[str, float], steps: int = 10, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    values = parameters(dtype)
    optimizer = kind(values, **settings)
    for step in range(steps):
        give_gradients(values, step)
        optimizer.step()
    return [value.detach() for value in values]


@cases
def test_steps_go_where_torchs_go_with_errors_at_or_below_torchs(case: str) -> None:
    ours, theirs, settings = CASES[case]
    exact = torch.cat([value.flatten() for value in take_steps(theirs, settings, dtype=torch.float64)])
    errors = [
        root_mean_square(torch.cat([value.flatten() for value in take_steps(kind, settings)]) - exact)
        for kind in (ours, theirs)
    ]
    # Both are what rounding a parameter costs; a thousandth is chance.
    assert errors[0] <= 1.001 * errors[1]


@cases
def test_a_backward_pass_after_a_step_is_refused(case: str) -> None:
    kind, _, settings = CASES[case]
    values = parameters()
    optimizer = kind(values, **settings)
    loss = torch.stack([value.square().sum() for value in values]).sum()
    give_gradients(values, 0)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # type: ignore[no-untyped-call]


@cases
def test_steps_have_equal_bits_on_every_instruction_set_and_number_of_threads(case: str) -> None:
    ours, _, settings = CASES[case]
    assert_same_bits_everywhere(lambda: take_steps(ours, settings))


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.99)])
def test_adamw_is_its_formula_to_the_bit(betas: tuple[float, float]) -> None:
    (parameter,) = values = parameters()[2:3]
    optimizer = AdamW(values, lr=1e-2, betas=betas, weight_decay=0.1)
    p = parameter.detach().numpy().copy()
    m, v, ones = np.zeros_like(p), np.zeros_like(p), np.ones_like(p)
    for step in (1, 2, 3):
        give_gradients(values, step)
        assert parameter.grad is not None
        g = parameter.grad.numpy()
        first = second = 1.0
        for _ in range(step):
            first, second = first * betas[0], second * betas[1]
        rate, scale = np.float32(1e-2 / (1 - first)), np.float32(1 / math.sqrt(1 - second))
        m = fused(g - m, np.float32(1 - betas[0]) * ones, m)
        v = fused(np.float32(1 - betas[1]) * g, g, v * np.float32(betas[1]))
        p = fused(
            -rate * ones, m / fused(np.sqrt(v), scale * ones, np.float32(1e-8) * ones), p * np.float32(1 - 1e-2 * 0.1)
        )
        optimizer.step()
        assert np.array_equal(parameter.detach().numpy(), p)


def test_rmsprop_and_sgd_are_their_formulas_to_the_bit() -> None:
    (one,), (two,) = parameters()[2:3], parameters()[2:3]
    give_gradients([one, two], 0)
    two.grad = one.grad
    assert one.grad is not None
    p, g, ones = one.detach().numpy().copy(), one.grad.numpy(), np.ones(37, np.float32)
    g = fused(np.float32(0.1) * ones, p, g)
    v = fused(np.float32(1 - 0.99) * g, g, 0 * ones)
    RMSprop([one], lr=1e-2, weight_decay=0.1).step()
    expected = fused(np.float32(-1e-2) * ones, (g / (np.sqrt(v) + np.float32(1e-8))).astype(np.float32), p)
    assert np.array_equal(one.detach().numpy(), expected)
    SGD([two], lr=1e-2, weight_decay=0.1, momentum=0.9).step()
    assert np.array_equal(two.detach().numpy(), fused(np.float32(-1e-2) * ones, g, p))


@cases
def test_state_dicts_are_torchs_and_pass_from_one_to_the_other(case: str) -> None:
    ours, theirs, settings = CASES[case]
    values = parameters()
    other = theirs(values, **settings)
    give_gradients(values, 0)
    other.step()
    state = copy.deepcopy(other.state_dict())
    optimizer = ours(values, **settings)
    optimizer.load_state_dict(state)
    found = optimizer.state_dict()
    assert found["param_groups"] == state["param_groups"]
    assert {place: set(names) for place, names in found["state"].items()} == {
        place: set(names) for place, names in state["state"].items()
    }
    theirs(values, **settings).load_state_dict(found)


@cases
def test_training_that_is_cut_and_goes_on_has_equal_bits(case: str) -> None:
    ours, _, settings = CASES[case]
    expected = take_steps(ours, settings, steps=5)
    values = parameters()
    optimizer = ours(values, **settings)
    for step in range(5):
        if step == 3:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = ours(values, **settings)
            optimizer.load_state_dict(state)
        give_gradients(values, step)
        optimizer.step()
    for value, same in zip(values, expected, strict=True):
        assert torch.equal(value, same)


@cases
def test_gradients_that_are_not_finite_reach_what_they_reach_in_torch(case: str) -> None:
    ours, theirs, settings = CASES[case]
    found = []
    for kind in (ours, theirs):
        values = parameters()
        optimizer = kind(values, **settings)
        for step in range(2):
            give_gradients(values, step)
            assert values[2].grad is not None
            if step == 0:
                values[2].grad[3:6] = torch.tensor([math.nan, math.inf, -math.inf])
            optimizer.step()
        found.append(values[2].detach())
    assert torch.equal(found[0].isnan(), found[1].isnan())
    assert torch.equal(found[0].isinf(), found[1].isinf())


def test_a_parameter_without_a_gradient_stays_and_counts_its_own_steps() -> None:
    values = parameters()
    optimizer = AdamW(values)
    give_gradients(values, 0)
    values[0].grad = None
    before = values[0].detach().clone()
    optimizer.step()
    assert torch.equal(values[0], before)
    give_gradients(values, 1)
    optimizer.step()
    assert [float(optimizer.state[value]["step"]) for value in values] == [1, 2, 2, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda values: torch.optim.AdamW(values, amsgrad=True), "amsgrad=True"),
        (lambda values: torch.optim.RMSprop(values, centered=True), "centered=True"),
        (lambda values: torch.optim.SGD(values, momentum=0.9, nesterov=True), "nesterov=True"),
    ],
)
def test_options_without_a_kernel_are_refused_by_name(make: Any, message: str) -> None:
    values = parameters()
    theirs = make(values)
    ours = {"AdamW": AdamW, "RMSprop": RMSprop, "SGD": SGD}[type(theirs).__name__](values)
    ours.load_state_dict(theirs.state_dict())
    give_gradients(values, 0)
    with pytest.raises(ValueError, match=message):
        ours.step()


REFUSED = ("maximize", "capturable", "differentiable")
OF_OPTIMIZERS = {
    AdamW: ("amsgrad", *REFUSED),
    RMSprop: ("momentum", "centered", *REFUSED),
    SGD: ("dampening", "nesterov", *REFUSED),
}
OPTIONS = [(kind, option) for kind, options in OF_OPTIMIZERS.items() for option in options]


@pytest.mark.parametrize(("kind", "option"), OPTIONS, ids=[f"{kind.__name__} {option}" for kind, option in OPTIONS])
def test_an_option_of_any_group_is_refused(kind: type[Any], option: str) -> None:
    values = parameters()
    give_gradients(values, 0)
    optimizer = kind([{"params": values[:2]}, {"params": values[2:]}], lr=0.1)
    optimizer.param_groups[1][option] = 0.5
    sentence = f"{kind.__name__} with {option}=0.5 has no portable kernel; {option} must be 0 or False"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        optimizer.step()
    optimizer.param_groups[1][option] = 0
    optimizer.step()


@pytest.mark.parametrize("kind", OF_OPTIMIZERS)
def test_settings_that_are_not_given_are_torchs(kind: type[Any]) -> None:
    ours, theirs = kind(parameters()).param_groups[0], getattr(torch.optim, kind.__name__)(parameters()).param_groups[0]
    settings = ours.keys() - {"params"}
    assert {name: ours[name] for name in settings} == {name: theirs[name] for name in settings}


@pytest.mark.parametrize("kind", OF_OPTIMIZERS)
def test_closures_and_other_parameters_and_gradients_are_refused(kind: type[Any]) -> None:
    with pytest.raises(
        ValueError, match=rf"^{kind.__name__}\.step takes no closure in portable arithmetic; call it with"
    ):
        kind(parameters()).step(lambda: None)
    values = parameters(torch.float64)[2:3]
    give_gradients(values, 0)
    other = r": torch\.float64 of shape \(37,\) on cpu; it must be torch\.float32 of shape \(37,\) on the CPU$"
    with pytest.raises(ValueError, match=f"^a parameter{other}"):
        kind(values).step()
    if not hasattr(torch.Tensor, "grad_dtype"):
        return  # torch itself refuses a gradient of another type than its parameter has, before 2.10
    (parameter,) = values = parameters()[2:3]
    parameter.grad_dtype = None
    parameter.grad = torch.ones(37, dtype=torch.float64)
    with pytest.raises(ValueError, match=f"^a gradient{other}"):
        kind(values).step()


@pytest.mark.parametrize(("kind", "names"), [(AdamW, 2), (RMSprop, 1), (SGD, 1)])
def test_gradients_and_states_are_read_where_they_lie_and_copied_into_another_layout(
    kind: type[Any], names: int
) -> None:
    (parameter,) = values = parameters()[1:2]
    optimizer = kind(values, lr=0.1, **({"momentum": 0.5} if kind is SGD else {}))
    layouts = (torch.channels_last, torch.contiguous_format)
    for step, layout in enumerate((*layouts, *layouts)):
        gradient = parameter.grad = torch.ones(parameter.shape).contiguous(memory_format=layout)
        # As a state dict has it that another program wrote.
        state = optimizer.state[parameter]
        for name in [name for name in state if name != "step"] if step > 1 else []:
            state[name] = state[name].contiguous(memory_format=layout)
        before = {name: value.data_ptr() for name, value in state.items() if name != "step"}
        with record_calls() as calls:
            optimizer.step()
        after = {name: value.data_ptr() for name, value in state.items() if name != "step"}
        tables = [[value.data_ptr() for value in values] for values in calls[0] if isinstance(values, list)]
        assert tables[:2] == [[parameter.data_ptr()], [gradient.data_ptr()]]
        assert (tables[2:], len(after)) == ([[address] for address in after.values()], names)
        assert (step == 0 or before == after) == (step == 0 or step < 3)
        assert all(value.stride() == parameter.stride() for name, value in state.items() if name != "step")


def test_sgd_without_momentum_has_no_state() -> None:
    (parameter,) = values = parameters()[2:3]
    give_gradients(values, 0)
    optimizer = SGD(values, lr=0.1)
    with record_calls() as calls:
        optimizer.step()
    assert (calls[0][-1], dict(optimizer.state[parameter])) == (None, {})


def test_parameters_with_as_many_steps_are_one_call() -> None:
    values = parameters()
    optimizer = AdamW(values)
    for step, calls_of_step in ((0, [3]), (1, [1, 3])):
        give_gradients(values, step)
        values[0].grad = None if step == 0 else values[0].grad
        with record_calls() as calls:
            optimizer.step()
        assert sorted(call[1] for call in calls) == calls_of_step


def test_powers_are_running_products_in_whatever_order_they_are_asked_for() -> None:
    assert [power(0.75, exponent) for exponent in (2, 3, 3, 2, 0, 1)] == [0.5625, 0.421875, 0.421875, 0.5625, 1, 0.75]
    products = list(itertools.accumulate([0.9] * 50, operator.mul))
    assert [power(0.9, exponent) for exponent in (50, 7, 8, 49, 1, 50)] == [products[i] for i in (49, 6, 7, 48, 0, 49)]


def test_a_parameter_whose_values_do_not_lie_side_by_side_is_refused() -> None:
    parameter = torch.nn.Parameter(torch.ones(4, 3).T)
    parameter.grad = torch.ones(3, 4)
    with pytest.raises(ValueError, match=r"a parameter with strides \(1, 3\); it must be contiguous or channels_last"):
        SGD([parameter], lr=0.1).step()


MOMENTS = [(AdamW, "exp_avg"), (AdamW, "exp_avg_sq"), (RMSprop, "square_avg"), (SGD, "momentum_buffer")]
OTHER_MOMENTS: dict[str, Any] = {
    "smaller": torch.zeros(2, 3),
    "larger": torch.zeros(4, 9),
    "one value": torch.zeros(1),
    "of as many values in another shape": torch.zeros(8, 3),
    "transposed": torch.zeros(6, 4).T.reshape(6, 4),
    "empty": torch.zeros(0),
    "of another dtype": torch.zeros(4, 6, dtype=torch.float64),
    "of half the bytes": torch.zeros(4, 6, dtype=torch.float16),
    "whole numbers": torch.zeros(4, 6, dtype=torch.int32),
    "complex": torch.zeros(4, 6, dtype=torch.complex64),
    "without memory": torch.zeros(4, 6, device="meta"),
    "sparse": torch.eye(4, 6).to_sparse(),
    "a number": 0.5,
}


def begun(kind: type[Any], steps: int = 1) -> tuple[torch.nn.Parameter, Any]:
    """Return a 4 x 6 parameter after `steps` optimizer steps, and its optimizer."""
    parameter = torch.nn.Parameter(torch.ones(4, 6))
    optimizer = kind([parameter], lr=0.1, **({"momentum": 0.5} if kind is SGD else {}))
    for _ in range(steps):
        parameter.grad = torch.ones(4, 6)
        optimizer.step()
    return parameter, optimizer


@pytest.mark.parametrize("other", OTHER_MOMENTS)
@pytest.mark.parametrize(("kind", "name"), MOMENTS)
def test_a_state_of_another_kind_than_its_parameter_is_refused(kind: type[Any], name: str, other: str) -> None:
    parameter, optimizer = begun(kind)
    optimizer.state[parameter][name] = OTHER_MOMENTS[other]
    before = parameter.detach().clone()
    with pytest.raises(
        ValueError, match=rf"^{name}: .*it must be torch\.float32 of shape \(4, 6\)|{name}: .*dense values"
    ):
        optimizer.step()
    assert torch.equal(parameter, before)


@pytest.mark.parametrize("make", [lambda m: m.T.contiguous().T, lambda m: torch._neg_view(-m), torch.nn.Parameter])
@pytest.mark.parametrize(("kind", "name"), MOMENTS)
def test_a_state_that_lies_in_memory_otherwise_is_taken_by_its_values(kind: type[Any], name: str, make: Any) -> None:
    found = []
    for change in (make, torch.clone):
        parameter, optimizer = begun(kind)
        state = optimizer.state[parameter]
        state[name] = change(state[name] + torch.arange(24.0).reshape(4, 6))
        parameter.grad = torch.ones(4, 6)
        optimizer.step()
        found.append(parameter.detach().clone())
    assert torch.equal(found[0], found[1])


@pytest.mark.parametrize("kind", [AdamW, RMSprop])
@pytest.mark.parametrize(
    "count",
    [
        *(torch.tensor(value) for value in (math.nan, math.inf, -1.0, 1.5, 2.0**25, 1e30)),
        *(torch.tensor(1), torch.tensor(1.0, dtype=torch.float64), torch.tensor([1.0]), 1, None),
    ],
    ids=str,
)
def test_a_number_of_steps_that_no_training_counts_is_refused(kind: type[Any], count: Any) -> None:
    parameter, optimizer = begun(kind)
    optimizer.state[parameter]["step"] = count
    before = parameter.detach().clone()
    with pytest.raises(ValueError, match=r"^step: .*; it must be (torch\.float32|a whole number from 0 to 16777216)"):
        optimizer.step()
    assert torch.equal(parameter, before)


@pytest.mark.parametrize("kind", OF_OPTIMIZERS)
def test_a_parameter_with_a_negative_bit_is_refused_and_a_gradient_with_one_is_resolved(kind: type[Any]) -> None:
    parameter = torch.nn.Parameter(torch._neg_view(torch.ones(5)))
    parameter.grad = torch.ones(5)
    with pytest.raises(ValueError, match="a parameter with strides"):
        kind([parameter], lr=0.1).step()
    found = []
    for gradient in (torch._neg_view(torch.ones(5)), -torch.ones(5)):
        parameter = torch.nn.Parameter(torch.ones(5))
        parameter.grad = gradient
        kind([parameter], lr=0.1).step()
        found.append(parameter.detach())
    assert torch.equal(found[0], found[1])
    assert bool((found[0] > 1).all())
