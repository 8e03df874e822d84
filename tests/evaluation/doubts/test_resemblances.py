"""Neighbours by brute force, planted copies, crops and look-alikes, and a split that keeps them in one part."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from in4310repro import models
from in4310repro.data import scenes
from in4310repro.data.cache import SUFFIX
from in4310repro.data.folders import catalogue
from in4310repro.data.images import load_images
from in4310repro.data.preprocessing import Preprocessing, to_metadata
from in4310repro.data.splits import PARTS
from in4310repro.evaluation.doubts import resemblances
from in4310repro.evaluation.doubts.resemblances import Neighbours, candidates, crops, find_groups, look_alikes, nearest
from in4310repro.models.sources import open_network
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS, configure
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.tensors import tensor_bytes
from in4310repro.training import experiment
from in4310repro.verification.routine import verify
from tests.builders import Watched, write_class_folders
from tests.conftest import Call, refused


def by_all_pairs(features: np.ndarray, number: int) -> tuple[list[list[int]], np.ndarray]:
    """Return the `number` nearest neighbours of each image and their cosines, in double precision."""
    beyond = features.astype(np.float64) - features.astype(np.float64).mean(axis=0)
    cosines = np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in beyond] for a in beyond])
    orders = [sorted((j for j in range(len(row)) if j != i), key=lambda j: -row[j]) for i, row in enumerate(cosines)]
    return [order[:number] for order in orders], np.array(
        [row[order[:number]] for row, order in zip(cosines, orders, strict=True)]
    )


@pytest.mark.parametrize(("rows", "columns"), [(512, 4096), (7, 5), (1, 64), (64, 3)])
def test_neighbours_are_those_of_all_pairs(rows: int, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resemblances, "ROWS", rows)
    monkeypatch.setattr(resemblances, "COLUMNS", columns)
    features = np.random.default_rng(0).random((60, 9), dtype=np.float32) + 5
    found = nearest(features, 8)
    images, similarities = by_all_pairs(features, 8)
    assert found.images.tolist() == images
    assert np.abs(found.similarities - similarities).max() < 1e-5


def test_many_images_are_compared_after_a_message_about_the_time_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resemblances, "ROWS", 2)
    monkeypatch.setattr(resemblances, "COLUMNS", 4)
    # The first two images and the first four take three seconds.
    times = iter([5.0, 8.0])
    monkeypatch.setattr(resemblances, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    said: list[str] = []
    watched = Watched(say=said.append, step=lambda title, *_: said.append(title))
    nearest(np.random.default_rng(0).random((12, 3), dtype=np.float32), 3, watched)
    assert said[:2] == ["comparing the features of 12 images in pairs: about 54 s", "comparing features"]
    assert 3 * 12 / 2 != 54 == 3 * (12 / 2) * (12 / 4)
    # Of few images the measured part would be all.
    nearest(np.eye(4, dtype=np.float32), 3, Watched(say=lambda line: pytest.fail(line)))


def test_features_that_are_not_centred_have_other_neighbours() -> None:
    features = np.array([[5, 6], [6, 5], [50, 61]], np.float32)
    assert nearest(features, 1).images[0, 0] == 1
    plain = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert plain[0] @ plain[2] > plain[0] @ plain[1]


def test_of_equal_images_the_first_are_the_neighbours() -> None:
    features = np.zeros((9, 2), np.float32)
    features[:, 0] = [1, 0, 1, 1, 0, 1, 1, 0, 1]
    assert nearest(features, 3).images.tolist()[0] == [2, 3, 5]
    assert nearest(features, 3).images.tolist()[4] == [1, 7, 0]


def test_an_image_has_at_most_all_others_as_neighbours() -> None:
    assert sorted(nearest(np.eye(3, dtype=np.float32), 11).images[1].tolist()) == [0, 2]


def test_a_candidate_is_much_nearer_than_the_last_neighbour() -> None:
    images = np.array([[1, *range(4, 14)], [0, *range(4, 14)]], np.int32)
    distances = np.array([[0.7, *[0.95] * 9, 1.0], [0.85, *[0.9] * 9, 1.0]], np.float32)
    assert candidates(Neighbours(images, 1 - distances)) == [(0, 1)]
    assert candidates(Neighbours(images[1:], 1 - distances[1:])) == []


@pytest.mark.parametrize("images", [5, 11])
def test_in_a_small_folder_all_pairs_are_candidates(images: int) -> None:
    neighbours = nearest(np.random.default_rng(0).random((images, 3), dtype=np.float32), 11)
    assert candidates(neighbours) == [(one, other) for one in range(images) for other in range(one + 1, images)]


def test_crops_are_found_whichever_comes_first_and_known_pairs_are_not_compared(tmp_path: Path) -> None:
    pictures = [Image.fromarray(scenes.draw(name, 0, 96, 0)) for name in scenes.CLASSES]
    pictures = [pictures[0].crop((10, 5, 82, 77)), *pictures, pictures[5].crop((0, 20, 76, 96)), pictures[3]]
    files = [tmp_path / f"{number}.png" for number in range(9)]
    for file, picture in zip(files, pictures, strict=True):
        picture.save(file)
    neighbours = nearest(np.random.default_rng(0).random((9, 3), dtype=np.float32), 11)
    found = crops(neighbours, [0, 1, 2, 3, 4, 5, 6, 7, 4], files)
    assert [(crop.whole, crop.part) for crop in found] == [(1, 0), (6, 7)]
    assert [round(crop.side, 1) for crop in found] == [0.8, 0.8]


# 0 and 1 are nearest to each other; 2 is nearest to 0, but not the other way round; 3 and 4 are of one class.
IMAGES = np.array([[1, 2], [0, 2], [0, 1], [4, 0], [3, 0]], np.int32)
SIMILARITIES = np.array([[0.9, 0.5], [0.9, 0.4], [0.5, 0.4], [0.8, 0.1], [0.8, 0.1]], np.float32)


def test_only_mutual_neighbours_of_different_classes_are_look_alikes() -> None:
    neighbours, labels = Neighbours(IMAGES, SIMILARITIES), np.array([0, 1, 1, 1, 1])
    assert look_alikes(neighbours, labels, [0, 1, 2, 3, 4]) == [(0, 1, SIMILARITIES[0, 0])]
    assert look_alikes(neighbours, np.zeros(5, np.int64), [0, 1, 2, 3, 4]) == []


def test_a_copy_is_no_neighbour_and_the_next_image_is() -> None:
    neighbours = Neighbours(IMAGES, SIMILARITIES)
    assert look_alikes(neighbours, np.array([0, 0, 1, 1, 1]), [0, 0, 2, 3, 4]) == [(0, 2, SIMILARITIES[0, 1])]


def test_an_image_all_of_whose_known_neighbours_are_copies_is_no_look_alike() -> None:
    # 1 is nearest to 0, and of 1 a copy alone is known.
    neighbours = Neighbours(np.array([[1], [2], [1]], np.int32), np.array([[0.5], [0.9], [0.9]], np.float32))
    assert look_alikes(neighbours, np.array([0, 1, 1]), [0, 1, 1]) == []
    assert look_alikes(neighbours, np.array([0, 1, 0]), [0, 1, 2]) == [(1, 2, float(np.float32(0.9)))]


def test_the_most_similar_pair_comes_first() -> None:
    images, similarities = np.array([[1], [0], [3], [2]], np.int32), np.array([[0.1], [0.1], [0.7], [0.7]], np.float32)
    pairs = look_alikes(Neighbours(images, similarities), np.array([0, 1, 0, 1]), [0, 1, 2, 3])
    assert [pair[:2] for pair in pairs] == [(2, 3), (0, 1)]


NETWORK = {"train": "head", "model": f"{__name__}:network", "modules": ["0"]}


def network(num_classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes)
    )


@pytest.fixture(scope="module")
def grouped_run(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that trains the last layer only, and whose split keeps similar images together."""
    folder = tmp_path_factory.mktemp("grouped")
    open_network(f"{__name__}:network").trust()
    state = models.build(f"{__name__}:network", 6, seed=3).state_dict()
    (folder / "drawn.safetensors").write_bytes(tensor_bytes(state, to_metadata(Preprocessing(size=32))))
    given = {**NETWORK, "weights": f"{folder / 'drawn.safetensors'}", "group": "look-alikes"}
    return experiment.train(configure("tiny", None, given), folder / "run", context=Context(numerics)).folder


