"""A report's sentences that compare two values claim no more than their intervals allow."""

from collections.abc import Sequence
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
from in4310repro.report.feature_exhibits import activation_exhibit, spectrum_exhibits
from in4310repro.report.page import exhibits
from in4310repro.report.score_exhibits import calibration_exhibit, confusion_exhibit, curves_exhibit
from in4310repro.report.verdict import describe_selection_and_test
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.selection import select


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
        "c is lowest at 0.70 (95 % 0.600 to 0.790), its interval overlaps that of a; "
        "b is highest at 0.90 (95 % 0.800 to 0.950), its interval overlaps that of a"
    )
    numbers["intervals"][2] = [0.6, 0.81]
    said = to_text(describe_extremes(["a", "b", "c"], figure_source(4, numbers), "accuracy", intervals=("intervals",)))
    assert said.endswith("; their intervals overlap")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.9328, 0.9961, 0.9331], "from 0.93 (a and c when rounded) to 1.00 (b)"),
        ([0.7, 0.9, 0.8], "from 0.70 (a) to 0.90 (b)"),
        ([0.701, 0.702, 0.703], "all are at 0.70 when rounded"),
        ([0.7, 0.7, 0.7], "all are at 0.70"),
        ([0.7, 0.9, 0.7, 0.7, 0.7], "from 0.70 (4 classes) to 0.90 (b)"),
    ],
)
def test_values_without_intervals_get_their_range_and_no_verdict(values: list[float], words: str) -> None:
    source = figure_source(1, {"precision": values})
    assert to_text(describe_extremes("abcde"[: len(values)], source, "precision", intervals=("absent",))) == words


LOW, HIGH = [0.0, 0.1], [0.9, 1.0]


@pytest.mark.parametrize(
    ("values", "intervals", "words"),
    [
        ([1.0, 0.0, 1.0], [HIGH, LOW, HIGH], "b is lowest at 0.00 (95 % 0.000 to 0.100); a and c are highest at 1.00 "
         "(95 % 0.900 to 1.000)"),
        ([0.0, 0.0, 0.0, 0.0, 1.0], [*[LOW] * 4, HIGH], "4 classes are lowest at 0.00 (95 % 0.000 to 0.100); e is "
         "highest at 1.00 (95 % 0.900 to 1.000)"),
        ([0.996, 1.0, 0.5], [HIGH, [0.95, 1.0], [0.4, 0.6]], "c is lowest at 0.50 (95 % 0.400 to 0.600); a and b are "
         "highest at 1.00 when rounded (95 % 0.900 to 1.000 and 0.950 to 1.000)"),
        ([0.0, 0.0], [LOW, [0.0, 0.2]], "all are at 0.00 (95 % 0.000 to 0.100 and 0.000 to 0.200)"),
        ([0.501, 0.504], [[0.4, 0.6]] * 2, "all are at 0.50 when rounded (95 % 0.400 to 0.600)"),
        ([0.5] * 6, [[0.4, 0.6], [0.3, 0.7]] * 3, "all are at 0.50 (95 % intervals within 0.300 to 0.700)"),
        ([0.1, 0.1, 0.2, 0.3], [[0.0, 0.25]] * 4, "a and b are lowest at 0.10 (95 % 0.000 to 0.250), their intervals "
         "overlap that of c; d is highest at 0.30 (95 % 0.000 to 0.250), its interval overlaps that of c; intervals of "
         "the lowest and the highest overlap"),
        ([0.1, 0.2, 0.2, 0.2, 0.2, 0.3], [LOW, *[[0.05, 0.4]] * 4, [0.2, 0.5]], "a is lowest at 0.10 (95 % 0.000 to "
         "0.100), its interval overlaps 4 other classes; f is highest at 0.30 (95 % 0.200 to 0.500), its interval "
         "overlaps 4 other classes"),
    ],
)  # fmt: skip
def test_all_values_that_are_printed_like_the_lowest_or_the_highest_are_named(
    values: list[float], intervals: list[list[float]], words: str
) -> None:
    source = figure_source(4, {"accuracy": values, "intervals": intervals})
    names = "abcdef"[: len(values)]
    assert to_text(describe_extremes(names, source, "accuracy", intervals=("intervals",))) == words


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


