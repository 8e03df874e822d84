"""Templates of pages, rendered with their values escaped, and small charts as SVG with text elements.

Lengths are in pixels of a drawing that is `WIDTH` wide; `chart.css` styles its classes in light and dark colours.
"""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2
from markupsafe import Markup, escape

from in4310repro.system.text import Markdown, cells, code, markdown, verbatim, visible

WIDTH, TITLE, LEGEND_LINE = 330, 24, 19
LETTER = 7.5  # mean width of a letter at the font size of a chart, pixels
MARGIN, GAP = 12, 30
LEFT, RIGHT = 40.0, WIDTH - 8.0  # ends of the plot between the axes
SHARES = [(0.0, "0"), (0.25, ".25"), (0.5, ".5"), (0.75, ".75"), (1.0, "1")]  # ticks of an axis from 0 to 1
NAMESPACE = "http://www.w3.org/2000/svg"
TEMPLATES = resources.files("in4310repro.report") / "templates"
MARKS = 5  # number of signs of series, each with a colour: filled, then hollow


@dataclass(frozen=True)
class Panel:
    """One drawing of a figure: title, height and SVG elements."""

    title: str
    height: float
    body: Markup
    width: int = WIDTH


@dataclass(frozen=True)
class Scale:
    """Map from the values of an axis to pixels, and the ticks of the axis."""

    pixel: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


def linear(domain: tuple[float, float], pixels: tuple[float, float], ticks: Iterable[tuple[float, str]]) -> Scale:
    """Return a linear scale from a range of values to a range of pixels, with the given ticks."""
    (low, high), (start, end) = domain, pixels
    return Scale(lambda value: start + (value - low) / (high - low) * (end - start), list(ticks))


