"""Features of images: read from the cache or computed, of the weights that gave them, and written by one process."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from jaxtyping import Float32
from torch import nn

from in4310repro.data.images import ImageSet
from in4310repro.evaluation.embedding import embed
from in4310repro.models.sources import open_network
from in4310repro.runs.presets import PRESETS
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.processes import Processes
from tests.builders import image_set

NETWORK = open_network(f"{__name__}:network")
CONFIG = replace(PRESETS["tiny"], model=f"{__name__}:network", evaluation_batch_size=8)
IMAGES = image_set(20)


def network(num_classes: int) -> nn.Module:
    layers = (nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(16, num_classes))


@pytest.fixture
def model(numerics: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    monkeypatch.setenv("IN4310REPRO_CACHE", f"{tmp_path}")
    NETWORK.trust()
    return numerics.place(NETWORK.build(6, seed=0))


@pytest.fixture
def passed(model: nn.Module) -> list[int]:
    """Return a list to which each batch that the network computes adds its number of images."""
    numbers: list[int] = []
    model.register_forward_pre_hook(lambda _, inputs: numbers.append(len(inputs[0])))
    return numbers


def features(
    model: nn.Module, images: ImageSet, numerics: Numerics, *, cache: bool = True
) -> Float32[np.ndarray, "image feature"]:
    return embed(model, CONFIG, images, Context(numerics), cache=cache).take(range(len(images)))


def test_of_a_layer_that_is_called_several_times_the_last_call_counts(numerics: Numerics, model: nn.Module) -> None:
    once = features(model, IMAGES, numerics, cache=False)
    *_, flat, last = model.children()

    def call_before(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        last(torch.zeros_like(output))

    with flat.register_forward_hook(call_before):
        assert np.array_equal(features(model, IMAGES, numerics, cache=False), once)


def test_features_are_computed_once_and_again_where_a_record_is_not_as_it_was_written(
    numerics: Numerics, model: nn.Module, passed: list[int], tmp_path: Path
) -> None:
    first = features(model, IMAGES.at(range(12)), numerics)
    assert sum(passed) == 12
    every = features(model, IMAGES, numerics)
    assert sum(passed) == (20 if numerics.portable else 32)
    assert np.array_equal(every[:12], first)
    (file,) = (file for file in (tmp_path / "features").glob("*.embedding") if file.stat().st_size > 12 * 128)
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    # A killed process left a part of a record.
    file.write_bytes(bytes(data) + b"left")
    assert np.array_equal(features(model, IMAGES, numerics), every)
    assert sum(passed) == (21 if numerics.portable else 33)
    assert np.array_equal(features(model, IMAGES, numerics, cache=False), every)
    assert sum(passed) == (41 if numerics.portable else 53)
    assert not model.get_submodule("4")._forward_pre_hooks


def test_beside_another_process_features_are_taken_from_a_copy(
    numerics: Numerics, model: nn.Module, passed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = features(model, IMAGES.at(range(12)), numerics)
    # A copy of the cache, since this process goes on holding what it has written.
    copy = shutil.copytree(tmp_path / "features", tmp_path / "other" / "features").parent
    monkeypatch.setenv("IN4310REPRO_CACHE", f"{copy}")
    files = {file: file.read_bytes() for file in copy.rglob("*.embedding")}
    with ExitStack() as others:
        for file in files:
            others.enter_context(FileLock(file.with_name(f".{file.name}.lock")))
        every = features(model, IMAGES, numerics)
    assert np.array_equal(every[:12], first)
    assert sum(passed) == (20 if numerics.portable else 32)
    assert {file: file.read_bytes() for file in files} == files


def test_other_weights_have_other_features_and_another_head_has_not(
    numerics: Numerics, model: nn.Module, passed: list[int]
) -> None:
    first = features(model, IMAGES, numerics)
    with torch.no_grad():
        model.get_parameter("4.bias").add_(1)
    assert np.array_equal(features(model, IMAGES, numerics), first)
    assert sum(passed) == 20
    with torch.no_grad():
        model.get_parameter("0.weight").mul_(2)
    assert not np.array_equal(features(model, IMAGES, numerics), first)


def test_an_image_with_features_beyond_float32_is_named(numerics: Numerics, model: nn.Module) -> None:
    with torch.no_grad():
        model.get_parameter("0.weight").fill_(1e38)
    # The dark image 0 has negative sums, which the ReLU turns to 0.
    with pytest.raises(ValueError, match=r"^features of 1 of 2 images are nan .*, such as those of 0/005\.png:"):
        features(model, IMAGES.at([0, 5]), numerics)


def test_a_process_that_does_not_lead_computes_its_part_and_writes_nothing(
    numerics: Numerics, model: nn.Module, passed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Processes, "broadcast", lambda *_: b"[0, 1, 2, 3]")
    monkeypatch.setattr(Processes, "gather", lambda _, rows: [rows, rows])
    found = embed(model, CONFIG, IMAGES, Context(numerics, processes=Processes(1, 2)))
    assert (sum(passed), len(found), len(found.records)) == (2, 0, 0)
    assert not list(tmp_path.iterdir())


def test_after_an_interruption_only_what_came_after_the_last_eight_batches_is_computed_again(
    numerics: Numerics, model: nn.Module, passed: list[int]
) -> None:
    def interrupt(_module: nn.Module, _inputs: object) -> None:
        if len(passed) == 10:
            raise KeyboardInterrupt

    with model.register_forward_pre_hook(interrupt), pytest.raises(KeyboardInterrupt):
        embed(model, replace(CONFIG, evaluation_batch_size=1), IMAGES, Context(numerics))
    passed.clear()
    embed(model, replace(CONFIG, evaluation_batch_size=1), IMAGES, Context(numerics))
    assert len(passed) == 20 - 8
