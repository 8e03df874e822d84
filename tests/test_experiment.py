"""The whole chain on drawn scenes: files, equal starts, an untouched test set, and two processes with equal bits."""

import csv
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from in4310repro import experiment, feature_maps, models
from in4310repro.data.images import decode
from in4310repro.data.splits import from_csv
from in4310repro.evaluation import data_root, read_scores
from in4310repro.numerics import Numerics
from in4310repro.presets import PRESETS, from_json
from in4310repro.progress import SILENT
from in4310repro.runs import Run
from in4310repro.training import Task
from tests.soak import differences

TINY = PRESETS["tiny"]


def test_a_run_folder_holds_the_files_of_the_contract(finished_run: Path) -> None:
    names = {file.relative_to(finished_run).as_posix() for file in finished_run.rglob("*") if file.is_file()}
    expected = {"config.json", "fingerprint.json", "split.csv", "scores.npz", "metrics.json", "features.json"}
    for setting in TINY.settings:
        files = ("history.json", "tensors.json", "best.safetensors")
        expected |= {f"{setting.name}/{name}" for name in files}
    assert names == expected | {"manifest.json"}


def test_what_ran_is_written_into_the_run(finished_run: Path) -> None:
    assert from_json(Run.open(finished_run).read_json("config.json")) == TINY


def test_every_image_is_in_one_part_and_scores_cover_the_test_part(finished_run: Path) -> None:
    run = Run.open(finished_run)
    found = from_csv(finished_run / "split.csv", data_root(TINY, None))
    listed = [entry.path for entries in found.parts.values() for entry in entries]
    assert len(listed) == len(set(listed)) == 48
    scores = read_scores(run)
    assert scores.paths == tuple(entry.path for entry in found.parts["test"])
    assert scores.softmax.dtype == np.float32
    np.testing.assert_allclose(scores.softmax.sum(axis=1), 1, atol=1e-6)


def test_the_metrics_are_those_of_the_saved_scores(finished_run: Path) -> None:
    metrics = Run.open(finished_run).read_json("metrics.json")
    scores = read_scores(Run.open(finished_run))
    predicted = scores.softmax.argmax(axis=1)
    by_hand = [float((predicted[scores.labels == label] == label).mean()) for label in range(6)]
    assert metrics["class_accuracy"] == by_hand
    assert metrics["mean_class_accuracy"] == pytest.approx(np.mean(by_hand), abs=1e-15)
    assert metrics["supports"]["test"] == dict.fromkeys(metrics["classes"], 2)


def test_the_selected_setting_has_the_best_validation_epoch(finished_run: Path) -> None:
    run = Run.open(finished_run)
    metrics = run.read_json("metrics.json")
    best = {
        setting.name: max(row["mean_class_accuracy"] for row in run.read_json(f"{setting.name}/history.json"))
        for setting in TINY.settings
    }
    assert best[metrics["setting"]] == max(best.values()) == metrics["validation_mean_class_accuracy"]


