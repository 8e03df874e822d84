"""Drawings with a row for each class or module: name, value, interval and published value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from in4310repro.metrics import MEANS, PER_CLASS, SCALARS
from in4310repro.report.markup import (
    LETTER,
    TITLE,
    WIDTH,
    Panel,
    Scale,
    element,
    join,
    label,
    line,
    linear,
    mark,
    measure_text,
    shorten,
)
from in4310repro.runs.records import SHOWN
from in4310repro.system.text import visible

LONGEST_BESIDE = 16  # letters of a name beside its row; a longer name is above the row
LONGEST_ABOVE = 42
ROW = 23  # height of a row
VALUES = 48  # width of the column of values
STARTS = {0.95: 0.01, 0.9: 0.02, 0.8: 0.05, 0.5: 0.1, 0.0: 0.25}  # start of an axis up to 1 -> step of its ticks


@dataclass(frozen=True)
class Rows:
    """Layout of a chart with one row per name: vertical positions of the rows, and drawings of the names.

    Args:
        names: names of the rows.
        first: number of rows before a small gap.
        right: width of the column at the right, pixels.
    """

    names: Sequence[str]
    first: int
    right: float = VALUES

    @property
    def _widest(self) -> float:
        return max(measure_text(visible(name)) for name in self.names)

    @property
    def _above(self) -> bool:
        return self._widest > LETTER * LONGEST_BESIDE

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends of the horizontal axis, in pixels."""
        return (14.0 if self._above else self._widest + 12), WIDTH - self.right

    @property
    def _height(self) -> int:
        return ROW + 14 if self._above else ROW

    @property
    def bottom(self) -> float:
        """Lower edge of the last row, in pixels."""
        return TITLE + 8.0 + self._height * len(self.names) + (8 if len(self.names) > self.first else 0)

    def middle(self, number: int) -> float:
        """Return the vertical position of a row's value, in pixels."""
        below_name = 14 if self._above else 0
        return TITLE + 8 + self._height * number + below_name + ROW / 2 + (8 if number >= self.first else 0)

    def name(self, number: int) -> Markup:
        """Draw the name of a row beside the row.

        If any name is too long for this, all names are drawn above their rows.
        """
        text, y = self.names[number], self.middle(number)
        if self._above:
            return label(0, y - 14, shorten(text, LONGEST_ABOVE))
        return label(self.ends[0] - 12, y + 4, shorten(text, LONGEST_BESIDE), "", "end")


def scale_to_one(values: Sequence[float], ends: tuple[float, float]) -> Scale:
    """Return a scale that ends at 1. It starts at the largest key of `STARTS` that is not above any value.

    Args:
        values: values to draw, each from 0 to 1.
        ends: both ends of the axis, pixels.
    """
    start, step = next((start, step) for start, step in STARTS.items() if min(values) >= start)
    ticks = [start + number * step for number in range(round((1 - start) / step) + 1)]
    return linear((start, 1), ends, [(tick, f"{tick:.2g}".removeprefix("0") or "0") for tick in ticks])


def draw_class_metrics(numbers: Mapping[str, Any]) -> list[Panel]:
    """Draw the value, interval and chance level of each class, and the published value as a hollow diamond."""
    drawn = []
    for key, mean in MEANS.items():
        names = [*numbers["classes"], "mean"]
        values = [*numbers["ours"][key], numbers["ours"][mean]]
        known = numbers["intervals"]
        ranges = [*known.get(key, [None] * (len(names) - 1)), known.get(mean)]
        chance = numbers["chance"].get(key)
        chances = [*(chance if isinstance(chance, list) else [chance] * (len(names) - 1)), None]
        theirs = [*numbers["original"][key], numbers["original"][mean]] if "original" in numbers else None
        for name, metric in SCALARS.items():
            if key == "class_accuracy" and metric.is_share and name in numbers["ours"]:
                names, values = [*names, metric.heading], [*values, numbers["ours"][name]]
                ranges, chances, theirs = [*ranges, known.get(name)], [*chances, None], theirs and [*theirs, None]
        drawn.append(
            _points(PER_CLASS[key].title, Rows(names, len(numbers["classes"])), values, ranges, chances, theirs)
        )
    return drawn


def _points(
    title: str,
    rows: Rows,
    values: Sequence[float],
    ranges: Sequence[Sequence[float] | None],
    chances: Sequence[float | None],
    theirs: Sequence[float | None] | None,
) -> Panel:
    printed = [each for each in theirs or () if each is not None]
    x = scale_to_one([*values, *(end for ends in ranges if ends for end in ends), *printed], rows.ends)
    parts = [label(0, 15, title, "title"), _draw_key(drawn=bool(printed)), *_draw_columns(x, rows.bottom)]
    for number, value in enumerate(values):
        y = rows.middle(number)
        parts.append(rows.name(number))
        if (chance := chances[number]) is not None and chance >= x.ticks[0][0]:
            place = x.pixel(chance)
            parts.append(line(place, y - ROW / 2, place, y + ROW / 2, "chance"))
        if ends := ranges[number]:
            low, high = map(x.pixel, ends)
            parts += draw_interval(low, high, y)
        if theirs and (as_printed := theirs[number]) is not None:
            parts.append(_draw_printed(x.pixel(as_printed), y))
        parts.append(mark(x.pixel(value), y, 0))
        parts.append(label(WIDTH - 2, y + 4, f"{value:.3f}".removeprefix("0"), "value", "end"))
    return Panel(title, rows.bottom + 22, join(parts))


