"""The ablation: runs with one deviation each beside the corrected protocol, and the numbers that change.

What it measures on drawn scenes has the direction of the experiment on the photographs.
"""

import json
import math
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from in4310repro.runs.config import to_json
from in4310repro.runs.deviations import CORRECTED, PUBLISHED, Deviation
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import PRESETS, command_line_options
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from studies import ablation
from tests.conftest import Replace
from tests.golden_cases import read_features

# The experiment on all photographs, small: two settings, two protocols. Smaller ones are decided by chance.
EXPERIMENT = replace(
    PRESETS["demo"],
    scenes=40,
    split="150/30/60",
    image_size=32,
    batch_size=16,
    epochs=6,
    feature_images=12,
    settings=PRESETS["demo"].settings[:2],
)
# What its page shows and which numbers a deviation leaves alone depend on no training.
CONFIG = replace(PRESETS["tiny"], settings=PRESETS["tiny"].settings[:2], epochs=1)
PROTOCOLS = (*(each for each in Deviation if each in ablation.AFTER_TRAINING), PUBLISHED)


pytestmark = pytest.mark.long(80)


@pytest.fixture(scope="module")
def written(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    ablation.ablation(CONFIG, Context(numerics), folder / "runs", folder, protocols=PROTOCOLS)
    return folder


@pytest.fixture(scope="module")
def report(written: Path) -> Any:
    return json.loads((written / "ablation.json").read_text())


@pytest.fixture(scope="module")
def experiment(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("experiment")
    ablation.ablation(EXPERIMENT, Context(numerics), folder / "runs", folder, protocols=[PUBLISHED])
    return json.loads((folder / "ablation.json").read_text())


def changed(report: Any, protocol: str) -> set[str]:
    """Return the names of the metrics whose values under `protocol` differ from those without deviations."""
    corrected, others = report["numbers"][CORRECTED], report["numbers"][protocol]
    return {name.split(",")[0] for name in corrected if others[name] != corrected[name]}


@pytest.mark.slow
def test_deviations_of_the_features_change_features_alone(report: Any) -> None:
    assert changed(report, Deviation.PADDED_DENOMINATOR) == {"non-positive share"}
    assert changed(report, Deviation.BATCH_NORM_IN_TRAIN_MODE) == {"largest eigenvalue"}
    assert changed(report, Deviation.ACCUMULATOR_NOT_RESET) == {"largest eigenvalue"}


@pytest.mark.slow
def test_logits_change_average_precision_alone(report: Any) -> None:
    assert changed(report, Deviation.AP_FROM_LOGITS) == {"test mAP"}


@pytest.mark.slow
def test_only_what_deviates_before_the_scores_is_trained(report: Any) -> None:
    assert set(report["runs"]) == {CORRECTED, PUBLISHED}


@pytest.mark.slow
def test_on_the_images_that_it_is_trained_on_the_published_protocol_measures_more(experiment: Any) -> None:
    corrected, published = (experiment["numbers"][protocol]["test accuracy"] for protocol in (CORRECTED, PUBLISHED))
    assert published - corrected > 0.03


@pytest.mark.slow
def test_on_images_that_it_never_read_its_network_is_no_better(experiment: Any) -> None:
    numbers = experiment["numbers"]
    # Of 60 and 180 images: what lies within two standard errors is no better.
    more = numbers[CORRECTED]["test accuracy"] + 2 * math.sqrt(0.25 / 60 + 0.25 / 180)
    assert numbers[PUBLISHED]["accuracy on unseen images"] <= more
    assert numbers[CORRECTED]["accuracy on unseen images"] is None


@pytest.mark.slow
def test_the_page_has_a_row_per_number_a_column_per_protocol_and_its_command(written: Path, report: Any) -> None:
    text = (written / "ablation.md").read_text()
    deviations = f'"{",".join(PROTOCOLS)}"'
    assert f"`nox -s ablation -- {command_line_options(CONFIG)} --deviations {deviations}`" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == len(report["numbers"][CORRECTED]) + 2
    assert {row.count(" |") for row in rows[:1] + rows[2:]} == {len(PROTOCOLS) + 2}
    assert "| mAP on its test images |" in text


@pytest.mark.slow
def test_only_named_deviations_are_run_and_a_finished_training_is_taken_as_it_is(
    written: Path, report: Any, numerics: Numerics, tmp_path: Path
) -> None:
    ablation.ablation(CONFIG, Context(numerics), written / "runs", tmp_path, protocols=[Deviation.PADDED_DENOMINATOR])
    again = json.loads((tmp_path / "ablation.json").read_text())
    assert again["numbers"] == {name: report["numbers"][name] for name in (CORRECTED, Deviation.PADDED_DENOMINATOR)}
    assert again["runs"] == {CORRECTED: report["runs"][CORRECTED]}
    assert again["command"].endswith("--deviations padded-denominator")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sum", "protocol is 'sum'; it must be one of corrected, published, shared-split"),
        # It is no part of the hypothesis, and changes no number.
        ("test-loss-each-epoch", "no deviation 'test-loss-each-epoch'; it must be one of shared-split, .*, published$"),
    ],
)
def test_what_is_no_deviation_of_the_hypothesis_is_refused_before_a_training(
    name: str, words: str, numerics: Numerics, tmp_path: Path, replace_train: Replace
) -> None:
    replace_train(pytest.fail)
    with pytest.raises(ValueError, match=words):
        ablation.ablation(CONFIG, Context(numerics), tmp_path / "runs", tmp_path, protocols=[name])


