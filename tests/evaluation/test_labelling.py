"""Images without labels: their class and scores by the run's network."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from in4310repro.evaluation.labelling import label
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from tests.conftest import Call, refused


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
