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
from in4310repro.metrics.scores import top_and_bottom
from in4310repro.report import exhibit, markup
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
BIN = {"lower": "top score above", "upper": "up to", "images": "images", "correct": "right"}  # keys -> headings
BIN |= {"accuracy": "share right", "interval": "95 %", "mean_score": "mean top score"}


def ranking_exhibit(run: FinishedRun) -> Exhibit:
    """Build figure 7: the test images with the highest and the lowest scores of three classes."""
    scores, classes = run.scores, run.classes
    names = [name for name in RANKED if name in classes] or classes[:3]
    ranked = {name: top_and_bottom(scores, classes.index(name)) for name in names}
    source = figure_source(RANKING, {"classes": classes, "ranked": ranked})
    rows, right, left_out = list[list[Any]](), list[str](), ""
    for name, sides in ranked.items():
        of_class = scores.softmax[:, classes.index(name)]
        for side, images in sides.items():
            for place, image in enumerate(images):
                score = source.at("ranked", name, side, place, "score", form=".6f")
                rows.append([name, side, f"{place + 1}", score, classes[image["label"]], image["path"]])
            last = images[-1]["score"]
            if more := int((of_class == last).sum()) - sum(image["score"] == last for image in images):
                left_out += (
                    f" {more} more {'image has' if more == 1 else 'images have'} the last of the "
                    f"{'highest' if side == 'top' else 'lowest'} scores of {name}."
                )
        of_name = [classes[image["label"]] == name for image in sides["top"]]
        right.append(f"{sum(of_name)} of {len(of_name)} for {name}")
    caption = "Softmax score of the named class, and the true class of each image. Scores that are printed alike stand "
    return Exhibit(
        source,
        "Highest and lowest scores",
        f"Test images with the highest and lowest scores of {', '.join(names)}",
        (f"{caption}in the order of their further digits, equal ones by path.", left_out),
        [(f"Of the images with the highest scores of a class, those of that class are {', '.join(right)}",)],
        FigureTable(("score of", "end", "place", "score", "true class", "image"), rows),
        draw_photographs=draw_ranking,
        photographs=[row[-1] for row in rows],
        counterpart=RANKING,
        remark="The original shows pictures without numbers.",
        last=True,
    )


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
    classes, scores, details = run.classes, run.scores, run.scores.details()
    predicted, top = scores.softmax.argmax(axis=1), scores.softmax.max(axis=1)
    images = {name: dict[str, Any]() for name in classes}  # by true class, then by predicted class
    for image in np.lexsort((np.array(scores.paths), -top)):
        listed = images[classes[scores.labels[image]]].setdefault(classes[predicted[image]], [])
        listed.append({"path": scores.paths[image], "score": float(top[image])})
    numbers: Any = {
        "classes": classes,
        "confusion_matrix": details["confusion_matrix"],
        "precision": details["precision"],
        "f1": details["f1"],
        "frequent_mistakes": _frequent_mistakes(classes, details["confusion_matrix"]),
        "images": images,
    }
    source, cells, size = figure_source(12, numbers), list[Any](), range(len(classes))
    counts = [source.each("confusion_matrix", true) for true in size]
    # Wrong predictions come first.
    for true, seen in sorted(product(size, repeat=2), key=lambda place: place[0] == place[1]):
        if found := images[classes[true]].get(classes[seen]):
            cell = {"true": true, "predicted": seen, "names": [classes[true], classes[seen]], "wrong": true != seen}
            cell |= {"images": found[:LISTED], "more": len(found[LISTED:]), "count": counts[true][seen]}
            cells.append(cell)
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
        photographs=[image["path"] for cell in cells if cell["wrong"] for image in cell["images"][:SHOWN]],
        cells=cells,
    )  # fmt: skip


def _frequent_mistakes(classes: Sequence[str], matrix: Sequence[Sequence[int]]) -> list[Numbers]:
    """Return the confusions of a true class with a predicted class that have the most images, and all as frequent ones.

    If one is more frequent than all others, the next ones follow. Each entry has the number of confused images, the
    number of images of the true class, and the 95 % interval of the ratio of these two numbers.
    """
    wrong = sorted(
        (-images, true, seen)
        for true, row in enumerate(matrix)
        for seen, images in enumerate(row)
        if images and true != seen
    )
    return [
        {"true": classes[true], "predicted": classes[seen], "images": -count, "of": sum(matrix[true]),
         "interval": wilson(-count, sum(matrix[true]))}
        for count, true, seen in wrong
        if count <= wrong[:2][-1][0]
    ]  # fmt: skip


