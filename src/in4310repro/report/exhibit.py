"""Parts of a figure: numbers with their source in a JSON file, sentences made of them, and a table.

A sentence that compares values claims no more than their confidence intervals allow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from in4310repro.metrics import Interval
from in4310repro.system.machine import brief

ABSENT = "-"
SAME = "no difference seen"
MOST_NAMED = 3


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

    number: int  # 1 to 11 as in the original
    short: str  # two or three words for a list of figures
    title: str
    caption: Sentence
    numbers: Mapping[str, Any]  # content of its JSON file, which its picture shows
    findings: tuple[Sentence, ...]
    table: FigureTable

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


def describe_extremes(
    names: Sequence[str],
    source: Source,
    *keys: str,
    intervals: tuple[str, ...] = (),
    form: str = "share",
    unit: str = "",
) -> Sentence:
    """Return a sentence on the lowest and the highest value.

    If the values have intervals, the sentence also names the values whose interval overlaps that of the lowest or
    of the highest. If they have no intervals, it names all values that are equal to the lowest or the highest
    when rounded.

    Args:
        names: names of the values.
        source: the file of the values.
        keys: keys in the file that lead to the values, which are a list or a mapping by name.
        intervals: keys in the file that lead to the intervals of the values. If it is empty, or the file has
            no such keys, the values have no intervals.
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
    """Return a sentence with the lowest and the highest value, as rounded for printing.

    Each is followed by the names of all values that round to it.
    """
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
    """Return the value that nested `keys` lead to in the source; None if one of the keys is missing."""
    value: Any = source.values
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
