"""The drawing of two traces that part: how far they are apart after each step."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from in4310repro.report import markup

if TYPE_CHECKING:
    from in4310repro.trace.comparison import Growth

MOST_MARKS = 40  # points of a line that have a sign each
SMALLEST = -10  # power of ten that is drawn for less; equal values are on the lowest line


def draw_growth(growth: Sequence[Growth]) -> str:
    """Return an SVG that plots, step by step, relative differences and the share of tensors that differ."""
    relative = {
        "loss": [(each.step, each.relative_loss) for each in growth if each.relative_loss is not None],
        "parameters": [(each.step, each.relative) for each in growth],
    }
    logarithms = {name: [(x, _power(value)) for x, value in line] for name, line in relative.items() if line}
    top = max(0, *(math.ceil(value) for line in logarithms.values() for _, value in line))
    powers = [(float(power), f"1e{power}") for power in range(SMALLEST, top + 1, 2)]
    powers[0] = (float(SMALLEST), "0")
    share = {"all tensors of the step": [(each.step, each.differing / max(each.tensors, 1)) for each in growth]}
    titles = ("relative difference", "share of tensors that differ")
    first, last = growth[0].step, max(growth[-1].step, growth[0].step + 1)
    steps = range(first, last + 1, max(1, math.ceil((last - first) / 8)))
    draw = functools.partial(markup.draw_lines, steps=steps, most_marks=MOST_MARKS)
    panels = [
        draw(titles[0], logarithms, ((SMALLEST, top), powers), ("step", titles[0])),
        draw(titles[1], share, markup.SHARES, ("step", titles[1])),
    ]
    return markup.file(panels, f"Two traces by step: {', '.join(titles)}")


def _power(value: float) -> float:
    return max(math.log10(value), SMALLEST) if value > 0 else float(SMALLEST)
