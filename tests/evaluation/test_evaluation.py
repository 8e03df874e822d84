"""Metrics and labels that a run's network gives for its test set, for folders and for files."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from in4310repro.evaluation import evaluation
from in4310repro.evaluation.evaluation import Predictions, evaluate, label, to_text
from in4310repro.metrics import METRICS, class_metrics
from in4310repro.runs.deviations import CORRECTED_PROTOCOL, parse
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from tests.builders import Watched
from tests.conftest import Call, refused


def test_a_run_measured_again_on_its_test_set_gives_its_metrics(finished_run: Path, numerics: Numerics) -> None:
    run = FinishedRun.open(finished_run)
    assert class_metrics(evaluate(run, context=Context(numerics))[0]) == class_metrics(run.metrics)


def test_a_folder_of_other_classes_cannot_be_evaluated(finished_run: Path, numerics: Numerics, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "1.png")
    with pytest.raises(ValueError, match=r"has the classes \['cat', 'dog'\], which the network of"):
        evaluate(FinishedRun.open(finished_run), str(tmp_path), context=Context(numerics))


def test_weights_with_one_changed_bit_are_not_measured(own_run: Path, numerics: Numerics) -> None:
    run = FinishedRun.open(own_run)
    file = own_run / run.metrics["setting"] / "best.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"best\.safetensors holds other weights than the test set was scored with"):
        evaluate(run, context=Context(numerics))


def test_the_protocol_of_the_metrics_is_that_of_the_run(finished_run: Path, numerics: Numerics) -> None:
    run = FinishedRun.open(finished_run)
    for protocol, by_logits in ((parse("ap-from-logits"), True), (CORRECTED_PROTOCOL, False)):
        trained = replace(run, config=replace(run.config, protocol=protocol))
        evaluated, scores = evaluate(trained, context=Context(numerics))
        assert class_metrics(evaluated) == scores.metrics(by_logits=by_logits)
    assert scores.metrics(by_logits=True) != scores.metrics()


def test_a_folder_of_the_test_images_gives_the_metrics_of_the_test_set(
    finished_run: Path, numerics: Numerics, copied_scenes: Callable[[Path], Path], tmp_path: Path
) -> None:
    run, scenes, own = FinishedRun.open(finished_run), copied_scenes(tmp_path / "scenes"), tmp_path / "own"
    for entry in run.split.parts["test"]:
        (own / entry.path).parent.mkdir(parents=True, exist_ok=True)
        (scenes / entry.path).rename(own / entry.path)
    evaluated, _ = evaluate(run, str(own), context=Context(numerics))
    assert class_metrics(evaluated) == class_metrics(run.metrics)
    assert evaluated["images"] == len(run.split.parts["test"])
    assert (Path(evaluated["data"]).name, evaluate(run, context=Context(numerics))[0]["data"]) == ("own", "test set")


def test_a_folder_of_some_classes_is_measured_on_those(
    finished_run: Path, numerics: Numerics, copied_scenes: Callable[[Path], Path], call: Call, tmp_path: Path
) -> None:
    run, scenes, own = FinishedRun.open(finished_run), copied_scenes(tmp_path / "scenes"), tmp_path / "own"
    chosen = [run.classes[label] for label in (1, 4)]
    for entry in run.split.parts["test"]:
        if run.classes[entry.label] in chosen:
            (own / entry.path).parent.mkdir(parents=True, exist_ok=True)
            (scenes / entry.path).rename(own / entry.path)
    evaluated, scores = evaluate(run, str(own), context=Context(numerics))
    assert (evaluated["classes"], evaluated["all_classes"]) == (chosen, run.classes)
    assert evaluated["class_accuracy"] == [run.metrics["class_accuracy"][label] for label in (1, 4)]
    mean = sum(evaluated["class_accuracy"]) / 2
    assert (evaluated["mean_class_accuracy"], len(evaluated["average_precision"])) == (mean, 2)
    rows = [sum(row) for row in evaluated["confusion_matrix"]]
    assert [rows[1], rows[4], sum(rows)] == [2, 2, 4] == [*np.bincount(scores.labels)[[1, 4]], len(scores.labels)]
    out = tmp_path / "each.csv"
    assert call("evaluate", str(run.folder), "--data", str(own), "--out", str(out))[0] == 0
    header, *listed = list(csv.reader(out.read_text(encoding="utf-8").splitlines()))
    assert header == ["path", "class", "predicted", "seen", *run.classes]
    assert [row[1] for row in listed] == [run.classes[label] for label in scores.labels]
    assert [row[2] for row in listed] == [run.classes[label] for label in scores.softmax.argmax(axis=1)]
    assert np.array_equal(np.array([row[4:] for row in listed], np.float32), scores.softmax)


MEAN = "mean class accuracy"
SAID = "25 of 50 were trained on, 12 chose the fit; on the 13 others: mean class accuracy"


def save_as(file: Path, to: Path) -> None:
    """Write the same pixels into a file of another name and format, with other bytes."""
    to.parent.mkdir(parents=True, exist_ok=True)
    Image.open(file).save(to.with_suffix(".png"))


@pytest.fixture
def mixed(run: FinishedRun, copied_scenes: Callable[[Path], Path], tmp_path: Path) -> Path:
    """Return the images of the run under other names, most with other bytes, and one training and one test image twice.

    One training image carries another label.
    """
    scenes, folder = copied_scenes(tmp_path / "scenes"), tmp_path / "mixed"
    for part, entries in run.split.parts.items():
        for number, entry in enumerate(entries):
            save_as(scenes / entry.path, folder / run.classes[entry.label] / f"{part[1:3]}{number}")
        twice, other = entries[0], run.classes[entries[0].label - 1]
        if part != "validation":
            save_as(scenes / twice.path, folder / other / part)
        (folder / other / f"{part}.bmp").write_bytes((scenes / twice.path).read_bytes())
        (folder / run.classes[twice.label] / f"{part[1:3]}0.png").unlink()
    return folder


def test_seen_images_are_recognised_by_their_content_and_are_in_no_number(
    run: FinishedRun, numerics: Numerics, mixed: Path, call: Call, tmp_path: Path
) -> None:
    code, printed, _ = call("evaluate", str(run.folder), "--data", str(mixed), "--out", "each.csv")
    assert (code, printed.splitlines()[1].startswith(SAID)) == (0, True)
    rows = list(csv.DictReader((tmp_path / "each.csv").read_text(encoding="utf-8").splitlines()))
    measured, scores = evaluate(run, str(mixed), context=Context(numerics))
    assert [measured[name] for name in ("images", "trained_on", "chose_fit", "copies")] == [13, 25, 12, 1]
    # What is left are the test images, of which one is there twice with a wrong label.
    of_test = {entry.sha256: entry for entry in run.split.parts["test"]}
    new = [row for row in rows if not row["seen"]]
    assert sorted(scores.paths) == sorted(row["path"] for row in new)
    right = [[row["predicted"] == name for row in new if row["class"] == name] for name in run.classes]
    assert measured["class_accuracy"] == [sum(each) / len(each) for each in right]
    logs = [-math.log(float(row[row["class"]])) for row in new]
    assert measured["loss"] == pytest.approx(sum(logs) / 13, rel=1e-5)
    assert (sum(map(sum, measured["confusion_matrix"])), len(of_test)) == (13, 12)
    assert json.loads(call("evaluate", str(run.folder), "--data", str(mixed), "--json")[1]) == measured


def test_without_new_images_there_is_no_number(run: FinishedRun, numerics: Numerics, mixed: Path, call: Call) -> None:
    for entry in evaluate(run, str(mixed), context=Context(numerics))[1].paths:
        (mixed / entry).unlink()
    code, printed, _ = call("evaluate", str(run.folder), "--data", str(mixed))
    assert (code, printed.splitlines()[1:]) == (
        0,
        ["25 of 37 were trained on, 12 chose the fit: none is left to measure"],
    )
    document = json.loads(call("evaluate", str(run.folder), "--data", str(mixed), "--json")[1])
    assert {document[name] for name in METRICS} == {document["loss"], document["confusion_matrix"]} == {None}
    # With a shared split the test images were trained on, and the others never used.
    shared = replace(run, config=replace(run.config, protocol=parse("shared-split")))
    assert to_text(evaluate(shared, context=Context(numerics))[0]).splitlines()[1:] == [
        "12 of 12 were trained on, 0 chose the fit: none is left to measure",
        "DEVIATION: training, validation and test read the same images",
    ]
    measured, _ = evaluate(shared, str(mixed), context=Context(numerics))
    assert [measured[name] for name in ("images", "trained_on", "chose_fit")] == [37, 0, 0]


def test_near_duplicates_of_seen_images_are_counted_where_those_are_at_hand(
    run: FinishedRun, numerics: Numerics, copied_scenes: Callable[[Path], Path], tmp_path: Path
) -> None:
    scenes, folder = copied_scenes(tmp_path / "scenes"), tmp_path / "other"
    first, second = run.split.parts["training"][0], run.split.parts["test"][-1]
    for entry in (first, second):
        to = folder / entry.path
        to.parent.mkdir(parents=True)
        # Brighter by one level of 255.
        Image.open(scenes / entry.path).point(lambda value: min(value + 1, 255)).save(to)
    measured, _ = evaluate(run, str(folder), context=Context(numerics))
    assert (measured["images"], measured["trained_on"], measured["near_duplicates"]) == (2, 0, [first.path])
    alone = evaluate(run, str(scenes), context=Context(numerics))[1]
    place = alone.paths.index(second.path)
    right = float(alone.softmax[place].argmax() == second.label)
    assert measured["mean_class_accuracy_without_near_duplicates"] == right
    lines = to_text(measured).splitlines()
    assert lines[1].startswith("none of 2 was trained on or chose the fit: mean class accuracy")
    named = f"1 of the 2, such as {first.path}"
    assert lines[-1] == f"near-duplicates of seen images: {named}; without them {MEAN} {right:.4f}"
    assert lines[-2].endswith(": the means are of the other classes")
    away = replace(run, config=replace(run.config, data="nowhere"))
    measured, _ = evaluate(away, str(folder), context=Context(numerics))
    assert measured["near_duplicates"] is None
    (note,) = measured["notes"]
    assert note.endswith(f": not looked for, since the training image {first.path} is not available")


def test_what_cannot_be_recognised_is_said(run: FinishedRun, numerics: Numerics, mixed: Path) -> None:
    older = replace(run, config=replace(run.config, format=5, weights="runs/a/sgd/best.safetensors"))
    measured, _ = evaluate(older, str(mixed), context=Context(numerics))
    # The files of equal bytes alone.
    assert (measured["trained_on"], measured["chose_fit"]) == (1, 1)
    assert measured["notes"] == [
        "seen images with other bytes are not recognised, since the run has no pixels.json",
        "the run started from the weights runs/a/sgd/best.safetensors, and the images that these have seen are unknown",
    ]


def test_a_prediction_says_which_images_were_seen(run: FinishedRun, call: Call, mixed: Path) -> None:
    document = json.loads(call("predict", str(run.folder), str(mixed), "--json")[1])
    (of_training,) = [each for each in document["images"] if each["path"].endswith("/training.png")]
    assert Counter(each["seen"] for each in document["images"]) == {"trained on": 25, "chose the fit": 12, "": 13}
    code, printed, error = call("predict", str(run.folder), of_training["path"])
    assert (code, printed.splitlines()[1].split(",")[2]) == (0, of_training["seen"]) == (0, "trained on")
    assert error.splitlines()[-1] == "this image was trained on"
    error = call("predict", str(run.folder), str(mixed), "--out", "each.csv")[2]
    assert error.splitlines()[-1].startswith("25 of 50 were trained on, 12 chose the fit: ")


@pytest.mark.parametrize(("others", "end"), [([], ": b.png"), (["chose the fit"], ": b.png and others")])
def test_the_first_seen_image_is_named_and_whether_there_are_others(others: list[str], end: str) -> None:
    paths, roles = ["a.png", "b.png", *others], ["", "trained on", *others]
    labelled = Predictions(["sea"], paths, roles, np.ones((len(roles), 1), np.float32))
    assert labelled.describe_seen() == f"1 of {len(roles)} was trained on, {len(others)} chose the fit{end}"


def test_images_beyond_the_memory_are_refused_before_anything_is_loaded(finished_run: Path, numerics: Numerics) -> None:
    run = FinishedRun.open(finished_run)
    run = replace(run, config=replace(run.config, evaluation_batch_size=2**40))
    with pytest.raises(
        ValueError, match=rf"^evaluation_batch_size {2**40} at image_size {run.config.image_size} takes"
    ):
        evaluate(run, "no such folder", context=Context(numerics))


def test_a_summary_has_a_row_for_each_class_with_images(finished_run: Path, numerics: Numerics) -> None:
    measured, _ = evaluate(FinishedRun.open(finished_run), context=Context(numerics))
    made_up: Any = {**measured} | {
        "setting": "sgd",
        "data": "other",
        "images": 13,
        "trained_on": 1,
        "chose_fit": 2,
        "notes": ["weights are of unknown images"],
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
        "other: 16 images, network of setting sgd",
        "1 of 16 was trained on, 2 chose the fit; on the 13 others: mean class accuracy 0.8333, mAP 0.8594, macro F1 "
        "0.6250, accuracy 0.9231, loss 0.2500, expected calibration error 0.1250",
        "class      images  accuracy  precision      F1      AP",
        "bay             3    0.6667     1.0000  0.8000  0.7500",
        "evergreen      10    1.0000     0.9091       -  0.9688",
        "no image of dune: the means are of the other classes",
        "weights are of unknown images",
    ]


@pytest.fixture(scope="module")
def run(finished_run: Path) -> FinishedRun:
    return FinishedRun.open(finished_run)


def test_the_test_images_get_the_scores_of_the_run(
    run: FinishedRun, numerics: Numerics, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = run.split_below(None).root
    titles: list[str] = []
    context = Context(numerics, Watched(step=lambda title, *_: titles.append(title)))
    # In several portions, whose edges may not be seen.
    monkeypatch.setattr(evaluation, "AT_ONCE", 5)
    labelled = label(run, [root / path for path in run.scores.paths], context=context)
    assert {title.partition("images ")[2] for title in titles} == {"1 to 5 of 12", "6 to 10 of 12", "11 to 12 of 12"}
    assert np.array_equal(labelled.softmax, run.scores.softmax)
    assert labelled.paths == [(root / path).as_posix() for path in run.scores.paths]
    assert labelled.predicted_classes == [run.classes[index] for index in run.scores.softmax.argmax(axis=1)]


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
    assert header == ["path", "predicted", "seen", *run.classes]
    assert [row[0] for row in rows] == [f"{tmp_path / 'mine' / 'deep'}/{number}, a.png" for number in range(3)]
    assert np.array_equal(np.array([row[3:] for row in rows], np.float32), run.scores.softmax[:3])


def test_json_and_standard_output_hold_the_same(run: FinishedRun, call: Call, tmp_path: Path) -> None:
    image = f"{run.split_below(None).root / run.scores.paths[0]}"
    out = tmp_path / "scores.json"
    assert call("predict", str(run.folder), image, "--out", str(out))[0] == 0
    content = json.loads(out.read_text(encoding="utf-8"))
    code, printed, _ = call("predict", str(run.folder), image)
    ((_, predicted, _, *scores),) = list(csv.reader(printed.splitlines()[1:]))
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
    refused(call, ("predict", "nowhere", "a.png", "--out", "scores.xlsx"), "must end with .csv or .json")
