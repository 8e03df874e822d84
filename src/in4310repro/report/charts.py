"""Numbers to panels: each function draws what an exhibit's JSON file holds, and computes nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from in4310repro.report.class_exhibits import TITLES
from in4310repro.report.exhibits import drawn_places
from in4310repro.report.svg import (
    TITLE,
    WIDTH,
    Panel,
    Scale,
    axes,
    element,
    join,
    label,
    legend,
    line,
    linear,
    mark,
    path,
    shortened,
    width_of,
)

Points = list[tuple[float, float]]

LONGEST_NAME = 16  # letters of a class or module
ROW, PLOT = 23, 170  # heights of a class and of a plot
LEFT, RIGHT = 40.0, WIDTH - 8.0
MOST_CURVES = 12
SHARES = [(0, "0"), (0.25, ".25"), (0.5, ".5"), (0.75, ".75"), (1, "1")]


def panels(number: int, numbers: Mapping[str, Any]) -> list[Panel]:
    """The drawings of a figure, in the order of its exhibit's findings; none of 7, 12 and 15, which are tables."""
    drawn: dict[int, Callable[[Mapping[str, Any]], list[Panel]]] = {
        5: _losses,
        6: _accuracies,
        7: _nothing,
        8: _sparsity,
        9: _spectra,
        10: _spectra,
        11: _spectra,
        12: _nothing,
        13: _precision_recall,
        14: _reliability,
        15: _nothing,
    }
    return drawn.get(number, _class_metrics)(numbers)


def series(number: int, numbers: Mapping[str, Any]) -> dict[str, Points]:
    """The points that figures 5, 6 and 9 to 11 draw, by the name of their line."""
    if number == 5:
        named = {"training": numbers["train_loss"], "validation": numbers["val_loss"]}
        return {name: list(zip(numbers["epoch"], values, strict=True)) for name, values in named.items()}
    if number == 6:
        curves = numbers["mean_class_accuracy"]
        return {name: list(zip(numbers["epoch"], values, strict=False)) for name, values in curves.items()}
    return {
        name: [(place + 1, values[place]) for place in drawn_places(values)]
        for name, values in numbers["eigenvalues"].items()
    }


def _nothing(_numbers: Mapping[str, Any]) -> list[Panel]:
    return []


def _class_metrics(numbers: Mapping[str, Any]) -> list[Panel]:
    """For each class a point with its interval, the original's as a hollow diamond, and chance."""
    drawn = []
    for key, title in TITLES.items():
        names = [*numbers["classes"], "mean"]
        values = [*numbers["ours"][key], numbers["ours"][f"mean_{key}"]]
        known = numbers["intervals"]
        ranges = [*known.get(key, [None] * (len(names) - 1)), known.get(f"mean_{key}")]
        chance = numbers["chance"][key]
        chances = [*(chance if isinstance(chance, list) else [chance] * (len(names) - 1)), None]
        theirs = [*numbers["original"][key], numbers["original"][f"mean_{key}"]] if "original" in numbers else None
        if key == "class_accuracy" and "accuracy" in numbers:
            names, values, ranges = [*names, "overall"], [*values, numbers["accuracy"]], [*ranges, known["accuracy"]]
            chances, theirs = [*chances, None], theirs and [*theirs, None]
        drawn.append(_rows(title, names, values, ranges, chances, theirs, len(numbers["classes"])))
    return drawn


def _rows(
    title: str,
    names: Sequence[str],
    values: Sequence[float],
    ranges: Sequence[Sequence[float] | None],
    chances: Sequence[float | None],
    theirs: Sequence[float | None] | None,
    classes: int,
) -> Panel:
    shown = [shortened(name, LONGEST_NAME) for name in names]
    left, key = max(map(width_of, shown)) + 12, _key(theirs is not None)
    bottom = TITLE + 8.0 + ROW * len(names) + (8 if len(names) > classes else 0)
    x = linear((0, 1), (left, WIDTH - 42), SHARES)
    parts = [label(0, 15, title, "title"), key, *_columns(x, bottom)]
    for number, name in enumerate(shown):
        y = TITLE + 8 + ROW * (number + 0.5) + (8 if number >= classes else 0)
        parts.append(label(left - 12, y + 4, name, "", "end"))
        if (chance := chances[number]) is not None:
            place = x.pixel(chance)
            parts.append(line(place, y - ROW / 2, place, y + ROW / 2, "chance"))
        if ends := ranges[number]:
            low, high = map(x.pixel, ends)
            parts += [line(low, y, high, y, "range"), *(line(end, y - 4, end, y + 4, "cap") for end in (low, high))]
        if theirs and (printed := theirs[number]) is not None:
            parts.append(_as_printed(x.pixel(printed), y))
        parts.append(mark(x.pixel(values[number]), y, 0))
        parts.append(label(WIDTH - 2, y + 4, _share(values[number]), "value", "end"))
    return Panel(title, bottom + 22, join(parts))


