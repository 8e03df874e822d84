"""Whole trainings have the bits that a second implementation computes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torchvision.models.resnet import BasicBlock, ResNet

from in4310repro.arithmetic import cross_entropy, portable
from in4310repro.data.images import training_batches, training_ranges
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training.optimizers import learning_rate_factor
from in4310repro.verification.evidence import Evidence
from tests.arithmetic.formulas import equal_bits
from tests.oracle.network import ResidualNetwork
from tests.oracle.program import Oracle, Value
from tests.oracle.test_operations import OPTIMIZERS


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_steps_of_a_residual_network_have_equal_bits(oracle: Oracle, name: str) -> None:
    make, settings = OPTIMIZERS[name]
    generator = torch.Generator().manual_seed(7)
    torch.manual_seed(7)
    model = portable(ResNet(BasicBlock, [1, 1, 1, 1], num_classes=6))
    theirs = ResidualNetwork(oracle, copy.deepcopy(model.state_dict()))
    optimizer = make(list(model.parameters()))
    for images in (9, 8, 3):
        batch = torch.randn(images, 3, 32, 32, generator=generator)
        labels = torch.randint(6, (images,), generator=generator)
        optimizer.zero_grad()
        loss = cross_entropy(model(batch), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        assert equal_bits(loss[None], theirs.step(batch, labels, name, settings))
        different = [key for key, value in model.state_dict().items() if not equal_bits(value, theirs.state[key])]
        assert not different


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_epoch_of_the_tiny_run_computed_from_its_files_has_the_recorded_hashes(
    oracle: Oracle, name: str, finished_run: Path, numerics: Numerics
) -> None:
    evidence = Evidence(finished_run, Context(numerics))
    run, config, images = evidence.run, evidence.run.config, evidence.images("training")
    assert images is not None
    setting = next(each for each in config.settings if each.optimizer.lower() == name)
    settings: dict[str, Value] = {**OPTIMIZERS[name][1], "decay": setting.weight_decay}
    network = ResidualNetwork(oracle, copy.deepcopy(run.initial_network().state_dict()))
    steps = len(training_ranges(len(images), config.batch_size))
    batches = training_batches(images, config.batch_size, config.augmentation, config.seed, 0)
    for step, batch in enumerate(batches):
        factor = learning_rate_factor(step, steps * config.epochs, config.schedule, config.warm_up)
        network.step(batch.images, batch.labels, name, {**settings, "lr": setting.learning_rate * factor})
    recorded = run.tensors[setting.name][0]
    assert recorded["epoch"] == 1
    assert tensors_sha256(network.state) == recorded["weights_sha256"]
