"""Images as points of a plane, each in the colour of its class, whose name stands in the middle of its points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from in4310repro.report.svg import Panel, element, join, label, shortened

SIDE = 700
LONGEST_NAME = 24  # letters
# As bright and as strong as each other, on light and on dark paper, whatever their number.
COLOUR = "oklch(60% 0.16 {hue:.0f})"


def panel(places: NDArray[np.float64], classes: Sequence[str], labels: NDArray[np.int64]) -> Panel:
    """The drawing.

    Args:
        places: coordinates [image, 2] from 0 to 1.
        classes: their names.
        labels: the class of each image.
    """
    points, named = [], []
    for number, name in enumerate(classes):
        own = 12 + places[labels == number] * (SIDE - 24)
        if not len(own):
            continue
        colour = COLOUR.format(hue=30 + 360 * number / len(classes))
        # One path: a circle each would make the file three times as large.
        dots = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in own)
        style = f"stroke: {colour}; stroke-width: 5; stroke-linecap: round; stroke-opacity: .75; fill: none"
        points.append(element("path", d=dots, style=style))
        x, y = np.median(own, axis=0)
        named.append(_name(x, y, shortened(name, LONGEST_NAME)))
    return Panel("Map of features", SIDE, join([*points, *named]), SIDE)


def _name(x: float, y: float, name: str) -> Markup:
    halo = "paint-order: stroke; stroke: var(--paper); stroke-width: 5px; stroke-linejoin: round"
    return element("g", label(x, y, name, "title", "middle"), style=halo)
