"""Drawings of the report's figures as SVG panels, from the numbers in each figure's JSON file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from in4310repro.report import curve_charts, row_charts
from in4310repro.report.spectrum_exhibits import INDEX, exponents_of, find_drawn_indices
from in4310repro.report.svg import (
    LEFT,
    MARKS,
    RIGHT,
    SHARES,
    Panel,
    axes,
    join,
    legend,
    linear,
    mark,
    path,
    shorten,
    ticks_from_zero,
)

Points = list[tuple[float, float]]

LONGEST_NAME = 40  # letters of a line of the legend
PLOT = 170  # height of a plot


def draw_panels(number: int, numbers: Mapping[str, Any]) -> list[Panel]:
    """Return the panels of a figure in the order of its findings; an empty list for the tables, figures 7 and 12."""
    drawn: dict[int, Callable[[Mapping[str, Any]], list[Panel]]] = {
        5: _draw_losses,
        6: _draw_accuracies,
        7: _draw_nothing,
        8: row_charts.draw_sparsity,
        9: _draw_spectra,
        10: _draw_spectra,
        11: _draw_spectra,
        12: _draw_nothing,
        13: curve_charts.draw_precision_recall,
        14: curve_charts.draw_reliability,
        15: row_charts.draw_activations,
    }
    return drawn.get(number, row_charts.draw_class_metrics)(numbers)


def list_points(number: int, numbers: Mapping[str, Any]) -> dict[str, Points]:
    """Return the (x, y) points of each line of figure 5, 6 or 9 to 11, by the line's name."""
    if number == 5:
        named = {"training": numbers["train_loss"], "validation": numbers["val_loss"]}
        return {name: list(zip(numbers["epoch"], values, strict=True)) for name, values in named.items()}
    if number == 6:
        curves = numbers["mean_class_accuracy"]
        return {name: list(zip(numbers["epoch"], values, strict=False)) for name, values in curves.items()}
    return {
        name: [(place + 1, values[place]) for place in find_drawn_indices(values)]
        for name, values in numbers["eigenvalues"].items()
    }


def _draw_nothing(_numbers: Mapping[str, Any]) -> list[Panel]:
    return []


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
    return "fit, from a strong penalty to a weak one" if "strength" in numbers else "epoch"


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
