"""Features by the network of a run or of a weights file, and their map, on which near images stay near."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from torch import nn

from in4310repro import models
from in4310repro.data.preprocessing import Preprocessing, to_metadata
from in4310repro.evaluation.doubts.folder_features import features_of, open_source, plane
from in4310repro.models import sources
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.tensors import tensor_bytes, tensors_sha256
from tests.builders import Watched
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
    assert source.labels_known == {entry.sha256 for entry in FinishedRun.open(finished_run).split.parts["training"]}


def test_a_run_is_named_alike_however_its_folder_is_given(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished_run.parent)
    assert open_source(f"./{finished_run.name}/", {}).described()["weights"] == finished_run.name


def test_features_are_what_the_last_layer_turns_into_the_scores_of_the_run(
    finished_run: Path, numerics: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IN4310REPRO_CACHE", f"{tmp_path}")
    run, titles = FinishedRun.open(finished_run), list[str]()
    watched = Watched(step=lambda title, *_: titles.append(title))
    root, source = run.split_below(None).root, open_source(f"{finished_run}", {})
    rows = features_of(source, root, run.split.parts["test"], Context(numerics, watched))
    scores = source.network.get_submodule("fc")(torch.from_numpy(rows)).softmax(dim=1).detach().numpy()
    assert np.allclose(scores, run.scores.softmax, atol=1e-5)
    assert set(titles) == {"decoding images", "features of images"}


def network(num_classes: int) -> nn.Module:
    return models.build("resnet18", num_classes, seed=0)


def test_a_run_of_own_code_needs_the_name_of_the_code_and_a_linear_layer_at_its_end(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, own = FinishedRun.open(finished_run), f"{__name__}:network"
    sources.TRUSTED.discard(own)
    monkeypatch.setattr(FinishedRun, "open", lambda _: replace(run, config=replace(run.config, model=own)))
    with pytest.raises(ValueError, match=f"--model {own}"):
        open_source(f"{finished_run}", {})
    assert open_source(f"{finished_run}", {"model": own}).config.model == own
    run = replace(run, config=replace(run.config, model="squeezenet1_1"))
    monkeypatch.setattr(FinishedRun, "open", lambda _: run)
    monkeypatch.setattr(FinishedRun, "selected_network", lambda _: models.build("squeezenet1_1", 6, seed=0))
    with pytest.raises(ValueError, match="squeezenet1_1 does not end in one linear layer"):
        open_source(f"{finished_run}", {})


def test_what_is_missing_or_too_much_is_one_sentence(
    call: Call, file: Path, finished_run: Path, tmp_path: Path
) -> None:
    run, pth = f"{finished_run}", f"{file.with_suffix('.pth')}"
    command = ("data", "check", f"{tmp_path}", "--weights")
    refused(call, (*command, f"{file}"), "--model NAME", "not a run folder")
    refused(
        call, (*command, pth, "--model", "shufflenet_v2_x0_5"), "does not say how images are prepared", "--mean, --std"
    )
    refused(call, (*command, run, "--image-size", "64"), "--image-size is set by the run")
    refused(call, (*command, run, "--model", "vgg11"), "--model vgg11", "resnet18")
    refused(call, (*command, "nowhere"), "--model NAME")
    refused(call, (*command, "none", "--model", "vgg11"), "--weights 'none' is not a run folder")
    refused(call, ("data", "check", f"{tmp_path}", "--model", "vgg11"), "--model goes with --weights")
    refused(call, ("data", "check", f"{tmp_path}", "--page", "a.html"), "--page goes with --weights")


def test_the_command_prints_writes_and_shows_what_it_found(
    call: Call, finished_run: Path, copied_scenes: Callable[[Path], Path], file: Path, tmp_path: Path
) -> None:
    # All images of two classes but the last one, which is of the test part.
    header, *rows = (finished_run / "split.csv").read_text().splitlines()
    rows = [row for row in rows if row.startswith(("glacier/", "mountain/"))][:-1]
    (tmp_path / "split.csv").write_text("\n".join([header, *rows]))
    every, folder = copied_scenes(tmp_path / "every"), tmp_path / "scenes"
    for path in (row.partition(",")[0] for row in rows):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(every / path, folder / path)
    words = ("data", "check", f"{folder}", "--split", "split.csv", "--weights")
    code, printed, _ = call(*words, f"{finished_run}", "--out", "found.json", "--page", "sheet.html")
    assert code == 0
    assert "doubtful labels" in printed
    said = "the network was trained on 8 of these images: it knows their labels, and doubts fewer of them"
    assert said in printed.splitlines()
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["doubts"]["features"]["model"] == "resnet18"
    assert sum(map(sum, found["doubts"]["confusion_matrix"])) == 15
    assert found["doubts"]["doubts_by_part"].keys() == {"training", "validation", "test"}
    assert "data:image/jpeg" in (tmp_path / "sheet.html").read_text()
    assert call(*words, f"{finished_run}", "--no-photographs", "--page", "names.html", "--quiet") == (0, "", "")
    assert "data:image/jpeg" not in (tmp_path / "names.html").read_text()
    # Doubts by another network, of another seed of the folds, change nothing in the exit code.
    of_file = ("--model", "shufflenet_v2_x0_5", "--image-size", "32", "--seed", "5")
    code, printed, _ = call(*words, f"{file}", *of_file)
    assert (code, "trained on" in printed) == (0, False)


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
    # Of more than 500 features, principal components are drawn at random.
    features = np.random.default_rng(3).random((63, 501), dtype=np.float32)
    assert np.array_equal(plane(features, seed=0), plane(features, seed=0))


def test_neighbours_are_taken_of_fifty_principal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TSNE, "fit_transform", lambda _, components: components)
    assert plane(np.random.default_rng(3).random((60, 70), dtype=np.float32), seed=0).shape == (60, 50)


@pytest.mark.parametrize(("images", "width", "places"), [(0, 40, 0), (4, 40, 0), (5, 40, 5), (9, 1, 9)])
def test_few_images_have_a_map_or_none(images: int, width: int, places: int) -> None:
    assert plane(FEATURES[:images, :width], seed=0).shape == (places, 2)


def test_images_that_are_all_alike_lie_in_one_place_and_those_that_differ_in_one_feature_have_one() -> None:
    assert plane(np.ones((9, 4), np.float32), seed=0).tolist() == [[0.5, 0.5]] * 9
    assert np.isfinite(plane(np.stack([np.arange(9), np.ones(9)], axis=1).astype(np.float32), seed=0)).all()
