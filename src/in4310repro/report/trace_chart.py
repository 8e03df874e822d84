"""The drawing of two traces that part: how far they are apart after each step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from in4310repro.report import markup
from in4310repro.report.markup import LEFT, RIGHT, Panel, axes, join, legend, linear, mark, path

if TYPE_CHECKING:
    from in4310repro.trace.comparison import Growth

PLOT = 170.0  # height of a plot, pixels
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
    panels = [
        _panel(titles[0], logarithms, (float(SMALLEST), float(top)), powers),
        _panel(titles[1], share, (0.0, 1.0), markup.SHARES),
    ]
    return markup.file(panels, f"Two traces by step: {', '.join(titles)}", markup.read_asset("chart.css"))


def _power(value: float) -> float:
    return max(math.log10(value), SMALLEST) if value > 0 else float(SMALLEST)


def _panel(
    title: str,
    lines: Mapping[str, Sequence[tuple[int, float]]],
    domain: tuple[float, float],
    ticks: Sequence[tuple[float, str]],
) -> Panel:
    signs, height = legend(list(lines), 14)
    top = height + 32.0
    bottom = top + PLOT
    steps = [step for line in lines.values() for step, _ in line]
    first, last = min(steps), max(max(steps), min(steps) + 1)
    distance = max(1, math.ceil((last - first) / 8))
    x = linear((first, last), (LEFT + 8, RIGHT - 8), [(n, f"{n}") for n in range(first, last + 1, distance)])
    y = linear(domain, (bottom, top), ticks)
    parts = [signs, axes(LEFT, top, bottom, x, y, ("step", title))]
    for style, line in enumerate(lines.values()):
        points = [(x.pixel(step), y.pixel(value)) for step, value in line]
        parts.append(path(points, f"l{style}"))
        if len(points) <= MOST_MARKS:
            parts += [mark(*point, style) for point in points]
    return Panel(title, bottom + 38, join(parts))
