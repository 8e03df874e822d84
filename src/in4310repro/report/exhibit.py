"""What a figure is made of: numbers with their places in JSON files, sentences, a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RECORD = "run.json"
ABSENT = "-"


@dataclass(frozen=True)
class Number:
    """A number as it is printed, and where it stands: a file of the report, and the keys in it."""

    text: str
    value: float | list[float]  # of two, an interval
    file: str
    keys: tuple[str | int, ...]

    def __str__(self) -> str:
        return self.text

    @property
    def pointer(self) -> str:
        """The keys as a JSON Pointer (RFC 6901).

        Examples:
            >>> Number("0.5", 0.5, "figure04.json", ("ours", "a/b", 0)).pointer
            '/ours/a~1b/0'
        """
        return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in self.keys)


Cell = str | Number
Sentence = tuple[Cell, ...]


@dataclass(frozen=True)
class Source:
    """A JSON file of the report, from which numbers are printed."""

    file: str
    values: Mapping[str, Any]

    def at(self, *keys: str | int, form: str = ".4f") -> Number:
        """A number of the file; of two, an interval.

        Args:
            keys: its place.
            form: a format of Python's; "share" for two decimals without the zero before them.

        Examples:
            >>> str(Source("figure04.json", {"accuracy": 0.8333}).at("accuracy", form="share"))
            '.83'
        """
        value: Any = self.values
        for key in keys:
            value = value[key]
        ends = value if isinstance(value, list) else [value]
        return Number(" to ".join(_text(end, form) for end in ends), value, self.file, keys)


def _text(value: float, form: str) -> str:
    return f"{value:.2f}".removeprefix("0") if form == "share" else format(value, form)


@dataclass(frozen=True, kw_only=True)
class FigureTable:
    """A heading, rows of cells, and how many rows at the end sum the others up."""

    heading: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    totals: int = 0


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One figure: its number, a title, a caption, its numbers, what each of its panels shows, and a table."""

    number: int  # 1 to 11: as in the original
    short: str  # what it shows, in two or three words of a list
    title: str
    caption: Sentence
    numbers: Mapping[str, Any]  # what its JSON file holds, and its picture shows
    findings: tuple[Sentence, ...]
    table: FigureTable

    @property
    def name(self) -> str:
        """File name without its ending."""
        return figure_name(self.number)


def figure_name(number: int) -> str:
    """File name of a figure without its ending."""
    return f"figure{number:02d}"


def source_of(number: int, numbers: Mapping[str, Any]) -> Source:
    """The JSON file of a figure."""
    return Source(f"{figure_name(number)}.json", numbers)


def plain(sentence: Sentence) -> str:
    """A sentence as text."""
    return "".join(map(str, sentence))
