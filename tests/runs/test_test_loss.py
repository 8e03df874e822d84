"""The deviation test-loss-each-epoch: what it records, that it changes nothing else, and who checks it."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from in4310repro.data.images import normalize
from in4310repro.data.reading import decode
from in4310repro.report.page import exhibits, write
from in4310repro.runs import record_types
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS, configure
from in4310repro.runs.selection import select
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.training import experiment
from in4310repro.training.training import Epochs
from in4310repro.verification.replay import plan_replays, replay
from in4310repro.verification.routine import verify

NAME = "test-loss-each-epoch"
CONFIG = replace(PRESETS["tiny"], protocol=parse(NAME))
# Beside which each run here is laid, of an equal network.
pytestmark = pytest.mark.usefixtures("finished_run")
LABEL = "DEVIATION: the test set is scored after every epoch"


@pytest.fixture(scope="module")
def run(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Return the tiny run with the deviation; its epochs are kept."""
    return experiment.train(
        CONFIG, tmp_path_factory.mktemp("test loss") / "run", keep_epochs=True, context=Context(numerics)
    )


@pytest.fixture
def copied(run: FinishedRun, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.folder, tmp_path / "run"))


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def rows_of(folder: Path, setting: str, *leave_out: str) -> list[dict[str, Any]]:
    rows = read(folder, f"{setting}/history.json")
    return [{key: value for key, value in row.items() if key not in leave_out} for row in rows]


def rewrite(folder: Path, setting: str, rows: list[dict[str, Any]]) -> None:
    """Replace a history, and make the manifest fit."""
    RunFolder(folder).write_json(f"{setting}/history.json", rows)


def test_every_epoch_has_a_test_loss_and_all_else_is_to_the_bit_as_without(
    run: FinishedRun, finished_run: Path
) -> None:
    for setting in ("adamw", "rmsprop", "sgd"):
        with_it = rows_of(run.folder, setting, "images_per_second")
        assert all(0 < row.pop("test_loss") < 100 for row in with_it)
        assert with_it == rows_of(finished_run, setting, "images_per_second")
        for name in ("best.safetensors", "tensors.json"):
            assert (run.folder / setting / name).read_bytes() == (finished_run / setting / name).read_bytes()
    for name in ("metrics.json", "scores.npz", "split.csv", "pixels.json"):
        assert (run.folder / name).read_bytes() == (finished_run / name).read_bytes()


def test_only_the_protocol_is_another_in_the_configuration_of_the_same_format(
    run: FinishedRun, finished_run: Path
) -> None:
    ours, corrected = read(run.folder, "config.json"), read(finished_run, "config.json")
    assert ours | {"protocol": []} == corrected
    assert (ours["protocol"], ours["format"]) == ([NAME], 7)


def test_the_loss_is_the_mean_cross_entropy_of_the_test_images_and_not_of_others(run: FinishedRun) -> None:
    def loss_by_torch(part: str) -> float:
        entries = run.split.parts[part]
        pixels = np.stack([decode(run.split_below(None).root / each.path, 32) for each in entries])
        with torch.no_grad():
            logits = run.selected_network().eval()(normalize(pixels))
        return float(cross_entropy(logits.double(), torch.tensor([each.label for each in entries])))

    row = run.histories[run.metrics["setting"]][run.metrics["epoch"] - 1]
    # Twelve images, in another arithmetic.
    assert row["test_loss"] == pytest.approx(loss_by_torch("test"), rel=1e-4)
    assert row["test_loss"] == run.metrics["loss"]
    assert row["test_loss"] != pytest.approx(loss_by_torch("validation"), rel=1e-3)


def test_nothing_can_be_selected_by_it(run: FinishedRun) -> None:
    with pytest.raises(ValueError, match="select is 'test_loss'; it must be one of"):
        configure("tiny", None, {"select": "test_loss"})
    reversed_losses = {
        name: [row | {"test_loss": 1 / (1 + row["test_loss"])} for row in rows] for name, rows in run.histories.items()
    }
    selected = select(run.histories, "mean_class_accuracy")
    again = select(reversed_losses, "mean_class_accuracy")
    assert (again[0], again[1]["epoch"]) == (selected[0], selected[1]["epoch"])


def test_the_run_is_verified_to_the_bit_and_what_stays_a_claim_is_said(run: FinishedRun, numerics: Numerics) -> None:
    verified = verify(run.folder, context=Context(numerics))
    assert (verified.differences, verified.bitwise) == ([], True)
    assert "the test loss of each setting's best epoch" in verified.computed_again
    assert any("test losses of epochs other than each setting's best" in f"{claim}" for claim in verified.claimed)


def test_a_run_without_it_says_nothing_of_test_losses(finished_run: Path, numerics: Numerics) -> None:
    verified = verify(finished_run, context=Context(numerics))
    assert "test loss" not in f"{verified.computed_again} {verified.claimed}"


