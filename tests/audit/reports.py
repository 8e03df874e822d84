"""Reports as text with the positions of their printed values, so that errors can be planted in them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# A printed value is kept between these until the text is whole; nobody prints them.
OPEN, BETWEEN, CLOSE = "\x01", "\x02", "\x03"
NUMBER = re.compile(r"\d*[.,]?\d+(?:e[-+]\d+)?")
MARKED = re.compile(f"{OPEN}([^{BETWEEN}]*){BETWEEN}([^{CLOSE}]*){CLOSE}")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A value printed in a report: role (such as "class"), column, row, and text with its index in the report."""

    role: str  # "class", "mean", "count" or "size"
    column: str
    row: str
    start: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Report:
    habit: str
    text: str
    suffix: str
    cells: tuple[Cell, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)  # images of each class, printed or not
    sizes_printed: bool = False
    encoding: str = "utf-8"

    @property
    def decimals(self) -> int:
        """Largest number of decimals of a class value as a fraction of 1; 93.4 % has three."""
        return max((share_decimals(cell.text) for cell in self.cells if cell.role == "class"), default=0)

    def of_role(self, role: str) -> list[Cell]:
        return [cell for cell in self.cells if cell.role == role]


def decimals_of(text: str) -> int:
    """Return the number of digits after the decimal point or comma, minus the exponent."""
    digits = re.search(r"[.,](\d+)(?:e([-+]\d+))?", text)
    return max(0, len(digits[1]) - int(digits[2] or 0)) if digits else 0


def number(text: str) -> float:
    """Return the number in a printed value; nan if there is none."""
    match = NUMBER.search(text)
    return float(match[0].replace(",", ".")) if match else float("nan")


def is_percent(text: str) -> bool:
    """Return True if a value has a percent sign or is larger than 1."""
    return "%" in text or number(text) > 1.000001


def share_decimals(text: str) -> int:
    """Return how many decimals a value has when written as a fraction of 1."""
    return decimals_of(text) + 2 * is_percent(text)


def mark(text: str, role: str, column: str, row: str, width: int = 0) -> str:
    """Return a value enclosed in markers that name its role, column and row, padded on the left to `width`."""
    return " " * (width - len(text)) + f"{OPEN}{role}|{column}|{row}{BETWEEN}{text}{CLOSE}"


def visible_length(marked: str) -> int:
    """Return the length of a text without the markers that `mark` adds."""
    return len(MARKED.sub(lambda match: match[2], marked))


def report_of(habit: str, marked: str, **fields: object) -> Report:
    text, cells, position = "", [], 0
    for match in MARKED.finditer(marked):
        text += marked[position : match.start()]
        role, column, row = match[1].split("|")
        cells.append(Cell(role=role, column=column, row=row, start=len(text), text=match[2]))
        text += match[2]
        position = match.end()
    text += marked[position:]
    return Report(**{"suffix": ".txt", **fields, "habit": habit, "text": text, "cells": tuple(cells)})  # type: ignore[arg-type]


def mark_report(text: str, names: Sequence[str]) -> str:
    """Return the text of scikit-learn's classification report with each value annotated by `mark`."""
    lines = []
    for line in text.splitlines():
        label = re.match(r"\s*(.*?)\s{2,}", line + "  ")
        name = label[1] if label else ""
        numbers = list(re.finditer(r"(?<![\w.])\d+(?:\.\d+)?(?=\s|$)", line[len(label[0].rstrip()) if label else 0 :]))
        offset = len(label[0].rstrip()) if label else 0
        summary = name in ("accuracy", "micro avg", "macro avg", "weighted avg")
        if len(numbers) >= 2 and (name in names or summary):
            columns = (
                ("precision", "recall", "f1", "support")[-len(numbers) :]
                if name != "accuracy"
                else ("accuracy", "support")
            )
            for number, column in reversed(list(zip(numbers, columns, strict=True))):
                role = "size" if column == "support" else "mean" if summary else "class"
                start, end = offset + number.start(), offset + number.end()
                line = line[:start] + mark(number[0], role, column, name) + line[end:]
        lines.append(line)
    return "\n".join(lines)
