"""Metrics added to the table later are verified like the first ones: a forged value gives exit code 1."""

from pathlib import Path

import pytest

from in4310repro.metrics import METRICS, SCALARS
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.selection import best_epoch
from tests.conftest import Call

NEWER = [name for name in SCALARS if not METRICS[name].in_every_run]


@pytest.mark.parametrize("place", ["metrics.json", "history.json"])
@pytest.mark.parametrize("name", NEWER)
def test_verify_finds_a_forged_value_of_a_newer_metric(name: str, place: str, linked_run: Path, call: Call) -> None:
    run, files = FinishedRun.open(linked_run), RunFolder.open(linked_run)
    setting = run.config.settings[0].name
    file = place if place == "metrics.json" else f"{setting}/{place}"
    record = files.read_json(file)
    best = best_epoch(run.histories[setting], run.config.select)["epoch"]
    row = record if place == "metrics.json" else record[best - 1]
    row[name] = 0.99
    files.write_json(file, record)
    code, out, error = call("verify", f"{linked_run}")
    assert code == 1
    assert f"{name} is 0.99" in out + error


def test_a_run_without_the_newer_metrics_is_verified(linked_run: Path, call: Call) -> None:
    files = RunFolder.open(linked_run)
    for file in ("metrics.json", *(f"{name}/history.json" for name in FinishedRun.open(linked_run).histories)):
        record = files.read_json(file)
        for each in record if isinstance(record, list) else [record]:
            for name in NEWER:
                del each[name]
        files.write_json(file, record)
    code, out, error = call("verify", f"{linked_run}")
    assert code == 0, out + error
