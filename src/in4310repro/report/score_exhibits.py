"""Figures 7 and 12 to 14, on the test scores: ranking, confusion matrix, precision-recall curves and calibration."""

import base64
import math
from collections.abc import Mapping, Sequence
from itertools import groupby, product
from typing import Any

import numpy as np
import torch
from markupsafe import Markup

from in4310repro import metrics
from in4310repro.metrics import Interval, wilson
from in4310repro.metrics.scores import Scores, top_and_bottom
from in4310repro.report import comparisons, markup
from in4310repro.report.exhibit import ABSENT, Cell, Exhibit, FigureTable, Sentence, Source, figure_source
from in4310repro.report.markup import Numbers, Panel, element, join, label, line
from in4310repro.report.uncertainty import precision_recall_curve
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.text import MOST_NAMED

RANKING = 7
WITH_PHOTOGRAPHS = "figure07.svg"  # the drawing that shows them
RANKED = ("glacier", "mountain", "sea")
CELL = 76  # size of a photograph with its gap in the drawing, pixels
LISTED, SHOWN = 100, 10  # number of images of a cell that are named, and of a wrong cell that are shown
IMAGE = '<image href="%s" x="%s" y="%s" width="%s" height="%s"></image>'
MOST_CURVES = 12
BIN = "lower", "upper", "images", "correct", "accuracy", "interval", "mean_score"  # keys of a column each


def ranking_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 7: the test images with the highest and the lowest scores of three classes."""
    scores, classes = run.scores, run.classes
    names = [name for name in RANKED if name in classes] or classes[:3]
    ranked = {name: top_and_bottom(scores, classes.index(name)) for name in names}
    source = figure_source(RANKING, {"classes": classes, "ranked": ranked})
    rows, right, left_out = list[list[Cell]](), list[str](), ""
    for name, sides in ranked.items():
        of_class = scores.softmax[:, classes.index(name)]
        for side, images in sides.items():
            scored = source.below("ranked", name, side)
            for place, image in enumerate(images):
                score = scored.at(place, "score", form=".6f")
                rows.append([name, side, f"{place + 1}", score, classes[image["label"]], image["path"]])
            last = images[-1]["score"]
            if more := int((of_class == last).sum()) - sum(image["score"] == last for image in images):
                end, have = "highest" if side == "top" else "lowest", "image has" if more == 1 else "images have"
                left_out += f" {more} more {have} the last of the {end} scores of {name}."
        of_name = [classes[image["label"]] == name for image in sides["top"]]
        right.append(f"{sum(of_name)} of {len(of_name)} for {name}")
    caption = (
        "Softmax score of the named class, and the true class of each image. Scores that are printed alike stand "
        "in the order of their further digits, equal ones by path."
    )
    return Exhibit(
        source,
        "Highest and lowest scores",
        f"Test images with the highest and lowest scores of {', '.join(names)}",
        (caption, left_out),
        [(f"Of the images with the highest scores of a class, those of that class are {', '.join(right)}",)],
        FigureTable(("score of", "end", "place", "score", "true class", "image"), rows),
        draw_photographs=draw_ranking,
        photographs=list_ranked(source.values),
        counterpart=RANKING,
        remark="The original shows pictures without numbers.",
        last=True,
    )


def list_ranked(numbers: Numbers) -> list[str]:
    """Return the paths of the ranked images in order of appearance, with repetitions."""
    return [image["path"] for sides in numbers["ranked"].values() for images in sides.values() for image in images]


def draw_ranking(numbers: Numbers, photographs: Mapping[str, bytes]) -> Panel:
    """Draw the ten images with the highest and the ten with the lowest scores of each ranked class."""
    parts, y, wide = list[Markup](), 0.0, 0
    for name, sides in numbers["ranked"].items():
        for side, images in sides.items():
            parts.append(label(0, y + 15, f"{markup.shorten(name, 24)}, {side}", "title"))
            wide = max(wide, len(images) * CELL)
            for column, image in enumerate(images):
                x, true, below = column * CELL, numbers["classes"][image["label"]], y + 24 + CELL
                address = "data:image/jpeg;base64," + base64.b64encode(photographs[image["path"]]).decode()
                warning = "" if (true == name) == (side == "top") else "warning"
                parts += [element(IMAGE, address, x, y + 24, CELL - 8, CELL - 8),
                          label(x, below + 6, format_score(image["score"]), "value"),
                          label(x, below + 21, markup.shorten(true, 9), warning)]  # fmt: skip
            y += CELL + 62
    return Panel("Ranking", y, join(parts), wide)


def format_score(score: float) -> str:
    """Format a score with two decimals, or as one digit times a power of ten if it is smaller than 0.01."""
    return f"{score:.2f}" if score >= 0.01 else f"{score:.0e}"


def confusion_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 12: the confusion matrix, and the images of every cell, sorted by falling score."""
    classes, details = run.classes, run.scores.details()
    numbers: dict[str, Any] = {
        "classes": classes,
        "confusion_matrix": details["confusion_matrix"],
        "precision": details["precision"],
        "f1": details["f1"],
        "frequent_mistakes": _frequent_mistakes(classes, details["confusion_matrix"]),
        "images": _images_by_cell(run.scores, classes),
    }
    source, cells = figure_source(12, numbers), list_cells(numbers)
    counts = [source.each("confusion_matrix", true) for true in range(len(classes))]
    return Exhibit(
        source,
        "Confusion matrix",
        "Confusion matrix of the test set",
        ("A row for each true class, a column for each predicted one. Precision is the share of a column that "
         "is right, F1 its harmonic mean with the class accuracy.",),
        [_describe_matrix(source)],
        FigureTable.of(
            ("true class", classes),
            *zip(classes, zip(*counts, strict=True), strict=True),
            *((name, [ABSENT if value is None else source.at(key, true) for true, value in enumerate(numbers[key])])
              for name, key in (("precision", "precision"), ("F1", "f1"))),
        ),
        photographs=list_wrong(cells),
        cells=[each | {"count": counts[each["true"]][each["predicted"]]} for each in cells],
    )  # fmt: skip


