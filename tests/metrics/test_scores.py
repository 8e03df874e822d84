"""Scores: the images at both ends of a ranking, and metrics that need more than the score file contains."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from in4310repro.metrics.calibration import CALIBRATION_BINS, calibration_bins
from in4310repro.metrics.measurement import confusion_matrix, ends
from in4310repro.metrics.scores import top_and_bottom
from tests.builders import made_up_scores


def test_labels_of_small_integers_are_counted_right_for_many_classes() -> None:
    labels = torch.arange(120, dtype=torch.int8)
    assert torch.equal(confusion_matrix(labels, torch.eye(120)), torch.eye(120, dtype=torch.int64))


def test_bounds_of_metrics_refuse_labels_outside_of_the_classes() -> None:
    scores = torch.eye(2)
    with pytest.raises(ValueError, match="label"):
        ends(torch.tensor([0, 5]), scores, scores)


def test_top_and_bottom_by_sorting() -> None:
    scores = made_up_scores()
    oracle = sorted(zip(scores.softmax[:, 2].tolist(), scores.paths, strict=True), reverse=True)
    ends = top_and_bottom(scores, 2)
    assert [(image["score"], image["path"]) for image in ends["top"]] == oracle[:10]
    assert [(image["score"], image["path"]) for image in ends["bottom"]] == oracle[::-1][:10]
    assert ends["top"][0]["label"] == scores.labels[scores.paths.index(ends["top"][0]["path"])]


def test_average_precision_of_logits_is_refused_where_none_were_kept() -> None:
    with pytest.raises(ValueError, match="have no logits; predict again"):
        made_up_scores().metrics(by_logits=True)


def test_average_precision_ranks_logits_where_that_is_the_protocol_and_softmax_otherwise() -> None:
    scores = made_up_scores()
    # Logits that are softmax with a number of its own for each image have the same maxima and another order.
    moved = np.log(scores.softmax) + np.linspace(0, 9, len(scores.labels), dtype=np.float32)[:, None]
    kept = dataclasses.replace(scores, logits=moved)
    plain, ranked = kept.metrics(), kept.metrics(by_logits=True)
    assert plain == scores.metrics()
    by_logits = average_precision_score(scores.labels == 0, moved[:, 0])
    by_softmax = average_precision_score(scores.labels == 0, scores.softmax[:, 0])
    assert ranked["average_precision"][0] == pytest.approx(by_logits, rel=1e-12)
    assert plain["average_precision"][0] == pytest.approx(by_softmax, rel=1e-12) != by_logits
    assert ranked["class_accuracy"] == plain["class_accuracy"]


def test_a_class_without_images_is_refused_unless_it_may_be_left_out() -> None:
    scores = made_up_scores()
    only = dataclasses.replace(scores, labels=np.zeros_like(scores.labels))
    assert len(only.metrics(every_class=False)["class_accuracy"]) == 1
    with pytest.raises(ValueError, match="class 1 has no image"):
        only.metrics()


def test_the_bins_of_calibration_are_equal_parts_of_0_to_1() -> None:
    bins = calibration_bins(torch.tensor([0]), torch.eye(2)[:1])
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    np.testing.assert_allclose([[each["lower"], each["upper"]] for each in bins], np.stack([edges[:-1], edges[1:]], 1))
    assert [each["images"] for each in bins] == [0] * (len(bins) - 1) + [1]
