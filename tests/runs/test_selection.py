"""Selection on validation: the best epoch of any setting, the first of equals."""

from typing import Any

from in4310repro.runs.selection import best_epoch, select


def test_the_setting_with_the_best_epoch_is_selected() -> None:
    histories: Any = {
        "a": [{"epoch": 1, "mean_class_accuracy": 0.8}, {"epoch": 2, "mean_class_accuracy": 0.7}],
        "b": [{"epoch": 1, "mean_class_accuracy": 0.5}, {"epoch": 2, "mean_class_accuracy": 0.75}],
    }
    assert select(histories) == ("a", histories["a"][0])
    by_the_last_epoch = max(histories, key=lambda name: histories[name][-1]["mean_class_accuracy"])
    assert by_the_last_epoch == "b"


def test_the_first_of_equals_is_selected() -> None:
    rows: Any = [{"epoch": 1, "mean_class_accuracy": 0.5}, {"epoch": 2, "mean_class_accuracy": 0.5}]
    assert select({"b": rows, "a": rows}) == ("b", rows[0])
    assert best_epoch(rows) == rows[0]
