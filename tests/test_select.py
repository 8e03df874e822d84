"""`--select`: the validation metric that chooses epoch and setting (one optimizer), alone and in a whole run."""

from dataclasses import replace
from pathlib import Path

import pytest

from in4310repro.metrics.table import DEFAULT_SELECTION, SCALARS
from in4310repro.models.sources import open_network
from in4310repro.report.verdict import describe_selection_and_test
from in4310repro.runs.config import Config, change, from_json, to_json
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS, command_line_options
from in4310repro.runs.settings import CHOICES
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import experiment
from tests.conftest import Call, refused

MODEL = "benchmarks.soak:small_network"
TINY = PRESETS["tiny"]
SMALL = replace(TINY, model=MODEL, modules=("0",), epochs=4, settings=TINY.settings[::2])


def by(metric: str) -> Config:
    return change(SMALL, {"select": metric}, "options")


def test_every_metric_that_is_one_number_can_be_chosen_and_no_other(call: Call) -> None:
    assert CHOICES["select"] == tuple(SCALARS)
    refused(call, ("train", "--select", "average_precision"), "select", "average_precision", *SCALARS)
    refused(call, ("train", "--select", "val_loss"), "val_loss", *SCALARS)


@pytest.mark.parametrize("metric", SCALARS)
def test_the_configuration_names_the_metric_only_where_it_is_not_that_of_older_runs(metric: str) -> None:
    value = to_json(by(metric))
    assert ("select" in value) == (metric != DEFAULT_SELECTION)
    assert from_json(value, "config.json") == by(metric)
    assert {key: each for key, each in value.items() if key != "select"} == to_json(SMALL)
    assert (f"--select {metric}" in command_line_options(by(metric))) == (metric != DEFAULT_SELECTION)


@pytest.fixture(scope="module", params=["mean_average_precision", "macro_f1"])
def run(request: pytest.FixtureRequest, numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run that selects by a metric other than the default."""
    open_network(MODEL).trust()
    folder = tmp_path_factory.mktemp("selected") / "run"
    experiment.train(by(request.param), folder, keep_epochs=True, context=Context(numerics))
    return folder


def test_epoch_setting_and_weights_are_those_of_the_metric(run: Path) -> None:
    opened = FinishedRun.open(run)
    metric = opened.config.select
    rows = {(name, row["epoch"]): dict(row) for name, rows in opened.histories.items() for row in rows}
    # By hand: the highest value, the first of equals in the order of settings and epochs.
    highest = max(row[metric] for row in rows.values())  # type: ignore[type-var]
    first = next(place for place, row in rows.items() if row[metric] == highest)
    assert (opened.metrics["setting"], opened.metrics["epoch"]) == first
    assert opened.metrics["validation_mean_class_accuracy"] == rows[first]["mean_class_accuracy"]
    assert tensors_sha256(opened.saved_network().state_dict()) == rows[first]["weights_sha256"]


def test_verify_and_report_say_by_which_metric(run: Path, call: Call) -> None:
    metric = FinishedRun.open(run).config.select
    code, out, error = call("verify", f"{run}", "--model", MODEL)
    assert code == 0, error
    assert f"the selection by {SCALARS[metric].label} on validation" in out
    assert f"highest {SCALARS[metric].label} on" in describe_selection_and_test(FinishedRun.open(run))[0]


def test_another_metric_in_the_configuration_is_a_contradiction_or_a_difference(run: Path, call: Call) -> None:
    files = RunFolder.open(run)
    kept = files.read_json("config.json")
    try:
        opened = FinishedRun.open(run)
        best = {
            each: max(row[each] for rows in opened.histories.values() for row in rows)  # type: ignore[literal-required]
            for each in SCALARS
        }
        selected = opened.histories[opened.metrics["setting"]][opened.metrics["epoch"] - 1]
        others = [each for each in SCALARS if selected[each] != best[each]]  # type: ignore[literal-required]
        for other in others:
            files.write_json("config.json", kept | {"select": other})
            code, out, error = call("verify", f"{run}", "--model", MODEL)
            assert code == 1
            assert "metrics.json" in out + error
    finally:
        files.write_json("config.json", kept)


def test_a_run_goes_on_by_the_metric_that_it_was_begun_with(run: Path, numerics: Numerics) -> None:
    with pytest.raises(ValueError, match="select"):
        experiment.train(SMALL, run, resume=True, context=Context(numerics))


def test_a_history_without_the_metric_that_selects_is_refused(run: Path) -> None:
    opened = FinishedRun.open(run)
    metric = opened.config.select
    files, name = RunFolder.open(run), f"{opened.metrics['setting']}/history.json"
    kept = files.read_json(name)
    try:
        files.write_json(name, [{key: value for key, value in row.items() if key != metric} for row in kept])
        with pytest.raises(ValueError, match=rf"history.json.* lacks (0\.)?{metric}"):
            FinishedRun.open(run)
    finally:
        files.write_json(name, kept)