def test_deviations_that_change_no_training_share_one_and_the_first_eigenvalue_is_the_largest(
    finished_run: Path, numerics: Numerics, tmp_path: Path, replace_train: Replace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("in4310repro.evaluation.feature_maps.of_run.measure_run", lambda run, *_: read_features(run))
    run, trained = FinishedRun.open(finished_run), list[Path]()

    def train(_config: object, folder: Path, **_options: object) -> FinishedRun:
        trained.append(folder)
        return run

    replace_train(train)
    ablation.ablation(run.config, Context(numerics), tmp_path / "runs", tmp_path, protocols=PROTOCOLS[:-1])
    assert trained == [tmp_path / "runs" / CORRECTED]
    report = ablation.read_report(tmp_path / "ablation.json")
    for images in read_features(run)["sets"]:
        for name, module in images["modules"].items():
            largest = report["numbers"][CORRECTED][f"largest eigenvalue, {name}, {images['name']}"]
            assert largest == max(module["eigenvalues"])


def test_a_change_is_signed_and_none_is_a_dot() -> None:
    assert (ablation.change(0.5, 0.25), ablation.change(0.5, 0.5)) == ("-0.2500", ".")
    assert (ablation.change(None, 0.5), ablation.change(0.5, None)) == ("0.5000", "-")


def test_the_command_of_an_ablation_has_each_value_as_one_word_and_no_path_of_the_machine() -> None:
    config = replace(CONFIG, data="/home/ada/my photos; touch x")
    for runs, published in (("my runs; touch x", "my runs; touch x"), ("../ada/runs", "runs")):
        words = shlex.split(ablation.describe_command(config, Path(runs), ["padded-denominator"]))
        assert words[words.index("--runs") + 1] == published
        assert words[words.index("--data") + 1] == "my photos; touch x"
        assert words[words.index("--deviations") + 1] == "padded-denominator"
    assert "--runs" not in ablation.describe_command(config, Path("/home/ada/runs"), ["padded-denominator"])


def test_names_in_the_tables_of_an_ablation_are_text() -> None:
    numbers: dict[str, ablation.Numbers] = {
        protocol: {"a|b": 0.5, "<img src=x>": 0.25, "[x](y)": None} for protocol in (CORRECTED, "`x`|y")
    }
    report: Any = {
        "command": "nox -s ablation -- `x`",
        "config": to_json(CONFIG) | {"preset": "<b>", "split": "[x](y)"},
        "fingerprint": {"numerics": "*x*", "numeric_class": "_y_"},
        "numbers": numbers,
    }
    page = ablation.markdown(report)
    for raw in ("<img", "<b>", "[x](y)", "*x*", "_y_", "| a|b |"):
        assert raw not in page
    for text in (r"| a\|b |", "&lt;img src=x>", r"\[x\](y)", r"| \`x\`\|y |", "`` nox -s ablation -- `x` ``"):
        assert text in page
