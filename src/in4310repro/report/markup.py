"""Templates of pages, rendered with their values escaped, and drawings as SVG: elements, axes and charts.

Lengths are in pixels of a drawing that is `WIDTH` wide; `chart.css` styles its classes in light and dark colours.
"""

import functools
import math
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2
from markupsafe import Markup

from in4310repro.system.text import Markdown, cells, code, markdown, verbatim, visible

if TYPE_CHECKING:
    from in4310repro.trace.comparison import Growth

WIDTH, TITLE, LEGEND_LINE = 330, 24, 19
LETTER = 7.5  # mean width of a letter at the font size of a chart, pixels
MARGIN, GAP = 12, 30
LEFT, RIGHT = 40.0, WIDTH - 8.0  # ends of the plot between the axes
PLOT = 170  # height of a plot of lines
STARTS = {0.95: 0.01, 0.9: 0.02, 0.8: 0.05, 0.5: 0.1, 0.0: 0.25}  # start of an axis up to 1 -> step of its ticks
LONGEST_NAME = 40  # letters of a line of the legend
LONGEST_BESIDE = 16  # letters of a name beside its row; a longer name is above the row
LONGEST_ABOVE = 42
ROW, VALUES, NOTED = 23, 48, 88  # height of a row, and width of its column of values, and of one with a heading
BAR = '<rect x="%s" y="%s" width="%s" height="%s" class="bar"></rect>'
PATH = '<path d="%s" class="%s"></path>'
INNER = '<svg x="%s" y="%s" width="%s" height="%s">%s</svg>'
FILE = (
    '<svg xmlns="http://www.w3.org/2000/svg" class="chart" width="%s" height="%s" viewBox="0 0 %s %s" role="img" '
    'aria-label="%s"><style>%s</style><rect width="100%%" height="100%%" class="paper"></rect>%s</svg>\n'
)
MOST_MARKS = 40  # points of a line that have a sign each
SMALLEST = -10  # power of ten at which smaller values are drawn; equal values are on the lowest line
TEMPLATES = resources.files("in4310repro.report") / "templates"
# Signs of series, each with a colour, filled, then hollow: a circle, and paths with their starts beside the point.
SIGNS = ((-3.2, -3.2, "h6.4v6.4h-6.4z"), (0, -4.2, "l4.2 7.4h-8.4z"), (0, -4.4, "l4.4 4.4l-4.4 4.4l-4.4 -4.4z"),
         (0, 4.2, "l4.2 -7.4h-8.4z"))  # fmt: skip
MARKS = 1 + len(SIGNS)

Titles = tuple[str, str]  # of the horizontal and of the vertical axis
Numbers = Mapping[str, Any]  # content of a figure's JSON file
Points = Sequence[tuple[Any, float]]
Ticks = Sequence[tuple[float, str]]  # values of an axis and their labels
Axis = tuple[tuple[float, float], Ticks]  # lowest and highest value, and ticks
SHARES: Axis = (0, 1), [(0.0, "0"), (0.25, "0.25"), (0.5, "0.5"), (0.75, "0.75"), (1.0, "1")]


class Panel(NamedTuple):
    """One drawing of a figure: title, height and SVG elements."""

    title: str
    height: float
    body: Markup
    width: int = WIDTH


class Scale(NamedTuple):
    """Linear map from a range of values to a range of pixels, and the ticks of the axis."""

    domain: tuple[float, float]
    ticks: Ticks
    pixels: tuple[float, float]

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        (low, high), (start, end) = self.domain, self.pixels
        return start + (value - low) / (high - low) * (end - start)


def element(form: str, *values: object) -> Markup:
    """Return an SVG element: its text with a value at each `%s`, escaped; a float has one decimal, if it is not 0."""
    shown = (f"{each:.1f}".removesuffix(".0") if isinstance(each, float) else _seen(each) for each in values)
    return Markup(form) % (*shown,)  # noqa: S704


