"""Drawings of the report's figures as SVG panels, from the numbers in each figure's JSON file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from in4310repro.report import row_charts
from in4310repro.report.feature_exhibits import INDEX, exponents_of, find_drawn_indices
from in4310repro.report.markup import (
    LEFT,
    MARKS,
    RIGHT,
    SHARES,
    Panel,
    Scale,
    axes,
    element,
    join,
    label,
    legend,
    line,
    linear,
    mark,
    path,
    shorten,
    ticks_from_zero,
)

Points = list[tuple[float, float]]

MOST_CURVES = 12
# Of figure 5, by their keys in history.json; a run has the last one by a deviation.
LOSSES = {"train_loss": "training", "val_loss": "validation", "test_loss": "test"}
LONGEST_NAME = 40  # letters of a line of the legend
PLOT = 170  # height of a plot


def draw_panels(number: int, numbers: Mapping[str, Any]) -> list[Panel]:
    """Return the panels of a figure in order; an empty list for figures 7 and 12, which are tables.

    Raises:
        ValueError: the figure has no drawing.
    """
    if number not in DRAWINGS:
        raise ValueError(f"figure {number} has no drawing; add one to DRAWINGS in report/charts.py")
    return DRAWINGS[number](numbers)


def list_points(number: int, numbers: Mapping[str, Any]) -> dict[str, Points]:
    """Return the (x, y) points of each line of figure 5, 6 or 9 to 11, by the line's name."""
    if number == 5:
        named = {name: numbers[key] for key, name in LOSSES.items() if key in numbers}
        return {name: list(zip(numbers["epoch"], values, strict=True)) for name, values in named.items()}
    if number == 6:
        curves = numbers["mean_class_accuracy"]
        return {name: list(zip(numbers["epoch"], values, strict=False)) for name, values in curves.items()}
    return {
        name: [(place + 1, values[place]) for place in find_drawn_indices(values)]
        for name, values in numbers["eigenvalues"].items()
    }


def _draw_losses(numbers: Mapping[str, Any]) -> list[Panel]:
    points = list_points(5, numbers)
    top = max(value for line_ in points.values() for _, value in line_)
    ticks = ticks_from_zero(top)
    return [
        _draw_lines(
            "Loss", points, (0.0, max(top, ticks[-1][0])), ticks, (_axis_title(numbers), "cross-entropy per image")
        )
    ]


def _draw_accuracies(numbers: Mapping[str, Any]) -> list[Panel]:
    axes = (_axis_title(numbers), "mean class accuracy")
    return [_draw_lines("Mean class accuracy", list_points(6, numbers), (0.0, 1.0), SHARES, axes, numbers["selected"])]


def _axis_title(numbers: Mapping[str, Any]) -> str:
    return "fit, from a strong penalty to a weak one" if "strength" in numbers else str(numbers.get("row", "epoch"))


def _draw_spectra(numbers: Mapping[str, Any]) -> list[Panel]:
    points = {
        name: [(place, math.log10(value)) for place, value in line_ if value > 0]
        for name, line_ in list_points(9, numbers).items()
    }
    low, high = numbers.get("exponents") or exponents_of(list(numbers["eigenvalues"].values()))
    step = max(1, math.ceil((high - low) / 6))
    high = low + step * math.ceil((high - low) / step)
    ticks = [(float(power), f"10{_superscript(power)}") for power in range(low, high + 1, step)]
    return [_draw_lines("Spectrum", points, (float(low), float(high)), ticks, (INDEX, "eigenvalue"))]


def _superscript(power: int) -> str:
    return str(power).translate(
        str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
    )


def _draw_lines(
    title: str,
    points: Mapping[str, Points],
    domain: tuple[float, float],
    ticks: Sequence[tuple[float, str]],
    titles: tuple[str, str],
    selected: str | None = None,
) -> Panel:
    signs, height = legend([shorten(name, LONGEST_NAME) for name in points], 14)
    top = height + 32.0
    bottom = top + PLOT
    places = [place for line_ in points.values() for place, _ in line_]
    last = max([*places, 2])
    step = math.ceil(last / 10)
    x = linear((1, last), (LEFT + 8, RIGHT - 8), [(n, str(n)) for n in range(1, int(last) + 1) if (n - 1) % step == 0])
    y = linear(domain, (bottom, top), ticks)
    parts = [signs, axes(LEFT, top, bottom, x, y, titles)]
    for style, (name, line_) in enumerate(points.items()):
        shown = [(x.pixel(place), y.pixel(value)) for place, value in line_]
        if shown:
            again, bold = " again" if style % (2 * MARKS) >= MARKS else "", " bold" if name == selected else ""
            parts.append(path(shown, f"l{style % MARKS}{again}{bold}"))
        parts += [mark(*point, style) for point in shown]
    return Panel(title, bottom + 38, join(parts))


