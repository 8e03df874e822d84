"""The table of five depths agrees with its numbers, and the smallest and the largest pass through all commands."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, recall_score

from in4310repro.models.sources import RESNETS
from in4310repro.runs.deviations import parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import read_json
from studies import depths
from tests.conftest import Call

ROWS = read_json(depths.NUMBERS)["rows"]


def by_map(run: Path) -> FinishedRun:
    """Return a run as if it had selected by mAP."""
    opened = FinishedRun.open(run)
    return replace(opened, config=replace(opened.config, select="mean_average_precision"))


def test_the_table_on_the_page_is_what_its_file_gives() -> None:
    text = depths.PAGE.read_text(encoding="utf-8")
    assert depths.with_table(text, ROWS) == text
    assert depths.with_table(text.replace("| resnet34 |", "| resnet35 |"), ROWS) == text


def test_the_five_depths_have_a_row_on_drawn_scenes_of_one_numeric_class_and_size() -> None:
    drawn = [row for row in ROWS if row["images"] == "drawn scenes"]
    assert [row["model"] for row in drawn] == list(RESNETS)
    assert len({(row["numeric_class"], row["image_size"], row["epochs"], row["seed"]) for row in drawn}) == 1
    assert all("--select mean_average_precision" in row["options"] for row in ROWS)


def test_a_row_has_the_values_that_scikit_learn_gives_the_scores_of_its_run(finished_run: Path) -> None:
    run = by_map(finished_run)
    row = depths.row_of(run)
    labels, softmax = run.scores.labels, run.scores.softmax
    precision = np.mean([average_precision_score(labels == each, softmax[:, each]) for each in range(6)])
    recall = recall_score(labels, softmax.argmax(axis=1), average="macro")
    assert row["mean_average_precision"]["value"] == pytest.approx(precision, abs=1e-12)
    assert row["mean_class_accuracy"]["value"] == pytest.approx(recall, abs=1e-12)
    for name in depths.SHOWN:
        low, high = row[name]["interval"]
        assert low <= row[name]["value"] <= high


def test_a_new_run_replaces_its_row_alone_and_photographs_come_after_drawn_scenes(finished_run: Path) -> None:
    row = depths.row_of(by_map(finished_run))
    photographs = row | {"images": "photographs"}
    rows = depths.merge([row, row | {"model": "resnet152"}], [photographs, row | {"epochs": 7}])
    assert [(each["images"], each["model"], each["epochs"]) for each in rows] == [
        ("drawn scenes", "resnet18", 7),
        ("drawn scenes", "resnet152", row["epochs"]),
        ("photographs", "resnet18", row["epochs"]),
    ]


@pytest.mark.parametrize("change", [{"select": "accuracy"}, {"protocol": parse("test-loss-each-epoch")}])
def test_a_run_by_another_rule_is_refused(change: dict[str, object], finished_run: Path) -> None:
    run = by_map(finished_run)
    changed = replace(run, config=replace(run.config, **change))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mean_average_precision is needed"):
        depths.row_of(changed)
    with pytest.raises(ValueError, match=r"has the network alexnet; resnet18, .*resnet152 are valid"):
        depths.row_of(replace(run, config=replace(run.config, model="alexnet")))


@pytest.mark.parametrize(
    "model",
    [
        pytest.param("resnet18", marks=pytest.mark.slow),
        pytest.param("resnet152", marks=[pytest.mark.soak, pytest.mark.long(120)]),
    ],
)
def test_a_network_of_this_depth_is_trained_reported_drawn_and_verified(model: str, call: Call, tmp_path: Path) -> None:
    size = "--scenes 12 --split 42/12/18 --image-size 64 --epochs 1 --batch-size 8"
    options = f"--model {model} --select mean_average_precision --protocol test-loss-each-epoch {size} --out runs/one"
    for words in (
        ("train", *options.split()),
        ("report", "runs/one"),
        ("verify", "runs/one"),
        ("features", "runs/one", "--pictures", "maps", "--images", "1"),
    ):
        assert call(*words)[0] == 0, words
    run = FinishedRun.open(tmp_path / "runs/one")
    best = {name: max(row["mean_average_precision"] for row in rows) for name, rows in run.histories.items()}
    assert best[run.metrics["setting"]] == max(best.values())
    assert (tmp_path / "reports/one/index.html").is_file()
    pictures = json.loads((tmp_path / "maps/pictures.json").read_text())["pictures"]
    assert [row["module"] for row in pictures] == list(run.config.modules)
