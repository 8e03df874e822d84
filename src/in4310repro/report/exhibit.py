"""A figure: numbers with their source in a JSON file, sentences made of them, a table and a drawing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import zip_longest
from string import Formatter
from typing import Any, NamedTuple

from in4310repro.report.markup import Numbers, Panel
from in4310repro.system.machine import brief

ABSENT = "-"
Key = str | int
Keys = tuple[Any, ...]


@dataclass(frozen=True)
class Number:
    """Number in the report's text, with the JSON file it comes from and the keys that lead to its value."""

    text: str
    value: float | list[float]  # a list of two is an interval
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
        return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in self.keys)


Cell = str | Number
Sentence = tuple[Cell, ...]


@dataclass(frozen=True)
class Source:
    """JSON file of the report as the source of numbers in the report's text, or what is at some keys of the file."""

    file: str
    values: Any
    keys: Keys = ()

    def below(self, *keys: Key) -> "Source":
        """Return what the nested `keys` lead to as a source."""
        values = self.values
        for key in keys:
            values = values[key]
        return Source(self.file, values, (*self.keys, *keys))

    def at(self, *keys: Key, form: str = "") -> Number:
        """Return the number or interval that the nested `keys` lead to, together with its source.

        An interval is a list of two numbers in the file; its text is "LOW to HIGH".

        Args:
            keys: keys of the number in the file.
            form: Python format; "share" means two decimals without the leading zero, "brief" three significant digits,
                or an integer from 100 up to a million. By default numbers have four decimals, the ends of an interval
                three, and counts none.

        Examples:
            >>> str(Source("figure04.json", {"accuracy": 0.8333}).at("accuracy", form="share"))
            '.83'
            >>> str(Source("figure09.json", {"largest": 9886.8}).at("largest", form="brief"))
            '9887'
        """
        there = self.below(*keys)
        ends, form = (there.values, form or ".3f") if isinstance(there.values, list) else ([there.values], form)
        return Number(" to ".join(_text(end, form) for end in ends), there.values, self.file, there.keys)

    def each(self, *keys: Key, form: str = "") -> list[Number]:
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
            >>> [*map(str, Source("x.json", {"images": 3}).say("{images:d} of {} images", "4"))]
            ['3', ' of 4 images']
        """
        rest, parts = iter(cells), list[Cell]()
        for words, keys, form, _ in Formatter().parse(text):
            shown = () if keys is None else (self.at(*keys.split("/"), form=form or "") if keys else next(rest),)
            for each in (words, *shown):
                if isinstance(each, str) and parts and isinstance(parts[-1], str):
                    parts[-1] += each
                elif each != "":
                    parts.append(each)
        return tuple(parts)


def _text(value: float, form: str) -> str:
    if form == "brief":
        return brief(value)
    if form == "share":
        return f"{value:.2f}".removeprefix("0")
    return format(value, form or ("d" if isinstance(value, int) else ".4f"))


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
    _: KW_ONLY
    draw: Callable[[Numbers], list[Panel]] | None = None  # from its numbers; None: it is a table
    draw_photographs: Callable[[Numbers, Mapping[str, bytes]], Panel] | None = None  # JPEG files by path
    photographs: Sequence[str] = ()  # paths of the images that a page shows, in order
    cells: Sequence[Numbers] = ()  # of a confusion matrix, with their images
    of_panels: Sequence[Sentence] | None = None  # one for each panel, if these are not the findings
    tier: str | Callable[[Keys], str] = "test"  # of its numbers, or a function of the keys of one
    counterpart: int | None = None  # number of the published report's figure
    remark: str = "The original has no such figure."
    beside: str = ""  # clause on the published numbers, where it has such
    draws_original: bool = True  # False: the published numbers are in the table alone
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
    def numbers(self) -> Numbers:
        """Content of its JSON file."""
        numbers: Numbers = self.source.values
        return numbers

    def panels(self) -> list[Panel]:
        """Return its drawing; an empty list for a table."""
        shown = {key: value for key, value in self.numbers.items() if key != "original" or self.draws_original}
        return self.draw(shown) if self.draw else []


def figure_source(number: int, numbers: Numbers) -> "Source":
    """Return the JSON file of a figure as the source of numbers in the report's text."""
    return Source(f"figure{number:02d}.json", numbers)


def to_text(sentence: Sentence) -> str:
    """Return a sentence of texts and numbers as plain text."""
    return "".join(map(str, sentence))
