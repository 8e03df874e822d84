"""Sentences that compare values, and claim no more than their confidence intervals allow."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from in4310repro.metrics import Interval
from in4310repro.report.exhibit import Number, Sentence, Source
from in4310repro.system.text import MOST_NAMED, join_names

SAME = "no difference seen"
ROUNDING = 1e-12  # relative, of sums in another order


def compare_with_interval(value: float, interval: Interval, below: str = "", above: str = "", within: str = "") -> str:
    """Return a clause that says whether a value lies within, below or above an interval.

    If a conclusion for this case is given, it follows after a colon.

    Args:
        value: the value to compare.
        interval: lower and upper end of the interval, for example the confidence interval of a second value.
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
    common = first[1] >= second[0] and second[1] >= first[0]
    return "; their intervals overlap" if common else ""


def find_ties(printed: Sequence[Number], end: Callable[[Iterable[Any]], Any]) -> tuple[list[int], str]:
    """Return the indices of all numbers that are printed like the lowest or the highest, and the word for them.

    Numbers count as equal if no more than rounding separates them. Others that are printed alike are named together
    too, with the words " when rounded", since the page does not show which of them is the lowest or the highest.

    Args:
        printed: the numbers.
        end: min or max.
    """
    values = [each.value for each in printed]
    value = end(values)
    places = [place for place, each in enumerate(printed) if each.text == printed[values.index(value)].text]
    equal = all(math.isclose(values[place], value, rel_tol=ROUNDING) for place in places)  # type: ignore[arg-type]
    return places, "" if equal else " when rounded"


def describe_extremes(
    names: Sequence[str],
    source: Source,
    *keys: str,
    intervals: tuple[str, ...] = (),
    form: str = "share",
    unit: str = "",
    kind: str = "classes",
) -> Sentence:
    """Return a sentence on the lowest and the highest value, with the names of all values that are printed like them.

    If the values have intervals, the sentence also names the values whose interval overlaps that of the lowest or
    of the highest.

    Args:
        names: names of the values.
        source: the file of the values.
        keys: keys in the file that lead to the values, which are a list or a mapping by name.
        intervals: keys in the file that lead to the intervals of the values. If it is empty, or the file has
            no such keys, the values have no intervals.
        form: format of the values.
        unit: text after each value.
        kind: what the names are, in the plural, for a number of them.
    """
    printed, known = source.each(*keys, form=form), source.each(*intervals) if intervals else []
    low, high = (find_ties(printed, end) for end in (min, max))

    def overlap(places: Sequence[int], others: Iterable[int]) -> list[str]:
        ranges: list[Any] = [each.value for each in known]
        return [
            names[other] for other in others if any(describe_overlap(ranges[place], ranges[other]) for place in places)
        ]

    def show(places: Sequence[int], rounded: str) -> Sentence:
        return (printed[places[0]], f"{unit}{rounded}", *_show_intervals([known[place] for place in places if known]))

    def describe(places: Sequence[int], rounded: str, word: str = "") -> Sentence:
        name = join_names([names[place] for place in places], kind)
        if not known:
            return (printed[places[0]], f"{unit} ({name}{rounded})")
        verb, whose = ("are", "their intervals overlap") if len(places) > 1 else ("is", "its interval overlaps")
        listed = overlap(places, (other for other in range(len(names)) if other not in (*low[0], *high[0])))
        those = "that of " if len(listed) == 1 else "those of " if len(listed) <= MOST_NAMED else ""
        more = f", {whose} {those}{join_names(listed, f'other {kind}')}" if listed else ""
        return (f"{name} {verb} {word} at ", *show(places, rounded), more)

    if low == high:
        return ("all are at ", *show(*low))
    if not known:
        return ("from ", *describe(*low), " to ", *describe(*high))
    which = "their intervals" if len(low[0]) == len(high[0]) == 1 else "intervals of the lowest and the highest"
    end = f"; {which} overlap" if overlap(low[0], high[0]) else ""
    return (*describe(*low, "lowest"), "; ", *describe(*high, "highest"), end)


def _show_intervals(intervals: Sequence[Number]) -> Sentence:
    """Return the intervals of equal values in brackets: one if all are printed alike, else each, or their range."""
    shown = intervals[:1] if len({each.text for each in intervals}) == 1 else intervals
    if len(shown) > MOST_NAMED:
        ends = [end for each in shown for end in each.value]  # type: ignore[union-attr]
        return (f" (95 % intervals within {min(ends):.3f} to {max(ends):.3f})",)
    return (" (95 % ", *join_sentences([(each,) for each in shown], last=" and "), ")") if shown else ()


def join_sentences(sentences: Sequence[Sentence], between: str = ", ", last: str = "") -> Sentence:
    """Return the sentences as one, with a text between each two, or another one between the last two."""
    after = [between] * (len(sentences) - 2) + [last or between, ""][-len(sentences) :]
    return tuple(cell for each, then in zip(sentences, after, strict=True) for cell in (*each, then))