def test_all_settings_start_from_equal_weights_and_never_see_the_test_set(
    numerics: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts, loaded, seen = [], [], []

    def watched_fit(task: Task) -> list[object]:
        starts.append({name: value.clone() for name, value in task.model.state_dict().items()})
        loaded.append((task.training.name, task.validation.name))
        with (tmp_path / "run" / "split.csv").open() as lines:
            test = {row["sha256"] for row in csv.DictReader(lines) if row["part"] == "test"}
        seen.append(test & {*task.training.keys, *task.validation.keys})
        assert test
        with torch.no_grad():
            for parameter in task.model.parameters():
                parameter.zero_()
        if len(starts) == len(TINY.settings):
            raise RuntimeError("seen enough")
        return []

    monkeypatch.setattr(experiment, "fit", watched_fit)
    with pytest.raises(RuntimeError, match="seen enough"):
        experiment.train(TINY, numerics, tmp_path / "run")
    assert loaded == [("training", "validation")] * 3
    assert seen == [set()] * 3
    for start in starts[1:]:
        assert all(torch.equal(start[name], value) for name, value in starts[0].items())


def test_a_setting_trained_alone_ends_with_the_bits_that_it_has_beside_others(
    finished_run: Path, numerics: Numerics, tmp_path: Path
) -> None:
    alone = experiment.train(replace(TINY, settings=TINY.settings[2:]), numerics, tmp_path / "alone")
    name = TINY.settings[2].name
    assert alone.read_json(f"{name}/tensors.json") == Run.open(finished_run).read_json(f"{name}/tensors.json")


def test_features_are_those_of_the_selected_network_on_its_own_test_images(finished_run: Path) -> None:
    run = Run.open(finished_run)
    found = run.read_json("features.json")
    names = [images["name"] for images in found["sets"]]
    assert names == ["test", "scikit-learn photographs", "scikit-learn digits"]
    model = models.build("resnet18", 6, 0)
    model.load_state_dict(run.read_tensors(f"{run.read_json('metrics.json')['setting']}/best.safetensors"))
    maps: dict[str, list[torch.Tensor]] = {name: [] for name in TINY.modules}
    for name in TINY.modules:
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: maps[name].append(output.clone())
        )
    scores = read_scores(run)
    root = data_root(TINY, None)
    pixels = np.stack([decode(root / path, TINY.image_size) for path in scores.paths]).astype(np.float32)
    inputs = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        model.eval()(torch.from_numpy(inputs.astype(np.float32)).permute(0, 3, 1, 2))
    for name in TINY.modules:
        values = torch.cat(maps[name]).double().numpy()
        ours = found["sets"][0]["modules"][name]
        assert ours["non_positive"] == pytest.approx((values <= 0).mean(), abs=1e-4)
        covariance = np.cov(values.mean(axis=(2, 3)), rowvar=False, bias=True)
        # 1e-4 of the largest: the maps themselves are float32 sums in another order.
        oracle = np.linalg.eigvalsh(covariance)[::-1][:15]
        np.testing.assert_allclose(ours["eigenvalues"], oracle, rtol=0, atol=1e-4 * oracle[0])


def test_given_folders_take_the_place_of_the_embedded_sets(
    finished_run: Path, numerics: Numerics, tmp_path: Path, copied_scenes: object
) -> None:
    root = copied_scenes(tmp_path / "pictures")  # type: ignore[operator]
    config = replace(TINY, imagenet=str(root), cifar10=str(root), feature_images=5)
    run = Run(finished_run)
    names = [images.name for images in feature_maps.image_sets(run, config, None)]
    assert names == ["test", "ImageNet", "CIFAR-10"]
    assert [len(images) for images in feature_maps.image_sets(run, config, None)] == [5, 5, 5]
    assert numerics.device == "cpu"


def test_a_run_measured_again_on_its_test_set_gives_its_metrics(finished_run: Path, numerics: Numerics) -> None:
    run = Run.open(finished_run)
    again = experiment.evaluate(run, numerics, None, SILENT)
    for name in ("class_accuracy", "average_precision", "mean_class_accuracy", "mean_average_precision"):
        assert again[name] == run.read_json("metrics.json")[name]


def test_a_folder_of_other_classes_cannot_be_evaluated(finished_run: Path, numerics: Numerics, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "1.png")
    with pytest.raises(ValueError, match=r"has the classes \['cat', 'dog'\]; the network of"):
        experiment.evaluate(Run.open(finished_run), numerics, str(tmp_path), SILENT)


def test_two_fresh_processes_give_equal_bits(finished_run: Path, tmp_path: Path) -> None:
    # The finished run was made by a process of its own.
    command = [sys.executable, "-m", "in4310repro", "train", "--preset", "tiny", "--out", str(tmp_path / "again")]
    subprocess.run(command, check=True, capture_output=True, env=dict(os.environ))
    # Features were measured in one of them alone.
    assert differences(finished_run, tmp_path / "again") == ["manifest.json", "features.json is in one run only"]
