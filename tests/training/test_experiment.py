"""A whole run on drawn scenes: files, equal starts, an untouched test set, and equal bits in two processes."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from rich.console import Console

from benchmarks.soak import find_differing_files
from in4310repro import models
from in4310repro.data.reading import decode
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.runs.presets import PRESETS
from in4310repro.runs.selection import best_epoch
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.processes import Processes
from in4310repro.system.progress import Progress
from in4310repro.training import experiment
from in4310repro.training.training import Task
from tests.conftest import Replace
from tests.golden_cases import read_features

TINY = PRESETS["tiny"]
SMALL = replace(TINY, model="benchmarks.soak:small_network", modules=("0",))


def test_a_run_folder_holds_the_files_of_the_contract(finished_run: Path) -> None:
    names = {file.relative_to(finished_run).as_posix() for file in finished_run.rglob("*") if file.is_file()}
    expected = {
        "config.json",
        "fingerprint.json",
        "split.csv",
        "pixels.json",
        "scores.npz",
        "metrics.json",
        "features.json",
    }
    for setting in TINY.settings:
        files = ("history.json", "tensors.json", "best.safetensors")
        expected |= {f"{setting.name}/{name}" for name in files}
    assert names == expected | {"manifest.json"}


def test_what_ran_is_written_into_the_run(finished_run: Path) -> None:
    assert FinishedRun.open(finished_run).config == TINY


def test_a_training_from_python_refuses_what_an_optimizer_does_not_use(tmp_path: Path, numerics: Numerics) -> None:
    for setting, name in (
        (replace(TINY.settings[1], momentum=0.9), "momentum"),
        (OptimizerSetting(name="head", optimizer="L-BFGS", train="head", weight_decay=0.1), "weight_decay"),
    ):
        for number in (6, 7):
            config = replace(TINY, settings=(setting,), format=number)
            with pytest.raises(ValueError, match=f"setting {setting.name}: {name} is .* has none"):
                experiment.train(config, tmp_path / "run", context=Context(numerics))
    assert not (tmp_path / "run").exists()


def test_every_image_is_in_one_part_and_scores_cover_the_test_part(finished_run: Path) -> None:
    run = FinishedRun.open(finished_run)
    split = run.split_below(None)
    listed = [entry.path for entries in split.parts.values() for entry in entries]
    assert len(listed) == len(set(listed)) == 48
    scores = run.scores
    assert scores.paths == tuple(entry.path for entry in split.parts["test"])
    assert scores.softmax.dtype == np.float32
    np.testing.assert_allclose(scores.softmax.sum(axis=1), 1, atol=1e-6)


def test_the_metrics_are_those_of_the_saved_scores(finished_run: Path) -> None:
    run = FinishedRun.open(finished_run)
    metrics, scores = run.metrics, run.scores
    predicted = scores.softmax.argmax(axis=1)
    by_hand = [float((predicted[scores.labels == label] == label).mean()) for label in range(6)]
    assert metrics["class_accuracy"] == by_hand
    assert metrics["mean_class_accuracy"] == pytest.approx(np.mean(by_hand), abs=1e-15)
    assert metrics["supports"]["test"] == dict.fromkeys(metrics["classes"], 2)


def test_the_selected_setting_has_the_best_validation_epoch(finished_run: Path) -> None:
    run = FinishedRun.open(finished_run)
    best = {name: max(row["mean_class_accuracy"] for row in rows) for name, rows in run.histories.items()}
    assert best[run.metrics["setting"]] == max(best.values()) == run.metrics["validation_mean_class_accuracy"]
    assert best_epoch(run.histories[run.metrics["setting"]], run.config.select)["epoch"] == run.metrics["epoch"]


def test_all_settings_start_from_equal_weights_and_never_see_the_test_set(
    numerics: Numerics, tmp_path: Path, replace_fit: Replace
) -> None:
    starts, loaded, read_in_training = [], [], []

    def watched_fit(task: Task) -> list[object]:
        starts.append({name: value.clone() for name, value in task.model.state_dict().items()})
        loaded.append((task.training.name, task.validation.name))
        with (tmp_path / "run" / "split.csv").open() as lines:
            test = {row["sha256"] for row in csv.DictReader(lines) if row["part"] == "test"}
        read_in_training.append(test & {*task.training.keys, *task.validation.keys})
        assert test
        with torch.no_grad():
            for parameter in task.model.parameters():
                parameter.zero_()
        if len(starts) == len(TINY.settings):
            raise RuntimeError("seen enough")
        return []

    replace_fit(watched_fit)
    with pytest.raises(RuntimeError, match="seen enough"):
        experiment.train(TINY, tmp_path / "run", context=Context(numerics))
    assert loaded == [("training", "validation")] * 3
    assert read_in_training == [set()] * 3
    for start in starts[1:]:
        assert all(torch.equal(start[name], value) for name, value in starts[0].items())


@pytest.mark.parametrize(
    "name",
    ["configuration", "split of images", "set of decoded pixels", "set of initial weights", "numeric class"],
)
def test_the_process_whose_inputs_differ_is_named_with_what_differs(
    name: str, numerics: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gather(_self: Processes, data: bytes) -> list[bytes]:
        return [data] * 8 + [json.dumps(json.loads(data) | {name: "another"}).encode()]

    monkeypatch.setattr(Processes, "gather", gather)
    monkeypatch.setattr(Processes, "broadcast", lambda _self, data: data)
    # More processes than the 8 images of a batch, which portable arithmetic allows.
    with pytest.raises(ValueError, match=f"^process 8 has another {name} than process 0; all need the same"):
        experiment.train(SMALL, tmp_path / "run", context=Context(numerics, processes=Processes(0, 9)))
    assert not (tmp_path / "run").exists()


def test_another_process_trains_the_setting_that_the_first_one_names(
    numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"orientation": SMALL.orientation, "format": SMALL.format, "class_folders": SMALL.class_folders}
    said, follow = iter([[options, None], "sgd"]), Mock(side_effect=EOFError)
    monkeypatch.setattr(Processes, "broadcast_json", lambda _self, _value=None: next(said))
    monkeypatch.setattr(Processes, "gather", lambda _self, data: [data, data])
    monkeypatch.setattr("in4310repro.training.training.follow", follow)
    with pytest.raises(EOFError):
        experiment.follow(SMALL, Context(numerics, processes=Processes(1, 2)))
    inputs = follow.call_args.args[0]
    assert (inputs.setting.name, inputs.config.settings) == ("sgd", SMALL.settings)


def test_progress_says_which_setting_is_trained_and_the_time_left_of_its_epoch_and_of_all(
    numerics: Numerics, tmp_path: Path
) -> None:
    shown = io.StringIO()
    progress = Progress(Console(file=shown, width=200))
    experiment.train(replace(SMALL, epochs=1), tmp_path / "run", context=Context(numerics, progress))
    for number, setting in enumerate(SMALL.settings, start=1):
        line = rf"setting {number} of 3, {setting.name}, epoch 1 of 1: 24/24, epoch \d+ s, all .+ left, loss"
        assert re.search(line, shown.getvalue())


def test_features_are_those_of_the_selected_network_on_its_own_test_images(finished_run: Path) -> None:
    run = FinishedRun.open(finished_run)
    sets = read_features(run)["sets"]
    names = [images["name"] for images in sets]
    assert names == ["test", "scikit-learn photographs", "scikit-learn digits"]
    model = models.build("resnet18", 6, 0)
    model.load_state_dict(run.files.read_tensors(f"{run.metrics['setting']}/best.safetensors"))
    maps: dict[str, list[torch.Tensor]] = {name: [] for name in TINY.modules}
    for name in TINY.modules:
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: maps[name].append(output.clone())
        )
    root = image_root(TINY, None)
    pixels = np.stack([decode(root / path, TINY.image_size) for path in run.scores.paths]).astype(np.float32)
    inputs = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        model.eval()(torch.from_numpy(inputs.astype(np.float32)).permute(0, 3, 1, 2))
    for name in TINY.modules:
        values = torch.cat(maps[name]).double().numpy()
        ours = sets[0]["modules"][name]
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
    sets = of_run.image_sets(FinishedRun.open(finished_run), config, None)
    assert [images.name for images in sets] == ["test", "ImageNet", "CIFAR-10"]
    assert [len(images) for images in sets] == [5, 5, 5]
    assert numerics.device == "cpu"


def test_a_setting_trained_alone_in_a_fresh_process_ends_with_the_bits_that_it_has_beside_others(
    finished_run: Path, tmp_path: Path
) -> None:
    # The finished run was made by a process of its own. All but one of its files are about its selected setting alone.
    setting = FinishedRun.open(finished_run).metrics["setting"]
    (selected,) = (each for each in TINY.settings if each.name == setting)
    command = [sys.executable, "-m", "tests.narrow", "train", "--preset", "tiny", "--optimizer", selected.optimizer]
    subprocess.run([*command, "--out", str(tmp_path / "again")], check=True, capture_output=True, env=dict(os.environ))
    others = [
        f"{each.name}/{file}"
        for each in TINY.settings
        if each != selected
        for file in ("best.safetensors", "history.json", "tensors.json")
    ]
    # Features were measured in one of them alone.
    assert set(find_differing_files(finished_run, tmp_path / "again")) == {
        "manifest.json",
        "config.json",
        *(f"{name} is in one run only" for name in ("features.json", *others)),
    }
