"""Planted doubts are found in a folder, and the findings are written."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import planted as session
from in4310repro.data import check, scenes
from in4310repro.data.folders import catalogue
from in4310repro.data.splits import PARTS, Split
from in4310repro.evaluation.doubts import examination
from in4310repro.evaluation.doubts.examination import Doubts, examine
from in4310repro.metrics import wilson
from in4310repro.system.files import read_json
from tests import narrow
from tests.docs.marks import replaced
from tests.evaluation.doubts import planted

EACH = 6  # scenes of each class
WRONG, CROP, COPY, ALIKE = "sea/wrong.png", "forest/crop.png", "forest/copy.jpg", ("glacier/g.png", "mountain/m.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of scenes with a wrong label, a crop, a copy, and two images made for equal features."""
    root = tmp_path_factory.mktemp("scenes")
    for name in scenes.CLASSES:
        (root / name).mkdir()
        for number in range(EACH):
            Image.fromarray(scenes.draw(name, number, 64, 0)).save(root / name / f"{number}.png")
    Image.fromarray(scenes.draw("street", 50, 64, 0)).save(root / WRONG)
    for number, path in enumerate(ALIKE):
        Image.fromarray(scenes.draw(path.split("/")[0], 60 + number, 64, 0)).save(root / path)
    with Image.open(root / "forest/0.png") as image:
        image.crop((4, 8, 54, 58)).save(root / CROP)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=70)
    (root / COPY).write_bytes(stream.getvalue())
    (root / "forest/note.png").write_text("no image")
    return root


def features_of(paths: list[str]) -> np.ndarray:
    """Return made-up features: the drawn class plus a random direction for each picture."""
    generator, rows = np.random.default_rng(0), []
    own = {path: generator.standard_normal(8) for path in paths}
    own[CROP] = own["forest/0.png"] + 0.1
    own[COPY] = own["forest/0.png"] + 0.01
    own[ALIKE[1]] = own[ALIKE[0]]
    for path in paths:
        drawn = "street" if path == WRONG else path.split("/")[0]
        one_hot = 2.0 * (np.array(scenes.CLASSES) == drawn)
        rows.append([*(one_hot * (0.2 if path in ALIKE else 1)), *own[path]])
    return np.array(rows, np.float32)


@pytest.fixture(scope="module")
def examined(folder: Path) -> tuple[check.Findings, Doubts]:
    images = catalogue(folder)
    place = {entry.path: number for number, entry in enumerate(images.entries)} | {"forest/0.png": 0, CROP: 2, COPY: 2}
    parts = {
        part: tuple(entry for entry in images.entries if place[entry.path] % 3 == number)
        for number, part in enumerate(PARTS)
    }
    split = Split(folder, images.classes, parts)
    found = check.examine(images)
    paths = [entry.path for entry in images.entries if entry.path not in found.unreadable]
    return found, examine(images, found, features_of(paths), {"model": "made up"}, split)


def test_a_wrong_label_is_doubted_with_the_class_that_is_drawn(examined: tuple[check.Findings, Doubts]) -> None:
    _, doubts = examined
    first = doubts["doubts"][0]
    assert (first["path"], first["label"], first["seems"]) == (WRONG, "sea", "street")
    assert first["probability"] > 0.5 > first["of_label"]
    assert len(doubts["doubts"]) <= 3
    assert first in doubts["confusions"]
    assert doubts["confusion_matrix"][4][5] >= 1
    assert np.array(doubts["confusion_matrix"]).sum() == 6 * EACH + 5


def test_doubts_are_counted_by_class_and_part_with_intervals(examined: tuple[check.Findings, Doubts]) -> None:
    _, doubts = examined
    assert doubts["doubts_by_class"]["sea"] == {"doubts": 1, "images": EACH + 1, "interval": wilson(1, EACH + 1)}
    by_part = [doubts["doubts_by_part"][part]["sea"] for part in PARTS]
    assert sum(each["doubts"] for each in by_part) == 1
    assert sum(each["images"] for each in by_part) == EACH + 1


def test_a_crop_and_a_copy_are_one_group_that_leaks(examined: tuple[check.Findings, Doubts]) -> None:
    _, doubts = examined
    assert {(each["whole"], each["part"]) for each in doubts["crops"]} == {("forest/0.png", CROP), (COPY, CROP)}
    assert all(abs(each["side"] - 50 / 64) < 0.03 for each in doubts["crops"])
    assert doubts["copies"] == [["forest/0.png", COPY, CROP]]
    assert doubts["copy_conflicts"] == []
    assert doubts["copy_leaks"] == [{"training": ["forest/0.png"], "test": [COPY, CROP]}]