@pytest.mark.parametrize("setting", ["adamw", "rmsprop", "sgd"])
def test_another_test_loss_of_a_best_epoch_is_found_in_each_setting(
    setting: str, copied: Path, numerics: Numerics
) -> None:
    rows = rows_of(copied, setting)
    for row in rows:
        row["test_loss"] *= 0.5
    rewrite(copied, setting, rows)
    (difference,) = verify(copied, context=Context(numerics)).differences
    assert f"{setting}/history.json: epoch" in difference
    assert "test_loss is" in difference


def test_another_test_loss_of_another_epoch_is_found_by_replay_alone(copied: Path, numerics: Numerics) -> None:
    metrics = read(copied, "metrics.json")
    setting, other = metrics["setting"], 3 - metrics["epoch"]
    rows = rows_of(copied, setting)
    rows[other - 1]["test_loss"] = 0.01
    rewrite(copied, setting, rows)
    assert verify(copied, context=Context(numerics)).differences == []
    tampered = FinishedRun.open(copied)
    (difference,) = replay(tampered, plan_replays(tampered, 0, 0, numerics)[0], Context(numerics)).differences
    assert f"{setting}, epoch {other}, trained again: test_loss is 0.01" in difference


@pytest.mark.parametrize("with_deviation", [True, False], ids=["with", "without"])
def test_a_row_that_lacks_it_or_has_it_without_the_deviation_is_refused(
    with_deviation: bool, copied: Path, own_records: Path
) -> None:
    folder = copied if with_deviation else own_records
    rows = rows_of(folder, "sgd", "test_loss")
    if not with_deviation:
        rows[0]["test_loss"] = 1.0
    rewrite(folder, "sgd", rows)
    found, needed = ("absent", "needed") if with_deviation else ("there", "absent")
    sentence = f"epoch 1: test_loss is {found}; by protocol of config.json it is {needed}"
    with pytest.raises(ValueError, match=sentence):
        FinishedRun.open(folder)


def test_a_test_loss_that_is_not_finite_ends_the_training_as_a_validation_loss_does(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch, numerics: Numerics, tmp_path: Path
) -> None:
    predicted: list[str] = []

    def broken(_model: object, images: Any, *_rest: object, **_options: object) -> object:
        predicted.append(images.name)
        return replace(run.scores, loss=float("nan") if images.name == "test" else 1.0)

    monkeypatch.setattr("in4310repro.training.training.predict", broken)
    with pytest.raises(ValueError, match="epoch 1 of 1: the test loss is nan"):
        experiment.train(replace(CONFIG, epochs=1), tmp_path / "run", context=Context(numerics))
    assert predicted == ["validation", "test"]


def test_a_fit_of_the_head_has_no_epochs_and_is_refused() -> None:
    with pytest.raises(ValueError, match=f"the fit of a head cannot have {NAME}; train all can"):
        configure("tiny", None, {"train": "head", "protocol": NAME})


def test_figure_5_has_a_third_curve_that_says_what_it_is(run: FinishedRun, finished_run: Path, tmp_path: Path) -> None:
    corrected = FinishedRun.open(finished_run)
    # The feature maps are those of the same weights.
    measured = replace(run, features=corrected.features)
    for each, more in ((measured, ["test"]), (corrected, [])):
        (loss,) = (exhibit for exhibit in exhibits(each) if exhibit.number == 5)
        assert [*loss.table.heading] == ["epoch", "training", "validation", *more]
        assert ("The test loss after each epoch is a deviation" in f"{loss.caption[0]}") == bool(more)
    write(measured, tmp_path)
    for name in ("index.html", "report.md", "figure05.svg", "figure05.json"):
        # A long label is broken into lines.
        text = re.sub(r"</text>\s*<text[^>]*>", " ", (tmp_path / name).read_text(encoding="utf-8"))
        assert LABEL in text
    rows = run.histories[run.metrics["setting"]]
    assert read(tmp_path, "figure05.json")["test_loss"] == [row["test_loss"] for row in rows]


@pytest.mark.slow
def test_an_interrupted_training_is_resumed_to_the_same_bytes(
    run: FinishedRun, numerics: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch_of, validations = Epochs.train, iter(range(10))

    def cut(self: Epochs, after_step: Any) -> Any:
        if next(validations) == 1:
            raise KeyboardInterrupt
        return epoch_of(self, after_step)

    monkeypatch.setattr(Epochs, "train", cut)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(CONFIG, tmp_path / "run", context=Context(numerics))
    monkeypatch.setattr(Epochs, "train", epoch_of)
    resumed = experiment.train(CONFIG, tmp_path / "run", resume=True, context=Context(numerics))
    for setting in run.histories:
        assert rows_of(resumed.folder, setting, record_types.SPEED) == rows_of(run.folder, setting, record_types.SPEED)
