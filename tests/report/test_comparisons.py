"""A report's sentences that compare two values claim no more than their intervals allow."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from in4310repro.metrics.scores import Scores
from in4310repro.report.exhibit import (
    SAME,
    Exhibit,
    compare_with_interval,
    describe_extremes,
    describe_overlap,
    figure_source,
    to_text,
)
from in4310repro.report.exhibits import exhibits
from in4310repro.report.score_exhibits import calibration_exhibit, confusion_exhibit
from in4310repro.runs.finished import FinishedRun


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.87, SAME),
        (0.95, SAME),
        (0.869, "lies below its interval: too unsure"),
        (0.951, "lies above its interval: too sure"),
    ],
)
def test_a_verdict_follows_from_a_value_outside_of_the_interval_alone(value: float, words: str) -> None:
    said = compare_with_interval(value, [0.87, 0.95], "too unsure", "too sure", SAME)
    assert words in said
    assert ("too" in said) == (words != SAME)


@pytest.mark.parametrize(("second", "common"), [([0.4, 0.6], True), ([0.5, 0.9], True), ([0.51, 0.9], False)])
def test_overlapping_intervals_are_named_and_no_verdict_follows(second: list[float], common: bool) -> None:
    said = describe_overlap([0.3, 0.5], second)
    assert ("overlap" in said) == ("overlap" in describe_overlap(second, [0.3, 0.5])) == common
    assert SAME not in said


def test_the_lowest_and_the_highest_stand_with_their_intervals() -> None:
    numbers: dict[str, Any] = {"accuracy": [0.8, 0.9, 0.7], "intervals": [[0.7, 0.85], [0.8, 0.95], [0.6, 0.79]]}
    said = to_text(describe_extremes(["a", "b", "c"], figure_source(4, numbers), "accuracy", intervals=("intervals",)))
    assert said == (
        "c is lowest at .70 (95 % 0.600 to 0.790), its interval overlaps that of a; "
        "b is highest at .90 (95 % 0.800 to 0.950), its interval overlaps that of a"
    )
    numbers["intervals"][2] = [0.6, 0.81]
    said = to_text(describe_extremes(["a", "b", "c"], figure_source(4, numbers), "accuracy", intervals=("intervals",)))
    assert said.endswith("; their intervals overlap")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.9328, 0.9961, 0.9331], "from .93 (a, c) to 1.00 (b)"),  # printed alike: neither is called the lowest
        ([0.7, 0.9, 0.8], "from .70 (a) to .90 (b)"),
        ([0.701, 0.702, 0.703], "all are at .70"),
        ([0.7, 0.7, 0.7], "all are at .70"),
        ([0.7, 0.9, 0.7, 0.7, 0.7], "from .70 (4 of them) to .90 (b)"),
    ],
)
def test_values_without_intervals_get_their_range_and_no_verdict(values: list[float], words: str) -> None:
    source = figure_source(1, {"precision": values})
    assert to_text(describe_extremes("abcde"[: len(values)], source, "precision", intervals=("absent",))) == words


def make_run(run: FinishedRun, images: int, right: int, top: float) -> FinishedRun:
    """Return a two-class run in which the first class has score `top` in every image."""
    labels = np.array([0] * right + [1] * (images - right))
    softmax = np.tile(np.array([top, 1 - top], np.float32), (images, 1))
    paths = tuple(f"{number}.png" for number in range(images))
    scores = Scores(paths=paths, labels=labels, softmax=softmax, loss=1.0)
    metrics: Any = {**run.metrics, "classes": ["sea", "street"]}
    return replace(run, scores=scores, metrics=metrics)


@pytest.mark.parametrize(
    ("images", "right", "top", "verdict"),
    [
        (180, 166, 0.8905, SAME),  # as the demo
        (2000, 1846, 0.925, SAME),  # .9230
        (2000, 1846, 0.95, "the network is too sure"),
        (2000, 1846, 0.90, "the network is too unsure"),
    ],
)
def test_calibration_is_judged_where_the_scores_leave_the_interval_of_the_share_right(
    images: int, right: int, top: float, verdict: str, run: FinishedRun
) -> None:
    exhibit = calibration_exhibit(make_run(run, images, right, top))
    low, high = exhibit.numbers["interval"]
    said = to_text(exhibit.findings[0])
    assert said.endswith(verdict)
    assert (low <= exhibit.numbers["mean_top_score"] <= high) == (verdict == SAME) == ("too" not in said)
    assert f"(95 % {low:.2f} to {high:.2f})" in said


def test_the_most_frequent_mistake_stands_beside_the_next_with_their_intervals(run: FinishedRun) -> None:
    exhibit = confusion_exhibit(make_run(run, 180, 166, 0.9))
    (mistake,) = exhibit.numbers["frequent_mistakes"]
    assert (mistake["images"], mistake["of"]) == (14, 14)
    assert "street taken for sea, 14 of 14" in to_text(exhibit.findings[0])
    real = confusion_exhibit(run)
    first, second = (each["interval"] for each in real.numbers["frequent_mistakes"])
    common = first[0] <= second[1] and second[0] <= first[1]
    assert ("their intervals overlap" in to_text(real.findings[0])) == common


def test_other_settings_are_held_against_the_interval_of_the_selected_one(
    run: FinishedRun, all_exhibits: list[Exhibit]
) -> None:
    figure = all_exhibits[5]
    selected, (low, high) = figure.numbers["selected"], figure.numbers["interval"]
    said = to_text(figure.findings[1])
    others = {name: value for name, value in figure.numbers["accuracy"].items() if name != selected}
    assert len(others) == 2
    for name, value in others.items():
        of_setting = said.split(f"; {name}, ")[1].split(";")[0]
        assert ("lies within its interval" in of_setting) == (low <= value <= high)
    assert SAME not in said  # the settings were measured on the same images
    config = replace(run.config, settings=(run.config.training.setting(selected),))
    alone = replace(run, histories={selected: run.histories[selected]}, config=config)
    (figure,) = [each for each in exhibits(alone) if each.number == 6]
    assert len(figure.findings) == 1
