"""Runs on the photographs from ImageNet weights: committed files agree, and can be checked with the runs."""

import json
from typing import Any

import pytest

from in4310repro import golden
from in4310repro.data.folders import Entry
from in4310repro.runs.config import from_json
from in4310repro.runs.presets import PRESETS
from in4310repro.system.numerics import Numerics
from studies.training_images import draw_subset
from tests.golden_cases import (
    FOLDER,
    PHOTOGRAPHS_RUNS,
    course_folder,
    photographs_numbers,
    photographs_runs,
    recorded_arithmetic,
)

REPORTS = FOLDER.parent / "reports"


def values() -> dict[str, float]:
    return {name: each["value"] for name, each in golden.read(FOLDER, "photographs")["values"].items()}


def test_runs_measure_what_the_golden_file_says(numerics: Numerics) -> None:
    folder = course_folder(PHOTOGRAPHS_RUNS)
    if not folder:
        pytest.skip(f"{PHOTOGRAPHS_RUNS} names no folder with the runs from ImageNet weights")
    runs = photographs_runs(folder)
    recorded = runs["photographs"].fingerprint
    comparison = golden.compare(
        "photographs",
        golden.read(FOLDER, "photographs"),
        photographs_numbers(runs),
        recorded_arithmetic(recorded, numerics),
        recorded["versions"],
        golden.folder.read_environments(FOLDER),
    )
    assert comparison.differences == []


@pytest.mark.parametrize("name", ["photographs", "photographs-head"])
def test_a_report_is_of_its_preset_and_holds_the_numbers_of_the_golden_file(name: str) -> None:
    record = json.loads((REPORTS / name / "run.json").read_text())
    config, preset = from_json(record["config"], name), PRESETS[name]
    for key in ("train", "model", "weights", "image_size", "epochs", "split", "settings", "augmentation", "seed"):
        assert getattr(config, key) == getattr(preset, key), key
    assert (config.schedule, config.warm_up, config.batch_size) == (preset.schedule, preset.warm_up, preset.batch_size)
    for key in ("mean_class_accuracy", "mean_average_precision"):
        assert record["metrics"][key] == values()[f"{name}, test images, {key}"]
    assert record["fingerprint"]["numerics"] == "portable"


def test_the_page_of_the_published_protocol_holds_the_numbers_of_the_golden_file() -> None:
    found: dict[str, Any] = json.loads((REPORTS / "published" / "imagenet.json").read_text())
    (published,) = found["published"]
    cells = json.loads((REPORTS / "experiment" / "cells.json").read_text())["imagenet"]
    assert cells["separate"]["0"]["summary"]["test"] == found["corrected"]["test"]
    assert cells["published"]["0"]["summary"]["test"] == published["test"]
    for key in ("mean_class_accuracy", "mean_average_precision"):
        assert found["corrected"]["test"][key] == values()[f"photographs, test images, {key}"]
        assert published["test"][key] == values()[f"photographs-published, test images, {key}"]
        assert published["unseen"][key] == values()[f"photographs-published, unseen images, {key}"]


def test_the_share_of_wrong_labels_is_that_of_the_page() -> None:
    found = json.loads((REPORTS / "labels" / "labels.json").read_text())
    kinds = found["kinds"].values()
    share = sum(kind["images"] * kind["wrong"] / kind["judged"] for kind in kinds) / sum(k["images"] for k in kinds)
    assert found["wrong_share"] == pytest.approx(share, abs=1e-15)
    assert len(found["wrong"]) == sum(kind["wrong"] for kind in kinds) >= 20
    page = (REPORTS / "labels" / "labels.md").read_text()
    assert f"**{100 * share:.1f} %**" in page
    # Which they are is in the file of numbers that the page names.
    assert f"the {len(found['wrong'])} wrong labels\nare listed in [labels.json](labels.json)" in page


def test_a_head_on_all_training_images_is_the_run_of_the_golden_file() -> None:
    found = json.loads((REPORTS / "training-images" / "numbers.json").read_text())
    for seed, name in enumerate(("photographs-head", "photographs-head-1", "photographs-head-2")):
        *_, of_all = found["curve"]["head"][f"{seed}"]
        assert of_all["images"] == 12034
        fitted = found["worth"][f"{seed}"]["all training images"]
        for key in ("mean_class_accuracy", "mean_average_precision"):
            assert of_all[key] == values()[f"{name}, test images, {key}"] == fitted[key]


def test_fewer_training_images_are_among_the_more_and_have_the_classes_shares() -> None:
    entries = [Entry(f"{n}", int(n % 10 < 3), f"hash {n}") for n in range(200)]
    chosen = {images: draw_subset(entries, images, 0) for images in (10, 50, 200)}
    assert set(chosen[10]) < set(chosen[50]) < set(chosen[200])
    for images, positions in chosen.items():
        assert sum(entries[position].label for position in positions) == pytest.approx(0.3 * images, abs=1)