def list_cells(numbers: Numbers) -> list[dict[str, Any]]:
    """Return the non-empty cells of a confusion matrix with their images, wrong predictions first."""
    classes, listed = numbers["classes"], []
    for true, seen in sorted(product(range(len(classes)), repeat=2), key=lambda place: place[0] == place[1]):
        names = [classes[true], classes[seen]]
        if images := numbers["images"][names[0]].get(names[1]):
            cell = {"true": true, "predicted": seen, "names": names, "wrong": true != seen}
            listed.append(cell | {"images": images[:LISTED], "more": len(images[LISTED:])})
    return listed


def list_wrong(cells: Sequence[Numbers]) -> list[str]:
    """Return the paths of the images that a page shows of wrong cells."""
    return [image["path"] for cell in cells if cell["wrong"] for image in cell["images"][:SHOWN]]


def _images_by_cell(scores: Scores, classes: Sequence[str]) -> dict[str, Any]:
    """Return the images of each cell, with their top scores, by true class and then by predicted class."""
    predicted, top = scores.softmax.argmax(axis=1), scores.softmax.max(axis=1)
    cells = {name: dict[str, list[Any]]() for name in classes}
    for image in np.lexsort((np.array(scores.paths), -top)):
        listed = cells[classes[scores.labels[image]]].setdefault(classes[predicted[image]], [])
        listed.append({"path": scores.paths[image], "score": float(top[image])})
    return cells


