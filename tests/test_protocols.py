"""Departures from the assignment: each does what it says, is off by default, and is never unlabelled."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score

from in4310repro import experiment, feature_maps, models
from in4310repro.data.images import batches, load
from in4310repro.data.splits import from_csv
from in4310repro.evaluation import data_root, predict, verify
from in4310repro.numerics import Numerics
from in4310repro.presets import PRESETS, Config, configure
from in4310repro.protocols import CORRECTED, MEANING, PUBLISHED, Switch, counted_images, label, switches
from in4310repro.report import figures, page
from in4310repro.runs import Run
from in4310repro.training import Task, fit
from tests.soak import differences

TINY = PRESETS["tiny"]


def departing(*on: Switch) -> Config:
    return replace(TINY, protocol=",".join(on))


def test_every_preset_is_corrected_and_corrected_has_no_departure() -> None:
    assert {config.protocol for config in PRESETS.values()} == {CORRECTED}
    assert (switches(CORRECTED), label(CORRECTED)) == (frozenset(), "")


def test_published_is_every_departure_and_each_has_a_name_and_a_label() -> None:
    assert switches(PUBLISHED) == frozenset(Switch) == frozenset(MEANING)
    assert switches("one-set, train-mode") == {Switch.ONE_SET, Switch.TRAIN_MODE}
    for switch in Switch:
        assert MEANING[switch] in label(switch)
    assert label(",".join(Switch)) == label(PUBLISHED)


@pytest.mark.parametrize("wrong", ["", "publish", "one-set,", "one_set"])
def test_an_unknown_protocol_is_refused_with_the_valid_ones(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"no protocol|a value is needed") as caught:
        configure("tiny", None, {"protocol": wrong})
    assert not wrong or "valid are corrected, published, one-set" in str(caught.value)


@pytest.fixture(scope="module")
def published(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole tiny run with every departure, features included."""
    config = replace(TINY, protocol=PUBLISHED)
    run = experiment.train(config, numerics, tmp_path_factory.mktemp("published") / "run")
    feature_maps.measure(run, config, numerics)
    return run


def test_the_images_that_were_never_read_are_measured_apart(published: Run) -> None:
    metrics = published.read_json("metrics.json")
    assert metrics["unseen"]["images"] == 36
    # Training and selection read the test part: its supports are those of the validation rows too.
    assert metrics["supports"]["test"] == dict.fromkeys(metrics["classes"], 2)


def test_a_published_run_is_predicted_again_to_the_bit(published: Run, numerics: Numerics) -> None:
    assert verify(published, numerics) == []


