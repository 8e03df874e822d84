"""Parts of a figure: numbers with their source in a JSON file, sentences made of them, and a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RECORD = "run.json"
ABSENT = "-"


@dataclass(frozen=True)
class Number:
    """Number in the report's text, with its source: a JSON file of the report and the keys of the value in it."""

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
        """Return the number at a path of keys in the file, with its source; a list of two numbers is an interval.

        Args:
            keys: keys of the number in the file.
            form: Python format; "share" means two decimals without the leading zero.

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


def to_text(sentence: Sentence) -> str:
    """Return a sentence of texts and numbers as plain text."""
    return "".join(map(str, sentence))
