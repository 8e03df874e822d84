"""Figures 12 to 14, on the test scores: confusion matrix, precision-recall curves and calibration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from in4310repro import metrics
from in4310repro.metrics import Interval, wilson
from in4310repro.metrics.scores import Scores
from in4310repro.report.charts import MOST_CURVES
from in4310repro.report.exhibit import (
    SAME,
    Cell,
    Exhibit,
    FigureTable,
    Sentence,
    Source,
    compare_with_interval,
    describe_extremes,
    describe_overlap,
    figure_source,
    fill,
)
from in4310repro.report.uncertainty import precision_recall_curve
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.text import MOST_NAMED

CONFUSION, CURVES, CALIBRATION = 12, 13, 14


def confusion_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 12: the confusion matrix, and the images of every cell, sorted by falling score."""
    classes, details = run.classes, run.scores.details()
    numbers = {
        "classes": classes,
        "confusion_matrix": details["confusion_matrix"],
        "precision": details["precision"],
        "f1": details["f1"],
        "frequent_mistakes": _frequent_mistakes(classes, details["confusion_matrix"]),
        "images": _images_by_cell(run.scores, classes),
    }
    source, places = figure_source(CONFUSION, numbers), range(len(classes))
    rows = tuple(
        (
            classes[true],
            *(source.at("confusion_matrix", true, predicted, form="d") for predicted in places),
            *(source.at(key, true) if details[key][true] is not None else "-" for key in ("precision", "f1")),
        )
        for true in places
    )
    return Exhibit(
        number=CONFUSION,
        short="Confusion matrix",
        title="Confusion matrix of the test set",
        caption=("A row for each true class, a column for each predicted one. Precision is the share of a column that "
                 "is right, F1 its harmonic mean with the class accuracy.",),
        numbers=numbers,
        findings=(_mistakes_finding(source, numbers),),
        table=FigureTable(heading=("true class", *classes, "precision", "F1"), rows=rows),
    )  # fmt: skip