def test_groups_that_are_made_without_the_cache_leave_nothing_in_it(
    numerics: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IN4310REPRO_CACHE", f"{tmp_path / 'cache'}")
    config = configure("tiny", None, {**NETWORK, "image_size": 32})
    config.network.trust()
    images = catalogue(write_class_folders(tmp_path / "data", {"a": 2, "b": 2}))
    find_groups(images, config.network.build(2, seed=0), config, Context(numerics), cache=False)
    assert [*tmp_path.glob("cache/features/*.embedding"), *tmp_path.glob(f"cache/pixels/*{SUFFIX}")] == []


def mutual(features: NDArray[np.float64], labels: NDArray[np.int64]) -> list[list[int]]:
    """Return the pairs of images from different classes that are each other's nearest neighbours."""
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
    found = verify(grouped_run, context=Context(numerics))
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
    differences = verify(folder, context=Context(numerics)).differences
    assert any("groups.json" in each or "split.csv" in each for each in differences) or not numerics.portable


def test_a_run_without_its_groups_cannot_be_read(grouped_run: Path, tmp_path: Path, numerics: Numerics) -> None:
    folder = Path(shutil.copytree(grouped_run, tmp_path / "run"))
    (folder / "groups.json").unlink()
    assert any("groups.json" in each for each in verify(folder, context=Context(numerics)).differences)
    (folder / "groups.json").write_text(json.dumps([["one"]]))
    assert any("groups.json" in each for each in verify(folder, context=Context(numerics)).differences)


def test_look_alikes_need_weights(call: Call, tmp_path: Path) -> None:
    words = ("train", "--preset", "tiny", "--out", f"{tmp_path / 'run'}", "--group")
    refused(call, (*words, "look-alikes"), "weights is none", "imagenet or a file")
    refused(call, (*words, "lookalikes"), "group is 'lookalikes'", "identical, look-alikes", "look-alikes?")


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
    found = find_groups(catalogue(tmp_path), body, config, Context(numerics), cache=False)
    (group,) = (paths for paths in found if "sea/0.png" in paths)
    assert {"forest/recompressed.jpg", "sea/mirrored.png"} < set(group)
