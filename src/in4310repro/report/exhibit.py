"""Parts of a figure: numbers with their source in a JSON file, sentences made of them, and a table.

A sentence that compares values claims no more than their confidence intervals allow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from in4310repro.metrics import Interval
from in4310repro.system.machine import brief
from in4310repro.system.text import MOST_NAMED, join_names

ABSENT = "-"
SAME = "no difference seen"
ROUNDING = 1e-12  # relative, of sums in another order


@dataclass(frozen=True)
class Number:
    """Number in the report's text, with the JSON file it comes from and the keys that lead to its value."""

    text: str
    value: float | list[float]  # a list of two is an interval
    file: str
    keys: tuple[str | int, ...]

    def __str__(self) -> str:
        return self.text

    @property
    def pointer(self) -> str:
        """Keys of the value as a JSON Pointer (RFC 6901), such as `/ours/class_accuracy/0`.

        Examples:
            >>> Number("0.5", 0.5, "figure04.json", ("ours", "a/b", 0)).pointer
            '/ours/a~1b/0'
        """
        return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in self.keys)


Cell = str | Number
Sentence = tuple[Cell, ...]


@dataclass(frozen=True)
class Source:
    """JSON file of the report, with its values, as the source of numbers in the report's text."""

    file: str
    values: Mapping[str, Any]

    def at(self, *keys: str | int, form: str = ".4f") -> Number:
        """Return the number or interval that the nested `keys` lead to, together with its source.

        An interval is a list of two numbers in the file; its text is "LOW to HIGH".

        Args:
            keys: keys of the number in the file.
            form: Python format; "share" means two decimals without the leading zero, "brief" three significant digits,
                or an integer from 100 up to a million.

        Examples:
            >>> str(Source("figure04.json", {"accuracy": 0.8333}).at("accuracy", form="share"))
            '.83'
            >>> str(Source("figure09.json", {"largest": 9886.8}).at("largest", form="brief"))
            '9887'
        """
        value: Any = self.values
        for key in keys:
            value = value[key]
        ends = value if isinstance(value, list) else [value]
        return Number(" to ".join(_text(end, form) for end in ends), value, self.file, keys)


def _text(value: float, form: str) -> str:
    if form == "brief":
        return brief(value)
    return f"{value:.2f}".removeprefix("0") if form == "share" else format(value, form)


@dataclass(frozen=True, kw_only=True)
class FigureTable:
    """Table of a figure: heading, rows of cells, and the number of rows at the end that are totals."""

    heading: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    totals: int = 0


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A figure: number, title, caption, numbers, a finding (sentence) for each panel, and a table."""

    number: int  # of its files and keys; titles have none
    short: str  # two or three words for a list of figures
    title: str
    caption: Sentence
    numbers: Mapping[str, Any]  # content of its JSON file
    findings: tuple[Sentence, ...]
    table: FigureTable
    counterpart: int | None = None  # number of the published report's figure
    draws_original: bool = True  # False: the published numbers are in the table alone

    @property
    def heading(self) -> str:
        """Title, with the number of the published report's figure where it has such a figure."""
        return f"{self.title} (figure {self.counterpart} of the original)" if self.counterpart else self.title

    @property
    def drawn(self) -> Mapping[str, Any]:
        """The numbers that its picture shows."""
        return {key: value for key, value in self.numbers.items() if key != "original" or self.draws_original}

    @property
    def name(self) -> str:
        """Name of the figure's files without the suffix, such as `figure01`."""
        return figure_name(self.number)


def figure_name(number: int) -> str:
    """Return the name of a figure's files without the suffix, such as `figure01`."""
    return f"figure{number:02d}"


def figure_source(number: int, numbers: Mapping[str, Any]) -> Source:
    """Return the JSON file of a figure as the source of numbers in the report's text."""
    return Source(f"{figure_name(number)}.json", numbers)


def fill(text: str, *cells: Cell) -> Sentence:
    """Return the text as a sentence, with each placeholder `{}` replaced by a cell (text or Number), in order.

    Examples:
        >>> fill("{} of {} images", "3", "4")
        ('3 of 4 images',)
    """
    parts: list[Cell] = []
    for pair in zip(text.split("{}"), (*cells, ""), strict=True):
        for each in pair:
            if isinstance(each, str) and parts and isinstance(parts[-1], str):
                parts[-1] += each
            elif each != "":
                parts.append(each)
    return tuple(parts)


def to_text(sentence: Sentence) -> str:
    """Return a sentence of texts and numbers as plain text."""
    return "".join(map(str, sentence))


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
    return "; their intervals overlap" if _overlap(first, second) else ""