def element(name: str, /, text: str | Markup = "", **attributes: object) -> Markup:
    """Return an SVG element with these attributes.

    In the names of attributes a final underscore is removed, so that `class_` becomes `class`. All other
    underscores become hyphens, so that `text_anchor` becomes `text-anchor`.
    """
    written = "".join(f' {_name(key)}="{_value(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{written}>{escape(text)}</{name}>")  # noqa: S704


@functools.cache
def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else escape(visible(str(value)))


def join(parts: Iterable[Markup]) -> Markup:
    """Join SVG elements into one text."""
    return Markup("".join(parts))  # noqa: S704


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Draw a straight line between two points."""
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=class_)


def label(x: float, y: float, text: str, class_: str = "", anchor: str = "start") -> Markup:
    """Draw a text at the point (x, y), which is the start, middle or end of the text, depending on `anchor`."""
    return element("text", visible(text), x=float(x), y=float(y), text_anchor=anchor, class_=class_)


def mark(x: float, y: float, style: int) -> Markup:
    """Draw the symbol of a data series at the point (x, y); `style` is the number of the series, from 0.

    The first ten series have different symbols, so that they can be told apart without colour.
    """
    x, y, number = float(x), float(y), style % MARKS
    class_ = f"{'h' if style % (2 * MARKS) >= MARKS else 'm'}{number}"
    if number == 0:
        return element("circle", cx=x, cy=y, r=3.2, class_=class_)
    sign = {
        1: f"M{x - 3.2:.1f} {y - 3.2:.1f}h6.4v6.4h-6.4z",
        2: f"M{x:.1f} {y - 4.2:.1f}l4.2 7.4h-8.4z",
        3: f"M{x:.1f} {y - 4.4:.1f}l4.4 4.4l-4.4 4.4l-4.4 -4.4z",
        4: f"M{x:.1f} {y + 4.2:.1f}l4.2 -7.4h-8.4z",
    }[number]
    return element("path", d=sign, class_=class_)


def path(points: Iterable[tuple[float, float]], class_: str) -> Markup:
    """Draw straight lines through a sequence of points."""
    return element("path", d="M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points), class_=class_)


def axes(left: float, top: float, bottom: float, x: Scale, y: Scale, titles: tuple[str, str]) -> Markup:
    """Draw grid, tick labels and titles of both axes; the title of the vertical axis is above it."""
    right = float(WIDTH - 8)
    parts = [label(0, top - 14, titles[1], "quiet"), label(right, bottom + 33, titles[0], "quiet", "end")]
    for value, text in y.ticks:
        height = y.pixel(value)
        parts += [line(left, height, right, height, "grid"), label(left - 6, height + 4, text, "tick", "end")]
    for value, text in x.ticks:
        place = x.pixel(value)
        parts += [line(place, bottom, place, bottom + 4, "axis"), label(place, bottom + 17, text, "tick", "middle")]
    return join([*parts, line(left, bottom, right, bottom, "axis")])


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


def ticks_from_zero(top: float) -> list[tuple[float, str]]:
    """Return ticks from zero to at least `top`, in steps of 1, 2 or 5 times a power of ten, with their labels."""
    if top <= 0:
        return [(0.0, "0"), (1.0, "1")]
    power = 10 ** math.floor(math.log10(top))
    step = next(factor * power for factor in (0.2, 0.5, 1, 2, 5, 10) if top / (factor * power) <= 5)
    return [(number * step, f"{number * step:g}") for number in range(math.ceil(top / step) + 1)]


def measure_text(text: str) -> float:
    """Return the approximate width of a text in pixels."""
    return LETTER * sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


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
    return element(
        "svg",
        panel.body,
        class_="chart",
        viewBox=f"0 0 {panel.width} {panel.height:.0f}",
        role="img",
        aria_label=alternative,
    )


def file(panels: Sequence[Panel], alternative: str, style: str, heading: str = "") -> str:
    """Return the text of an SVG file with the panels in rows of two, below a heading.

    Args:
        panels: at least one panel.
        alternative: text for readers who cannot see the drawing.
        style: style sheet.
        heading: a warning above the panels; long texts are broken into lines.
    """
    columns, width = min(len(panels), 2), max(panel.width for panel in panels)
    wide = 2 * MARGIN + columns * width + (columns - 1) * GAP
    lines = _wrap(heading, int((wide - 2 * MARGIN) / LETTER))
    parts = [label(MARGIN, 22 + 18 * number, text, "warning") for number, text in enumerate(lines)]
    top = MARGIN + 18 * len(lines)
    for start in range(0, len(panels), columns):
        row = panels[start : start + columns]
        parts += [
            element("svg", each.body, x=MARGIN + place * (width + GAP), y=top, width=width, height=each.height)
            for place, each in enumerate(row)
        ]
        top += math.ceil(max(panel.height for panel in row)) + MARGIN
    paper = element("rect", width="100%", height="100%", class_="paper")
    # The style is a file of this package, so that it need not be escaped.
    body = join([element("style", Markup(style)), paper, *parts])  # noqa: S704
    size = {"width": wide, "height": top, "viewBox": f"0 0 {wide} {top}"}
    return f"{element('svg', body, xmlns=NAMESPACE, class_='chart', **size, role='img', aria_label=alternative)}\n"


def _wrap(text: str, longest: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < longest:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def render(template: str, context: Mapping[str, object]) -> str:
    """Render a template with its values escaped; raise jinja2.UndefinedError for a name missing from the context."""
    return environment(template.endswith(".html.jinja")).get_template(template).render(context)


@functools.cache
def environment(html: bool) -> jinja2.Environment:
    """Return the environment of templates that are HTML or Markdown, which says how values are escaped."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("in4310repro.report"),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        finalize=_visible_in_html if html else _as_markdown,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {"cells": cells, "code": code, "verbatim": verbatim, "rule": _rule}
    return found


def read_asset(name: str) -> str:
    """Return the text of a style or script file of the package."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _visible_in_html(value: object) -> object:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _as_markdown(value: object) -> Markdown:
    return value if isinstance(value, Markdown) else markdown(str(value))


def _rule(columns: int) -> Markdown:
    """Return the line of dashes below a Markdown table's heading, without the first `|`."""
    return Markdown(" --- |" * columns)