def join(parts: Iterable[Markup]) -> Markup:
    """Join SVG elements into one text."""
    return Markup("").join(parts)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Draw a straight line between two points."""
    return element('<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"></line>', x1, y1, x2, y2, class_)


def label(x: float, y: float, text: str, class_: str = "", anchor: str = "start") -> Markup:
    """Draw a text at the point (x, y), which is the start, middle or end of the text, depending on `anchor`."""
    return element('<text x="%s" y="%s" text-anchor="%s" class="%s">%s</text>', x, y, anchor, class_, text)


def mark(x: float, y: float, style: int) -> Markup:
    """Draw the symbol of a data series at the point (x, y); `style` is the number of the series, from 0.

    The first ten series have different symbols, so that they can be told apart without colour.
    """
    number, kind = style % MARKS, "mh"[style // MARKS % 2]
    if number == 0:
        return element('<circle cx="%s" cy="%s" r="3.2" class="%s0"></circle>', x, y, kind)
    right, down, way = SIGNS[number - 1]
    return element(PATH, f"M{x + right:.1f} {y + down:.1f}{way}", f"{kind}{number}")


def path(points: Points, class_: str) -> Markup:
    """Draw straight lines through a sequence of points."""
    return element(PATH, f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in points)}", class_)


def axes(left: float, x: Scale, y: Scale, titles: Titles) -> Markup:
    """Draw grid, tick labels and titles of both axes; the title of the vertical axis is above it."""
    bottom, top = y.pixels
    parts = [label(0, top - 14, titles[1], "quiet"), label(RIGHT, bottom + 33, titles[0], "quiet", "end")]
    for value, text in y.ticks:
        height = y(value)
        parts += [line(left, height, RIGHT, height, "grid"), label(left - 6, height + 4, text, "tick", "end")]
    for value, text in x.ticks:
        place = x(value)
        parts += [line(place, bottom, place, bottom + 4, "axis"), label(place, bottom + 17, text, "tick", "middle")]
    return join([*parts, line(left, bottom, RIGHT, bottom, "axis")])


def legend(names: Sequence[str], top: float) -> tuple[Markup, float]:
    """Draw the symbols and names of series; return the drawing and its height."""
    parts, x, y = [], 0.0, top
    for style, name in enumerate(names):
        length = 30 + measure_text(name)
        if x and x + length - 15 > WIDTH:
            x, y = 0.0, y + LEGEND_LINE
        parts += [mark(x + 6, y - 4, style), label(x + 15, y, name)]
        x += length
    return join(parts), y - top + LEGEND_LINE


def measure_text(text: str) -> float:
    """Return the approximate width of a text in pixels."""
    return LETTER * sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def shorten(name: str, longest: int) -> str:
    """Return a name with invisible characters escaped, and cut in the middle if wider than `longest` letters."""
    name = visible(name)
    if measure_text(name) <= LETTER * longest:
        return name
    end = name[-5:]
    start = ""
    for letter in name:
        if measure_text(f"{start}{letter}{end}") > LETTER * (longest - 1):
            break
        start += letter
    return f"{start}\N{HORIZONTAL ELLIPSIS}{end}"


def drawing(panel: Panel, alternative: str) -> Markup:
    """Return a panel as an SVG element of an HTML page, with `alternative` as text for screen readers."""
    form = '<svg class="chart" viewBox="0 0 %s %s" role="img" aria-label="%s">%s</svg>'
    return element(form, panel.width, f"{panel.height:.0f}", alternative, panel.body)


def file(panels: Sequence[Panel], alternative: str, heading: str = "") -> str:
    """Return the text of an SVG file with the panels in rows of two, below a heading.

    Args:
        panels: at least one panel.
        alternative: text for readers who cannot see the drawing.
        heading: a warning above the panels; long texts are broken into lines.
    """
    columns, width = min(len(panels), 2), max(panel.width for panel in panels)
    wide = 2 * MARGIN - GAP + columns * (width + GAP)
    lines = textwrap.wrap(heading, int((wide - 2 * MARGIN) / LETTER), break_long_words=False, break_on_hyphens=False)
    parts = [label(MARGIN, 22 + 18 * number, text, "warning") for number, text in enumerate(lines)]
    top = MARGIN + 18 * len(lines)
    for start in range(0, len(panels), columns):
        row = panels[start : start + columns]
        parts += [
            element(INNER, MARGIN + place * (width + GAP), top, width, each.height, each.body)
            for place, each in enumerate(row)
        ]
        top += math.ceil(max(panel.height for panel in row)) + MARGIN
    # The style is a file of this package, so that it need not be escaped.
    return element(FILE, wide, top, wide, top, alternative, Markup(read_asset("chart.css")), join(parts))  # noqa: S704


def draw_lines(
    title: str,
    lines: Mapping[str, Points],
    axis: Axis,
    titles: Titles,
    *,
    selected: str | None = None,
    steps: range | None = None,
) -> Panel:
    """Draw a line with a sign at each point for each name of the legend.

    Args:
        title: of the panel.
        lines: points of each line by name; their x are whole numbers.
        axis: domain and ticks of the vertical axis.
        titles: of the horizontal and of the vertical axis.
        selected: the name whose line is bold.
        steps: ticks of the horizontal axis, which has its start and its stop - 1 as ends; a line of more points than
            `MOST_MARKS` then has no signs. By default from 1.
    """
    signs, height = legend([shorten(name, LONGEST_NAME) for name in lines], 14)
    last = max([2, *(place for points in lines.values() for place, _ in points)])
    ticks = steps or range(1, last + 1, math.ceil(last / 10))
    x = Scale((ticks.start, ticks.stop - 1), [(each, f"{each}") for each in ticks], (LEFT + 8, RIGHT - 8))
    y = Scale(*axis, (height + 32.0 + PLOT, height + 32.0))
    parts = [signs, axes(LEFT, x, y, titles)]
    for style, (name, points) in enumerate(lines.items()):
        shown = [(x(place), y(value)) for place, value in points]
        if shown:
            again = " again" * (style // MARKS % 2)
            parts.append(path(shown, f"l{style % MARKS}{again}{' bold' * (name == selected)}"))
        if not steps or len(shown) <= MOST_MARKS:
            parts += [mark(*point, style) for point in shown]
    return Panel(title, height + 70.0 + PLOT, join(parts))


def draw_growth(growth: "Sequence[Growth]") -> str:
    """Return an SVG that plots, step by step, relative differences and the share of tensors that differ."""
    relative = {
        "loss": [(each.step, each.relative_loss) for each in growth if each.relative_loss is not None],
        "parameters": [(each.step, each.relative) for each in growth],
    }
    logarithms = {
        name: [(x, max(math.log10(value), SMALLEST) if value > 0 else SMALLEST) for x, value in line]
        for name, line in relative.items()
        if line
    }
    top = max(0, *(math.ceil(value) for line in logarithms.values() for _, value in line))
    powers = [(power, f"1e{power}" if power > SMALLEST else "0") for power in range(SMALLEST, top + 1, 2)]
    share = [(each.step, each.differing / max(each.tensors, 1)) for each in growth]
    drawn: dict[str, Any] = {
        "relative difference": (logarithms, ((SMALLEST, top), powers)),
        "share of tensors that differ": ({"all tensors of the step": share}, SHARES),
    }
    first, last = growth[0].step, max(growth[-1].step, growth[0].step + 1)
    steps = range(first, last + 1, max(1, math.ceil((last - first) / 8)))
    panels = [draw_lines(title, lines, axis, ("step", title), steps=steps) for title, (lines, axis) in drawn.items()]
    return file(panels, f"Two traces by step: {', '.join(drawn)}")


def draw_rows(
    title: str,
    heading: str,
    rows: Sequence[tuple[str, Numbers]],
    axis: Axis,
    *,
    apart: int = 0,
    note: str = "",
) -> Panel:
    """Draw a row for each name, beside it, or above it if any name is too long.

    Args:
        title: of the panel.
        heading: above the rows.
        rows: name, and what the row shows: a value for each of the SHAPES, in the order of drawing; None shows nothing.
        axis: domain and ticks of the horizontal axis.
        apart: number of rows at the end, which a small gap separates.
        note: heading of the column at the right; a line marks zero below it.
    """
    widest = max(measure_text(visible(name)) for name, _ in rows)
    above = widest > LETTER * LONGEST_BESIDE
    shift, ends = 14 * above, (14.0 if above else widest + 12, WIDTH - (NOTED if note else VALUES))
    x, height = Scale(*axis, ends), ROW + shift
    bottom = TITLE + 8.0 + height * len(rows) + 8 * bool(apart)
    parts = [label(0, 15, heading, "title")]
    if any(row.get("printed") is not None for _, row in rows):
        start = WIDTH - 11 - measure_text("as printed")
        parts += [_draw_diamond(start, 11), label(WIDTH - 2, 15, "as printed", "quiet", "end")]
    for value, text in x.ticks:
        place = x(value)
        parts += [line(place, TITLE + 6, place, bottom, "grid"), label(place, bottom + 16, text, "tick", "middle")]
    if note:
        zero = x(0)
        parts += [label(WIDTH - 2, 15, note, "quiet", "end"), line(zero, TITLE + 6, zero, bottom, "axis")]
    for number, (name, row) in enumerate(rows):
        y = TITLE + 8 + height * number + shift + ROW / 2 + 8 * (number >= len(rows) - apart)
        beside = (ends[0] - 12, y + 4, shorten(name, LONGEST_BESIDE), "", "end")
        parts.append(label(0, y - 14, shorten(name, LONGEST_ABOVE)) if above else label(*beside))
        parts += [SHAPES[shape](x, y, value) for shape, value in row.items() if value is not None]
    return Panel(title, bottom + 22, join(parts))


def _draw_diamond(x: float, y: float) -> Markup:
    return element(PATH, f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z", "printed")


def _draw_interval(x: Scale, y: float, ends: Sequence[float]) -> Markup:
    low, high = x(ends[0]), x(ends[1])
    return join([line(low, y, high, y, "range"), *(line(end, y - 4, end, y + 4, "cap") for end in (low, high))])


# Shapes in a row, drawn from the map of values to pixels, the row's vertical position and a value.
SHAPES: dict[str, Callable[[Scale, float, Any], Markup]] = {
    "bar": lambda x, y, to: element(BAR, x(0), y - 6, x(to) - x(0), 12),
    "chance": lambda x, y, value: (
        line(x(value), y - ROW / 2, x(value), y + ROW / 2, "chance") if value >= x.domain[0] else Markup("")
    ),
    "dot": lambda x, y, value: mark(x(value), y, 0),
    "interval": _draw_interval,
    "printed": lambda x, y, value: _draw_diamond(x(value), y),
    "value": lambda _, y, text: label(WIDTH - 2, y + 4, text, "value", "end"),  # in the column at the right
}


def axis_to_one(lowest: float) -> Axis:
    """Return domain and ticks of an axis up to 1 from the largest key of `STARTS` that is not above `lowest`."""
    start, step = next((start, step) for start, step in STARTS.items() if lowest >= start)
    ticks = [start + number * step for number in range(round((1 - start) / step) + 1)]
    return (start, 1), [(tick, f"{tick:.2g}") for tick in ticks]


def axis_around_zero(low: float, high: float) -> Axis:
    """Return domain and ticks, at most eight, of an axis that includes zero and both arguments.

    The distance of ticks is 1, 2 or 5 times a power of ten.

    Examples:
        >>> axis_around_zero(-0.7, 2.1)
        ((-1.0, 3.0), [(-1.0, '-1'), (0.0, '0'), (1.0, '1'), (2.0, '2'), (3.0, '3')])
    """
    low, high = min(low, 0.0), max(high, 0.0)
    span = high - low or 5.0
    power = 10.0 ** math.floor(math.log10(span))
    step = next(factor * power for factor in (0.2, 0.5, 1, 2, 5) if span / (factor * power) <= 5)
    first, last = math.floor(low / step), max(math.ceil(high / step), 1)
    ticks = [(number * step, f"{number * step:g}") for number in range(first, last + 1)]
    return (ticks[0][0], ticks[-1][0]), ticks


def render(template: str, context: Mapping[str, object]) -> str:
    """Render a template with its values escaped; raise jinja2.UndefinedError for a name missing from the context."""
    return environment(template.endswith(".html.jinja")).get_template(template).render(context)


@functools.cache
def environment(html: bool) -> jinja2.Environment:
    """Return the environment of templates that are HTML or Markdown, which says how values are escaped."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("in4310repro.report"),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        finalize=_seen if html else lambda value: value if isinstance(value, Markdown) else markdown(str(value)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # The last is the line of dashes below a Markdown table's heading, without the first `|`.
    found.filters |= {"cells": cells, "code": code, "verbatim": verbatim, "rule": lambda n: Markdown(" --- |" * n)}
    return found


def read_asset(name: str) -> str:
    """Return the text of a style or script file of the package."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _seen(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