@dataclass(frozen=True)
class Ties:
    """All values that are printed like the lowest or the highest: their indices, and whether they are equal.

    Values count as equal if no more than rounding separates them. Others that are printed alike are named together
    too, with the words "when rounded", since the page does not show which of them is the lowest or the highest.
    """

    places: list[int]
    equal: bool

    @classmethod
    def of(cls, values: Sequence[float], printed: Sequence[Cell], end: float) -> Ties:
        """Return the ties of `end`, which is one of the values, each of which is printed as in `printed`."""
        text = str(printed[values.index(end)])
        places = [place for place, each in enumerate(printed) if str(each) == text]
        return cls(places, all(math.isclose(values[place], end, rel_tol=ROUNDING) for place in places))

    @property
    def rounded(self) -> str:
        """The words " when rounded" if the values are printed alike and differ."""
        return "" if self.equal else " when rounded"


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
    values, known = _look_up(source, keys), _look_up(source, intervals) if intervals else None
    places: Sequence[str | int] = list(names) if isinstance(values, Mapping) else range(len(names))
    printed = [source.at(*keys, place, form=form) for place in places]
    listed = [values[place] for place in places]
    low, high = (Ties.of(listed, printed, end) for end in (min(listed), max(listed)))

    def show(ties: Ties) -> list[Cell]:
        of_ties = [source.at(*intervals, places[place], form=".3f") for place in ties.places] if known else []
        return [printed[ties.places[0]], unit, ties.rounded, *_show_intervals(of_ties)]

    def name(ties: Ties) -> str:
        return join_names([names[place] for place in ties.places], kind)

    if low.places == high.places:
        return ("all are at ", *show(low))
    if not known:
        ends: list[list[Cell]] = [
            [printed[ties.places[0]], f"{unit} ({name(ties)}{ties.rounded})"] for ties in (low, high)
        ]
        return ("from ", *ends[0], " to ", *ends[1])
    ranges = [known[place] for place in places]
    others = [place for place in range(len(names)) if place not in (*low.places, *high.places)]
    finding: list[Cell] = []
    for ties, end in ((low, "lowest"), (high, "highest")):
        overlapping = [names[place] for place in _overlapping(ranges, ties.places, others)]
        several = len(ties.places) > 1
        finding += [f"{name(ties)} {'are' if several else 'is'} {end} at ", *show(ties)]
        finding += [_describe_overlapping(overlapping, kind, several=several), "; " if ties is low else ""]
    if _overlapping(ranges, low.places, high.places):
        single = len(low.places) == len(high.places) == 1
        finding += [f"; {'their intervals' if single else 'intervals of the lowest and the highest'} overlap"]
    return tuple(finding)


def _overlapping(ranges: Sequence[Interval], places: Sequence[int], others: Sequence[int]) -> list[int]:
    """Return those of `others` whose range overlaps that of any of `places`."""
    return [other for other in others if any(_overlap(ranges[place], ranges[other]) for place in places)]


def _describe_overlapping(names: Sequence[str], kind: str, *, several: bool) -> str:
    """Return a clause that an interval, or one of `several`, overlaps those of the names; "" without names."""
    if not names:
        return ""
    those = "that of " if len(names) == 1 else "those of " if len(names) <= MOST_NAMED else ""
    verb = "their intervals overlap" if several else "its interval overlaps"
    return f", {verb} {those}{join_names(names, f'other {kind}')}"


def _show_intervals(intervals: Sequence[Number]) -> list[Cell]:
    """Return the intervals of equal values in brackets: one if all are printed alike, else each, or their range."""
    shown = [*intervals[:1]] if len({each.text for each in intervals}) == 1 else [*intervals]
    if not shown:
        return []
    if len(shown) > MOST_NAMED:
        ends = [end for each in shown if isinstance(each.value, list) for end in each.value]
        return [f" (95 % intervals within {min(ends):.3f} to {max(ends):.3f})"]
    parts: list[Cell] = []
    for place, each in enumerate(shown, start=1):
        parts += [each, ", " if place < len(shown) - 1 else " and " if place < len(shown) else ")"]
    return [" (95 % ", *parts]


def _overlap(first: Interval, second: Interval) -> bool:
    return first[1] >= second[0] and second[1] >= first[0]


def _look_up(source: Source, keys: Sequence[str]) -> Any:
    """Return the value that nested `keys` lead to in the source; None if one of the keys is missing."""
    value: Any = source.values
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
