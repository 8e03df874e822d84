"""Read TOML: [[table]] sections with values as strings, which keep all decimals, or sections by metric."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from in4310repro.audit.document import Average, Measure, Table, Value
from in4310repro.audit.readers.json_files import Numeral, read_object
from in4310repro.audit.readers.numbers import parse_measured
from in4310repro.audit.readers.pieces import Piece, make_value, scale_values
from in4310repro.system.files import strip_advice

READER = "TOML"
# The key of the class values, and that of their plain mean.
KEYS = {
    Measure.ACCURACY: ("accuracy", "mean_accuracy"),
    Measure.AVERAGE_PRECISION: ("average_precision", "mean_average_precision"),
    Measure.PRECISION: ("precision", "mean_precision"),
    Measure.RECALL: ("recall", "mean_recall"),
    Measure.F1: ("f1", "mean_f1"),
}
OTHERS = ("name", "image_set", "overall_accuracy", "sizes", "total")


def read_toml(text: str) -> list[Piece]:
    """Return one table for each [[table]] section, or the tables of sections by metric.

    Raises:
        ValueError: invalid TOML, an unknown key, or a value that is not a string.
    """
    try:
        content = tomllib.loads(text, parse_float=_Literal)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid TOML: {strip_advice(error)}") from error
    lines = text.splitlines()
    if "table" not in content:
        pieces = [replace(piece, reader=READER) for piece in read_object(_numerals(content, lines))]
        if any(piece.table.values for piece in pieces):
            return pieces
    sections = content.pop("table", [])
    if content or not isinstance(sections, list) or not all(isinstance(section, dict) for section in sections):
        given = sorted(content) or "table"
        raise ValueError(f"unknown TOML keys {given}; expected [[table]] sections with keys and strings")
    return [_piece(section, number, lines) for number, section in enumerate(sections, start=1)]


class _Literal(str):
    """A TOML number with a decimal point, kept as the text in the file."""

    def __repr__(self) -> str:
        return str(self)


def _numerals(node: Any, lines: Sequence[str]) -> Any:
    """Return the content with each number as a Numeral, on the first line that contains its text."""
    if isinstance(node, dict):
        return {key: _numerals(value, lines) for key, value in node.items()}
    if isinstance(node, list):
        return [_numerals(value, lines) for value in node]
    if isinstance(node, bool) or not isinstance(node, _Literal | int):
        return node
    text = str(node)
    line = next((number for number, each in enumerate(lines, start=1) if text in each), 1)
    return Numeral(text=text, line=line)


def _piece(section: Mapping[str, Any], number: int, lines: Sequence[str]) -> Piece:
    name = str(section.get("name", f"table {number}"))
    valid = [*OTHERS, *[key for keys in KEYS.values() for key in keys]]
    unknown = sorted(set(section) - set(valid))
    if unknown:
        raise ValueError(f"{name}: unknown key {', '.join(unknown)}; valid keys are {', '.join(valid)}")
    values: list[Value] = []
    for measure, (key, mean) in KEYS.items():
        values += [_value(measure, text, name, lines, class_name=c) for c, text in _by_class(section, key, name)]
        if mean in section:
            values.append(_value(measure, section[mean], name, lines, average=Average.MACRO))
    if "overall_accuracy" in section:
        overall = section["overall_accuracy"]
        values.append(_value(Measure.ACCURACY, overall, name, lines, average=Average.OVERALL))
    table = Table(
        name=name,
        values=scale_values(values),
        sizes=_sizes(section, name),
        total=_whole(section.get("total"), name, "total") if "total" in section else None,
        image_set=str(section["image_set"]) if "image_set" in section else None,
    )
    places = [value.printed.line for value in values] or [1]
    return Piece(table=table, first=min(places), last=max(places), reader=READER)


def _by_class(section: Mapping[str, Any], key: str, name: str) -> list[tuple[str, Any]]:
    values = section.get(key, [])
    if not isinstance(values, list | dict):
        raise ValueError(f"{name}: {key} is {values!r}; expected a list of strings, or strings by class")
    named = list(values.items()) if isinstance(values, dict) else [(str(i), v) for i, v in enumerate(values, start=1)]
    if any(not str(label).strip() for label, _ in named):
        raise ValueError(f"{name}: {key} has an empty class name; expected a name")
    return named


def _value(
    measure: Measure,
    text: Any,
    name: str,
    lines: Sequence[str],
    *,
    class_name: str | None = None,
    average: Average | None = None,
) -> Value:
    if not isinstance(text, str) or isinstance(text, _Literal):
        raise ValueError(f'{name}: {measure} {text!r} is not a string; expected "0.9882": its decimals matter')
    line = next((number for number, each in enumerate(lines, start=1) if f'"{text}"' in each), 1)
    cell = parse_measured(text, line)
    label = f"{measure} {class_name or 'mean'}"
    value = None if cell is None else make_value(measure, cell, label, class_name=class_name, average=average)
    if value is None:
        raise ValueError(f"{name}: {measure} {text!r} is not a number; expected one such as 0.9882 or 98.82 %")
    return value


def _sizes(section: Mapping[str, Any], name: str) -> dict[str, int]:
    return {label: _whole(size, name, f"size of class {label}") for label, size in _by_class(section, "sizes", name)}


def _whole(value: Any, name: str, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name}: {what} is {value!r}; expected a whole number")
    return value
