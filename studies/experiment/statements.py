"""The statements of predictions.toml as functions of what is kept of a run. Each holds of the printed numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from in4310repro.report.exhibit import original
from studies.published.numbers import RunSummary, SettingSummary

PRINTED_LEVEL = original()["settings"]["test"]["mean_class_accuracy"]


def _settings(run: RunSummary) -> list[float]:
    return [setting["mean_class_accuracy"] for setting in run["settings"].values()]


def _errors(run: RunSummary, place: int) -> float:
    """Return the share of wrong images of a setting, classes in equal parts."""
    return 1 - _settings(run)[place]


def differs_in_a_class(run: RunSummary) -> bool:
    return run["settings"][run["selected"]]["class_accuracy"] != run["test"]["class_accuracy"]


STATEMENTS: dict[str, Callable[[RunSummary], bool]] = {
    "level": lambda run: run["test"]["mean_class_accuracy"] >= PRINTED_LEVEL,
    "order": lambda run: _settings(run)[0] < _settings(run)[1] < _settings(run)[2],
    "first": lambda run: _settings(run)[0] <= 0.9,
    "jump": lambda run: _errors(run, 1) < _errors(run, 0) / 3,
    "two-looks": differs_in_a_class,
    "precision": lambda run: min(run["test"]["average_precision"]) <= 0.98,
}


def printed_as_run() -> RunSummary:
    """Return the printed numbers in the form of a run's, so that the statements can be asked of them."""
    printed = original()["settings"]
    return RunSummary(
        seed=0,
        settings={
            name: cast(SettingSummary, {**printed[name], "epoch": 0, "curve": []}) for name in original()["optimizers"]
        },
        selected=original()["chosen"],
        supports={},
        test=printed["test"],
    )
