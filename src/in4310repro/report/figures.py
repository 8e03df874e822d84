"""Numbers to pictures by Matplotlib, for the page on the published protocol and for `features`; nothing is computed."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from in4310repro.runs.records import SHOWN
from in4310repro.text import escape, visible

OURS, ORIGINAL, WRONG = "#1f6f8b", "#c9b28f", "#b3261e"
LINES = ("#1f6f8b", "#d1783c", "#5b8c5a", "#8a5a9e", "#444444")
LONGEST_NAME = 24  # letters that are drawn of it


class AccuracyBars(TypedDict):
    """Class accuracies and their mean, for each way of measuring a row per run."""

    classes: list[str]
    bars: dict[str, list[list[float]]]


def accuracy_by_protocol(numbers: AccuracyBars) -> Figure:
    """Class accuracies, measured in several ways: the mean over the runs, and a line from the lowest to the highest."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    axes = figure.subplots()
    names = [*map(drawn_name, numbers["classes"]), "mean"]
    width = 0.8 / len(numbers["bars"])
    for shift, (colour, (label, rows)) in enumerate(
        zip((ORIGINAL, WRONG, LINES[1], OURS), numbers["bars"].items(), strict=True)
    ):
        columns = list(zip(*rows, strict=True))
        means = [sum(column) / len(column) for column in columns]
        spread = [
            [m - min(c) for m, c in zip(means, columns, strict=True)],
            [max(c) - m for m, c in zip(means, columns, strict=True)],
        ]
        places = [place + shift * width for place in range(len(names))]
        axes.bar(
            places, means, width, color=colour, label=label, yerr=spread if len(rows) > 1 else None, ecolor="#333333"
        )
        axes.text(places[-1], 0.5, f"{means[-1]:.4f}", ha="center", va="center", rotation=90, color="white", fontsize=9)
    axes.set_xticks([place + 1.5 * width for place in range(len(names))], names)
    axes.set_ylim(0, 1.06)
    axes.set_ylabel("accuracy")
    _plain(axes)
    figure.legend(loc="outside upper center", ncols=len(numbers["bars"]), frameon=False)
    return figure


def settings(numbers: Mapping[str, Any]) -> Figure:
    """Mean class accuracy after each epoch, the settings one after the other, with the printed values at their ends."""
    figure, axes = _single("mean class accuracy on validation", "epoch, the settings one after the other")
    start = 0
    for position, name in enumerate(numbers["corrected"]["settings"]):
        curves = [
            (run["settings"][name]["curve"], WRONG, "published protocol: the images that it trains on")
            for run in numbers["published"]
        ]
        curves.append((numbers["corrected"]["settings"][name]["curve"], OURS, "corrected protocol: other images"))
        length = len(curves[0][0])
        for place, (curve, colour, label) in enumerate(curves):
            first = position == 0 and place in (0, len(curves) - 1)
            axes.plot(
                range(start + 1, start + length + 1), curve, color=colour, linewidth=1.1, label=label if first else None
            )
        printed = list(numbers["printed"].values())[position]["mean_class_accuracy"]
        axes.plot(
            [start + 1, start + length],
            [printed] * 2,
            color=ORIGINAL,
            linewidth=3,
            label="as printed" if not position else None,
        )
        axes.text(start + 1, 0.02, drawn_name(name), fontsize=9)
        start += length
        axes.axvline(start + 0.5, color="#dddddd", linewidth=0.8)
    axes.set_ylim(0, 1.03)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.08))
    return figure


def shares(numbers: Mapping[str, Mapping[str, float]]) -> Figure:
    """Percent of values that are not positive in each module, a colour for each way of counting."""
    figure, axes = _single("values <= 0, %", "")
    names = list(next(iter(numbers.values())))
    for shift, (colour, (label, values)) in enumerate(zip((ORIGINAL, LINES[1], OURS), numbers.items(), strict=True)):
        axes.bar(
            [place + 0.27 * shift for place in range(len(names))],
            list(values.values()),
            0.27,
            color=colour,
            label=label,
        )
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
    # The bars are the legend of the lines; of many modules the colour tells the depth.
    shades = LINES if len(modules) <= len(LINES) else colormaps["viridis"](np.linspace(0, 0.95, len(modules)))
    colours = dict(zip(modules, shades, strict=False))
    places = range(len(modules))
    panels[0].barh(places, [100 * module["non_positive"] for module in modules.values()], color=list(colours.values()))
    panels[0].set_yticks(places, [drawn_name(name, 40) for name in modules])
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
    for name, values in with_spectrum.items():
        shown = np.flatnonzero(np.array(values) > 1e-10 * values[0])
        panels[2].semilogy(shown + 1, np.array(values)[shown], "o-", color=colours[name], markersize=4)
    if with_spectrum:
        panels[2].set_xlabel("place")
        panels[2].set_ylabel("eigenvalue")
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