def test_the_ends_of_a_precision_recall_curve_stand_in_the_table_and_in_a_sentence(run: FinishedRun) -> None:
    sea = [0.9, 0.8, 0.7, 0.6, 0.65]
    paths = tuple(f"{place}.png" for place in range(5))
    softmax = np.array([[share, 1 - share] for share in sea], np.float32)
    scores = Scores(paths=paths, labels=np.array([0, 0, 1, 0, 1]), softmax=softmax, loss=1.0)
    # By falling score sea is right, right, wrong, wrong, right; street is wrong, right, right.
    precisions: Any = {"average_precision": [(1 + 1 + 3 / 5) / 3, (1 / 2 + 2 / 3) / 2]}
    metrics: Any = {**run.metrics, **precisions, "classes": ["sea", "street"]}
    metrics["supports"] = {"test": {"sea": 3, "street": 2}}
    exhibit = curves_exhibit(replace(run, scores=scores, metrics=metrics), [[0.5, 0.9], [0.3, 0.8]])
    assert [[str(cell) for cell in row] for row in exhibit.table.rows] == [
        ["sea", "0.8667", "0.6000", "0.6667", "0.6000"],
        ["street", "0.5833", "0.4000", "0", "0.6667"],
    ]
    assert "sea is highest at 0.87 (95 % 0.500 to 0.900)" in to_text(exhibit.findings[0])
    assert to_text(exhibit.findings[1]).endswith("precision is 1 up to a recall of 0.6667 and 0.6000 at full recall")


def test_the_most_frequent_mistake_stands_beside_the_next_with_their_intervals(run: FinishedRun) -> None:
    exhibit = confusion_exhibit(make_run(run, 180, 166, 0.9))
    (mistake,) = exhibit.numbers["frequent_mistakes"]
    assert (mistake["images"], mistake["of"]) == (14, 14)
    assert "street taken for sea, 14 of 14" in to_text(exhibit.findings[0])
    real = confusion_exhibit(run)
    first, second = (each["interval"] for each in real.numbers["frequent_mistakes"])
    common = first[0] <= second[1] and second[0] <= first[1]
    assert ("their intervals overlap" in to_text(real.findings[0])) == common


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[5, 2, 0], [0, 5, 2], [1, 0, 5]], "; the most frequent mistakes are a taken for b, 2 of 7 (95 % 0.08 to "
         "0.64), and b taken for c, 2 of 7 (95 % 0.08 to 0.64); their intervals overlap"),
        ([[5, 3, 0], [1, 5, 0], [1, 0, 5]], "; the most frequent mistake is a taken for b, 3 of 8 (95 % 0.14 to "
         "0.69); the next are b taken for a, 1 of 6 (95 % 0.03 to 0.56), and c taken for a, 1 of 6 (95 % 0.03 to "
         "0.56); intervals of the most frequent and the next overlap"),
        ([[5, 1, 1], [1, 5, 0], [1, 0, 5]], "; the most frequent mistakes are 4 pairs of classes with 1 image each"),
        ([[5, 0, 0], [0, 5, 0], [2, 0, 5]], "; the most frequent mistake is c taken for a, 2 of 7 (95 % 0.08 to 0.64)"),
        ([[5, 0, 0], [0, 5, 0], [0, 0, 5]], ""),
    ],
)  # fmt: skip
def test_equally_frequent_mistakes_are_named_together(matrix: list[list[int]], words: str, run: FinishedRun) -> None:
    pairs = [(true, seen) for true in range(3) for seen in range(3) for _ in range(matrix[true][seen])]
    labels, predicted = map(np.array, zip(*pairs, strict=True))
    scores = Scores(tuple(map(str, range(len(pairs)))), labels, np.eye(3, dtype=np.float32)[predicted], 1.0)
    metrics: Any = {**run.metrics, "classes": ["a", "b", "c"]}
    exhibit = confusion_exhibit(replace(run, scores=scores, metrics=metrics))
    assert to_text(exhibit.findings[0]) == f"15 of {len(pairs)} images lie on the diagonal{words}"


def with_rows(run: FinishedRun, **values: Sequence[tuple[float, float]]) -> FinishedRun:
    """Return a run whose settings have these validation losses and mean class accuracies, a pair for each epoch."""
    histories: Any = {
        name: [
            {**run.histories[name][0], "epoch": epoch, "val_loss": loss, "mean_class_accuracy": accuracy}
            for epoch, (loss, accuracy) in enumerate(pairs, start=1)
        ]
        for name, pairs in values.items()
    }
    selected, row = select(histories, run.config.select)
    metrics: Any = {**run.metrics, "setting": selected, "epoch": row["epoch"]}
    settings = tuple(each for each in run.config.settings if each.name in values)
    config = replace(run.config, settings=settings, epochs=len(next(iter(values.values()))))
    return replace(run, histories=histories, metrics=metrics, config=config)


