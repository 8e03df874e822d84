"""Intervals and curves, each against an independent computation."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from scipy.optimize import brentq

from benchmarks import intervals as simulation
from in4310repro import metrics
from in4310repro.metrics import wilson
from in4310repro.metrics.scores import Scores
from in4310repro.report.class_exhibits import test_exhibit as exhibit_of_test
from in4310repro.report.exhibit import Exhibit, to_text
from in4310repro.report.score_exhibits import calibration_exhibit
from in4310repro.report.uncertainty import describe, intervals, precision_recall_curve
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.record_types import RunMetrics
from in4310repro.system.files import read_json


def make_scores(seed: int, images: int = 40, classes: int = 3, decimals: int = 2) -> Scores:
    """Return random scores near the labels, rounded so that ties occur; every class has images."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, images - classes)])
    softmax = generator.random((images, classes)) + 0.7 * np.eye(classes)[labels]
    softmax = (softmax / softmax.sum(axis=1, keepdims=True)).round(decimals).astype(np.float32)
    return Scores(tuple(map(str, range(images))), labels, softmax, loss=0.5)


def measured_by_sklearn(scores: Scores, weights: np.ndarray) -> dict[str, float]:
    labels, softmax = scores.labels, scores.softmax
    each = [
        sklearn.metrics.average_precision_score(labels == label, softmax[:, label], sample_weight=weights)
        for label in range(3)
    ]
    f1 = sklearn.metrics.f1_score(labels, softmax.argmax(axis=1), average="macro", sample_weight=weights)
    return {"0": each[0], "1": each[1], "2": each[2], "mean_average_precision": np.mean(each), "macro_f1": f1}


def intervals_by_sklearn(scores: Scores) -> dict[str, list[float]]:
    """Return the intervals from numeric derivatives by sample weights, and from the roots of the score test."""
    labels, one, step = scores.labels, np.ones(len(scores.labels)), 1e-4
    sizes = np.bincount(labels)
    value = measured_by_sklearn(scores, one)
    variance, curved = dict.fromkeys(value, 0.0), 0.0
    for image, label in enumerate(labels):
        # One image more, and as much less of its whole class.
        change = step * ((np.arange(len(labels)) == image) - (labels == label) / sizes[label])
        up, down = measured_by_sklearn(scores, one + change), measured_by_sklearn(scores, one - change)
        factor = sizes[label] / (sizes[label] - 1)
        for name in value:
            variance[name] += factor * ((up[name] - down[name]) / (2 * step)) ** 2
        curved += factor * (up["macro_f1"] - 2 * value["macro_f1"] + down["macro_f1"]) / step**2 / 2
    # The precision at an image's score, less what it is without the image, in the largest number of images.
    extra = []
    for label in range(3):
        column = scores.softmax[:, label]
        above = [column >= column[image] for image in np.flatnonzero(labels == label)]
        extra.append(np.mean([(labels[each] != label).sum() / each.sum() ** 2 for each in above]))
    excess = {**{str(label): extra[label] for label in range(3)}, "mean_average_precision": np.mean(extra)}
    found = {}
    for name, middle in value.items():
        of = sizes[int(name) : int(name) + 1] if name.isdigit() else sizes
        size = len(of) / sum(1 / of)
        images, share = size * len(of), middle * (1 - middle)
        spread = (size * variance[name] + 16 * share / images) / (size + 16) / share  # of p = 1/2, times four
        low, high = (middle, middle - curved) if name == "macro_f1" else (middle - excess[name], middle)
        found[name] = [
            brentq(lambda p, at=at, s=spread: (at - p) ** 2 - 1.959964**2 * s * p * (1 - p), *ends)
            for at, ends in ((low, (0, low)), (high, (high, 1)))
        ]
    return found


@pytest.mark.parametrize(("seed", "decimals"), [(0, 2), (1, 8)], ids=["tied-scores", "distinct-scores"])
def test_intervals_follow_from_derivatives_by_the_weights_of_images(seed: int, decimals: int) -> None:
    scores = make_scores(seed, decimals=decimals)
    found, expected = intervals(scores), intervals_by_sklearn(scores)
    for label in range(3):
        assert found["average_precision"][label] == pytest.approx(expected[str(label)], abs=1e-6)
    for name in ("mean_average_precision", "macro_f1"):
        assert found[name] == pytest.approx(expected[name], abs=1e-5)
    right = scores.labels[scores.labels == scores.softmax.argmax(axis=1)]
    counts = (np.bincount(each, minlength=3).tolist() for each in (right, scores.labels))
    assert found["mean_class_accuracy"] == metrics.mean_interval(*counts)


