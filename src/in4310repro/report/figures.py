"""Matplotlib figures of the page on the published numbers and of the command `features`."""

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
from in4310repro.system.text import escape, visible

# Contrast of each to white is at least 4.5 to 1; sign, line or hatching distinguishes them without colour.
OURS, ORIGINAL, WRONG, OTHER = "#1b6a87", "#7a5c1e", "#a3231c", "#b4551b"
LINES = (OURS, OTHER, "#3d7a3c", "#7c4896", "#444444")
SIGNS = ("o", "s", "^", "D", "v")
WAYS = ((ORIGINAL, "D"), (WRONG, "s"), (OTHER, "^"), (OURS, "o"))  # colour and sign of each way of measuring
HATCHES = ("////", "\\\\\\\\", "")
LONGEST_NAME = 24  # letters
MOST_SIGNS = 10  # largest number of modules with a sign each, and a legend


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
    _simplify(axes)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def draw_settings(numbers: Mapping[str, Any]) -> Figure:
    """Draw mean class accuracy by epoch, with the training settings side by side.

    Dotted lines are the published values.
    """
    figure, axes = _make_axes("mean class accuracy after each epoch", "epoch, the settings one after the other")
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
        axes.text(start + 1, 0.02, drawable_name(name), fontsize=9)
        start += length
        axes.axvline(start + 0.5, color="#dddddd", linewidth=0.8)
    axes.set_ylim(0, 1.03)
    figure.legend(frameon=False, loc="outside upper left")
    return figure


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


def draw_features(modules: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw the percentage of values <= 0, the quantiles and, if measured, the spectrum of each module."""
    with_spectrum = {name: module["eigenvalues"] for name, module in modules.items() if module.get("eigenvalues")}
    height = max(3.8, 0.26 * len(modules) + 1)
    figure = Figure(figsize=(16 if with_spectrum else 11, height), layout="constrained")
    panels = figure.subplots(1, 3 if with_spectrum else 2, squeeze=False)[0]
    # With many modules the colour shows the depth, and the order of the bars serves as legend.
    shades = LINES if len(modules) <= len(LINES) else colormaps["viridis"](np.linspace(0, 0.95, len(modules)))
    colours = dict(zip(modules, shades, strict=False))
    places = range(len(modules))
    panels[0].barh(places, [100 * module["non_positive"] for module in modules.values()], color=list(colours.values()))
    panels[0].set_yticks(places, [drawable_name(name, 60) for name in modules])
    panels[0].set_xlabel("values <= 0, %")
    panels[0].set_xlim(0, 100)
    for place, (name, module) in enumerate(modules.items()):
        if "activations" in module:
            low, middle, high = (module["activations"]["quantiles"][share] for share in SHOWN)
            panels[1].plot([low, high], [place, place], color=colours[name], linewidth=3)
            panels[1].plot(middle, place, "o", color=colours[name], markeredgecolor="white")
    panels[1].set_yticks(places, [""] * len(modules))
    panels[1].set_xlabel("quantiles of the values: 1 % to 99 %, and the median")
    for axes in panels[:2]:
        axes.set_ylim(len(modules) - 0.4, -0.6)
    for number, (name, values) in enumerate(with_spectrum.items()):
        shown = np.flatnonzero(np.array(values) > 1e-10 * values[0])
        # Ten signs: five filled, then the same five hollow.
        panels[2].semilogy(shown + 1, np.array(values)[shown], f"{SIGNS[number % 5]}-", color=colours[name],
                           markersize=4, label=drawable_name(name, 60),
                           markerfacecolor="white" if number % 10 > 4 else colours[name])  # fmt: skip
    if with_spectrum:
        panels[2].set_xlabel("eigenvalue index")
        panels[2].set_ylabel("eigenvalue")
    if 0 < len(with_spectrum) <= MOST_SIGNS:
        # Where falling lines leave room; to look for the best place takes matplotlib seconds on a busy machine.
        panels[2].legend(frameon=False, fontsize=8, loc="upper right")
    for axes in panels:
        _simplify(axes)
    return figure


def drawable_name(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name in a form that matplotlib draws literally.

    Dollar signs and characters missing from the font are escaped, and a long name is cut in the middle.
    """
    drawn = "".join(letter if ord(letter) in _font_letters() else escape(letter) for letter in visible(name))
    if len(drawn) > longest:
        drawn = f"{drawn[: longest - 8]}\N{HORIZONTAL ELLIPSIS}{drawn[-7:]}"
    # Matplotlib omits labels that are empty or start with an underscore, and reads dollars as a formula.
    return (" " if not drawn or drawn.startswith("_") else "") + drawn.replace("$", r"\$")


@functools.cache
def _font_letters() -> frozenset[int]:
    """Return the code points that matplotlib's default font contains."""
    return frozenset(get_font(findfont(FontProperties())).get_charmap())


def to_png(figure: Figure) -> bytes:
    """Return the figure as a PNG file; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _make_axes(vertical: str, horizontal: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.set_ylabel(vertical)
    axes.set_xlabel(horizontal)
    _simplify(axes)
    return figure, axes


def _simplify(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
