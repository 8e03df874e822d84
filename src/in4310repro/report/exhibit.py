"""A figure: numbers with their source in a JSON file, a table, a drawing, and sentences that compare the numbers.

They claim no more than confidence intervals allow.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import zip_longest
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple

from in4310repro.metrics import Interval
from in4310repro.report.markup import Numbers, Panel
from in4310repro.system.machine import brief
from in4310repro.system.text import MOST_NAMED, join_names

ABSENT = "-"
SAME = "no difference seen"
ROUNDING = 1e-12  # relative, of sums in another order
Keys = tuple[Any, ...]


class Number(NamedTuple):
    """Number in the report's text, with the JSON file it comes from and the keys that lead to its value."""

    text: str
    value: Any  # a float, or an interval as a list of two
    file: str
    keys: Keys

    def __str__(self) -> str:
        return self.text

    @property
    def pointer(self) -> str:
        """Keys of the value as a JSON Pointer (RFC 6901), such as `/ours/class_accuracy/0`.

        Examples:
            >>> Number("0.5", 0.5, "figure04.json", ("ours", "a/b", 0)).pointer
            '/ours/a~1b/0'
        """
        return "".join(f"/{str(key).replace('~', '~0').replace('/', '~1')}" for key in self.keys)


Cell = str | Number
Sentence = tuple[Cell, ...]


class Source(NamedTuple):
    """JSON file of the report as the source of numbers in the report's text, or what is at some keys of the file."""

    file: str
    values: Any
    keys: Keys = ()

    def below(self, *keys: Any) -> "Source":
        """Return what the nested `keys` lead to as a source."""
        values = self.values
        for key in keys:
            values = values[key]
        return Source(self.file, values, (*self.keys, *keys))

    def at(self, *keys: Any, form: str = "") -> Number:
        """Return the number or interval that the nested `keys` lead to, together with its source.

        An interval is a list of two numbers in the file; its text is "LOW to HIGH".

        Args:
            keys: keys of the number in the file.
            form: Python format; "brief" means three significant digits, or an integer from 100 up to a million.
                By default numbers have four decimals, the ends of an interval three, and counts none.

        Examples:
            >>> str(Source("figure04.json", {"accuracy": 0.8333}).at("accuracy", form=".2f"))
            '0.83'
            >>> str(Source("figure09.json", {"largest": 9886.8}).at("largest", form="brief"))
            '9,887'
        """
        there = self.below(*keys)
        ends, form = (there.values, form or ".3f") if isinstance(there.values, list) else ([there.values], form)
        return Number(" to ".join(_text(end, form) for end in ends), there.values, self.file, there.keys)

    def each(self, *keys: Any, form: str = "") -> list[Number]:
        """Return all numbers of the list or mapping that the nested `keys` lead to; none where there is no such key."""
        try:
            values = self.below(*keys).values
        except KeyError:
            return []
        places = values if isinstance(values, Mapping) else range(len(values))
        return [self.at(*keys, place, form=form) for place in places]

    def say(self, text: str, *cells: Cell) -> Sentence:
        """Return a sentence: each `{}` of the text is the next cell, and `{key/key:form}` the number at these keys.

        Examples:
            >>> to_text(Source("x.json", {"images": 3}).say("{images:d} of {} images", "4"))
            '3 of 4 images'
        """
        rest, parts = iter(cells), list[Cell]()
        for words, keys, form, _ in Formatter().parse(text):
            parts.append(words)
            if keys is not None:
                parts.append(self.at(*keys.split("/"), form=form or "") if keys else next(rest))
        return tuple(parts)


def _text(value: float, form: str) -> str:
    return brief(value) if form == "brief" else format(value, form or ("," if isinstance(value, int) else ".4f"))


class FigureTable(NamedTuple):
    """Table of a figure: heading, rows of cells, and the number of rows at the end that are totals."""

    heading: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    totals: int = 0

    @classmethod
    def of(cls, *columns: tuple[str, Iterable[Cell]]) -> "FigureTable":
        """Return the table of columns, each with its heading; shorter ones end with `-`."""
        headings, cells = zip(*columns, strict=True)
        return cls(headings, [*zip_longest(*cells, fillvalue=ABSENT)])


@dataclass(frozen=True)
class Exhibit:
    """A figure: all that pages, drawings, JSON files and tiers need to know of it."""

    source: Source  # its JSON file
    short: str  # two or three words for a list of figures
    title: str
    caption: Sentence
    findings: Sequence[Sentence]
    table: FigureTable
    panels: Sequence[Panel] = ()  # its drawing; without one it is a table
    _: KW_ONLY
    draw_photographs: Callable[[Numbers, Mapping[str, bytes]], Panel] | None = None  # JPEG files by path
    photographs: Sequence[str] = ()  # paths of the images that a page shows, in order
    cells: Sequence[Numbers] = ()  # of a confusion matrix, with their images
    of_panels: Sequence[Sentence] | None = None  # one for each panel, if these are not the findings
    tier: str | Callable[[Keys], str] = "test"  # of its numbers, or a function of the keys of one
    counterpart: int | None = None  # number of the published report's figure
    remark: str = "The original has no such figure."
    beside: str = ""  # clause on the published numbers, where it has such
    last: bool = False  # of its group
    group: str = ""  # heading on the page

    @property
    def heading(self) -> str:
        """Title, with the number of the published report's figure where it has such a figure."""
        return f"{self.title} (figure {self.counterpart} of the original)" if self.counterpart else self.title

    @property
    def name(self) -> str:
        """Name of the figure's files without the suffix, such as `figure01`."""
        return self.source.file.removesuffix(".json")

    @property
    def number(self) -> int:
        """Number of the figure's files and keys; titles have none."""
        return int(self.name[-2:])

    @property
    def numbers(self) -> Any:
        """Content of its JSON file."""
        return self.source.values


