"""Portable optimizers follow torch's, and the learning rate follows its schedule."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from in4310repro import optimizers
from in4310repro.presets import OptimizerSetting

REFERENCES: dict[str, Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]] = {
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.01, fused=False, foreach=False),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, weight_decay=0.01),
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-3, weight_decay=0.01, momentum=0.9),
}


def moved(optimizer: torch.optim.Optimizer, parameter: torch.nn.Parameter, steps: int = 20) -> torch.Tensor:
    """The parameter after steps on the gradients of a fixed sequence."""
    generator = np.random.default_rng(1)
    for _ in range(steps):
        parameter.grad = torch.from_numpy(generator.normal(size=tuple(parameter.shape)).astype(np.float32))
        optimizer.step()
    return parameter.detach()


def parameter() -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.from_numpy(np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)))


@pytest.mark.parametrize("name", REFERENCES)
def test_an_optimizer_moves_weights_as_torchs_own_does(name: str) -> None:
    ours, theirs = parameter(), parameter()
    setting = OptimizerSetting(name=name, optimizer=name, weight_decay=0.01, momentum=0.9 if name == "SGD" else 0.0)
    after = moved(optimizers.build(setting, [ours]), ours)
    # 1e-6: a few units in the last place of each of 20 steps.
    torch.testing.assert_close(after, moved(REFERENCES[name]([theirs]), theirs), rtol=0, atol=1e-6)
    assert not torch.equal(after, parameter())


def test_rmsprop_with_its_eps_inside_the_root_is_another_optimizer() -> None:
    ours = parameter()
    setting = OptimizerSetting(name="rmsprop", optimizer="RMSprop")
    average, wrong = torch.zeros(40, 30), parameter().detach().clone()
    generator = np.random.default_rng(1)
    for _ in range(20):
        gradient = torch.from_numpy(generator.normal(size=(40, 30)).astype(np.float32)) * 1e-4
        average = 0.99 * average + 0.01 * gradient**2
        wrong -= 1e-3 * gradient / (average + 1e-8).rsqrt().reciprocal()
        ours.grad = gradient
        optimizers.build(setting, [ours])
    optimizer = optimizers.build(setting, [ours])
    generator = np.random.default_rng(1)
    for _ in range(20):
        ours.grad = torch.from_numpy(generator.normal(size=(40, 30)).astype(np.float32)) * 1e-4
        optimizer.step()
    assert (ours.detach() - wrong).abs().max() > 1e-3


def test_rmsprop_leaves_a_parameter_whose_gradient_is_zero() -> None:
    ours = parameter()
    optimizer = optimizers.build(OptimizerSetting(name="rmsprop", optimizer="RMSprop"), [ours])
    ours.grad = torch.zeros_like(ours)
    optimizer.step()
    assert torch.equal(ours.detach(), parameter())


def test_the_learning_rate_rises_to_its_peak_and_falls_to_almost_zero() -> None:
    factors = [optimizers.learning_rate_factor(step, 100, "cosine", 0.2) for step in range(100)]
    assert factors[20] == 1.0 == max(factors)
    assert factors[:21] == sorted(factors[:21])
    assert factors[20:] == sorted(factors[20:], reverse=True)
    assert 0 < factors[-1] < 1e-3


def test_the_cosine_is_half_a_wave() -> None:
    for step in range(50):
        expected = (1 + math.cos(math.pi * step / 50)) / 2
        assert optimizers.learning_rate_factor(step, 50, "cosine", 0.0) == pytest.approx(expected, abs=1e-11)


def test_a_constant_schedule_stays_at_one() -> None:
    assert {optimizers.learning_rate_factor(step, 10, "constant", 0.0) for step in range(10)} == {1.0}


def test_setting_the_learning_rate_reaches_the_step() -> None:
    ours = parameter()
    optimizer = optimizers.build(OptimizerSetting(name="sgd", optimizer="SGD"), [ours])
    optimizers.set_learning_rate(optimizer, 0.0)
    assert torch.equal(moved(optimizer, ours, steps=3), parameter().detach())
