"""Comparisons of measured values, in sentences that claim no more than their intervals allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from in4310repro.metrics import Interval
from in4310repro.report.exhibit import Cell, Sentence, Source

SAME = "no difference seen"
MOST_NAMED = 3


def compare_with_interval(value: float, interval: Interval, below: str = "", above: str = "") -> str:
    """Say whether a value lies inside, below or above an interval, and what follows from it.

    Args:
        value: not the value that the interval belongs to.
        interval: lower and upper end.
        below: conclusion if the value lies below the interval.
        above: conclusion if the value lies above the interval.

    Examples:
        >>> place_in(0.89, [0.87, 0.95], "too unsure", "too sure")
        'lies within its interval: no difference seen'
        >>> place_in(0.96, [0.87, 0.95], "too unsure", "too sure")
        'lies above its interval: too sure'
    """
    low, high = interval
    if low <= value <= high:
        return f"lies within its interval: {SAME}"
    side, conclusion = ("below", below) if value < low else ("above", above)
    return f"lies {side} its interval" + (f": {conclusion}" if conclusion else "")


def describe_overlap(first: Interval, second: Interval) -> str:
    """Return a clause that says that two intervals overlap, or an empty text where they do not.

    Examples:
        >>> overlap([0.66, 0.93], [0.89, 1.0])
        '; their intervals overlap: no difference seen'
    """
    disjoint = first[1] < second[0] or second[1] < first[0]
    return "" if disjoint else f"; their intervals overlap: {SAME}"


def describe_extremes(
    names: Sequence[str],
    source: Source,
    *keys: str,
    intervals: tuple[str, ...] = (),
    form: str = "share",
    unit: str = "",
) -> Sentence:
    """Name the lowest and the highest value, and the values whose intervals overlap with theirs.

    Args:
        names: names of the values.
        source: the file of the values.
        keys: keys of the values, which are a list or a mapping by name.
        intervals: keys of the intervals of the values; empty, or absent from the file, if they are unknown.
        form: format of the values.
        unit: text after each value.
    """
    values, known = _look_up(source, keys), _look_up(source, intervals) if intervals else None
    places: Sequence[str | int] = list(names) if isinstance(values, Mapping) else range(len(names))
    listed = [values[place] for place in places]
    low, high = (listed.index(end) for end in (min(listed), max(listed)))

    def shown(place: int) -> list[Cell]:
        cells: list[Cell] = [source.at(*keys, places[place], form=form), unit]
        if known:
            cells += [" (95 % ", source.at(*intervals, places[place], form=".3f"), ")"]
        return cells

    if listed[low] == listed[high]:
        return ("all are at ", *shown(low))

    def name_overlapping(place: int) -> str:
        others = [other for other in range(len(names)) if other not in (low, high)]
        ranges = [known[each] for each in places] if known else []
        overlapping = [names[each] for each in others if ranges and describe_overlap(ranges[place], ranges[each])]
        if len(overlapping) > MOST_NAMED:
            return f", not told apart from {len(overlapping)} others"
        return f", not told apart from {', '.join(overlapping)}" if overlapping else ""

    finding = [f"{names[low]} is lowest at ", *shown(low), name_overlapping(low), "; "]
    finding += [f"{names[high]} is highest at ", *shown(high), name_overlapping(high)]
    return (*finding, describe_overlap(known[places[low]], known[places[high]]) if known else "")


def _look_up(source: Source, keys: Sequence[str]) -> Any:
    """Return the value under the keys; None where the file lacks them."""
    value: Any = source.values
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
