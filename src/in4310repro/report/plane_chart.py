"""Drawing of images as points of a plane, with the colour and symbol of their class, a legend and labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from in4310repro.report.svg import LEGEND_LINE, Panel, element, join, label, measure_text, shorten

SIDE = 700
LONGEST_NAME = 24  # letters
# Equal brightness and saturation for any number of classes, on light and dark backgrounds.
COLOUR = "oklch(60% 0.16 {hue:.0f})"
# Path and style of each sign: a dot, a square, a plus, a cross, a triangle, a diamond.
SIGNS = (
    ("h0", "stroke-width: 5; stroke-linecap: round"),
    ("h0", "stroke-width: 4.4; stroke-linecap: square"),
    ("m-3 0h6m-3 -3v6", "stroke-width: 1.6"),
    ("m-2.5 -2.5l5 5m0 -5l-5 5", "stroke-width: 1.6"),
    ("m0 -3l3 5h-6z", "stroke-width: 1.3"),
    ("m0 -3.6l3.6 3.6l-3.6 3.6l-3.6 -3.6z", "stroke-width: 1.3"),
)


def draw_plane(places: NDArray[np.float64], classes: Sequence[str], labels: NDArray[np.int64]) -> Panel:
    """Draw the images as points of a plane, with a legend below.

    Args:
        places: coordinates [image, 2] from 0 to 1.
        classes: names of the classes.
        labels: the class of each image.
    """
    present = [number for number in range(len(classes)) if (labels == number).any()]
    points, named = [], []
    for number in present:
        drawn = 12 + places[labels == number] * (SIDE - 24)
        points.append(_signs(drawn.tolist(), number, len(classes)))
        x, y = np.median(drawn, axis=0)
        named.append(_name(x, y, shorten(classes[number], LONGEST_NAME)))
    legend, height = _legend(classes, present)
    return Panel("Map of features", SIDE + height, join([*points, *named, legend]), SIDE)


def _signs(points: Sequence[Sequence[float]], number: int, classes: int) -> Markup:
    """Draw all points of one class as a single path; one element for each would make the file three times as large."""
    sign, how = SIGNS[number % len(SIGNS)]
    colour = COLOUR.format(hue=30 + 360 * number / classes)
    style = f"stroke: {colour}; {how}; stroke-opacity: .8; fill: none"
    return element("path", d="".join(f"M{x:.0f} {y:.0f}{sign}" for x, y in points), style=style)


def _legend(classes: Sequence[str], present: Sequence[int]) -> tuple[Markup, float]:
    """Draw the symbol and name of each class that has images; return the drawing and its height."""
    parts, x, y = [], 0.0, SIDE + 20.0
    for number in present:
        name = shorten(classes[number], LONGEST_NAME)
        length = 36 + measure_text(name)
        if x and x + length > SIDE:
            x, y = 0.0, y + LEGEND_LINE
        parts += [_signs([(x + 10, y - 4)], number, len(classes)), label(x + 20, y, name)]
        x += length
    return join(parts), y - SIDE + 8


def _name(x: float, y: float, name: str) -> Markup:
    halo = "paint-order: stroke; stroke: var(--paper); stroke-width: 5px; stroke-linejoin: round"
    return element("g", label(x, y, name, "title", "middle"), style=halo)
