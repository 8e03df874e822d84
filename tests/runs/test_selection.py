"""Selection on validation, where ties go to the first epoch, and the content of metrics.json."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from in4310repro.metrics.scores import Scores
from in4310repro.metrics.table import SCALARS
from in4310repro.runs.config import Config
from in4310repro.runs.deviations import CORRECTED_PROTOCOL, Protocol, parse
from in4310repro.runs.selection import best_epoch, describe_ties, run_metrics, select, unit
from tests.runs import made_up
from tests.runs.made_up import CONFIG


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
    also = "; epoch 2 of b has the same value, and the first in order was taken"
    assert describe_ties({"b": rows}, "mean_class_accuracy") == also


def test_a_history_of_fits_has_rows_of_fits_and_another_one_of_epochs() -> None:
    fits: Any = [{"epoch": 1, "strength": 10.0}]
    epochs: Any = [{"epoch": 1, "train_loss": 0.5}]
    assert (unit(fits), unit(epochs)) == ("fit", "epoch")


@pytest.mark.parametrize("by", SCALARS)
def test_each_metric_of_the_table_can_select(by: str) -> None:
    """The metric `by` selects epoch 2 of the training "b"; every other metric selects epoch 1 of "a"."""
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


def test_the_record_is_of_the_selected_epoch_and_of_the_scores() -> None:
    made = made_up.records()
    found = run_metrics(CONFIG, made.split, made.histories, made_up.digest("two 2"), made.scores)
    # By hand: the image of class bay and the first of class sea are correct; the second one has equal shares, of
    # which the first class is predicted. Each class's own images have its highest scores.
    assert found == made.metrics


@pytest.mark.parametrize("protocol", [CORRECTED_PROTOCOL, parse("ap-from-logits")], ids=["softmax", "logits"])
def test_unseen_images_are_counted_and_measured_by_the_same_protocol(protocol: Protocol) -> None:
    made = made_up.records()
    config: Config = replace(CONFIG, protocol=protocol)
    # Logits that rank the images of both classes last.
    labels, softmax = np.array([0, 1]), np.array([[0.75, 0.25], [0.25, 0.75]], np.float32)
    unseen = Scores(("a", "b"), labels, softmax, 2.0, logits=np.array([[3, 6], [4, 5]], np.float32))
    logits = np.array([[9, 0], [0, 9], [1, 8]], np.float32)
    found = run_metrics(
        config, made.split, made.histories, made_up.digest("two 2"), replace(made.scores, logits=logits), unseen
    )
    precision = 1.0 if protocol.is_corrected else 0.5
    assert found["unseen"] == {
        "images": 2,
        "loss": 2.0,
        "class_accuracy": [1.0, 1.0],
        "average_precision": [precision, precision],
        "mean_class_accuracy": 1.0,
        "mean_average_precision": precision,
        "macro_f1": 1.0,
        "accuracy": 1.0,
    }
    assert {key: value for key, value in found.items() if key != "unseen"} == made.metrics