def test_everything_drawn_and_printed_carries_the_label(
    published: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles = []
    draw = figures.draw

    def watched(number: int, numbers: Mapping[str, Any], root: Path) -> Figure:
        figure = draw(number, numbers, root)
        titles.append(figure.get_suptitle())
        return figure

    monkeypatch.setattr(figures, "draw", watched)
    page.write(published, tmp_path)
    assert titles == [label(PUBLISHED)] * 11
    for name in ("report.md", "index.html"):
        assert label(PUBLISHED) in (tmp_path / name).read_text()
    assert "took no part in training" not in (tmp_path / "report.md").read_text()
    for number in range(1, 12):
        assert json.loads((tmp_path / f"figure{number:02d}.json").read_text())["label"] == label(PUBLISHED)


def starts(config: Config, numerics: Numerics, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """What each setting is given; a setting leaves its number in every weight."""
    tasks: list[Task] = []

    def watched(task: Task) -> list[object]:
        tasks.append(replace(task, model=copy.deepcopy(task.model)))
        with torch.no_grad():
            for parameter in task.model.parameters():
                parameter.fill_(len(tasks))
        if len(tasks) == 3:
            raise RuntimeError("seen enough")
        return []

    monkeypatch.setattr(experiment, "fit", watched)
    monkeypatch.setattr(experiment, "_finished", lambda *_: [])
    with pytest.raises(RuntimeError, match="seen enough"):
        experiment.train(config, numerics, folder)
    return tasks


def test_without_a_fresh_start_a_setting_begins_with_what_the_one_before_left(
    numerics: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = starts(departing(Switch.NO_FRESH_START), numerics, tmp_path / "run", monkeypatch)
    assert not any(bool((value == 1).all()) for value in first.model.conv1.parameters())  # type: ignore[union-attr]
    for number, task in ((1, second), (2, third)):
        assert all(bool((value == number).all()) for value in task.model.parameters())


def test_with_one_set_the_loaders_read_the_test_part(
    numerics: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for task in starts(departing(Switch.ONE_SET), numerics, tmp_path / "run", monkeypatch):
        assert task.training.paths == task.validation.paths
        parts = from_csv(tmp_path / "run" / "split.csv", data_root(TINY, None)).parts
        assert task.training.paths == tuple(entry.path for entry in parts["test"])


def test_a_run_without_fresh_starts_resumes_to_the_same_bits(
    numerics: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(departing(Switch.NO_FRESH_START), settings=TINY.settings[:2], epochs=1, split="16/12/20")
    experiment.train(config, numerics, tmp_path / "whole")

    def cut(task: Task) -> object:
        if task.setting == config.settings[1]:
            raise KeyboardInterrupt
        return fit(task)

    monkeypatch.setattr(experiment, "fit", cut)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(config, numerics, tmp_path / "cut")
    monkeypatch.setattr(experiment, "fit", fit)
    experiment.train(config, numerics, tmp_path / "cut", resume=True)
    assert differences(tmp_path / "whole", tmp_path / "cut") == []


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return models.build("resnet18", 6, seed=0)


@pytest.fixture
def test_images(finished_run: Path) -> Callable[[], object]:
    root = data_root(TINY, None)
    entries = from_csv(finished_run / "split.csv", root).parts["test"]
    return lambda: load("test", root, entries, TINY.image_size)


def test_flips_in_evaluation_are_a_function_of_seed_epoch_and_image(
    network: torch.nn.Module, test_images: Callable[[], object]
) -> None:
    images, config = test_images(), departing(Switch.FLIPPED_EVALUATION)
    plain = predict(network, images, TINY).softmax  # type: ignore[arg-type]
    first, again, later = (predict(network, images, config, epoch=epoch).softmax for epoch in (1, 1, 2))  # type: ignore[arg-type]
    assert np.array_equal(first, again)
    moved = (first != plain).any(axis=1)
    assert 0 < moved.sum() < len(moved)
    assert not np.array_equal(first, later)
    (batch,) = batches(images, 12, [True] * 12)  # type: ignore[arg-type]
    (straight,) = batches(images, 12)  # type: ignore[arg-type]
    assert torch.equal(batch.images, straight.images.flip(3))


def test_average_precision_of_logits_is_sklearns_of_logits(
    network: torch.nn.Module, test_images: Callable[[], object]
) -> None:
    scores = predict(network, test_images(), TINY)  # type: ignore[arg-type]
    assert scores.logits is not None
    oracle = [average_precision_score(scores.labels == c, scores.logits[:, c]) for c in range(6)]
    departed = scores.metrics(Switch.LOGIT_PRECISION)
    np.testing.assert_allclose(departed["average_precision"], oracle, atol=1e-12)
    assert departed["class_accuracy"] == scores.metrics()["class_accuracy"]
    assert departed["average_precision"] != scores.metrics()["average_precision"]


def shares(found: dict[str, object]) -> list[float]:
    return [module["non_positive"] for module in found["sets"][0]["modules"].values()]  # type: ignore[index]


def spectra(found: dict[str, object], position: int) -> list[list[float]]:
    return [module["eigenvalues"] for module in found["sets"][position]["modules"].values()]  # type: ignore[index]


def test_shares_of_whole_batches_are_those_of_200_divided_by_208(finished_run: Path, numerics: Numerics) -> None:
    assert counted_images(200) == 208
    run = Run.open(finished_run)
    corrected = feature_maps.statistics(run, TINY, numerics)
    departed = feature_maps.statistics(run, departing(Switch.WHOLE_BATCHES), numerics)
    # 12 images are one batch of 16.
    np.testing.assert_allclose(shares(departed), np.array(shares(corrected)) * 12 / 16, rtol=1e-14)
    assert spectra(departed, 2) == spectra(corrected, 2)


def test_train_mode_normalises_by_the_batch_and_changes_the_spectra_alone(
    finished_run: Path, numerics: Numerics, network: torch.nn.Module
) -> None:
    inputs = torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        expected = copy.deepcopy(network).train()(inputs)
        assert torch.equal(feature_maps.in_train_mode(network).eval()(inputs), expected)
        assert not torch.equal(network.eval()(inputs), expected)
    run = Run.open(finished_run)
    corrected = feature_maps.statistics(run, TINY, numerics)
    departed = feature_maps.statistics(run, departing(Switch.TRAIN_MODE), numerics)
    assert shares(departed) == shares(corrected)
    # conv1 stands before the first batch norm.
    assert spectra(departed, 0)[0] == spectra(corrected, 0)[0]
    assert spectra(departed, 0)[1] != spectra(corrected, 0)[1]


def test_a_kept_accumulator_pools_the_sets_before(finished_run: Path, numerics: Numerics) -> None:
    run = Run.open(finished_run)
    departed = feature_maps.statistics(run, departing(Switch.KEPT_ACCUMULATOR), numerics)
    corrected = feature_maps.statistics(run, TINY, numerics)
    assert spectra(departed, 0) == spectra(corrected, 0)
    assert shares(departed) == shares(corrected)
    sets = feature_maps.image_sets(run, TINY, None)
    model = models.build("resnet18", 6, 0)
    model.load_state_dict(run.read_tensors(f"{run.read_json('metrics.json')['setting']}/best.safetensors"))
    means = []
    with torch.no_grad():
        for images in sets:
            (batch,) = batches(images, len(images))
            means.append(model.conv1(batch.images).double().mean(dim=(2, 3)).numpy())  # type: ignore[operator]
    for position in (1, 2):
        pooled = np.concatenate(means[: position + 1])
        oracle = np.linalg.eigvalsh(np.cov(pooled.T, bias=True))[::-1][:15]
        np.testing.assert_allclose(spectra(departed, position)[0], oracle, rtol=0, atol=1e-5 * oracle[0])
        assert departed["sets"][position]["pooled_images"] == len(pooled)
