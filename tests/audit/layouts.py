"""Layouts for the numbers of a report: lines, tables with classes in rows or columns, CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tests.audit.reports import mark, visible_length

CLASS_LINES = (
    "Accuracy of {name:>12s} : {value}",
    "Accuracy for class {name}: {value}",
    "Accuracy for class: {name:5s} is {value}",
    "Test Accuracy of {name}: {value}",
    "- {name} accuracy: {value}",
    "Class {name} accuracy = {value}",
)
MACRO_LINES = (
    "Mean class accuracy: {value}",
    "Mean accuracy over all classes: {value}",
    "Average per-class accuracy = {value}",
    "Macro accuracy: {value}",
)
ANY_MEAN_LINES = ("Mean: {value}", "Average accuracy: {value}", "Average: {value}")
OVERALL_LINES = (
    "Overall accuracy: {value}",
    "Test accuracy: {value}",
    "Accuracy of the network: {value}",
    "Total: {value}",
)
AP_LINES = (
    "AP for {name} = {value}",
    "Average precision of {name}: {value}",
    "AP for class {name}: {value}",
    "{name} AP: {value}",
    "ap for {name} is {value}",
)
MAP_LINES = ("Mean AP = {value}", "mAP: {value}", "Mean average precision: {value}", "mAP = {value}")


def pick(generator: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(generator.integers(len(options)))]


def line(template: str, value: str, role: str, column: str, name: str = "") -> str:
    return template.format(name=name, value=mark(value, role, column, name or "mean"))


def lines(
    generator: np.random.Generator,
    values: Mapping[str, str],
    mean: str | None,
    column: str = "accuracy",
    class_lines: Sequence[str] = CLASS_LINES,
    mean_lines: Sequence[str] = MACRO_LINES,
) -> str:
    """Return one line of text per class value, then a line for the mean unless `mean` is None."""
    template = pick(generator, class_lines)
    rows = [line(template, value, "class", column, name) for name, value in values.items()]
    return "\n".join([*rows, *([line(pick(generator, mean_lines), mean, "mean", column)] if mean else [])]) + "\n"


Columns = Mapping[str, Mapping[str, str]]  # heading -> row name -> printed
SUMMARIES = ("macro avg", "weighted avg", "mean", "overall", "map")


def role_of(column: str, row: str) -> str:
    """Return the role of a table cell ("size", "mean" or "class") from its column and row headings."""
    if any(word in column.lower() for word in ("support", "samples", "images", "total", "gts")):
        return "size"
    return "mean" if any(word in row.lower() for word in SUMMARIES) else "class"


def grid(columns: Columns, corner: str = "Class") -> list[list[str]]:
    """Return the cells of a table, heading row first, with each value annotated by `mark`."""
    rows = list(dict.fromkeys(row for values in columns.values() for row in values))
    body = [
        [
            row,
            *(mark(v, role_of(c, row), c, row) if (v := values.get(row, "")) else "" for c, values in columns.items()),
        ]
        for row in rows
    ]
    return [[corner, *columns], *body]


def turned(cells: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(row) for row in zip(*cells, strict=True)]


def markdown(cells: Sequence[Sequence[str]]) -> str:
    rows = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([rows[0], "|" + "---|" * len(cells[0]), *rows[1:]]) + "\n"


def latex(cells: Sequence[Sequence[str]]) -> str:
    rows = [" & ".join(cell.replace("%", r"\%").replace("_", r"\_") for cell in row) + r" \\" for row in cells]
    body = [r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule"]
    return "\n".join([r"\begin{tabular}{l" + "c" * (len(cells[0]) - 1) + "}", *body, r"\end{tabular}"]) + "\n"


def csv(cells: Sequence[Sequence[str]], separator: str = ",") -> str:
    return "\n".join(separator.join(row) for row in cells) + "\n"


def columns_of_text(cells: Sequence[Sequence[str]]) -> str:
    """Return the table as text in aligned columns, without ruled lines between the rows."""
    return (
        "\n".join("  ".join(cell + " " * (22 - visible_length(cell)) for cell in row).rstrip() for row in cells) + "\n"
    )