def draw_interval(low: float, high: float, y: float) -> list[Markup]:
    """Draw a horizontal line with end caps between two positions in pixels."""
    return [line(low, y, high, y, "range"), *(line(end, y - 4, end, y + 4, "cap") for end in (low, high))]


def draw_sparsity(numbers: Mapping[str, Any]) -> list[Panel]:
    """Draw the percentage of values <= 0 of each module as a bar, and the published one as a hollow diamond."""
    rows = Rows(list(numbers["ours"]), len(numbers["ours"]))
    x = linear((0, 100), rows.ends, [(value, f"{value}") for value in range(0, 101, 25)])
    printed = {name: value for name, value in numbers.get("original", {}).items() if name in numbers["ours"]}
    parts = [label(0, 15, "Values <= 0, %", "title"), _draw_key(drawn=bool(printed)), *_draw_columns(x, rows.bottom)]
    for number, (name, value) in enumerate(numbers["ours"].items()):
        y, start = rows.middle(number), rows.ends[0]
        parts += [
            rows.name(number),
            element("rect", x=start, y=y - 6, width=x.pixel(value) - start, height=12, class_="bar"),
            label(WIDTH - 2, y + 4, f"{value:.1f}", "value", "end"),
        ]
        if name in printed:
            parts.append(_draw_printed(x.pixel(printed[name]), y))
    return [Panel("Sparsity", rows.bottom + 22, join(parts))]


def draw_activations(numbers: Mapping[str, Any]) -> list[Panel]:
    """Draw the 1 % to 99 % range and the median of each module's values; all image sets have the same scale."""
    low, middle, high = SHOWN
    of_sets = [{name: module["quantiles"] for name, module in each["modules"].items()} for each in numbers["sets"]]
    values = [quantiles[share] for each in of_sets for quantiles in each.values() for share in SHOWN]
    ticks = ticks_around_zero(min(values), max(values))
    drawn = []
    for images, quantiles in zip(numbers["sets"], of_sets, strict=True):
        rows = Rows(list(quantiles), len(quantiles), right=88)
        x = linear((ticks[0], ticks[-1]), rows.ends, [(tick, f"{tick:g}") for tick in ticks])
        parts = [label(0, 15, shorten(images["name"], 26), "title"), *_draw_columns(x, rows.bottom),
                 label(WIDTH - 2, 15, "never positive", "quiet", "end"), _draw_zero_line(x, rows.bottom)]  # fmt: skip
        for number, (name, each) in enumerate(quantiles.items()):
            y, module = rows.middle(number), images["modules"][name]
            silent = f"{module['never_positive']} of {module['channels']}"
            parts += [rows.name(number), *draw_interval(x.pixel(each[low]), x.pixel(each[high]), y),
                      mark(x.pixel(each[middle]), y, 0), label(WIDTH - 2, y + 4, silent, "value", "end")]  # fmt: skip
        drawn.append(Panel(images["name"], rows.bottom + 22, join(parts)))
    return drawn


def ticks_around_zero(low: float, high: float) -> list[float]:
    """Return at most eight tick values whose range includes zero and both arguments.

    Their distance is 1, 2 or 5 times a power of ten.

    Examples:
        >>> ticks_around_zero(-0.7, 2.1)
        [-1.0, 0.0, 1.0, 2.0, 3.0]
    """
    low, high = min(low, 0.0), max(high, 0.0)
    power = 10.0 ** math.floor(math.log10(high - low)) if high > low else 1.0
    step = next(factor * power for factor in (0.2, 0.5, 1, 2, 5) if (high - low) / (factor * power) <= 5)
    first, last = math.floor(low / step), max(math.ceil(high / step), 1)
    return [number * step for number in range(first, last + 1)]


def _draw_zero_line(x: Scale, bottom: float) -> Markup:
    return line(x.pixel(0), TITLE + 6, x.pixel(0), bottom, "axis")


def _draw_columns(x: Scale, bottom: float) -> list[Markup]:
    """Draw the vertical grid lines behind the rows, and the labels of the axis below."""
    parts = []
    for value, text in x.ticks:
        place = x.pixel(value)
        parts += [line(place, TITLE + 6, place, bottom, "grid"), label(place, bottom + 16, text, "tick", "middle")]
    return parts


def _draw_printed(x: float, y: float) -> Markup:
    """Draw the hollow diamond that marks a published value."""
    return element("path", d=f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z", class_="printed")


def _draw_key(*, drawn: bool) -> Markup:
    """Draw the legend of the diamond at the right of the title; return an empty text if `drawn` is False."""
    if not drawn:
        return Markup("")
    start = WIDTH - 2 - measure_text("as printed")
    return _draw_printed(start - 9, 11) + label(WIDTH - 2, 15, "as printed", "quiet", "end")
