"""Prediction: the softmax of every image in eval mode, for any batch size."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from in4310repro import models
from in4310repro.data.images import ImageSet, normalize
from in4310repro.evaluation.prediction import predict, refuse_too_large
from in4310repro.runs.config import Config
from in4310repro.runs.presets import PRESETS
from in4310repro.system import machine
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics, activate
from in4310repro.system.processes import Processes
from tests.builders import Watched, image_set


def in_batches(size: int) -> Config:
    return replace(PRESETS["tiny"], evaluation_batch_size=size)


@pytest.fixture(scope="module")
def network(numerics: Numerics) -> torch.nn.Module:
    return numerics.place(models.build("resnet18", 6, seed=0))


def test_scores_are_the_softmax_of_the_whole_set_in_eval_mode(network: torch.nn.Module, numerics: Numerics) -> None:
    images = image_set(20)
    scores = predict(network, images, in_batches(20), Context(numerics))
    with torch.no_grad():
        logits = network.eval()(normalize(images.pixels)).double()
    oracle = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
    torch.testing.assert_close(torch.from_numpy(scores.softmax).double(), oracle, rtol=0, atol=1e-6)
    picked = oracle[torch.arange(20), torch.from_numpy(images.labels)]
    assert scores.loss == pytest.approx(float(-picked.log().mean()), rel=1e-5)
    network.train()
    in_train_mode = network(normalize(images.pixels)).softmax(dim=1)
    assert (in_train_mode - torch.from_numpy(scores.softmax)).abs().max() > 1e-3


@pytest.mark.parametrize("mode", ["portable", "native"])
def test_scores_and_loss_do_not_depend_on_the_batch_size(mode: str, numerics: Numerics) -> None:
    if numerics.mode != "portable":
        pytest.skip(f"portable arithmetic is unavailable here: {numerics.note}")
    numerics = activate(mode, "cpu")
    network = numerics.place(models.build("resnet18", 6, seed=0))
    reference = predict(network, image_set(33), in_batches(33), Context(numerics))
    for size in (1, 7, 16, 200):
        scores = predict(network, image_set(33), in_batches(size), Context(numerics))
        if numerics.portable:
            assert np.array_equal(scores.softmax, reference.softmax)
            assert scores.loss == reference.loss
        # 1e-5: torch's sums are not bit-equal across batch sizes.
        torch.testing.assert_close(
            torch.from_numpy(scores.softmax), torch.from_numpy(reference.softmax), rtol=0, atol=1e-5
        )
        assert scores.loss == pytest.approx(reference.loss, rel=1e-5)
        assert scores.paths == reference.paths


def test_a_mean_of_batch_losses_is_another_number(network: torch.nn.Module, numerics: Numerics) -> None:
    images = image_set(17)
    parts = [slice(0, 16), slice(16, 17)]
    losses = [
        predict(
            network,
            ImageSet("x", images.paths[p], images.keys[p], images.labels[p], images.pixels[p]),
            in_batches(16),
            Context(numerics),
        ).loss
        for p in parts
    ]
    assert abs(predict(network, images, in_batches(16), Context(numerics)).loss - sum(losses) / 2) > 1e-3


def test_predicting_puts_the_networks_mode_back(network: torch.nn.Module, numerics: Numerics) -> None:
    for mode in (True, False):
        network.train(mode)
        predict(network, image_set(2), in_batches(2), Context(numerics))
        assert network.training is mode


def test_progress_counts_the_images_of_each_batch(network: torch.nn.Module, numerics: Numerics) -> None:
    counts: list[int] = []
    watched = Watched(step=lambda _title, done, _detail: counts.append(done))
    predict(network, image_set(3), in_batches(2), Context(numerics, watched))
    assert counts == [2, 1]


def test_a_process_for_which_no_image_is_left_gets_the_scores_of_the_other(
    network: torch.nn.Module, numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = predict(network, image_set(1), in_batches(1), Context(numerics))
    columns = [torch.tensor(np.array(each)) for each in (alone.softmax, alone.logits, [alone.loss])]
    sent = iter([safetensors.torch.save({"rows": column}) for column in columns])
    monkeypatch.setattr(Processes, "gather", lambda _, none: [none, next(sent)])
    other = predict(network, image_set(1), in_batches(1), Context(numerics, processes=Processes(0, 2)))
    assert (other.softmax.tolist(), other.loss) == (alone.softmax.tolist(), alone.loss)


def test_on_a_gpu_scenes_beyond_the_memory_are_refused_and_neither_batches_nor_own_images(
    numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu, config = replace(numerics, device="cuda"), in_batches(2**40)
    # A scene of 32 x 32 pixels takes 250 bytes for each.
    monkeypatch.setattr(machine, "memory", lambda: 256_000)
    refuse_too_large(config, on_gpu, training=True)
    monkeypatch.setattr(machine, "memory", lambda: 255_999)
    refuse_too_large(replace(config, data="photographs"), on_gpu, training=True)
    with pytest.raises(ValueError, match=r"^a scene drawn at image_size 32 takes at least 256 kB of memory"):
        refuse_too_large(config, on_gpu)