def _columns(x: Scale, bottom: float) -> list[Markup]:
    """The grid behind rows, and its ticks below them."""
    parts = []
    for value, text in x.ticks:
        place = x.pixel(value)
        parts += [line(place, TITLE + 6, place, bottom, "grid"), label(place, bottom + 16, text, "tick", "middle")]
    return parts


def _as_printed(x: float, y: float) -> Markup:
    """A hollow diamond."""
    return element("path", d=f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z", class_="printed")


def _key(original: bool) -> Markup:
    """What the signs of a row mean, at the right of the title."""
    if not original:
        return Markup("")
    start = WIDTH - 2 - width_of("as printed")
    return element("path", d=f"M{start - 9:.1f} 6l5 5l-5 5l-5 -5z", class_="printed") + label(
        WIDTH - 2, 15, "as printed", "quiet", "end"
    )


def _share(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def _losses(numbers: Mapping[str, Any]) -> list[Panel]:
    points = series(5, numbers)
    top = max(value for line_ in points.values() for _, value in line_)
    ticks = _nice(top)
    return [_lines("Loss", points, (0.0, max(top, ticks[-1][0])), ticks, (_unit(numbers), "cross-entropy per image"))]


def _nice(top: float) -> list[tuple[float, str]]:
    """Ticks from zero to a value, at steps of 1, 2 or 5 times a power of ten."""
    if top <= 0:
        return [(0.0, "0"), (1.0, "1")]
    power = 10 ** math.floor(math.log10(top))
    step = next(factor * power for factor in (0.2, 0.5, 1, 2, 5, 10) if top / (factor * power) <= 5)
    return [(number * step, f"{number * step:g}") for number in range(math.ceil(top / step) + 1)]


def _accuracies(numbers: Mapping[str, Any]) -> list[Panel]:
    axes = (_unit(numbers), "mean class accuracy")
    return [_lines("Mean class accuracy", series(6, numbers), (0.0, 1.0), SHARES, axes, numbers["selected"])]


def _unit(numbers: Mapping[str, Any]) -> str:
    return "fit, from a strong penalty to a weak one" if "strength" in numbers else "epoch"


def _spectra(numbers: Mapping[str, Any]) -> list[Panel]:
    """Eigenvalues in decreasing order, on a logarithmic axis."""
    points = {
        name: [(place, math.log10(value)) for place, value in line_ if value > 0]
        for name, line_ in series(9, numbers).items()
    }
    exponents = [value for line_ in points.values() for _, value in line_] or [0.0]
    low, high = math.floor(min(exponents)), max(math.ceil(max(exponents)), math.floor(min(exponents)) + 1)
    step = max(1, math.ceil((high - low) / 6))
    high = low + step * math.ceil((high - low) / step)
    ticks = [(float(power), f"10{_raised(power)}") for power in range(low, high + 1, step)]
    return [_lines("Spectrum", points, (float(low), float(high)), ticks, ("place", "eigenvalue"))]


def _raised(power: int) -> str:
    return str(power).translate(
        str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
    )


def _lines(
    title: str,
    points: Mapping[str, Points],
    domain: tuple[float, float],
    ticks: Sequence[tuple[float, str]],
    titles: tuple[str, str],
    selected: str | None = None,
) -> Panel:
    signs, height = legend([shortened(name, 24) for name in points], 14)
    top = height + 32.0
    bottom = top + PLOT
    places = [place for line_ in points.values() for place, _ in line_]
    last = max([*places, 2])
    step = math.ceil(last / 10)
    x = linear((1, last), (LEFT + 8, RIGHT - 8), [(n, str(n)) for n in range(1, int(last) + 1) if (n - 1) % step == 0])
    y = linear(domain, (bottom, top), ticks)
    parts = [signs, axes(LEFT, top, bottom, x, y, titles)]
    for style, (name, line_) in enumerate(points.items()):
        shown = [(x.pixel(place), y.pixel(value)) for place, value in line_]
        if shown:
            parts.append(path(shown, f"l{style % 5}{' bold' if name == selected else ''}"))
        parts += [mark(*point, style) for point in shown]
    return Panel(title, bottom + 38, join(parts))


def _sparsity(numbers: Mapping[str, Any]) -> list[Panel]:
    """A bar for each module, and the printed value as a hollow diamond."""
    shown = [shortened(name, LONGEST_NAME) for name in numbers["ours"]]
    left = max(map(width_of, shown)) + 12
    bottom = TITLE + 8.0 + ROW * len(shown)
    x = linear((0, 100), (left, WIDTH - 42), [(value, f"{value}") for value in range(0, 101, 25)])
    parts = [label(0, 15, "Values <= 0, %", "title"), _key(bool(numbers["original"])), *_columns(x, bottom)]
    for number, (name, value) in enumerate(numbers["ours"].items()):
        y = TITLE + 8 + ROW * (number + 0.5)
        parts += [
            label(left - 12, y + 4, shown[number], "", "end"),
            element("rect", x=float(left), y=y - 6, width=x.pixel(value) - left, height=12, class_="bar"),
            label(WIDTH - 2, y + 4, f"{value:.1f}", "value", "end"),
        ]
        if name in numbers["original"]:
            parts.append(_as_printed(x.pixel(numbers["original"][name]), y))
    return [Panel("Sparsity", bottom + 22, join(parts))]


def _unit_axes(titles: tuple[str, str], top: float) -> tuple[Scale, Scale, Markup]:
    """Axes from 0 to 1, as high as they are wide but for a little."""
    bottom = top + 190
    x, y = linear((0, 1), (LEFT, RIGHT - 4), SHARES), linear((0, 1), (bottom, top), SHARES)
    return x, y, axes(LEFT, top, bottom, x, y, titles)


def _precision_recall(numbers: Mapping[str, Any]) -> list[Panel]:
    """The steps of each class; of many classes, those with the lowest average precision."""
    return [_curve(numbers, place) for place in curves_drawn(numbers)]


def curves_drawn(numbers: Mapping[str, Any]) -> list[int]:
    """The classes whose curves are drawn."""
    precision = numbers["average_precision"]
    lowest = sorted(range(len(precision)), key=lambda place: precision[place])[:MOST_CURVES]
    return sorted(lowest)


def _curve(numbers: Mapping[str, Any], place: int) -> Panel:
    name, curve = numbers["classes"][place], numbers["curves"][numbers["classes"][place]]
    x, y, frame = _unit_axes(("recall", "precision"), 56.0)
    steps: Points = [(0.0, curve["precision"][0])]
    for recall, precision in zip(curve["recall"], curve["precision"], strict=True):
        steps += [(steps[-1][0], precision), (recall, precision)]
    chance = y.pixel(numbers["chance"][place])
    title = f"{shortened(name, 24)}: AP {numbers['average_precision'][place]:.3f}"
    parts = [label(0, 15, title, "title"), frame, line(LEFT, chance, RIGHT - 4, chance, "chance"),
             path([(x.pixel(recall), y.pixel(precision)) for recall, precision in steps], "l0 bold")]  # fmt: skip
    return Panel(name, 284, join(parts))


def _reliability(numbers: Mapping[str, Any]) -> list[Panel]:
    """The share of right images over the mean top score of each bin, and how many images each bin has."""
    filled = [each for each in numbers["bins"] if each["images"]]
    x, y, frame = _unit_axes(("mean top score", "share right"), 56.0)
    parts = [label(0, 15, f"Reliability: ECE {numbers['expected_calibration_error']:.3f}", "title"), frame,
             line(x.pixel(0), y.pixel(0), x.pixel(1), y.pixel(1), "chance")]  # fmt: skip
    for each in filled:
        place, (low, high) = x.pixel(each["mean_score"]), map(y.pixel, each["interval"])
        parts += [line(place, low, place, high, "range"),
                  *(line(place - 4, end, place + 4, end, "cap") for end in (low, high))]  # fmt: skip
    parts += [mark(x.pixel(each["mean_score"]), y.pixel(each["accuracy"]), 0) for each in filled]
    return [Panel("Reliability", 284, join(parts)), _counts(numbers["bins"])]


def _counts(bins: Sequence[Mapping[str, Any]]) -> Panel:
    top, bottom = 56.0, 246.0
    ticks = _nice(max(each["images"] for each in bins))
    x = linear((0, 1), (LEFT, RIGHT - 4), SHARES)
    y = linear((0, ticks[-1][0]), (bottom, top), ticks)
    parts = [label(0, 15, "Images in each bin", "title"), axes(LEFT, top, bottom, x, y, ("top score", "images"))]
    for each in bins:
        if each["images"]:
            start, end, height = x.pixel(each["lower"]), x.pixel(each["upper"]), y.pixel(each["images"])
            parts.append(
                element("rect", x=start + 1, y=height, width=end - start - 2, height=bottom - height, class_="bar")
            )
    return Panel("Images in each bin", 284, join(parts))
