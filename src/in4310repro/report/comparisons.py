"""What measured values say of each other, in words that go no further than their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from in4310repro.metrics import Interval
from in4310repro.report.exhibit import Cell, Sentence, Source

SAME = "no difference seen"
MOST_NAMED = 3


def place_in(value: float, interval: Interval, below: str = "", above: str = "") -> str:
    """Say where a value lies beside an interval, and what follows from it.

    Args:
        value: another value than that of the interval.
        interval: its ends.
        below: what follows where the value lies below the interval.
        above: what follows where it lies above.

    Examples:
        >>> place_in(0.89, [0.87, 0.95], "too unsure", "too sure")
        'lies within its interval: no difference seen'
        >>> place_in(0.96, [0.87, 0.95], "too unsure", "too sure")
        'lies above its interval: too sure'
    """
    low, high = interval
    if low <= value <= high:
        return f"lies within its interval: {SAME}"
    where, follows = ("below", below) if value < low else ("above", above)
    return f"lies {where} its interval" + (f": {follows}" if follows else "")


def overlap(first: Interval, second: Interval) -> str:
    """Return a clause that says so where two intervals have a value in common, else nothing.

    Examples:
        >>> overlap([0.66, 0.93], [0.89, 1.0])
        '; their intervals overlap: no difference seen'
    """
    apart = first[1] < second[0] or second[1] < first[0]
    return "" if apart else f"; their intervals overlap: {SAME}"


def extremes(
    names: Sequence[str],
    source: Source,
    *keys: str,
    intervals: tuple[str, ...] = (),
    form: str = "share",
    unit: str = "",
) -> Sentence:
    """Say which of the names has the lowest and which the highest value, and whom their intervals do not tell apart.

    Args:
        names: of the values.
        source: the file of the values.
        keys: the place of a list, or of a mapping from the names.
        intervals: the place of the intervals of these values; empty, or absent from the file, where none are known.
        form: of the values.
        unit: behind each value.
    """
    values, known = _at(source, keys), _at(source, intervals) if intervals else None
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

    def beside(place: int) -> str:
        others = [other for other in range(len(names)) if other not in (low, high)]
        alike = [names[each] for each in others if known and overlap(known[places[place]], known[places[each]])]
        if len(alike) > MOST_NAMED:
            return f", not told apart from {len(alike)} others"
        return f", not told apart from {', '.join(alike)}" if alike else ""

    said = [f"{names[low]} is lowest at ", *shown(low), beside(low), "; "]
    said += [f"{names[high]} is highest at ", *shown(high), beside(high)]
    return (*said, overlap(known[places[low]], known[places[high]]) if known else "")


def _at(source: Source, keys: Sequence[str]) -> Any:
    """Return the value at a place; None where the file has no such place."""
    value: Any = source.values
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
