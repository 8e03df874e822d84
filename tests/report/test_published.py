"""The page about the published numbers: what it holds comes from runs, and it refuses runs that prove nothing."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro.audit import examine
from in4310repro.presets import PRESETS, to_json
from in4310repro.protocols import PUBLISHED
from in4310repro.report import published, tables
from in4310repro.runs import Run


@pytest.fixture
def runs(finished_run: Path, tmp_path: Path) -> list[Run]:
    """A corrected run, and copies of it that say they are of the published protocol, each with a seed of its own."""
    made = []
    for place, name in enumerate(("corrected", "published-0", "published-1")):
        # The page reads no weights.
        run = Run(shutil.copytree(finished_run, tmp_path / name, ignore=shutil.ignore_patterns("*.safetensors")))
        if place:
            metrics = run.read_json("metrics.json")
            metrics["mean_class_accuracy"] = 0.97 + place / 100
            unseen = metrics | {"images": 36, "mean_class_accuracy": 0.125}
            run.write_json("metrics.json", metrics | {"unseen": unseen})
            run.write_json("config.json", to_json(replace(PRESETS["tiny"], protocol=PUBLISHED, seed=place)))
        made.append(run)
    return made


def numbers_of(folder: Path) -> Any:
    return json.loads((folder / "published" / "numbers.json").read_text())


def test_the_page_says_the_numbers_of_the_runs_and_of_the_report(runs: list[Run], tmp_path: Path) -> None:
    written = published.write(runs[0], runs[1:], [], tmp_path / "reports")
    assert {file.name for file in written} == {
        *("published.md", "numbers.json", "original.toml"),
        *("accuracy.png", "settings.png", "non_positive.png"),
    }
    text, numbers = (tmp_path / "reports" / "published.md").read_text(), numbers_of(tmp_path / "reports")
    assert "0.9882" in text
    assert "0.9800 to 0.9900" in text
    assert "| mean | 0.9882 | 0.9800 to 0.9900 | 0.1250 |" in text
    assert "| 461 | 475 | 395 | 474 | 490 | 330 | 2625 | 375 |" in text
    fair = runs[0].read_json("metrics.json")
    assert numbers["corrected"]["test"]["mean_class_accuracy"] == fair["mean_class_accuracy"]
    for run in runs:
        assert numbers["runs"][run.folder.name]["files_sha256"] == run.manifest()
    assert "--out published-0" in text


def test_every_picture_on_the_page_is_there(runs: list[Run], tmp_path: Path) -> None:
    published.write(runs[0], runs[1:], [], tmp_path)
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", (tmp_path / "published.md").read_text())
    assert len(pictures) == 3
    assert all((tmp_path / picture).is_file() for picture in pictures)


def test_the_printed_values_as_toml_are_audited_to_the_known_counts(tmp_path: Path) -> None:
    file = tmp_path / "original.toml"
    file.write_text(published._toml(tables.original()))
    audit = examine.audit(file)
    assert audit.inconsistencies == ()
    assert list(audit.sizes[0].taken.values()) == [463, 483, 521, 535, 490, 508]
    assert [table.totals[0] for table in audit.counted if table.totals] == [2625, 2937, 2972, 2964]


def test_the_shares_are_put_right_for_208_images() -> None:
    factor = 208 / 200
    for printed, right in ((47.0, 48.9), (65.2, 67.8), (69.0, 71.8), (63.9, 66.5), (74.3, 77.3)):
        assert round(printed * factor, 1) == right


@pytest.mark.parametrize(
    ("seen", "unseen", "holds"), [(0.98, 0.2, (True, True)), (0.95, 0.2, (False, True)), (0.98, 0.9, (True, False))]
)
def test_a_prediction_that_the_runs_do_not_show_does_not_hold(
    runs: list[Run], seen: float, unseen: float, holds: tuple[bool, bool]
) -> None:
    summaries = [published.summary(run) for run in runs]
    for summary in summaries[1:]:
        summary["test"]["mean_class_accuracy"] = seen
        summary["unseen"]["mean_class_accuracy"] = unseen
    summaries[0]["test"]["mean_class_accuracy"] = 0.8
    numbers = {"printed": tables.original()["settings"], "corrected": summaries[0], "published": summaries[1:]}
    assert tuple(prediction.holds for prediction in published.predictions(numbers)[:2]) == holds


def test_the_two_looks_of_the_original_share_three_counts_and_differ_by_eight_images() -> None:
    printed = tables.original()["settings"]
    supports = dict(zip(tables.original()["classes"], (463, 483, 521, 535, 490, 508), strict=True))
    assert published._two_looks(printed["sgd"], printed["test"], supports) == (3, -8)


def test_runs_that_cannot_be_compared_are_refused(runs: list[Run], tmp_path: Path) -> None:
    fair, first, second = runs
    for refused, message in (
        ((fair, []), "no run of the published protocol"),
        ((fair, [fair.open(fair.folder)]), "is of protocol corrected; published is needed"),
        ((first, [second]), "is of protocol published; corrected is needed"),
        ((fair, [first, Run(first.folder)]), r"the seeds \[1, 1\]; one of each"),
    ):
        with pytest.raises(ValueError, match=message):
            published.write(*refused, [], tmp_path / "reports")
    config = first.read_json("config.json")
    first.write_json("config.json", config | {"epochs": 7})
    with pytest.raises(ValueError, match=r"in more than protocol and seed: epochs 2 \(the run has 7\)"):
        published.write(fair, [first], [], tmp_path / "reports")


def test_an_ablation_becomes_rows_of_departures(runs: list[Run], tmp_path: Path) -> None:
    base = {"test accuracy": 0.5, "test mAP": 0.6, "accuracy on unseen images": None}
    base |= {"non-positive share, conv1": 0.5, "largest eigenvalue, conv1, test": 2.0}
    moved = base | {"test accuracy": 0.75, "accuracy on unseen images": 0.25}
    moved |= {"non-positive share, conv1": 0.48, "largest eigenvalue, conv1, test": 3.0}
    report = {
        "command": "nox -s ablation",
        "config": to_json(PRESETS["tiny"]),
        "numbers": {"corrected": base, "train-mode": base, "one-set": moved},
    }
    (tmp_path / "ablation.json").write_text(json.dumps(report))
    published.write(runs[0], runs[1:], [tmp_path / "ablation.json"], tmp_path)
    text = (tmp_path / "published.md").read_text()
    assert "| one-set | +0.2500 | . | 0.2500 | -2.00 | 1.50 to 1.50 |" in text
    assert "| train-mode | . | . | - | . | . |" in text
