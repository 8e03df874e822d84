"""Drawings from the test scores: precision-recall curves, and accuracy by confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from in4310repro.report.svg import (
    LEFT,
    RIGHT,
    SHARES,
    Panel,
    Scale,
    axes,
    element,
    join,
    label,
    line,
    linear,
    mark,
    path,
    shorten,
    ticks_from_zero,
)

MOST_CURVES = 12


def _unit_axes(titles: tuple[str, str], top: float) -> tuple[Scale, Scale, Markup]:
    """Return two scales from 0 to 1, of nearly equal length on the page, and the drawing of their axes."""
    bottom = top + 190
    x, y = linear((0, 1), (LEFT, RIGHT - 4), SHARES), linear((0, 1), (bottom, top), SHARES)
    return x, y, axes(LEFT, top, bottom, x, y, titles)


def draw_precision_recall(numbers: Mapping[str, Any]) -> list[Panel]:
    """Draw the precision-recall curves of the classes chosen by `select_curves`, as steps."""
    return [_curve(numbers, place) for place in select_curves(numbers)]


def select_curves(numbers: Mapping[str, Any]) -> list[int]:
    """Return the indices of the classes to draw: the 12 with the lowest average precision, or all if fewer."""
    precision = numbers["average_precision"]
    lowest = sorted(range(len(precision)), key=lambda place: precision[place])[:MOST_CURVES]
    return sorted(lowest)


def _curve(numbers: Mapping[str, Any], place: int) -> Panel:
    name, curve = numbers["classes"][place], numbers["curves"][numbers["classes"][place]]
    x, y, frame = _unit_axes(("recall", "precision"), 56.0)
    steps: list[tuple[float, float]] = [(0.0, curve["precision"][0])]
    for recall, precision in zip(curve["recall"], curve["precision"], strict=True):
        steps += [(steps[-1][0], precision), (recall, precision)]
    chance = y.pixel(numbers["chance"][place])
    title = f"{shorten(name, 28)}: AP {numbers['average_precision'][place]:.3f}"
    parts = [label(0, 15, title, "title"), frame, line(LEFT, chance, RIGHT - 4, chance, "chance"),
             path([(x.pixel(recall), y.pixel(precision)) for recall, precision in steps], "l0 bold")]  # fmt: skip
    return Panel(name, 284, join(parts))


def draw_reliability(numbers: Mapping[str, Any]) -> list[Panel]:
    """Draw accuracy against mean top score for each bin, and the number of images in each bin."""
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
    ticks = ticks_from_zero(max(each["images"] for each in bins))
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
