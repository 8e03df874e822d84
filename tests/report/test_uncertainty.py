"""Intervals and curves, each against an independent computation."""

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import torch

from in4310repro import metrics
from in4310repro.metrics import wilson
from in4310repro.metrics.scores import Scores
from in4310repro.report.class_exhibits import test_exhibit as exhibit_of_test
from in4310repro.report.score_exhibits import calibration_exhibit
from in4310repro.report.uncertainty import average_precisions, bootstrap, precision_recall_curve
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import read_json
from in4310repro.system.numerics import generator_for


def make_scores(seed: int, images: int = 40, classes: int = 3, decimals: int = 2) -> Scores:
    """Return random scores near the labels, rounded so that ties occur; every class has images."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, images - classes)])
    softmax = generator.random((images, classes)) + 0.7 * np.eye(classes)[labels]
    softmax = (softmax / softmax.sum(axis=1, keepdims=True)).round(decimals).astype(np.float32)
    return Scores(tuple(map(str, range(images))), labels, softmax, loss=0.5)


def resample(scores: Scores, seed: int, draws: int) -> list[list[int]]:
    """Return the image indices of each bootstrap draw, stratified by class."""
    generator = generator_for(seed, "bootstrap of the test set")
    chosen: list[list[int]] = [[] for _ in range(draws)]
    for label in range(scores.softmax.shape[1]):
        images = [image for image, true in enumerate(scores.labels) if true == label]
        for row, places in zip(
            chosen, generator.integers(len(images), size=(draws, len(images))).tolist(), strict=True
        ):
            row += [images[place] for place in places]
    return chosen


def middle_by_sorting(values: Sequence[float]) -> list[float]:
    cut = round(0.025 * len(values))
    kept = sorted(values)[cut : len(values) - cut]
    return [kept[0], kept[-1]]


def test_the_bootstrap_is_a_loop_over_test_sets_measured_by_sklearn() -> None:
    scores, draws = make_scores(0), 80
    found = bootstrap(scores, seed=3, draws=draws)
    precision: list[list[float]] = []
    accuracy: list[float] = []
    for chosen in resample(scores, 3, draws):
        labels, softmax = scores.labels[chosen], scores.softmax[chosen]
        # Each draw has as many images of each class as the test set.
        assert np.bincount(labels).tolist() == np.bincount(scores.labels).tolist()
        precision.append(
            [sklearn.metrics.average_precision_score(labels == label, softmax[:, label]) for label in range(3)]
        )
        accuracy.append(sklearn.metrics.balanced_accuracy_score(labels, softmax.argmax(axis=1)))
    assert found["mean_class_accuracy"] == pytest.approx(middle_by_sorting(accuracy), abs=1e-12)
    assert found["mean_average_precision"] == pytest.approx(
        middle_by_sorting([sum(row) / 3 for row in precision]), abs=1e-12
    )
    for label, interval in enumerate(found["average_precision"]):
        assert interval == pytest.approx(middle_by_sorting([row[label] for row in precision]), abs=1e-12)
    # The wrong twin draws from all images, without regard to class.
    twin = random.Random(3)
    labels = scores.labels[[twin.randrange(40) for _ in range(40)]]
    assert np.bincount(labels, minlength=3).tolist() != np.bincount(scores.labels).tolist()


def test_the_bootstrap_depends_on_its_seed_and_on_no_other_draw() -> None:
    scores = make_scores(1)
    first = bootstrap(scores, 0, draws=60)
    np.random.default_rng(0).random()
    assert bootstrap(scores, 0, draws=60, at_once=7) == first
    assert bootstrap(scores, 1, draws=60) != {**first, "seed": 1}


def test_one_copy_of_each_image_gives_the_average_precision_to_the_bit() -> None:
    for seed, decimals in itertools.product(range(5), (1, 2, 8)):
        scores = make_scores(seed, decimals=decimals)
        expected = metrics.average_precision(torch.from_numpy(scores.labels), torch.from_numpy(scores.softmax)).tolist()
        once = np.ones((1, len(scores.labels)), np.int64)
        found = [average_precisions(scores.labels == label, scores.softmax[:, label], once)[0] for label in range(3)]
        assert found == expected


@pytest.mark.parametrize("decimals", [1, 2, 8])
def test_the_curve_is_that_of_sklearn_where_recall_rises_and_its_area_is_the_average_precision(decimals: int) -> None:
    scores = make_scores(2, decimals=decimals)
    for label in range(3):
        curve = precision_recall_curve(scores, label)
        of_class, column = scores.labels == label, scores.softmax[:, label]
        precision, recall, _ = sklearn.metrics.precision_recall_curve(of_class, column)
        points = list(zip(recall[::-1].tolist(), precision[::-1].tolist(), strict=True))
        rises = [after for before, after in itertools.pairwise(points) if after[0] > before[0]]
        np.testing.assert_allclose(
            list(zip(curve["recall"], curve["precision"], strict=True)), rises, rtol=0, atol=1e-12
        )
        steps = np.diff([0.0, *curve["recall"]])
        area = sklearn.metrics.average_precision_score(of_class, column)
        assert float(np.dot(steps, curve["precision"])) == pytest.approx(area, abs=1e-12)


def test_the_bins_hold_every_image_once_and_make_the_calibration_error() -> None:
    scores = make_scores(4, images=90, decimals=8)
    labels, softmax = torch.from_numpy(scores.labels), torch.from_numpy(scores.softmax)
    bins = metrics.calibration_bins(labels, softmax)
    tops = [
        (max(row), row.index(max(row)) == label) for row, label in zip(softmax.tolist(), labels.tolist(), strict=True)
    ]
    for place, each in enumerate(bins):
        inside = [(top, right) for top, right in tops if place / 15 < top <= (place + 1) / 15]
        assert (each["images"], each["correct"]) == (len(inside), sum(right for _, right in inside))
        if inside:
            assert each["mean_score"] == pytest.approx(sum(top for top, _ in inside) / len(inside), abs=1e-12)
        else:
            assert each["mean_score"] is None
    error = sum(abs(b["correct"] - b["images"] * (b["mean_score"] or 0)) for b in bins) / len(tops)
    assert error == pytest.approx(scores.details()["expected_calibration_error"], abs=1e-12)


def test_the_figures_of_a_run_hold_these_numbers(finished_run: Path, run: FinishedRun) -> None:
    test, drawn = exhibit_of_test(run).numbers, bootstrap(run.scores, run.config.seed)
    assert test["bootstrap"] == {"seed": run.config.seed, "draws": 1000}
    for key in ("average_precision", "mean_class_accuracy", "mean_average_precision"):
        assert test["intervals"][key] == drawn[key]
    right = run.scores.softmax.argmax(axis=1) == run.scores.labels
    assert test["ours"]["accuracy"] == right.mean()
    assert test["intervals"]["accuracy"] == wilson(int(right.sum()), len(right))
    assert test["chance"] == {"class_accuracy": 1 / 6, "average_precision": [1 / 6] * 6}
    recorded = read_json(finished_run / "metrics.json")["class_accuracy"]
    assert test["intervals"]["class_accuracy"] == [wilson(round(2 * share), 2) for share in recorded]
    bins = calibration_exhibit(run).numbers["bins"]
    assert sum(each["images"] for each in bins) == len(right)