def _frequent_mistakes(classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Return the confusions of a true class with a predicted class that have the most images, and all as frequent ones.

    If one is more frequent than all others, the next ones follow. Each entry has the number of confused images, the
    number of images of the true class, and the 95 % interval of the ratio of these two numbers.
    """
    cells = [(-images, true, seen) for true, row in enumerate(matrix) for seen, images in enumerate(row) if images]
    wrong = sorted(cell for cell in cells if cell[1] != cell[2])
    return [
        {"true": classes[true], "predicted": classes[seen], "images": -count, "of": sum(matrix[true]),
         "interval": wilson(-count, sum(matrix[true]))}
        for count, true, seen in wrong
        if count <= wrong[: 2][-1][0]
    ]  # fmt: skip


def _describe_matrix(source: Source) -> Sentence:
    matrix, mistakes = source.values["confusion_matrix"], source.values["frequent_mistakes"]
    right = sum(row[place] for place, row in enumerate(matrix))
    finding: list[Cell] = [f"{right} of {sum(map(sum, matrix))} images lie on the diagonal"]
    groups = [[*each] for _, each in groupby(range(len(mistakes)), key=lambda place: mistakes[place]["images"])]
    for number, places in enumerate(groups):
        start = ("most frequent mistakes are", "next are") if places[1:] else ("most frequent mistake is", "next is")
        finding += [f"; the {start[number]} ", *_describe_mistakes(source, places)]
    intervals = [each["interval"] for each in mistakes]
    if len(intervals) == 2:
        finding.append(comparisons.describe_overlap(*intervals))
    elif groups[1:] and any(comparisons.describe_overlap(intervals[0], intervals[place]) for place in groups[1]):
        finding.append("; intervals of the most frequent and the next overlap")
    return tuple(finding)


def _describe_mistakes(source: Source, places: Sequence[int]) -> Sentence:
    """Return the equally frequent mistakes at these places of the list; of more than three, their number."""
    each = [source.below("frequent_mistakes", place) for place in places]
    if len(each) > MOST_NAMED:
        plural = "" if each[0].values["images"] == 1 else "s"
        return each[0].say(f"{len(each)} pairs of classes with {{images}} image{plural} each")
    text = "{} taken for {}, {images} of {of} (95 % {interval:.2f})"
    named = [mistake.say(text, mistake.values["true"], mistake.values["predicted"]) for mistake in each]
    return comparisons.join_sentences(named, last=", and ")


def curves_exhibit(run: FinishedRun, intervals: Sequence[Interval] | None) -> Exhibit:
    """Build figure 13: the precision-recall curve of each class.

    Args:
        run: a finished run.
        intervals: intervals of the average precisions from figure 4; None if figure 4 has none.
    """
    classes, supports = run.classes, run.metrics["supports"]["test"]
    numbers = {
        "classes": classes,
        "average_precision": run.metrics["average_precision"],
        **({"intervals": list(intervals)} if intervals else {}),
        "chance": [supports[name] / sum(supports.values()) for name in classes],
        "curves": {name: precision_recall_curve(run.scores, label) for label, name in enumerate(classes)},
    }
    source = figure_source(13, numbers)
    caption = "The area below the steps is the average precision. Chance, dashed, is the share of the class."
    if run.config.protocol.ranks_logits:
        caption = "Curves rank softmax scores, but this protocol's average precision ranks logits, which are not kept."
    if len(classes) > MOST_CURVES:
        caption += (
            f" Drawn are {MOST_CURVES} classes, those of the lowest average precisions and of equal ones the first; "
            "the table has all."
        )
    # The highest recall at which the precision is still 1, if it ever is, and the precision at a recall of 1.
    ends = list[tuple[Cell, Cell]]()
    for name in classes:
        curve = source.below("curves", name)
        precision = curve.values["precision"]
        pure = [place for place, each in enumerate(precision) if each == 1]
        ends.append((curve.at("recall", pure[-1]) if pure else "0", curve.at("precision", len(precision) - 1)))
    text = "{} has an average precision of {}; its precision is 1 up to a recall of {} and {} at full recall"
    precisions = source.each("average_precision", form=".3f")
    of_classes = [
        source.say(text, name, area, *last) for name, area, last in zip(classes, precisions, ends, strict=True)
    ]
    extremes = comparisons.describe_extremes(classes, source, "average_precision", intervals=("intervals",))
    return Exhibit(
        source,
        "Precision and recall",
        "Precision and recall of each class on the test set",
        (caption,),
        [("Average precision: ", *extremes), *of_classes],
        FigureTable.of(
            ("class", classes),
            ("AP", source.each("average_precision")),
            ("chance", source.each("chance")),
            ("recall without an error", [first for first, _ in ends]),
            ("precision at full recall", [last for _, last in ends]),
        ),
        draw=draw_precision_recall,
        of_panels=[of_classes[place] for place in select_curves(numbers)],
    )


def select_curves(numbers: Numbers) -> list[int]:
    """Return the indices of the classes to draw: the 12 with the lowest average precision, or all if fewer."""
    precision = numbers["average_precision"]
    return sorted(sorted(range(len(precision)), key=precision.__getitem__)[:MOST_CURVES])


def _plot(
    heading: str, titles: tuple[str, str], axis: markup.Axis = markup.SHARES
) -> tuple[markup.Scale, markup.Scale, list[Markup]]:
    """Return the scales of a nearly square plot, x from 0 to 1 and y of the axis, and its heading and axes."""
    x, y = markup.Scale(*markup.SHARES, (markup.LEFT, markup.RIGHT - 4)), markup.Scale(*axis, (246.0, 56.0))
    return x, y, [label(0, 15, heading, "title"), markup.axes(markup.LEFT, x, y, titles)]


def draw_precision_recall(numbers: Numbers) -> list[Panel]:
    """Draw the precision-recall curves of the classes chosen by `select_curves`, as steps."""
    panels = []
    for place in select_curves(numbers):
        name, curve = numbers["classes"][place], numbers["curves"][numbers["classes"][place]]
        heading = f"{markup.shorten(name, 28)}: AP {numbers['average_precision'][place]:.3f}"
        x, y, parts = _plot(heading, ("recall", "precision"))
        steps: list[tuple[float, float]] = [(0.0, curve["precision"][0])]
        for recall, precision in zip(curve["recall"], curve["precision"], strict=True):
            steps += [(steps[-1][0], precision), (recall, precision)]
        chance = y(numbers["chance"][place])
        parts += [line(x(0), chance, x(1), chance, "chance"),
                  markup.path([(x(recall), y(precision)) for recall, precision in steps], "l0 bold")]  # fmt: skip
        panels.append(Panel(name, 284, join(parts)))
    return panels


def calibration_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 14: accuracy by top score (confidence) of the network."""
    labels, softmax = torch.from_numpy(run.scores.labels), torch.from_numpy(run.scores.softmax)
    bins: list[dict[str, Any]] = [
        {
            **each,
            "accuracy": each["correct"] / each["images"] if each["images"] else None,
            "interval": wilson(each["correct"], each["images"]) if each["images"] else None,
        }
        for each in metrics.calibration_bins(labels, softmax)
    ]
    correct = sum(each["correct"] for each in bins)
    numbers = {
        "expected_calibration_error": run.scores.details()["expected_calibration_error"],
        "mean_top_score": math.fsum(softmax.double().amax(dim=1).tolist()) / len(labels),
        "accuracy": correct / len(labels),
        "interval": wilson(correct, len(labels)),
        "bins": bins,
    }
    source = figure_source(14, numbers)
    filled = [source.below("bins", place) for place, each in enumerate(bins) if each["images"]]
    headings = "top score above", "up to", "images", "right", "share right", "95 %", "mean top score"
    conclusions = "the network is too unsure", "the network is too sure", comparisons.SAME
    verdict = comparisons.compare_with_interval(numbers["mean_top_score"], numbers["interval"], *conclusions)
    return Exhibit(
        source,
        "Calibration",
        "Reliability of the scores on the test set",
        ("Test images in 15 equal bins of their top score; the share of right ones with its 95 % Wilson "
         "interval, over the mean top score. On the dashed line a score is the share that is right. The "
         "expected calibration error is the mean distance from it, weighted by images (Guo et al., 2017).",),
        [
            source.say("The expected calibration error is {expected_calibration_error:.3f}; {accuracy:share} of the "
                       "images are right (95 % {interval:.2f}), and the mean top score, {mean_top_score:share}, {}",
                       verdict),
            max(filled, key=lambda each: each.values["images"]).say(
                "{images} of {} images have a top score above {lower:share} and up to {upper:share}",
                f"{len(labels)}"),
        ],
        FigureTable.of(*zip(headings, ([each.at(key) for each in filled] for key in BIN), strict=True)),
        draw=draw_reliability,
    )  # fmt: skip


def draw_reliability(numbers: Numbers) -> list[Panel]:
    """Draw accuracy against mean top score for each bin, and the number of images in each bin."""
    filled = [each for each in numbers["bins"] if each["images"]]
    heading = f"Reliability: ECE {numbers['expected_calibration_error']:.3f}"
    x, y, parts = _plot(heading, ("mean top score", "share right"))
    parts.append(line(x(0), y(0), x(1), y(1), "chance"))
    for each in filled:
        place, ends = x(each["mean_score"]), [y(end) for end in each["interval"]]
        parts += [line(place, ends[0], place, ends[1], "range"),
                  *(line(place - 4, end, place + 4, end, "cap") for end in ends)]  # fmt: skip
    parts += [markup.mark(x(each["mean_score"]), y(each["accuracy"]), 0) for each in filled]
    reliability = Panel("Reliability", 284, join(parts))
    axis = markup.axis_around_zero(0, max(each["images"] for each in filled))
    x, y, parts = _plot("Images in each bin", ("top score", "images"), axis)
    for each in filled:
        start, height = x(each["lower"]), y(each["images"])
        parts.append(element(markup.BAR, start + 1, height, x(each["upper"]) - start - 2, 246.0 - height))
    return [reliability, Panel("Images in each bin", 284, join(parts))]