def test_images_that_features_make_alike_are_look_alikes(examined: tuple[check.Findings, Doubts]) -> None:
    _, doubts = examined
    assert doubts["look_alikes"][0]["paths"] == list(ALIKE)
    assert doubts["look_alikes"][0]["labels"] == ["glacier", "mountain"]


def test_nothing_of_it_is_certain_and_all_of_it_is_json_and_text(examined: tuple[check.Findings, Doubts]) -> None:
    found, doubts = examined
    assert not replace(found, unreadable={}).wrong
    assert json.loads(json.dumps(doubts))["doubts"][0]["path"] == WRONG
    text = examination.render(doubts)
    assert f"{WRONG} (street" in text
    assert "1 groups of copies of any kind" in text
    assert f"  sea: 1 of {EACH + 1} (2.6% to 51.3%)" in text


def test_what_needs_a_split_is_null_and_not_printed_without_one(
    folder: Path, examined: tuple[check.Findings, Doubts]
) -> None:
    found, doubts = examined
    images = catalogue(folder)
    features = features_of([entry.path for entry in images.entries if entry.path not in found.unreadable])
    apart = examine(images, found, features, {})
    needed = ("copy_leaks", "look_alike_leaks", "doubts_by_part")
    assert [apart[name] for name in needed] == [None] * 3
    assert apart | {name: doubts[name] for name in ("features", *needed)} == doubts
    counted = {"doubts_by_part": {"test": {"sea": examination.count_doubts(0, 0)}}}
    with_split, without = examination.render(doubts | counted), examination.render(apart)
    assert with_split.count("of them in several parts of the split") == 2
    assert "  the test part: 0 of 0\n" in with_split
    assert "of the split" not in without
    assert " part: " not in without


def test_the_committed_table_is_what_the_committed_data_says() -> None:
    page = session.PAGE.read_text(encoding="utf-8")
    result = read_json(session.NUMBERS)
    assert replaced(page, session.MARK, session.table(result)) == page


def test_most_of_what_was_planted_was_found_and_most_of_what_was_found_was_planted() -> None:
    kinds = read_json(session.NUMBERS)["kinds"]
    assert kinds.keys() == {"wrong labels", *planted.KINDS}
    for kind in planted.KINDS:
        assert kinds[kind]["right"] >= 0.95 * kinds[kind]["found"]
    for kind in ("turned", "recompressed"):
        assert kinds[kind]["recalled"] >= 0.95 * kinds[kind]["planted"]
    assert kinds["wrong labels"]["right"] >= 0.5 * kinds["wrong labels"]["found"]
    assert kinds["wrong labels"]["recalled"] >= 0.6 * kinds["wrong labels"]["planted"]


def test_truth_is_planted_as_it_is_told(tmp_path: Path) -> None:
    truth = planted.plant(tmp_path / "scenes", 25, 32, seed=0)
    files = {file.relative_to(tmp_path / "scenes").as_posix() for file in (tmp_path / "scenes").rglob("*.*")}
    copies = [pair for pairs in truth.copies.values() for pair in pairs]
    assert len(truth.wrong) == round(0.03 * 150)
    assert [len(pairs) for pairs in truth.copies.values()] == [3, 3, 3]
    assert len(files) == 150 + len(copies)
    assert all(name not in path.split("/")[0] for path, name in truth.wrong.items())
    assert len({path for pair in copies for path in pair} | truth.wrong.keys()) == 2 * len(copies) + len(truth.wrong)
    assert {path for pair in copies for path in pair} <= files


@pytest.mark.slow
def test_a_smaller_folder_measured_now_says_about_the_same(tmp_path: Path) -> None:
    # A narrow network that has seen half of the images finds nine of the eleven wrong labels.
    training = ("--scenes", "200", "--split", "0.7/0.15/0.15", "--epochs", "12")
    with narrow.used(narrow=True):
        kinds = session.measure(tmp_path, images=60, training=training, program="tests.narrow")["kinds"]
    for kind in ("turned", "recompressed"):
        assert kinds[kind]["recalled"] == kinds[kind]["planted"] > 0
        assert kinds[kind]["right"] >= 0.9 * kinds[kind]["found"]
    assert kinds["wrong labels"]["recalled"] >= 0.5 * kinds["wrong labels"]["planted"]