def _unit_axes(titles: tuple[str, str], top: float) -> tuple[Scale, Scale, Markup]:
    """Return the x scale and y scale of a nearly square plot, both from 0 to 1, and the drawing of their axes."""
    bottom = top + 190
    x, y = linear((0, 1), (LEFT, RIGHT - 4), SHARES), linear((0, 1), (bottom, top), SHARES)
    return x, y, axes(LEFT, top, bottom, x, y, titles)


def draw_precision_recall(numbers: Mapping[str, Any]) -> list[Panel]:
    """Draw the precision-recall curves of the classes chosen by `select_curves`, as steps."""
    return [_curve(numbers, place) for place in select_curves(numbers)]


def select_curves(numbers: Mapping[str, Any]) -> list[int]:
    """Return the indices of the classes to draw: the 12 with the lowest average precision, or all if fewer."""
    precision = numbers["average_precision"]
    lowest = sorted(range(len(precision)), key=lambda place: precision[place])[:MOST_CURVES]
    return sorted(lowest)


def _curve(numbers: Mapping[str, Any], place: int) -> Panel:
    name, curve = numbers["classes"][place], numbers["curves"][numbers["classes"][place]]
    x, y, frame = _unit_axes(("recall", "precision"), 56.0)
    steps: list[tuple[float, float]] = [(0.0, curve["precision"][0])]
    for recall, precision in zip(curve["recall"], curve["precision"], strict=True):
        steps += [(steps[-1][0], precision), (recall, precision)]
    chance = y.pixel(numbers["chance"][place])
    title = f"{shorten(name, 28)}: AP {numbers['average_precision'][place]:.3f}"
    parts = [label(0, 15, title, "title"), frame, line(LEFT, chance, RIGHT - 4, chance, "chance"),
             path([(x.pixel(recall), y.pixel(precision)) for recall, precision in steps], "l0 bold")]  # fmt: skip
    return Panel(name, 284, join(parts))


def draw_reliability(numbers: Mapping[str, Any]) -> list[Panel]:
    """Draw accuracy against mean top score for each bin, and the number of images in each bin."""
    filled = [each for each in numbers["bins"] if each["images"]]
    x, y, frame = _unit_axes(("mean top score", "share right"), 56.0)
    parts = [label(0, 15, f"Reliability: ECE {numbers['expected_calibration_error']:.3f}", "title"), frame,
             line(x.pixel(0), y.pixel(0), x.pixel(1), y.pixel(1), "chance")]  # fmt: skip
    for each in filled:
        place, (low, high) = x.pixel(each["mean_score"]), map(y.pixel, each["interval"])
        parts += [line(place, low, place, high, "range"),
                  *(line(place - 4, end, place + 4, end, "cap") for end in (low, high))]  # fmt: skip
    parts += [mark(x.pixel(each["mean_score"]), y.pixel(each["accuracy"]), 0) for each in filled]
    return [Panel("Reliability", 284, join(parts)), _counts(numbers["bins"])]


def _counts(bins: Sequence[Mapping[str, Any]]) -> Panel:
    top, bottom = 56.0, 246.0
    ticks = ticks_from_zero(max(each["images"] for each in bins))
    x = linear((0, 1), (LEFT, RIGHT - 4), SHARES)
    y = linear((0, ticks[-1][0]), (bottom, top), ticks)
    parts = [label(0, 15, "Images in each bin", "title"), axes(LEFT, top, bottom, x, y, ("top score", "images"))]
    for each in bins:
        if each["images"]:
            start, end, height = x.pixel(each["lower"]), x.pixel(each["upper"]), y.pixel(each["images"])
            parts.append(
                element("rect", x=start + 1, y=height, width=end - start - 2, height=bottom - height, class_="bar")
            )
    return Panel("Images in each bin", 284, join(parts))


def _draw_nothing(_: Mapping[str, Any]) -> list[Panel]:
    return []


# Of each figure, by its number; a table has none.
DRAWINGS: dict[int, Callable[[Mapping[str, Any]], list[Panel]]] = {
    **dict.fromkeys((1, 2, 3, 4), row_charts.draw_class_metrics),
    5: _draw_losses,
    6: _draw_accuracies,
    7: _draw_nothing,
    8: row_charts.draw_sparsity,
    **dict.fromkeys((9, 10, 11), _draw_spectra),
    12: _draw_nothing,
    13: draw_precision_recall,
    14: draw_reliability,
    15: row_charts.draw_activations,
}
