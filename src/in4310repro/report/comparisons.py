"""Sentences that compare measured values and claim no more than their confidence intervals allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from in4310repro.metrics import Interval
from in4310repro.report.exhibit import Cell, Number, Sentence, Source

SAME = "no difference seen"
MOST_NAMED = 3


def compare_with_interval(value: float, interval: Interval, below: str = "", above: str = "", within: str = "") -> str:
    """Return the clause that a value lies within, below or above an interval, followed by a conclusion if given.

    Args:
        value: a value to compare with the interval of a different value.
        interval: lower and upper end.
        below: conclusion if the value lies below the interval.
        above: conclusion if the value lies above the interval.
        within: conclusion if the value lies within the interval.

    Examples:
        >>> compare_with_interval(0.89, [0.87, 0.95], "too unsure", "too sure")
        'lies within its interval'
        >>> compare_with_interval(0.96, [0.87, 0.95], "too unsure", "too sure")
        'lies above its interval: too sure'
    """
    low, high = interval
    side, conclusion = ("below", below) if value < low else ("above", above) if value > high else ("within", within)
    return f"lies {side} its interval" + (f": {conclusion}" if conclusion else "")


def describe_overlap(first: Interval, second: Interval) -> str:
    """Return the clause "; their intervals overlap", or an empty string if they do not overlap.

    An overlap is no test: two values may differ by more than chance although their intervals overlap.

    Examples:
        >>> describe_overlap([0.66, 0.93], [0.89, 1.0])
        '; their intervals overlap'
    """
    return "; their intervals overlap" if _overlap(first, second) else ""


def describe_extremes(
    names: Sequence[str],
    source: Source,
    *keys: str,
    intervals: tuple[str, ...] = (),
    form: str = "share",
    unit: str = "",
) -> Sentence:
    """Return a sentence on the lowest and highest value, and on values whose intervals overlap with theirs.

    If the intervals are unknown, the sentence gives the range, with every name whose value rounds to its ends.

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
    printed = [source.at(*keys, place, form=form) for place in places]
    if not known:
        return _describe_range(names, printed, (low, high), unit)

    def show(place: int) -> list[Cell]:
        return [printed[place], unit, " (95 % ", source.at(*intervals, places[place], form=".3f"), ")"]

    if listed[low] == listed[high]:
        return ("all are at ", *show(low))

    def name_overlapping(place: int) -> str:
        others = [other for other in range(len(names)) if other not in (low, high)]
        overlapping = [names[other] for other in others if _overlap(known[places[place]], known[places[other]])]
        those = "that" if len(overlapping) == 1 else "those"
        return f", its interval overlaps {those} of {_list(overlapping)}" if overlapping else ""

    finding = [f"{names[low]} is lowest at ", *show(low), name_overlapping(low), "; "]
    finding += [f"{names[high]} is highest at ", *show(high), name_overlapping(high)]
    return (*finding, describe_overlap(known[places[low]], known[places[high]]))


def _describe_range(names: Sequence[str], printed: Sequence[Number], ends: tuple[int, int], unit: str) -> Sentence:
    """Return a sentence on the lowest and highest value after rounding, each with all names that have it."""
    lowest, highest = (printed[end] for end in ends)
    if lowest.text == highest.text:
        return ("all are at ", lowest, unit)
    at_lowest, at_highest = (
        _list([name for name, number in zip(names, printed, strict=True) if number.text == end.text])
        for end in (lowest, highest)
    )
    return ("from ", lowest, f"{unit} ({at_lowest}) to ", highest, f"{unit} ({at_highest})")


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} of them"


def _overlap(first: Interval, second: Interval) -> bool:
    return first[1] >= second[0] and second[1] >= first[0]


def _look_up(source: Source, keys: Sequence[str]) -> Any:
    """Return the value under the keys; None if the file lacks one of them."""
    value: Any = source.values
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