def test_epochs_and_settings_of_equal_validation_are_named_beside_the_one_that_was_taken(run: FinishedRun) -> None:
    tied = with_rows(run, adamw=[(0.3, 0.5), (0.2, 0.9), (0.20001, 0.9)], sgd=[(0.4, 0.9), (0.5, 0.1), (0.6, 0.1)])
    also = "; epoch 3 of adamw and epoch 1 of sgd have the same value, and the first in order was taken."
    assert describe_selection_and_test(tied)[0].endswith(f"was selected: adamw, epoch 2{also}")
    figures = exhibits(tied)
    by_number = {each.number: each for each in figures}
    assert also in to_text(by_number[6].caption)
    assert (
        to_text(by_number[6].findings[0])
        == "adamw reaches 0.9000 first after epoch 2; sgd reaches 0.9000 after epoch 1"
    )
    assert "Weights of epoch 2 of 3, the first of 2 equally good ones by" in to_text(by_number[1].caption)
    assert "Weights of epoch 1 of 3, the best by" in to_text(by_number[2].caption)
    loss = to_text(by_number[5].findings[0])
    assert loss.startswith("The validation loss is lowest, 0.2000 when rounded, after epochs 2 and 3 of 3; ")
    alone = with_rows(run, adamw=[(0.3, 0.5), (0.2, 0.9)], sgd=[(0.4, 0.8), (0.5, 0.1)])
    assert describe_selection_and_test(alone)[0].endswith("was selected: adamw, epoch 2.")
    flat = with_rows(run, adamw=[(0.3, 0.5)] * 5)
    assert describe_selection_and_test(flat)[0].endswith(
        "adamw, epoch 1; 4 others have the same value, and the first in order was taken."
    )
    (loss,) = [to_text(each.findings[0]) for each in exhibits(flat) if each.number == 5]
    assert loss.startswith("The validation loss is lowest, 0.3000, after 5 epochs of 5; ")


def test_equal_scores_that_a_ranking_cuts_off_are_counted(run: FinishedRun) -> None:
    images = len(run.scores.labels)
    flat = replace(run.scores, softmax=np.full((images, 6), 1 / 6, np.float32))
    one = replace(flat, softmax=flat.softmax.copy())
    one.softmax[:2] = [[0.5], [0.1]]
    for scores, more in ((run.scores, ""), (flat, f" {images - 10} more images have"), (one, " 1 more image has")):
        (caption,) = [to_text(each.caption) for each in exhibits(replace(run, scores=scores)) if each.number == 7]
        for end in ("highest", "lowest"):
            assert (f"{more} the last of the {end} scores of sea." in caption) == bool(more)
        assert ("more image" in caption) == bool(more)


@pytest.mark.parametrize(
    ("spectra", "words"),
    [
        ({"a": [4.0, 1.0], "b": [4.0, 2.0]}, "a and b have the largest eigenvalue, 4; a falls most, from 4 to 1"),
        ({"a": [4.001, 1.0], "b": [4.002, 2.0]}, "a and b have the largest eigenvalue, 4 when rounded; a falls "
         "most, from 4 to 1"),
        ({"a": [4.0, 1.0], "b": [4 + 1e-10, 2.0]}, "a and b have the largest eigenvalue, 4 when rounded; a falls "
         "most, from 4 to 1"),
        ({"a": [4.0, 1.0], "b": [2.0, 0.5]}, "a has the largest eigenvalue, 4; a and b fall most, by equal factors"),
        ({"a": [4.0, 1e-17], "b": [2.0, 0.0], "c": [1.0, 0.9]}, "a has the largest eigenvalue, 4; a and b fall "
         "most, below 1e-10 of their first"),
        ({"a": [0.0, 0.0], "b": [0.0, 0.0]}, "a and b have the largest eigenvalue, 0"),
        ({"a": [2.0], "b": [1.0]}, "a has the largest eigenvalue, 2"),
    ],
)  # fmt: skip
def test_equal_spectra_and_spectra_that_do_not_fall_get_no_winner(
    spectra: dict[str, list[float]], words: str, run: FinishedRun
) -> None:
    features: Any = {"network": "resnet18", "spectra_mode": "eval"}
    modules = {name: {"eigenvalues": values} for name, values in spectra.items()}
    features["sets"] = [{"name": "digits", "images": 9, "modules": modules}]
    (exhibit,) = spectrum_exhibits(replace(run, features=features))
    assert to_text(exhibit.findings[0]) == f"On these images {words}"


@pytest.mark.parametrize(("of_b", "words"), [(2, "a and b have"), (1, "a has")])
def test_modules_of_equal_shares_of_silent_channels_are_named_together(of_b: int, words: str, run: FinishedRun) -> None:
    quantiles = {"0.01": -1.0, "0.5": 0.0, "0.99": 2.0}
    channels = {"a": (1, 4), "b": (of_b, 8), "c": (1, 8)}
    modules = {
        name: {"channels": all_, "activations": {"quantiles": quantiles, "never_positive": [*range(silent)]}}
        for name, (silent, all_) in channels.items()
    }
    features: Any = {"network": "resnet18", "sets": [{"name": "digits", "images": 9, "modules": modules}]}
    exhibit = activation_exhibit(replace(run, features=features))
    assert exhibit
    said = f"digits: {words} the largest share of channels that are never positive, 1 of 4"
    assert [*map(to_text, exhibit.findings)] == [said]


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
    config = replace(run.config, settings=(run.config.setting(selected),))
    alone = replace(run, histories={selected: run.histories[selected]}, config=config)
    (figure,) = [each for each in exhibits(alone) if each.number == 6]
    assert len(figure.findings) == 1
