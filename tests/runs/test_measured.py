"""The content of metrics.json: the selected epoch, the images of each class, and the metrics of the scores."""

from dataclasses import replace

import numpy as np
import pytest

from in4310repro.metrics.scores import Scores
from in4310repro.runs.config import Config
from in4310repro.runs.deviations import CORRECTED_PROTOCOL, Protocol, parse
from in4310repro.runs.selection import run_metrics
from tests.runs import made_up
from tests.runs.made_up import CONFIG


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
