"""Selection on validation: the best epoch of all settings; ties go to the first."""

from dataclasses import replace
from typing import Any

import pytest

from in4310repro.metrics.table import SCALARS
from in4310repro.runs.selection import best_epoch, select


def test_the_setting_with_the_best_epoch_is_selected() -> None:
    histories: Any = {
        "a": [{"epoch": 1, "mean_class_accuracy": 0.8}, {"epoch": 2, "mean_class_accuracy": 0.7}],
        "b": [{"epoch": 1, "mean_class_accuracy": 0.5}, {"epoch": 2, "mean_class_accuracy": 0.75}],
    }
    assert select(histories, "mean_class_accuracy") == ("a", histories["a"][0])
    by_the_last_epoch = max(histories, key=lambda name: histories[name][-1]["mean_class_accuracy"])
    assert by_the_last_epoch == "b"


def test_the_first_of_equals_is_selected() -> None:
    rows: Any = [{"epoch": 1, "mean_class_accuracy": 0.5}, {"epoch": 2, "mean_class_accuracy": 0.5}]
    assert select({"b": rows, "a": rows}, "mean_class_accuracy") == ("b", rows[0])
    assert best_epoch(rows, "mean_class_accuracy") == rows[0]


@pytest.mark.parametrize("by", SCALARS)
def test_each_metric_of_the_table_can_select(by: str) -> None:
    """All other metrics prefer another setting and epoch."""
    worse, better = (0.25, 0.75) if SCALARS[by].higher_is_better else (0.75, 0.25)
    others = {name: better for name in SCALARS if name != by}
    histories: Any = {
        "a": [{"epoch": 1, **others, by: worse}, {"epoch": 2, **others, by: worse}],
        "b": [{"epoch": 1, **others, by: worse}, {"epoch": 2, **dict.fromkeys(others, worse), by: better}],
    }
    assert select(histories, by) == ("b", histories["b"][1])
    for other in others:
        assert select(histories, other) == ("a", histories["a"][0])


def test_a_metric_of_which_less_is_better_selects_the_lowest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCALARS, "error", replace(SCALARS["accuracy"], name="error", higher_is_better=False))
    rows: Any = [{"epoch": epoch, "error": error} for epoch, error in enumerate((0.5, 0.25, 0.25), start=1)]
    assert best_epoch(rows, "error") == rows[1]
