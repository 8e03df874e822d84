"""Matplotlib figures, as the command `features` draws them."""

import functools
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from in4310repro.runs.record_types import SHOWN
from in4310repro.system.text import escape, visible

# Contrast of each to white is at least 4.5 to 1; sign, line or hatching distinguishes them without colour.
OURS, ORIGINAL, WRONG, OTHER = "#1b6a87", "#7a5c1e", "#a3231c", "#b4551b"
LINES = (OURS, OTHER, "#3d7a3c", "#7c4896", "#444444")
SIGNS = ("o", "s", "^", "D", "v")
LONGEST_NAME = 24  # letters
MOST_SIGNS = 10  # largest number of modules with a sign each, and a legend


def draw_features(modules: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw the percentage of values <= 0, the quantiles and, if measured, the spectrum of each module."""
    with_spectrum = {
        name: np.array(module["eigenvalues"]) for name, module in modules.items() if module.get("eigenvalues")
    }
    figure = Figure(figsize=(16 if with_spectrum else 11, max(3.8, 0.26 * len(modules) + 1)), layout="constrained")
    shares, quantiles, *spectra = panels = figure.subplots(1, 3 if with_spectrum else 2)
    # With many modules the colour shows the depth, and the order of the bars serves as legend.
    shades = LINES if len(modules) <= len(LINES) else colormaps["viridis"](np.linspace(0, 0.95, len(modules)))
    colours = dict(zip(modules, shades, strict=False))
    names = {name: drawable_name(name, 60) for name in modules}
    places = range(len(modules))
    shares.barh(places, [100 * module["non_positive"] for module in modules.values()], color=[*colours.values()])
    shares.set(yticks=places, yticklabels=names.values(), xlabel="values <= 0, %", xlim=(0, 100))
    for place, (name, module) in enumerate(modules.items()):
        if "activations" in module:
            low, middle, high = (module["activations"]["quantiles"][share] for share in SHOWN)
            quantiles.plot([low, high], [place, place], color=colours[name], linewidth=3)
            quantiles.plot(middle, place, "o", color=colours[name], markeredgecolor="white")
    title = "quantiles of the values: 1 % to 99 %, and the median"
    quantiles.set(yticks=places, yticklabels=[""] * len(modules), xlabel=title)
    for axes in panels[:2]:
        axes.set_ylim(len(modules) - 0.4, -0.6)
    for number, (name, values) in enumerate(with_spectrum.items()):
        shown = np.flatnonzero(values > 1e-10 * values[0])
        # Ten signs: five filled, then the same five hollow.
        spectra[0].semilogy(shown + 1, values[shown], f"{SIGNS[number % 5]}-", color=colours[name],
                            markersize=4, label=names[name],
                            markerfacecolor="white" if number % 10 > 4 else colours[name])  # fmt: skip
    for axes in spectra:
        axes.set(xlabel="eigenvalue index", ylabel="eigenvalue")
        if len(with_spectrum) <= MOST_SIGNS:
            # Falling lines leave room there; matplotlib's search for the best place takes seconds on a busy machine.
            axes.legend(frameon=False, fontsize=8, loc="upper right")
    for axes in panels:
        simplify(axes)
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


def simplify(axes: Axes) -> None:
    """Leave the lines of a figure that one reads values by."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
