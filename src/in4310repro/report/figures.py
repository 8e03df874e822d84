"""Numbers to pictures by Matplotlib, for the page on the published protocol and for `features`; nothing is computed."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from in4310repro.metrics import Interval
from in4310repro.runs.records import SHOWN
from in4310repro.text import escape, visible

# Each at least 4.5 to 1 against white, and told apart by sign, line or hatching where colours are not seen.
OURS, ORIGINAL, WRONG, OTHER = "#1b6a87", "#7a5c1e", "#a3231c", "#b4551b"
LINES = (OURS, OTHER, "#3d7a3c", "#7c4896", "#444444")
SIGNS = ("o", "s", "^", "D", "v")
WAYS = ((ORIGINAL, "D"), (WRONG, "s"), (OTHER, "^"), (OURS, "o"))  # of measuring: a colour and a sign
HATCHES = ("////", "\\\\\\\\", "")
LONGEST_NAME = 24  # letters that are drawn of it
MOST_SIGNS = 10  # modules that have a sign each, and a legend


class AccuracyRows(TypedDict):
    """Class accuracies and their mean, for each way of measuring a row per run, and the 95 % interval of each."""

    classes: list[str]
    rows: dict[str, list[list[float]]]
    intervals: dict[str, list[list[Interval]]]
    legend: dict[str, str]  # what stands behind the sign of a way


def accuracy_by_protocol(numbers: AccuracyRows) -> Figure:
    """Class accuracies, measured in several ways: a sign for each run, with the interval that its images leave."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplots()
    names = [*map(drawn_name, numbers["classes"]), "mean"]
    width = 0.84 / sum(map(len, numbers["rows"].values()))
    shift = -0.42 + width / 2
    lowest = 1.0
    for (colour, sign), (label, rows) in zip(WAYS, numbers["rows"].items(), strict=True):
        for row, intervals in zip(rows, numbers["intervals"][label], strict=True):
            places = [place + shift for place in range(len(names))]
            away = [[value - low for value, (low, _) in zip(row, intervals, strict=True)],
                    [high - value for value, (_, high) in zip(row, intervals, strict=True)]]  # fmt: skip
            axes.errorbar(places, row, yerr=np.maximum(away, 0), fmt=sign, color=colour, markersize=5, capsize=2.5,
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
    _plain(axes)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def settings(numbers: Mapping[str, Any]) -> Figure:
    """Mean class accuracy after each epoch, the settings one after the other, with the printed values at their ends."""
    figure, axes = _single("mean class accuracy on validation", "epoch, the settings one after the other")
    start = 0
    for position, name in enumerate(numbers["corrected"]["settings"]):
        curves = [
            (run["settings"][name]["curve"], WRONG, "-", "supposed protocol: its training images, a line a seed")
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
        axes.text(start + 1, 0.02, drawn_name(name), fontsize=9)
        start += length
        axes.axvline(start + 0.5, color="#dddddd", linewidth=0.8)
    axes.set_ylim(0, 1.03)
    figure.legend(frameon=False, loc="outside upper left")
    return figure


def shares(numbers: Mapping[str, Mapping[str, float]]) -> Figure:
    """Percent of values that are not positive in each module, a colour and a hatching for each way of counting."""
    figure, axes = _single("values <= 0, %", "")
    names = list(next(iter(numbers.values())))
    ways = zip((ORIGINAL, OTHER, OURS), HATCHES, numbers.items(), strict=True)
    for shift, (colour, hatch, (label, values)) in enumerate(ways):
        places = [place + 0.27 * shift for place in range(len(names))]
        axes.bar(places, list(values.values()), 0.25, color=colour if not hatch else "white", edgecolor=colour,
                 hatch=hatch, label=label)  # fmt: skip
    axes.set_xticks([place + 0.27 for place in range(len(names))], [drawn_name(name) for name in names])
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, ncols=3, loc="upper left")
    return figure


def features(modules: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A bar per module for its non-positive share, in its colour its quantiles, and its spectrum where known."""
    with_spectrum = {name: module["eigenvalues"] for name, module in modules.items() if module.get("eigenvalues")}
    height = max(3.8, 0.26 * len(modules) + 1)
    figure = Figure(figsize=(16 if with_spectrum else 11, height), layout="constrained")
    panels = figure.subplots(1, 3 if with_spectrum else 2, squeeze=False)[0]
    # Of many modules the colour tells the depth, and the order of the bars is the legend.
    shades = LINES if len(modules) <= len(LINES) else colormaps["viridis"](np.linspace(0, 0.95, len(modules)))
    colours = dict(zip(modules, shades, strict=False))
    places = range(len(modules))
    panels[0].barh(places, [100 * module["non_positive"] for module in modules.values()], color=list(colours.values()))
    panels[0].set_yticks(places, [drawn_name(name, 60) for name in modules])
    panels[0].set_xlabel("values <= 0, %")
    panels[0].set_xlim(0, 100)
    for place, (name, module) in enumerate(modules.items()):
        if "activations" in module:
            low, middle, high = (module["activations"]["quantiles"][share] for share in SHOWN)
            panels[1].plot([low, high], [place, place], color=colours[name], linewidth=3)
            panels[1].plot(middle, place, "o", color=colours[name], markeredgecolor="white")
    panels[1].set_yticks(places, [""] * len(modules))
    panels[1].set_xlabel("values: 1 % to 99 %, and the median")
    for axes in panels[:2]:
        axes.set_ylim(len(modules) - 0.4, -0.6)
    for number, (name, values) in enumerate(with_spectrum.items()):
        shown = np.flatnonzero(np.array(values) > 1e-10 * values[0])
        # Ten modules have ten signs: five, and the same five hollow.
        panels[2].semilogy(shown + 1, np.array(values)[shown], f"{SIGNS[number % 5]}-", color=colours[name],
                           markersize=4, label=drawn_name(name, 60),
                           markerfacecolor="white" if number % 10 > 4 else colours[name])  # fmt: skip
    if with_spectrum:
        panels[2].set_xlabel("eigenvalue index")
        panels[2].set_ylabel("eigenvalue")
    if 0 < len(with_spectrum) <= MOST_SIGNS:
        panels[2].legend(frameon=False, fontsize=8)
    for axes in panels:
        _plain(axes)
    return figure


def drawn_name(name: str, longest: int = LONGEST_NAME) -> str:
    """A name as text to draw: no formula, no sign that the font lacks, its middle left out where it is long."""
    drawn = "".join(letter if ord(letter) in _letters() else escape(letter) for letter in visible(name))
    if len(drawn) > longest:
        drawn = f"{drawn[: longest - 8]}\N{HORIZONTAL ELLIPSIS}{drawn[-7:]}"
    # A legend leaves out what is empty or begins with an underscore, and dollars make a formula.
    return (" " if not drawn or drawn.startswith("_") else "") + drawn.replace("$", r"\$")


@functools.cache
def _letters() -> frozenset[int]:
    """The letters that matplotlib's font has."""
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def png(figure: Figure) -> bytes:
    """The figure as a PNG file whose bytes depend on the figure alone."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _single(vertical: str, horizontal: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.set_ylabel(vertical)
    axes.set_xlabel(horizontal)
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
