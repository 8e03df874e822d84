"""A training with dropout: what is dropped depends on the run's seed, the step and the images alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.soak import remove_speed
from in4310repro.data.images import training_batches
from in4310repro.models.sources import open_network
from in4310repro.runs.config import Config
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics, generator_for
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import experiment
from in4310repro.training.training import Epochs, TrainingInputs
from in4310repro.verification.replay import first_steps, plan_replays, replay
from tests.arithmetic.formulas import record_calls
from tests.arithmetic.test_dropout import key_by_numpy
from tests.builders import image_set
from tests.training.test_checkpoints import CutOffError, cut_after

MODEL = f"{__name__}:dropping"
TINY = PRESETS["tiny"]
CONFIG = replace(
    TINY, model=MODEL, modules=("0",), epochs=2, numerics="portable", settings=TINY.settings[:1], checkpoint_steps=1
)


def dropping(num_classes: int) -> nn.Module:
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.2), nn.AdaptiveAvgPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.5), nn.Linear(32, num_classes))


@pytest.fixture(autouse=True)
def _trusted_and_portable(numerics: Numerics) -> None:
    open_network(MODEL).trust()
    if not numerics.portable:
        pytest.skip("no kernel was built here")


@pytest.fixture(scope="module")
def whole(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory, _cache_of_this_session: None) -> FinishedRun:
    open_network(MODEL).trust()
    folder = tmp_path_factory.mktemp("dropout") / "run"
    return experiment.train(CONFIG, folder, keep_epochs=True, context=Context(numerics))


def cut_off(folder: Path, numerics: Numerics, config: Config = CONFIG) -> FinishedRun:
    """Train with an interruption in the middle of the second epoch."""
    with pytest.raises(CutOffError):
        experiment.train(config, folder, context=Context(numerics, cut_after(3)))
    return experiment.train(config, folder, resume=True, context=Context(numerics))


def test_a_training_that_was_cut_off_ends_with_the_same_bits_and_with_one_stream_of_masks_it_would_not(
    whole: FinishedRun, numerics: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(99)  # of no training
    rows = list(map(remove_speed, whole.histories["adamw"]))
    assert list(map(remove_speed, cut_off(tmp_path / "cut", numerics).histories["adamw"])) == rows
    monkeypatch.setattr(torch, "manual_seed", lambda _seed: None)
    assert list(map(remove_speed, cut_off(tmp_path / "wrong", numerics).histories["adamw"])) != rows


def test_epochs_are_trained_again_with_the_same_masks(whole: FinishedRun, numerics: Numerics) -> None:
    result = replay(whole, plan_replays(whole, 0, 0, numerics)[0], Context(numerics), None)
    assert result.differences == []
    assert len(result.replayed) == 2


def test_the_first_steps_that_are_explained_have_the_masks_of_the_training(whole: FinishedRun) -> None:
    model, loss, optimizer, batches = first_steps(f"{whole.folder}")
    for images, labels in batches:
        loss(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert tensors_sha256(model.state_dict()) == whole.tensors["adamw"][0]["weights_sha256"]


def test_each_layer_draws_by_seed_setting_step_and_the_hashes_of_the_batchs_images(numerics: Numerics) -> None:
    images, setting = image_set(20), CONFIG.settings[0]
    inputs = TrainingInputs(
        model=numerics.place(dropping(6)),
        training=images,
        validation=images,
        config=CONFIG,
        setting=setting,
        context=Context(numerics),
    )
    with record_calls() as calls:
        Epochs(inputs).train()
    drawn = [call[4:6] for call in calls if call[0] == "dropout"]
    batches = training_batches(images, CONFIG.batch_size, CONFIG.augmentation, CONFIG.seed, 0)
    for step, batch in enumerate(batches):
        seed = int(generator_for(CONFIG.seed, "draws of the network", setting.name, f"{step}").integers(2**63))
        # The keys of these images are their paths.
        hashes = [hashlib.sha256(path.encode()).digest()[:8] for path in batch.paths]
        identities = [int.from_bytes(each, "little", signed=True) for each in hashes]
        # The forward pass of each layer, then the backward pass.
        for layer in (1, 2, 2, 1):
            found, key = drawn.pop(0)
            assert (found.tolist(), key) == (identities, key_by_numpy(seed, layer))
    assert drawn == []
