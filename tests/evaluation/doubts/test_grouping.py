"""A split that keeps look-alikes in one part: the groups equal those of all pairs, and verify finds changes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from in4310repro import models
from in4310repro.data import scenes
from in4310repro.data.folders import catalogue
from in4310repro.data.images import load_images
from in4310repro.data.preprocessing import Preprocessing, to_metadata
from in4310repro.data.splits import PARTS
from in4310repro.evaluation.doubts import grouping
from in4310repro.models.network import open_network
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS, configure
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.tensors import tensor_bytes
from in4310repro.training import experiment
from in4310repro.verification import verify
from tests.conftest import Call, refused

NETWORK = {"train": "head", "model": f"{__name__}:network", "modules": ["0"]}


def network(num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes)
    )


@pytest.fixture(scope="module")
def grouped_run(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a head on features of random weights, with a split that keeps look-alikes in one part."""
    folder = tmp_path_factory.mktemp("grouped")
    open_network(f"{__name__}:network").trust()
    state = models.build(f"{__name__}:network", 6, seed=3).state_dict()
    (folder / "drawn.safetensors").write_bytes(tensor_bytes(state, to_metadata(Preprocessing(size=32))))
    given = {**NETWORK, "weights": f"{folder / 'drawn.safetensors'}", "group": "look-alikes"}
    return experiment.train(configure("tiny", None, given), Context(numerics), folder / "run").folder


def mutual(features: NDArray[np.float64], labels: NDArray[np.int64]) -> list[list[int]]:
    """Return pairs of different classes that are each other's nearest, from the table of all pairs."""
    beyond = features - features.mean(axis=0)
    cosines = beyond @ beyond.T / np.outer(*[np.linalg.norm(beyond, axis=1)] * 2)
    np.fill_diagonal(cosines, -2)
    nearest = cosines.argmax(axis=1)
    return [[i, int(j)] for i, j in enumerate(nearest) if i < j and nearest[j] == i and labels[i] != labels[j]]


def test_groups_are_the_pairs_that_a_table_of_all_cosines_has(grouped_run: Path) -> None:
    run = FinishedRun.open(grouped_run)
    split = run.split_below(None)
    entries = sorted((entry for part in split.parts.values() for entry in part), key=lambda entry: entry.path)
    images = load_images("all", split.root, entries, run.config.image_size)
    body = models.build(run.config.model, 6, 0, run.config.weights)[:-1]  # type: ignore[index]
    mean, std = (torch.tensor(run.config.preprocessing.__dict__[name]).view(3, 1, 1) for name in ("mean", "std"))
    pixels = torch.from_numpy(images.pixels.copy()).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        features = body((pixels - mean) / std).double().numpy()
    pairs = mutual(features, images.labels)
    assert pairs
    assert run.groups == [[entries[place].path for place in pair] for pair in pairs]
    part = {entry.path: name for name in PARTS for entry in run.split.parts[name]}
    assert all(len({part[path] for path in group}) == 1 for group in run.groups)


def test_without_groups_some_look_alikes_come_apart(grouped_run: Path, finished_run: Path) -> None:
    part = {entry.path: name for name in PARTS for entry in FinishedRun.open(finished_run).split.parts[name]}
    groups = FinishedRun.open(grouped_run).groups
    assert any(len({part[path] for path in group}) > 1 for group in groups)


def test_verify_finds_the_groups_again(grouped_run: Path, numerics: Numerics) -> None:
    found = verify(grouped_run, Context(numerics))
    assert found.differences == []
    assert any("look alike" in each for each in found.computed_again) == found.bitwise


@pytest.mark.parametrize("change", ["one less", "one more", "another order"])
def test_verify_finds_other_groups(grouped_run: Path, tmp_path: Path, numerics: Numerics, change: str) -> None:
    folder = Path(shutil.copytree(grouped_run, tmp_path / "run"))
    files, groups = RunFolder.open(folder), FinishedRun.open(folder).groups
    held = {path for group in groups for path in group}
    part = {entry.path: name for name in PARTS for entry in FinishedRun.open(folder).split.parts[name]}
    apart = [path for path in part if path not in held]
    changed = {
        "one less": groups[1:],
        "one more": [*groups, [apart[0], next(path for path in apart[1:] if part[path] == part[apart[0]])]],
        "another order": groups[::-1],
    }[change]
    files.write_json("groups.json", changed)
    differences = verify(folder, Context(numerics)).differences
    assert any("groups.json" in each or "split.csv" in each for each in differences) or not numerics.portable


def test_a_run_without_its_groups_cannot_be_read(grouped_run: Path, tmp_path: Path, numerics: Numerics) -> None:
    folder = Path(shutil.copytree(grouped_run, tmp_path / "run"))
    (folder / "groups.json").unlink()
    assert any("groups.json" in each for each in verify(folder, Context(numerics)).differences)
    (folder / "groups.json").write_text(json.dumps([["one"]]))
    assert any("groups.json" in each for each in verify(folder, Context(numerics)).differences)


def test_look_alikes_need_weights(call: Call, tmp_path: Path) -> None:
    words = ("train", "--preset", "tiny", "--out", f"{tmp_path / 'run'}", "--group")
    refused(call, (*words, "look-alikes"), "weights is none", "imagenet or a file")
    refused(call, (*words, "lookalikes"), "no group 'lookalikes'", "identical, look-alikes", "look-alikes?")


def test_copies_of_every_kind_are_in_the_group_of_their_original(tmp_path: Path, numerics: Numerics) -> None:
    for name in ("forest", "sea"):
        (tmp_path / name).mkdir()
        for number in range(4):
            Image.fromarray(scenes.draw(name, number, 64, 0)).save(tmp_path / name / f"{number}.png")
    with Image.open(tmp_path / "sea/0.png") as image:
        image.save(tmp_path / "forest/recompressed.jpg", quality=70)
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "sea/mirrored.png")
    config = replace(PRESETS["tiny"], weights="imagenet", group="look-alikes")
    body = models.build("resnet18", 2, seed=0)
    found = grouping.groups(catalogue(tmp_path), body, config, Context(numerics), cache=False)
    (group,) = (paths for paths in found if "sea/0.png" in paths)
    assert {"forest/recompressed.jpg", "sea/mirrored.png"} < set(group)
