"""The ablation: departures beside the corrected protocol, each moving what it is about and nothing else.

What it measures on drawn scenes has the direction of the experiment on the photographs.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro import ablation
from in4310repro.numerics import Numerics
from in4310repro.presets import PRESETS, options
from in4310repro.protocols import CORRECTED, OF_FEATURES, OF_SCORES, PUBLISHED, Switch

# The experiment on all photographs, small: three settings, two protocols. Smaller ones are decided by chance.
CONFIG = replace(
    PRESETS["demo"], scenes=40, split="150/30/60", image_size=32, batch_size=16, epochs=6, feature_images=12
)
DEPARTURES = (*OF_SCORES, *OF_FEATURES, PUBLISHED)


@pytest.fixture(scope="module")
def written(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    ablation.ablation(CONFIG, numerics, folder / "runs", folder, departures=DEPARTURES)
    return folder


@pytest.fixture(scope="module")
def report(written: Path) -> Any:
    return json.loads((written / "ablation.json").read_text())


def moved(report: Any, protocol: str) -> set[str]:
    """The kinds of numbers that a protocol moves."""
    corrected, found = report["numbers"][CORRECTED], report["numbers"][protocol]
    return {name.split(",")[0] for name in corrected if found[name] != corrected[name]}


def test_switches_of_the_features_move_features_alone(report: Any) -> None:
    assert moved(report, Switch.WHOLE_BATCHES) == {"non-positive share"}
    assert moved(report, Switch.TRAIN_MODE) == {"largest eigenvalue"}
    assert moved(report, Switch.KEPT_ACCUMULATOR) == {"largest eigenvalue"}


def test_logits_move_average_precision_alone(report: Any) -> None:
    assert moved(report, Switch.LOGIT_PRECISION) == {"test mAP"}


def test_only_what_departs_before_the_scores_is_trained(report: Any) -> None:
    assert set(report["runs"]) == {CORRECTED, PUBLISHED}


def test_on_the_images_that_it_is_trained_on_the_published_protocol_measures_more(report: Any) -> None:
    corrected, published = (report["numbers"][protocol]["test accuracy"] for protocol in (CORRECTED, PUBLISHED))
    assert published - corrected > 0.03


def test_on_images_that_it_never_read_its_network_is_no_better(report: Any) -> None:
    numbers = report["numbers"]
    assert numbers[PUBLISHED]["accuracy on unseen images"] <= numbers[CORRECTED]["test accuracy"]
    assert numbers[CORRECTED]["accuracy on unseen images"] is None


def test_the_page_has_a_row_a_number_a_column_a_protocol_and_its_command(written: Path, report: Any) -> None:
    text = (written / "ablation.md").read_text()
    assert f"`nox -s ablation -- {options(CONFIG)} --departures {','.join(DEPARTURES)}`" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == len(report["numbers"][CORRECTED]) + 2
    assert {row.count(" |") for row in rows[:1] + rows[2:]} == {len(DEPARTURES) + 2}
    assert "| test mAP |" in text


def test_named_departures_alone_are_run_and_a_finished_training_is_taken_as_it_is(
    written: Path, report: Any, numerics: Numerics, tmp_path: Path
) -> None:
    ablation.ablation(CONFIG, numerics, written / "runs", tmp_path, departures=[Switch.WHOLE_BATCHES])
    again = json.loads((tmp_path / "ablation.json").read_text())
    assert again["numbers"] == {name: report["numbers"][name] for name in (CORRECTED, Switch.WHOLE_BATCHES)}
    assert again["runs"] == {CORRECTED: report["runs"][CORRECTED]}
    assert again["command"].endswith("--departures whole-batches")


def test_an_unknown_departure_is_refused_with_the_valid_ones(numerics: Numerics, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no departure 'sum'; valid are one-set, .*published"):
        ablation.ablation(CONFIG, numerics, tmp_path / "runs", tmp_path, departures=["sum"])


def test_a_change_is_signed_and_none_is_a_dot() -> None:
    assert (ablation.moved(0.5, 0.25), ablation.moved(0.5, 0.5)) == ("-0.2500", ".")
    assert (ablation.moved(None, 0.5), ablation.moved(0.5, None)) == ("0.5000", "-")