@pytest.mark.parametrize("sizes", [[1, 1], [1, 5, 30], [2, 2, 2], [40, 40]])
@pytest.mark.parametrize("shift", [0, 1], ids=["all-right", "all-wrong"])
def test_no_interval_is_a_point_and_each_holds_its_value(sizes: list[int], shift: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    softmax = np.eye(len(sizes), dtype=np.float32)[(labels + shift) % len(sizes)]
    scores = Scores(tuple(map(str, labels)), labels, softmax, 0.0)
    measured: dict[str, Any] = {**scores.metrics()}
    for name, found in intervals(scores).items():
        for value, (low, high) in zip(np.atleast_1d(measured[name]), np.atleast_2d(found), strict=True):
            assert 0 <= low <= value <= high <= 1
            assert high - low > 0.01, name


def test_of_many_images_an_interval_is_that_of_a_bootstrap() -> None:
    scores = make_scores(2, images=900, decimals=8)
    generator, draws = np.random.default_rng(0), list[dict[str, Any]]()
    places = [np.flatnonzero(scores.labels == label) for label in range(3)]
    for _ in range(200):
        chosen = np.concatenate([generator.choice(each, len(each)) for each in places])
        draws.append({**Scores((), scores.labels[chosen], scores.softmax[chosen], 0.0).metrics()})
    found = intervals(scores)
    for name in ("mean_class_accuracy", "mean_average_precision", "macro_f1"):
        low, high = np.quantile([draw[name] for draw in draws], (0.025, 0.975))
        # 200 draws know the ends to a twentieth of the width.
        assert found[name] == pytest.approx([low, high], abs=0.2 * (high - low))


def test_simulated_intervals_hold_the_true_value_and_those_of_before_do_not() -> None:
    found = simulation.measure([5, 5], simulation.STRENGTHS["good"], networks=30, test_sets=10)
    # The standard error of 300 sets is 0.015.
    assert min(found[name] for name in simulation.METRICS) > 0.92
    assert found["bootstrap"] < 0.5
    assert found["MOVER"] < found["mean_class_accuracy"] - 0.02


def test_what_simulation_reached_is_on_the_page_and_in_reports() -> None:
    text = simulation.PAGE.read_text(encoding="utf-8")
    assert simulation.with_table(text) == text
    rows = read_json(simulation.NUMBERS)["rows"]
    assert [(row["sizes"], row["network"]) for row in rows] == list(
        itertools.product(map(list, simulation.DESIGNS), simulation.STRENGTHS)
    )
    for label, name in zip(
        ("mean class accuracy", "macro F1", "mAP", "average precision"), simulation.METRICS, strict=True
    ):
        single = [row[name] for row in rows if sum(row["sizes"]) == len(row["sizes"])]
        several = min(row[name] for row in rows if sum(row["sizes"]) > len(row["sizes"]))
        # The standard error of 500 test sets is 0.01.
        assert several > 0.93 - 0.01
        assert describe().count(f"{int(100 * several)} % ({label})") >= 1
        assert describe().count(f"{int(100 * min(single))} % ({label})") >= 1


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
    exhibit, found = exhibit_of_test(run), intervals(run.scores)
    test = exhibit.numbers
    assert found.items() <= test["intervals"].items()
    assert describe() in to_text(exhibit.caption)
    right = run.scores.softmax.argmax(axis=1) == run.scores.labels
    assert test["ours"]["accuracy"] == right.mean()
    assert test["intervals"]["accuracy"] == wilson(int(right.sum()), len(right))
    assert test["chance"] == {"class_accuracy": 1 / 6, "average_precision": [1 / 6] * 6}
    recorded = read_json(finished_run / "metrics.json")["class_accuracy"]
    assert test["intervals"]["class_accuracy"] == [wilson(round(2 * share), 2) for share in recorded]
    bins = calibration_exhibit(run).numbers["bins"]
    assert sum(each["images"] for each in bins) == len(right)


def test_each_value_stands_beside_its_interval_and_each_row_fits_its_heading(all_exhibits: list[Exhibit]) -> None:
    for each in all_exhibits[:4]:
        assert {len(row) for row in each.table.rows} == {len(each.table.heading)}
    figure = all_exhibits[3]
    ours, ranges, names = figure.numbers["ours"], figure.numbers["intervals"], figure.numbers["classes"]
    columns: list[list[str]] = [[*names, "mean"], [*["2"] * 6, ""]]
    for key, mean in (("class_accuracy", "mean_class_accuracy"), ("average_precision", "mean_average_precision")):
        columns.append([f"{value:.4f}" for value in (*ours[key], ours[mean])])
        columns.append([f"{low:.3f} to {high:.3f}" for low, high in (*ranges[key], ranges[mean])])
    assert [tuple(map(str, row[:6])) for row in figure.table.rows[:7]] == list(zip(*columns, strict=True))
    low, high = ranges["macro_f1"]
    assert f"Macro F1: {ours['macro_f1']:.4f} (95 % {low:.3f} to {high:.3f})" in map(to_text, figure.findings)


def test_the_caption_says_what_was_measured_on_images_never_read_where_training_read_those_of_the_test(
    run: FinishedRun,
) -> None:
    # Older runs recorded no macro F1 and no accuracy.
    unseen: Any = {"images": 36, "mean_class_accuracy": 0.125}
    metrics = RunMetrics(**{**run.metrics, "unseen": unseen})
    caption = to_text(exhibit_of_test(replace(run, metrics=metrics)).caption)
    assert " On the 36 images that it never read, mean class accuracy 0.1250. " in caption


def test_macro_f1_of_images_that_are_all_right_has_the_interval_of_the_mean_class_accuracy() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    found = intervals(Scores(tuple("abcdef"), labels, np.eye(3, dtype=np.float32)[labels], loss=0.5))
    assert found["macro_f1"] == found["mean_class_accuracy"]
