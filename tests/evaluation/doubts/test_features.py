"""Features by the network of a run or of a weights file, and their map, on which near images stay near."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from in4310repro import models
from in4310repro.data.preprocessing import Preprocessing, to_metadata
from in4310repro.evaluation.doubts.features import open_source, plane
from in4310repro.system.tensors import tensor_bytes, tensors_sha256
from tests.conftest import Call, refused


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of weights for 7 classes, with the preprocessing of images in its metadata."""
    state = models.build("shufflenet_v2_x0_5", 7, seed=3).state_dict()
    how = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic", crop_ratio=0.9)
    (tmp_path / "net.safetensors").write_bytes(tensor_bytes(state, to_metadata(how)))
    torch.save(state, tmp_path / "net.pth")
    return tmp_path / "net.safetensors"


def test_a_file_gives_the_weights_and_how_images_are_prepared(file: Path) -> None:
    source = open_source(f"{file}", {"model": "shufflenet_v2_x0_5", "image_size": 64})
    how = source.config.preprocessing
    assert (how.mean, how.interpolation, how.crop_ratio, how.size) == ((0.5, 0.5, 0.5), "bicubic", 0.9, 64)
    given = models.build("shufflenet_v2_x0_5", 7, seed=3).state_dict()
    body = {name: value for name, value in source.network.state_dict().items() if not name.startswith("fc")}
    assert tensors_sha256(body) == tensors_sha256({name: given[name] for name in body})
    assert source.described()["weights"] == "net.safetensors"


def test_a_run_gives_its_selected_network(finished_run: Path) -> None:
    source = open_source(f"{finished_run}", {})
    assert source.config.image_size == 32
    assert source.fingerprint is not None
    assert source.described()["model"] == "resnet18"


def test_what_is_missing_or_too_much_is_one_sentence(
    call: Call, file: Path, finished_run: Path, tmp_path: Path
) -> None:
    run, pth = f"{finished_run}", f"{file.with_suffix('.pth')}"
    command = ("data", "check", f"{tmp_path}", "--weights")
    refused(call, (*command, f"{file}"), "--model NAME", "no run folder")
    refused(
        call, (*command, pth, "--model", "shufflenet_v2_x0_5"), "does not say how images are prepared", "--mean, --std"
    )
    refused(call, (*command, run, "--image-size", "64"), "--image-size is decided by the run")
    refused(call, (*command, run, "--model", "vgg11"), "--model vgg11", "resnet18")
    refused(call, (*command, "nowhere"), "--model NAME")
    refused(call, ("data", "check", f"{tmp_path}", "--model", "vgg11"), "--model goes with --weights")
    refused(call, ("data", "check", f"{tmp_path}", "--page", "a.html"), "--page goes with --weights")


@pytest.mark.slow
def test_the_command_prints_writes_and_shows_what_it_found(
    call: Call, finished_run: Path, copied_scenes: object, tmp_path: Path
) -> None:
    assert callable(copied_scenes)
    folder = copied_scenes(tmp_path / "scenes")
    words = ("data", "check", f"{folder}", "--weights", f"{finished_run}", "--split", f"{finished_run / 'split.csv'}")
    code, printed, _ = call(*words, "--out", "found.json", "--page", "sheet.html")
    assert code == 0
    assert "doubtful labels" in printed
    said = "the network was trained on 24 of these images: it knows their labels, and doubts fewer of them"
    assert said in printed.splitlines()
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["doubts"]["features"]["model"] == "resnet18"
    assert sum(map(sum, found["doubts"]["confusion_matrix"])) == 48
    assert found["doubts"]["doubts_by_part"].keys() == {"training", "validation", "test"}
    assert "data:image/jpeg" in (tmp_path / "sheet.html").read_text()
    assert call(*words, "--no-photographs", "--page", "names.html", "--quiet") == (0, "", "")
    assert "data:image/jpeg" not in (tmp_path / "names.html").read_text()
    # Doubts of another seed of the folds change nothing in the exit code.
    assert call(*words, "--seed", "5", "--quiet")[0] == 0


CENTRES = np.random.default_rng(1).standard_normal((3, 40)) * 6
LABELS = np.arange(60) % 3
FEATURES = (CENTRES[LABELS] + np.random.default_rng(2).standard_normal((60, 40))).astype(np.float32)


def share_of_neighbours_in_class(places: NDArray[np.float64]) -> float:
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 9 * np.eye(len(places))
    return float((LABELS[distances.argmin(axis=1)] == LABELS).mean())


def test_images_that_are_near_by_their_features_are_near_on_the_plane() -> None:
    places = plane(FEATURES, seed=0)
    assert (places.min(axis=0).tolist(), places.max(axis=0).tolist()) == ([0, 0], [1, 1])
    assert share_of_neighbours_in_class(places) == 1
    assert share_of_neighbours_in_class(np.random.default_rng(0).random((60, 2))) < 0.6


def test_a_seed_gives_one_map() -> None:
    assert np.array_equal(plane(FEATURES[:20], seed=0), plane(FEATURES[:20], seed=0))


@pytest.mark.parametrize(("images", "places"), [(0, 0), (4, 0), (5, 5)])
def test_few_images_have_a_map_or_none(images: int, places: int) -> None:
    assert plane(FEATURES[:images], seed=0).shape == (places, 2)


def test_images_that_are_all_alike_lie_in_one_place() -> None:
    assert (plane(np.ones((9, 4), np.float32), seed=0) == 0.5).all()