def figure_source(number: int, numbers: Numbers) -> Source:
    """Return the JSON file of a figure as the source of numbers in the report's text."""
    return Source(f"figure{number:02d}.json", numbers)


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

    An overlap is not a test: two values may differ by more than chance although their intervals overlap.

    Examples:
        >>> describe_overlap([0.66, 0.93], [0.89, 1.0])
        '; their intervals overlap'
    """
    return "; their intervals overlap" if first[1] >= second[0] and second[1] >= first[0] else ""


def find_ties(printed: Sequence[Number], end: Callable[..., Number]) -> tuple[list[int], str]:
    """Return the indices of all numbers that are printed like the lowest or the highest, and the word for them.

    Numbers count as equal if no more than rounding separates them. Others that are printed alike are named together
    too, with the words " when rounded", since the page does not show which of them is the lowest or the highest.

    Args:
        printed: the numbers.
        end: min or max.
    """
    first = end(printed, key=lambda each: each.value)
    places = [place for place, each in enumerate(printed) if each.text == first.text]
    equal = all(math.isclose(printed[place].value, first.value, rel_tol=ROUNDING) for place in places)
    return places, "" if equal else " when rounded"


def describe_extremes(
    names: Sequence[str],
    source: Source,
    *keys: str,
    intervals: tuple[str, ...] = (),
    form: str = ".2f",
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
        return [
            names[other]
            for other in others
            if any(describe_overlap(known[place].value, known[other].value) for place in places)
        ]

    def show(places: Sequence[int], rounded: str) -> Sentence:
        ranges, shown = [known[place] for place in places if known], Sentence()
        # One interval if all are printed alike, else each, or their range.
        if len({each.text for each in ranges}) == 1:
            ranges = ranges[:1]
        if len(ranges) > MOST_NAMED:
            ends = [end for each in ranges for end in each.value]
            shown = (f" (95 % intervals within {min(ends):.3f} to {max(ends):.3f})",)
        elif ranges:
            shown = (" (95 % ", *join_sentences([(each,) for each in ranges], last=" and "), ")")
        return (printed[places[0]], f"{unit}{rounded}", *shown)

    def describe(places: Sequence[int], rounded: str, word: str = "") -> Sentence:
        name = join_names([names[place] for place in places], kind)
        if not known:
            return (printed[places[0]], f"{unit} ({name}{rounded})")
        listed = overlap(places, (other for other in range(len(names)) if other not in (*low[0], *high[0])))
        more = (
            f", {'their intervals overlap' if places[1:] else 'its interval overlaps'} "
            f"{'that of ' if len(listed) == 1 else 'those of ' if len(listed) <= MOST_NAMED else ''}"
            f"{join_names(listed, f'other {kind}') if listed else ''}"
        )
        return (f"{name} {'are' if places[1:] else 'is'} {word} at ", *show(places, rounded), more if listed else "")

    if low == high:
        return ("all are at ", *show(*low))
    if not known:
        return ("from ", *describe(*low), " to ", *describe(*high))
    of_both = "intervals of the lowest and the highest" if low[0][1:] or high[0][1:] else "their intervals"
    end = f"; {of_both} overlap" if overlap(low[0], high[0]) else ""
    return (*describe(*low, "lowest"), "; ", *describe(*high, "highest"), end)


def join_sentences(sentences: Sequence[Sentence], between: str = ", ", last: str = "") -> Sentence:
    """Return the sentences as one, with a text between each two, or another one between the last two."""
    after = [between] * (len(sentences) - 2) + [last or between, ""][-len(sentences) :]
    return tuple(cell for each, then in zip(sentences, after, strict=True) for cell in (*each, then))


def has_original_classes(classes: Sequence[str]) -> bool:
    """Return whether `classes` are those of the published report; only then can numbers be compared with it."""
    return bool([*classes] == original()["classes"])


def original() -> dict[str, Any]:
    """Return the numbers that the published report prints ("the original"). Runs are compared with them.

    They are `settings` (adamw, rmsprop, sgd on validation, and test) with metrics, `classes`, `optimizers`, the
    `chosen` optimizer, and `non_positive_percent` of modules.
    """
    return dict(json.loads(Path(__file__).with_name("original.json").read_bytes()))