def _describe_matrix(source: Source) -> Sentence:
    matrix, mistakes = source.values["confusion_matrix"], source.values["frequent_mistakes"]
    finding: list[Cell] = [f"{np.trace(matrix):,} of {np.sum(matrix):,} images lie on the diagonal"]
    groups = [[*each] for _, each in groupby(range(len(mistakes)), key=lambda place: mistakes[place]["images"])]
    for number, places in enumerate(groups):
        each = [source.below("frequent_mistakes", place) for place in places]
        text = "{} taken for {}, {images} of {of} (95 % {interval:.2f})"
        named = [mistake.say(text, mistake.values["true"], mistake.values["predicted"]) for mistake in each]
        said = exhibit.join_sentences(named, last=", and ")
        if len(each) > MOST_NAMED:
            one = each[0].values["images"] == 1
            said = each[0].say(f"{len(each)} pairs of classes with {{images}} image{'' if one else 's'} each")
        subject = "next" if number else f"most frequent mistake{'s' if each[1:] else ''}"
        finding += [f"; the {subject} {'are' if each[1:] else 'is'} ", *said]
    overlap = [exhibit.describe_overlap(mistakes[0]["interval"], each["interval"]) for each in mistakes[1:]]
    if len(overlap) == 1:
        finding += overlap
    elif groups[1:] and any(overlap):
        finding.append("; intervals of the most frequent and the next overlap")
    return tuple(finding)


def curves_exhibit(run: FinishedRun, intervals: Sequence[Interval] | None) -> Exhibit:
    """Build figure 13: the precision-recall curve of each class.

    Args:
        run: a finished run.
        intervals: intervals of the average precisions from figure 4; None if figure 4 has none.
    """
    classes, sizes = run.classes, run.class_sizes("test")
    numbers = {
        "classes": classes,
        "average_precision": run.metrics["average_precision"],
        **({"intervals": intervals} if intervals else {}),
        "chance": [size / sum(sizes) for size in sizes],
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
    pure, full = list[Cell](), list[Cell]()
    for name in classes:
        curve = source.below("curves", name)
        precision = curve.values["precision"]
        places = [place for place, each in enumerate(precision) if each == 1]
        pure.append(curve.at("recall", places[-1]) if places else "0")
        full.append(curve.at("precision", len(precision) - 1))
    text = "{} has an average precision of {}; its precision is 1 up to a recall of {} and {} at full recall"
    columns = zip(classes, source.each("average_precision", form=".3f"), pure, full, strict=True)
    of_classes = [source.say(text, *cells) for cells in columns]
    extremes = exhibit.describe_extremes(classes, source, "average_precision", intervals=("intervals",))
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
            ("recall without an error", pure),
            ("precision at full recall", full),
        ),
        draw_precision_recall(numbers),
        of_panels=[of_classes[place] for place in select_curves(numbers)],
    )


def select_curves(numbers: Numbers) -> list[int]:
    """Return the indices of the classes to draw: the 12 with the lowest average precision, or all if fewer."""
    precision = numbers["average_precision"]
    return sorted(sorted(range(len(precision)), key=precision.__getitem__)[:MOST_CURVES])


def _plot(heading: str, titles: markup.Titles, axis: markup.Axis = markup.SHARES) -> tuple[Any, ...]:
    """Return the scales of a nearly square plot, x from 0 to 1 and y of the axis, and its heading and axes."""
    x, y = markup.Scale(*markup.SHARES, (markup.LEFT, markup.RIGHT - 4)), markup.Scale(*axis, (246.0, 56.0))
    return x, y, [label(0, 15, heading, "title"), markup.axes(markup.LEFT, x, y, titles)]


def draw_precision_recall(numbers: Numbers) -> list[Panel]:
    """Draw the precision-recall curves of the classes chosen by `select_curves`, as steps."""
    panels = []
    for place in select_curves(numbers):
        name = numbers["classes"][place]
        curve = numbers["curves"][name]
        heading = f"{markup.shorten(name, 28)}: AP {numbers['average_precision'][place]:.3f}"
        x, y, parts = _plot(heading, ("recall", "precision"))
        steps = [(0.0, curve["precision"][0])]
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
    bins: Any = [
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
    conclusions = "the network is too unsure", "the network is too sure", exhibit.SAME
    return Exhibit(
        source,
        "Calibration",
        "Reliability of the scores on the test set",
        ("Test images in 15 equal bins of their top score; the share of right ones with its 95 % Wilson "
         "interval, over the mean top score. On the dashed line a score is the share that is right. The "
         "expected calibration error is the mean distance from it, weighted by images (Guo et al., 2017).",),
        [
            source.say("The expected calibration error is {expected_calibration_error:.3f}; {accuracy:.2f} of the "
                       "images are right (95 % {interval:.2f}), and the mean top score, {mean_top_score:.2f}, {}",
                       exhibit.compare_with_interval(numbers["mean_top_score"], numbers["interval"], *conclusions)),
            max(filled, key=lambda each: each.values["images"]).say(
                "{images} of {} images have a top score above {lower:.2f} and up to {upper:.2f}",
                f"{len(labels):,}"),
        ],
        FigureTable.of(*((heading, [each.at(key) for each in filled]) for key, heading in BIN.items())),
        draw_reliability(numbers),
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
