"""Matplotlib figures of the page on the published numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from in4310repro.metrics import Interval
from in4310repro.report.figures import ORIGINAL, OTHER, OURS, WRONG, drawable_name, simplify
from in4310repro.runs.deviations import PUBLISHED, parse

WAYS = ((ORIGINAL, "D"), (WRONG, "s"), (OTHER, "^"), (OURS, "o"))  # colour and sign of each way of measuring
HATCHES = ("////", "\\\\\\\\", "")


class AccuracyRows(TypedDict):
    """Class accuracies and their mean, with 95 % intervals: one row per run, for each protocol and image set."""

    classes: list[str]
    rows: dict[str, list[list[float]]]
    intervals: dict[str, list[list[Interval]]]
    legend: dict[str, str]  # text of each way of measuring in the legend


def draw_accuracies(numbers: AccuracyRows) -> Figure:
    """Draw class accuracies by protocol, with a marker and a 95 % interval for each run."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplots()
    names = [*map(drawable_name, numbers["classes"]), "mean"]
    width = 0.84 / sum(map(len, numbers["rows"].values()))
    shift = -0.42 + width / 2
    lowest = 1.0
    for (colour, sign), (label, rows) in zip(WAYS, numbers["rows"].items(), strict=True):
        for row, intervals in zip(rows, numbers["intervals"][label], strict=True):
            places = [place + shift for place in range(len(names))]
            lengths = [[value - low for value, (low, _) in zip(row, intervals, strict=True)],
                       [high - value for value, (_, high) in zip(row, intervals, strict=True)]]  # fmt: skip
            axes.errorbar(places, row, yerr=np.maximum(lengths, 0), fmt=sign, color=colour, markersize=5, capsize=2.5,
                          markerfacecolor="white" if sign == "D" else colour)  # fmt: skip
            shift += width
            lowest = min(lowest, *(low for low, _ in intervals))
        axes.plot([], [], sign, color=colour, label=numbers["legend"][label],
                  markerfacecolor="white" if sign == "D" else colour)  # fmt: skip
    for place in range(1, len(names)):
        axes.axvline(place - 0.5, color="#dddddd", linewidth=0.8)
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(math.floor(20 * lowest) / 20, 1.01)
    axes.set_ylabel("accuracy, 95 % interval")
    simplify(axes)
    _draw_legend(figure, "outside upper center", columns=2)
    return figure


def draw_settings(numbers: Mapping[str, Any]) -> Figure:
    """Draw mean class accuracy by epoch, with the training settings side by side.

    Dotted lines are the published values.
    """
    figure, axes = _make_axes("mean class accuracy", "epoch, the settings one after the other")
    start = 0
    for position, name in enumerate(numbers["corrected"]["settings"]):
        curves = [
            (run["settings"][name]["curve"], WRONG, "-", "supposed protocol: its training images, one line per seed")
            for run in numbers["published"]
        ]
        curves.append((numbers["corrected"]["settings"][name]["curve"], OURS, "--", "corrected protocol: other images"))
        length = len(curves[0][0])
        for place, (curve, colour, style, label) in enumerate(curves):
            first = position == 0 and place in (0, len(curves) - 1)
            axes.plot(range(start + 1, start + length + 1), curve, color=colour, linestyle=style, linewidth=1.2,
                      label=label if first else None)  # fmt: skip
        printed = list(numbers["printed"].values())[position]["mean_class_accuracy"]
        axes.plot([start + 1, start + length], [printed] * 2, color=ORIGINAL, linestyle=":", linewidth=2.5,
                  label=None if position else "as printed")  # fmt: skip
        axes.text(start + 1, 0.02, drawable_name(name), fontsize=9)
        start += length
        axes.axvline(start + 0.5, color="#dddddd", linewidth=0.8)
    axes.set_ylim(0, 1.03)
    _draw_legend(figure, "outside upper left", columns=1)
    return figure


def _draw_legend(figure: Figure, place: Any, columns: int) -> None:
    """Draw the legend of a figure with results of the supposed protocol, below the red label of such results."""
    legend = figure.legend(loc=place, ncols=columns, frameon=False, title=parse(PUBLISHED).label, alignment="left")
    legend.get_title().set(color=WRONG, fontweight="bold")


def draw_shares(numbers: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw the percentage of values <= 0 in each module as three bars: published, corrected for padding, measured.

    `numbers` maps the label of each kind of bar to a dict from module name to percentage. Each kind of bar has
    its own colour and hatching.
    """
    figure, axes = _make_axes("values <= 0, %", "")
    names = list(next(iter(numbers.values())))
    ways = zip((ORIGINAL, OTHER, OURS), HATCHES, numbers.items(), strict=True)
    for shift, (colour, hatch, (label, values)) in enumerate(ways):
        places = [place + 0.27 * shift for place in range(len(names))]
        axes.bar(places, list(values.values()), 0.25, color=colour if not hatch else "white", edgecolor=colour,
                 hatch=hatch, label=label)  # fmt: skip
    axes.set_xticks([place + 0.27 for place in range(len(names))], [drawable_name(name) for name in names])
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, ncols=3, loc="upper left")
    return figure


def _make_axes(vertical: str, horizontal: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.set_ylabel(vertical)
    axes.set_xlabel(horizontal)
    simplify(axes)
    return figure, axes
