"""The optimizers agree with torch in both arithmetic modes, and the learning rate with its schedule."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from in4310repro.runs.settings import OptimizerSetting
from in4310repro.training import optimizers

REFERENCES: dict[str, Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]] = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.01, fused=False, foreach=False),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, weight_decay=0.01),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-3, weight_decay=0.01, momentum=0.9),
}


def gradients(steps: int, scale: float = 1.0) -> list[torch.Tensor]:
    generator = np.random.default_rng(1)
    return [torch.from_numpy(generator.normal(size=(40, 30)).astype(np.float32)) * scale for _ in range(steps)]


def optimize(
    optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter, steps: int = 20, scale: float = 1.0
) -> torch.Tensor:
    for gradient in gradients(steps, scale):
        parameter.grad = gradient
        optimizer.step()
    return parameter.detach()


def parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.from_numpy(np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)))


@pytest.mark.parametrize("portable", [True, False], ids=["portable", "native"])
@pytest.mark.parametrize("name", REFERENCES)
def test_an_optimizer_agrees_with_torchs(name: str, portable: bool) -> None:
    ours, theirs = parameter(), parameter()
    setting = OptimizerSetting(name=name, optimizer=name, weight_decay=0.01, momentum=0.9 if name == "SGD" else 0.0)
    optimized = optimize(optimizers.build(setting, [ours], portable=portable), ours)
    # 1e-6: a few units in the last place of each of 20 steps.
    torch.testing.assert_close(optimized, optimize(REFERENCES[name]([theirs]), theirs), rtol=0, atol=1e-6)
    assert not torch.equal(optimized, parameter())


def test_rmsprop_with_its_eps_inside_the_root_is_another_optimizer() -> None:
    # Small gradients, whose mean square is of the size of eps.
    ours, theirs = parameter(), parameter()
    average, inside = torch.zeros(40, 30), parameter().detach().clone()
    for gradient in gradients(20, scale=1e-4):
        average = 0.99 * average + 0.01 * gradient**2
        inside -= 1e-3 * gradient / (average + 1e-8).rsqrt().reciprocal()
    setting = OptimizerSetting(name="rmsprop", optimizer="RMSprop")
    optimized = optimize(optimizers.build(setting, [ours], portable=True), ours, scale=1e-4)
    reference = optimize(torch.optim.RMSprop([theirs], lr=1e-3), theirs, scale=1e-4)
    # 1e-6: a few units in the last place of each of 20 steps.
    torch.testing.assert_close(optimized, reference, rtol=0, atol=1e-6)
    assert (optimized - inside).abs().max() > 1e-3


def test_rmsprop_does_not_change_a_parameter_whose_gradient_is_zero() -> None:
    ours = parameter()
    optimizer = optimizers.build(OptimizerSetting(name="rmsprop", optimizer="RMSprop"), [ours], portable=True)
    ours.grad = torch.zeros_like(ours)
    optimizer.step()
    assert torch.equal(ours.detach(), parameter())


def test_the_learning_rate_rises_to_its_peak_and_falls_to_almost_zero() -> None:
    factors = [optimizers.learning_rate_factor(step, 100, "cosine", 0.2) for step in range(100)]
    assert factors[20] == 1.0 == max(factors)
    assert factors[:20] == pytest.approx([number / 21 for number in range(1, 21)])
    assert factors[20:] == sorted(factors[20:], reverse=True)
    assert 0 < factors[-1] < 1e-3


def test_the_cosine_is_half_a_wave() -> None:
    for step in range(50):
        factor = optimizers.learning_rate_factor(step, 50, "cosine", 0.0)
        expected = (1 + math.cos(math.pi * step / 50)) / 2
        # Without the last bits, which differ between processors.
        assert factor == round(factor, 12) == pytest.approx(expected, abs=1e-11)


def test_a_constant_schedule_stays_at_one() -> None:
    assert {optimizers.learning_rate_factor(step, 10, "constant", 0.0) for step in range(10)} == {1.0}


def test_setting_the_learning_rate_reaches_the_step() -> None:
    ours = parameter()
    optimizer = optimizers.build(OptimizerSetting(name="sgd", optimizer="SGD"), [ours], portable=True)
    optimizer.param_groups[0]["lr"] = 0.0
    assert torch.equal(optimize(optimizer, ours, steps=3), parameter().detach())
