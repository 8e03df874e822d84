"""Metrics and labels that a run's network gives for its test set, for folders and for files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from in4310repro.evaluation.evaluation import evaluate, label, to_text
from in4310repro.metrics import class_metrics
from in4310repro.runs.deviations import CORRECTED_PROTOCOL, parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from tests.conftest import Call, refused


def test_a_run_measured_again_on_its_test_set_gives_its_metrics(finished_run: Path, numerics: Numerics) -> None:
    run = FinishedRun.open(finished_run)
    assert class_metrics(evaluate(run, Context(numerics))[0]) == class_metrics(run.metrics)


def test_a_folder_of_other_classes_cannot_be_evaluated(finished_run: Path, numerics: Numerics, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "1.png")
    with pytest.raises(ValueError, match=r"has the classes \['cat', 'dog'\], which the network of"):
        evaluate(FinishedRun.open(finished_run), Context(numerics), str(tmp_path))


def test_weights_with_one_changed_bit_are_not_measured(own_run: Path, numerics: Numerics) -> None:
    run = FinishedRun.open(own_run)
    file = own_run / run.metrics["setting"] / "best.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"best\.safetensors holds other weights than the test set was scored with"):
        evaluate(run, Context(numerics))


def test_a_protocol_of_logits_is_that_of_the_measurement_and_else_of_the_run(
    finished_run: Path, numerics: Numerics
) -> None:
    run = FinishedRun.open(finished_run)
    for protocol, by_logits in ((parse("ap-from-logits"), True), (CORRECTED_PROTOCOL, False), (None, False)):
        evaluated, scores = evaluate(run, Context(numerics), protocol=protocol)
        assert class_metrics(evaluated) == scores.metrics(by_logits=by_logits)
    assert scores.metrics(by_logits=True) != scores.metrics()


def test_a_folder_of_the_test_images_gives_the_metrics_of_the_test_set(
    finished_run: Path, numerics: Numerics, copied_scenes: Callable[[Path], Path], tmp_path: Path
) -> None:
    run, scenes, own = FinishedRun.open(finished_run), copied_scenes(tmp_path / "scenes"), tmp_path / "own"
    for entry in run.split.parts["test"]:
        (own / entry.path).parent.mkdir(parents=True, exist_ok=True)
        (scenes / entry.path).rename(own / entry.path)
    evaluated, _ = evaluate(run, Context(numerics), str(own))
    assert class_metrics(evaluated) == class_metrics(run.metrics)
    assert evaluated["images"] == len(run.split.parts["test"])
    assert (Path(evaluated["data"]).name, evaluate(run, Context(numerics))[0]["data"]) == ("own", "test set")


def test_a_folder_of_some_classes_is_measured_on_those(
    finished_run: Path, numerics: Numerics, copied_scenes: Callable[[Path], Path], call: Call, tmp_path: Path
) -> None:
    run, scenes, own = FinishedRun.open(finished_run), copied_scenes(tmp_path / "scenes"), tmp_path / "own"
    chosen = [run.classes[label] for label in (1, 4)]
    for entry in run.split.parts["test"]:
        if run.classes[entry.label] in chosen:
            (own / entry.path).parent.mkdir(parents=True, exist_ok=True)
            (scenes / entry.path).rename(own / entry.path)
    evaluated, scores = evaluate(run, Context(numerics), str(own))
    assert (evaluated["classes"], evaluated["all_classes"]) == (chosen, run.classes)
    assert evaluated["class_accuracy"] == [run.metrics["class_accuracy"][label] for label in (1, 4)]
    mean = sum(evaluated["class_accuracy"]) / 2
    assert (evaluated["mean_class_accuracy"], len(evaluated["average_precision"])) == (mean, 2)
    rows = [sum(row) for row in evaluated["confusion_matrix"]]
    assert [rows[1], rows[4], sum(rows)] == [2, 2, 4] == [*np.bincount(scores.labels)[[1, 4]], len(scores.labels)]
    out = tmp_path / "each.csv"
    assert call("evaluate", str(run.folder), "--data", str(own), "--out", str(out))[0] == 0
    header, *listed = list(csv.reader(out.read_text(encoding="utf-8").splitlines()))
    assert header == ["path", "class", "predicted", *run.classes]
    assert [row[1] for row in listed] == [run.classes[label] for label in scores.labels]
    assert [row[2] for row in listed] == [run.classes[label] for label in scores.softmax.argmax(axis=1)]
    assert np.array_equal(np.array([row[3:] for row in listed], np.float32), scores.softmax)


def test_images_beyond_the_memory_are_refused_before_anything_is_loaded(finished_run: Path, numerics: Numerics) -> None:
    run = FinishedRun.open(finished_run)
    run = replace(run, config=replace(run.config, evaluation_batch_size=2**40))
    with pytest.raises(
        ValueError, match=rf"^evaluation_batch_size {2**40} at image_size {run.config.image_size} takes"
    ):
        evaluate(run, Context(numerics), "no such folder")


def test_a_summary_has_a_row_for_each_class_with_images(finished_run: Path, numerics: Numerics) -> None:
    measured, _ = evaluate(FinishedRun.open(finished_run), Context(numerics))
    made_up: Any = {**measured} | {
        "setting": "sgd",
        "data": "other",
        "images": 13,
        "classes": ["bay", "evergreen"],
        "all_classes": ["bay", "dune", "evergreen"],
        "confusion_matrix": [[2, 0, 1], [0, 0, 0], [0, 0, 10]],
        "class_accuracy": [2 / 3, 1.0],
        "average_precision": [0.75, 0.96875],
        "precision": [1.0, None, 10 / 11],
        "f1": [0.8, None, None],
        "accuracy": 12 / 13,
        "mean_class_accuracy": 5 / 6,
        "mean_average_precision": 0.859375,
        "macro_f1": 0.625,
        "loss": 0.25,
        "expected_calibration_error": 0.125,
    }
    assert to_text(made_up).splitlines() == [
        "other: 13 images, network of setting sgd",
        "mean class accuracy 0.8333, mAP 0.8594, macro F1 0.6250, accuracy 0.9231, "
        "loss 0.2500, expected calibration error 0.1250",
        "class      images  accuracy  precision      F1      AP",
        "bay             3    0.6667     1.0000  0.8000  0.7500",
        "evergreen      10    1.0000     0.9091       -  0.9688",
    ]


@pytest.fixture(scope="module")
def run(finished_run: Path) -> FinishedRun:
    return FinishedRun.open(finished_run)


def test_the_test_images_get_the_scores_of_the_run(run: FinishedRun, numerics: Numerics) -> None:
    root = run.split_below(None).root
    # In several portions, whose edges may not be seen.
    labelled = label(run, Context(numerics), [root / path for path in run.scores.paths], at_once=5)
    assert np.array_equal(labelled.softmax, run.scores.softmax)
    assert labelled.paths == [(root / path).as_posix() for path in run.scores.paths]
    assert labelled.predicted() == [run.classes[index] for index in run.scores.softmax.argmax(axis=1)]


def test_a_csv_has_a_row_for_each_image_and_reads_back_equal(run: FinishedRun, call: Call, tmp_path: Path) -> None:
    root = run.split_below(None).root
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    for number, path in enumerate(run.scores.paths[:3]):
        Image.open(root / path).save(tmp_path / "mine" / "deep" / f"{number}, a.png")
    single = tmp_path / "mine" / "deep" / "0, a.png"
    out = tmp_path / "scores.csv"
    # The single file is one of the folder's.
    assert call("predict", str(run.folder), str(single), str(tmp_path / "mine"), "--out", str(out))[0] == 0
    header, *rows = list(csv.reader(out.read_text(encoding="utf-8").splitlines()))
    assert header == ["path", "predicted", *run.classes]
    assert [row[0] for row in rows] == [f"{tmp_path / 'mine' / 'deep'}/{number}, a.png" for number in range(3)]
    assert np.array_equal(np.array([row[2:] for row in rows], np.float32), run.scores.softmax[:3])


def test_json_and_standard_output_hold_the_same(run: FinishedRun, call: Call, tmp_path: Path) -> None:
    image = f"{run.split_below(None).root / run.scores.paths[0]}"
    out = tmp_path / "scores.json"
    assert call("predict", str(run.folder), image, "--out", str(out))[0] == 0
    content = json.loads(out.read_text(encoding="utf-8"))
    code, printed, _ = call("predict", str(run.folder), image)
    ((_, predicted, *scores),) = list(csv.reader(printed.splitlines()[1:]))
    assert (code, content["classes"], len(content["images"])) == (0, run.classes, 1)
    assert content["images"][0]["predicted"] == predicted
    assert np.array_equal(np.array(content["images"][0]["scores"], np.float32), np.array(scores, np.float32))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere.png", ("no image and no folder", "nowhere.png")),
        ("empty", ("empty has no images",)),
        ("text.png", ("text.png is not a readable image",)),
    ],
)
def test_what_is_no_image_is_named(
    name: str, words: tuple[str, ...], run: FinishedRun, call: Call, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    refused(call, ("predict", str(run.folder), str(tmp_path / name)), *words)


def test_an_ending_that_is_no_form_is_refused_before_anything_is_read(call: Call) -> None:
    refused(call, ("predict", "nowhere", "a.png", "--out", "scores.xlsx"), "ends with .csv or .json is valid")