def _images_by_cell(scores: Scores, classes: Sequence[str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the images of each cell of the confusion matrix, with their top scores.

    The result is indexed by true class, then by predicted class.
    """
    predicted = scores.softmax.argmax(axis=1)
    top = scores.softmax.max(axis=1)
    cells: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in classes}
    for image in np.lexsort((np.array(scores.paths), -top)):
        listed = cells[classes[scores.labels[image]]].setdefault(classes[predicted[image]], [])
        listed.append({"path": scores.paths[image], "score": float(top[image])})
    return cells


def _frequent_mistakes(classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Return the confusions of a true class with a predicted class that have the most images, and all as frequent ones.

    If one is more frequent than all others, the next ones follow. Each entry has the number of confused images, the
    number of images of the true class, and the 95 % interval of the ratio of these two numbers.
    """
    places = range(len(classes))
    wrong = sorted((-matrix[t][p], t, p) for t in places for p in places if t != p and matrix[t][p])
    return [
        {"true": classes[true], "predicted": classes[predicted], "images": -count, "of": sum(matrix[true]),
         "interval": wilson(-count, sum(matrix[true]))}
        for count, true, predicted in wrong
        if count <= wrong[min(1, len(wrong) - 1)][0]
    ]  # fmt: skip


def _mistakes_finding(source: Source, numbers: Mapping[str, Any]) -> Sentence:
    matrix, mistakes = numbers["confusion_matrix"], numbers["frequent_mistakes"]
    right = sum(row[place] for place, row in enumerate(matrix))
    finding: list[Cell] = [f"{right} of {sum(map(sum, matrix))} images lie on the diagonal"]
    most = [place for place, each in enumerate(mistakes) if each["images"] == mistakes[0]["images"]]
    following = list(range(len(most), len(mistakes)))
    if mistakes:
        start = "mistake is" if len(most) == 1 else "mistakes are"
        finding += [f"; the most frequent {start} ", *_describe_mistakes(source, mistakes, most)]
    if following:
        start = "is" if len(following) == 1 else "are"
        finding += [f"; the next {start} ", *_describe_mistakes(source, mistakes, following)]
    if len(mistakes) == 2:
        return (*finding, describe_overlap(*(each["interval"] for each in mistakes)))
    first: list[Interval] = [mistakes[place]["interval"] for place in most]
    if following and any(describe_overlap(first[0], mistakes[place]["interval"]) for place in following):
        finding.append("; intervals of the most frequent and the next overlap")
    return tuple(finding)


def _describe_mistakes(source: Source, mistakes: Sequence[Mapping[str, Any]], places: Sequence[int]) -> Iterator[Cell]:
    """Yield the equally frequent mistakes at these places of the list; of more than three, their number."""
    if len(places) > MOST_NAMED:
        yield f"{len(places)} pairs of classes with "
        yield source.at("frequent_mistakes", places[0], "images", form="d")
        yield " image each" if mistakes[places[0]]["images"] == 1 else " images each"
        return
    for number, place in enumerate(places, start=1):
        yield f"{mistakes[place]['true']} taken for {mistakes[place]['predicted']}, "
        yield from (source.at("frequent_mistakes", place, "images", form="d"), " of ")
        yield from (source.at("frequent_mistakes", place, "of", form="d"), " (95 % ")
        yield source.at("frequent_mistakes", place, "interval", form=".2f")
        yield ")" if number == len(places) else "), " if number < len(places) - 1 else "), and "


def curves_exhibit(run: FinishedRun, intervals: Sequence[Interval] | None) -> Exhibit:
    """Build figure 13: the precision-recall curve of each class.

    Args:
        run: a finished run.
        intervals: intervals of the average precisions from figure 4; None if figure 4 has none.
    """
    classes, supports = run.classes, run.metrics["supports"]["test"]
    images = sum(supports.values())
    numbers = {
        "classes": classes,
        "average_precision": run.metrics["average_precision"],
        **({"intervals": list(intervals)} if intervals else {}),
        "chance": [supports[name] / images for name in classes],
        "curves": {name: precision_recall_curve(run.scores, label) for label, name in enumerate(classes)},
    }
    source = figure_source(CURVES, numbers)
    caption = "The area below the steps is the average precision. Chance, dashed, is the share of the class."
    if run.config.protocol.ranks_logits:
        caption = "Curves rank softmax scores, but this protocol's average precision ranks logits, which are not kept."
    if len(classes) > MOST_CURVES:
        caption += (
            f" Drawn are {MOST_CURVES} classes, those of the lowest average precisions and of equal ones the first; "
            "the table has all."
        )
    rows = tuple(
        (name, source.at("average_precision", label), source.at("chance", label), *_find_ends(source, name))
        for label, name in enumerate(classes)
    )
    return Exhibit(
        number=CURVES,
        short="Precision and recall",
        title="Precision and recall of each class on the test set",
        caption=(caption,),
        numbers=numbers,
        findings=(
            ("Average precision: ", *describe_extremes(classes, source, "average_precision", intervals=("intervals",))),
            *(_curve_finding(source, name, label) for label, name in enumerate(classes)),
        ),
        table=FigureTable(heading=("class", "AP", "chance", "recall without an error", "precision at full recall"),
                          rows=rows),
    )  # fmt: skip


def _find_ends(source: Source, name: str) -> tuple[Cell, Cell]:
    """Return the highest recall at which the precision is still 1, and the precision at a recall of 1.

    The first is "0" if the precision is never 1.
    """
    curve = source.values["curves"][name]
    pure = [place for place, precision in enumerate(curve["precision"]) if precision == 1]
    last = len(curve["precision"]) - 1
    first: Cell = source.at("curves", name, "recall", pure[-1]) if pure else "0"
    return first, source.at("curves", name, "precision", last)


def _curve_finding(source: Source, name: str, label: int) -> Sentence:
    text = "{} has an average precision of {}; its precision is 1 up to a recall of {} and {} at full recall"
    return fill(text, name, source.at("average_precision", label, form=".3f"), *_find_ends(source, name))


def calibration_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 14: accuracy by top score (confidence) of the network."""
    labels, softmax = torch.from_numpy(run.scores.labels), torch.from_numpy(run.scores.softmax)
    bins = metrics.calibration_bins(labels, softmax)
    correct = sum(each["correct"] for each in bins)
    error = run.scores.details()["expected_calibration_error"]
    with_intervals: list[dict[str, Any]] = [
        {**each, "accuracy": each["correct"] / each["images"], "interval": wilson(each["correct"], each["images"])}
        if each["images"]
        else {**each, "accuracy": None, "interval": None}
        for each in bins
    ]
    numbers: dict[str, Any] = {
        "expected_calibration_error": error,
        "mean_top_score": math.fsum(softmax.double().amax(dim=1).tolist()) / len(labels),
        "accuracy": correct / len(labels),
        "interval": wilson(correct, len(labels)),
        "bins": with_intervals,
    }
    source = figure_source(CALIBRATION, numbers)
    return Exhibit(
        number=CALIBRATION,
        short="Calibration",
        title="Reliability of the scores on the test set",
        caption=("Test images in 15 equal bins of their top score; the share of right ones with its 95 % Wilson "
                 "interval, over the mean top score. On the dashed line a score is the share that is right. The "
                 "expected calibration error is the mean distance from it, weighted by images (Guo et al., 2017).",),
        numbers=numbers,
        findings=_calibration_findings(source, numbers),
        table=FigureTable(
            heading=("top score above", "up to", "images", "right", "share right", "95 %", "mean top score"),
            rows=tuple(_bin_row(source, place) for place, each in enumerate(bins) if each["images"]),
        ),
    )  # fmt: skip


def _bin_row(source: Source, place: int) -> tuple[Cell, ...]:
    return (
        *(source.at("bins", place, key, form=".4f") for key in ("lower", "upper")),
        *(source.at("bins", place, key, form="d") for key in ("images", "correct")),
        source.at("bins", place, "accuracy"),
        source.at("bins", place, "interval", form=".3f"),
        source.at("bins", place, "mean_score"),
    )


def _calibration_findings(source: Source, numbers: Mapping[str, Any]) -> tuple[Sentence, Sentence]:
    """Return two sentences: one comparing mean top score and accuracy, one on the bin with the most images."""
    fullest = max(range(len(numbers["bins"])), key=lambda place: numbers["bins"][place]["images"])
    place = compare_with_interval(
        numbers["mean_top_score"],
        numbers["interval"],
        below="the network is too unsure",
        above="the network is too sure",
        within=SAME,
    )
    first = fill(
        "The expected calibration error is {}; {} of the images are right (95 % {}), and the mean top score, {}, {}",
        source.at("expected_calibration_error", form=".3f"),
        *(source.at("accuracy", form="share"), source.at("interval", form=".2f")),
        *(source.at("mean_top_score", form="share"), place),
    )
    images = source.at("bins", fullest, "images", form="d")
    ends = (source.at("bins", fullest, end, form="share") for end in ("lower", "upper"))
    total = sum(each["images"] for each in numbers["bins"])
    return first, fill("{} of {} images have a top score above {} and up to {}", images, str(total), *ends)
