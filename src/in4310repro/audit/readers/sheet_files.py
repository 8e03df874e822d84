"""Read and write sheets: TOML files in which a person types, corrects and confirms what a report prints."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from in4310repro.audit.document import SHEET, Average, Document, Item, Measure, Table, TableKind, Value
from in4310repro.audit.readers.json_files import Numeral, read_object
from in4310repro.audit.readers.matrices import make_matrix
from in4310repro.audit.readers.numbers import parse, parse_measured, to_percent
from in4310repro.audit.readers.pieces import Piece, make_value, scale_with_asides
from in4310repro.system.files import strip_advice

MEASURES = {measure.value.lower().replace(" ", "_"): measure for measure in Measure if measure is not Measure.OTHER}
# Keys that list the values of the classes, and those of their plain mean; rows can say the same, and more.
BY_CLASS = {f"mean_{key}": measure for key, measure in MEASURES.items()}
OF = {"images": Item.IMAGE, "boxes": Item.BOX, "entities": Item.ENTITY, "tokens": Item.TOKEN}
ROWS = {"rows": "class", "averages": "average", "others": "row"}
OTHERS = ("name", "image_set", "of", "model", "percent", "partial", "overall_accuracy", "sizes", "predictions", "total")
MATRIX = ("matrix", "matrix_classes")
TOP = ("confirmed", "source", "folds", "batches", "table")
HEAD = """\
# Read from a report. Correct what is wrong, set confirmed to true, and audit this file. A number is text, as its
# decimals matter. A row has a class, its scores and its images; an average is macro, weighted, micro, overall or
# unnamed; others are rows that are no class, such as a deviation.
"""


def read_toml(text: str) -> list[Piece]:
    """Return a table for each [[table]] section of a sheet; they are certain unless the sheet has `confirmed = false`.

    If there are no such sections, the tables are found in nested objects, as in JSON.

    Raises:
        ValueError: invalid TOML, an unknown key, or a value that is not a string.
    """
    try:
        content = tomllib.loads(text, parse_float=_Literal)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid TOML: {strip_advice(error)}") from error
    lines = text.splitlines()
    if "table" not in content:
        pieces = [replace(piece, reader="TOML") for piece in read_object(_numerals(content, lines))]
        if any(piece.table.values for piece in pieces):
            return pieces
    sections, unknown = content.get("table", []), sorted(set(content) - set(TOP))
    if unknown or not isinstance(sections, list) or not all(isinstance(section, dict) for section in sections):
        raise ValueError(f"unknown TOML keys {unknown or 'table'}; expected [[table]] sections with keys and strings")
    confirmed = content.get("confirmed", True)
    if not isinstance(confirmed, bool):
        raise ValueError(f"confirmed is {confirmed!r}; expected true or false")
    find_line = _Places(lines)
    pieces = [_Section(section, f"table {n}", find_line).piece() for n, section in enumerate(sections, start=1)]
    return [replace(piece, certain=confirmed) for piece in pieces]


class _Literal(str):
    """A TOML number with a decimal point, kept as the text in the file."""

    def __repr__(self) -> str:
        return str(self)


def _numerals(node: Any, lines: Sequence[str]) -> Any:
    """Return `node` with each number in its lists and dicts replaced by a Numeral.

    A Numeral holds the number's text, and the index (from 1) of the first of `lines` that contains this text.
    """
    if isinstance(node, dict):
        return {key: _numerals(value, lines) for key, value in node.items()}
    if isinstance(node, list):
        return [_numerals(value, lines) for value in node]
    if isinstance(node, bool) or not isinstance(node, _Literal | int):
        return node
    text = str(node)
    pattern = re.compile(rf"(?<![\w.]){re.escape(text)}(?![\w.])")
    line = next((number for number, each in enumerate(lines, start=1) if pattern.search(each)), 1)
    return Numeral(text=text, line=line)


class _Places:
    """Callable that returns the line of a text; what is looked for is sought from the line of the last find on."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines, self.last = lines, 1

    def __call__(self, text: str) -> int:
        quoted = json.dumps(text, ensure_ascii=False)
        return self._find(re.compile(f"{re.escape(quoted)}|'{re.escape(text)}'"))

    def of_row(self, cells: Sequence[object]) -> int:
        """Return the line of a row of a matrix."""
        return self._find(
            re.compile(r"\[\s*" + r"\s*,\s*".join(rf"[\"']?{re.escape(str(cell))}[\"']?" for cell in cells))
        )

    def _find(self, pattern: re.Pattern[str]) -> int:
        order = [*range(self.last, len(self.lines) + 1), *range(1, self.last)]
        self.last = next((n for n in order if pattern.search(self.lines[n - 1])), self.last)
        return self.last


class _Section:
    """One [[table]] of a sheet, while it is read."""

    def __init__(self, content: Mapping[str, Any], name: str, find_line: _Places) -> None:
        self.content, self.find_line = content, find_line
        self.name = str(content.get("name", name))
        self._check(content, [*OTHERS, *MATRIX, *ROWS, *MEASURES, *BY_CLASS], "")

    def _check(self, node: Mapping[str, Any], valid: Sequence[str], where: str) -> None:
        unknown = sorted(set(node) - set(valid))
        if unknown:
            keys = ", ".join(unknown)
            raise ValueError(f"{self.name}: unknown key {keys}{where}; valid keys are {', '.join(valid)}")

    def piece(self) -> Piece:
        """Return the table of the section."""
        content, item = self.content, self._choice("of", OF, "images")
        rows = {key: list(self._rows(key, naming)) for key, naming in ROWS.items()}
        values, asides = [*self._listed(), *rows["rows"], *rows["averages"]], rows["others"]
        if "overall_accuracy" in content:
            overall = self._value(Measure.ACCURACY, content["overall_accuracy"], average=Average.OVERALL)
            values.append(overall)
        read, beside = self._scale(values, asides)
        read = tuple(replace(value, item=item) for value in read)
        sizes = {**self._counts("sizes"), **self._images}
        table = Table(
            name=self.name,
            values=read,
            asides=beside,
            sizes=sizes,
            predictions=self._counts("predictions"),
            total=self._whole(content["total"], "total") if "total" in content else None,
            image_set=str(content["image_set"]) if "image_set" in content else None,
            partial=content.get("partial") is True,
            whole_images=item is not Item.BOX,
            kind=TableKind.MODELS if "model" in content else TableKind.CLASSES,
        )
        table = self._with_matrix(table)
        places = [printed.line for printed in table.printed] or [1]
        return Piece(table=table, first=min(places), last=max(places), reader=SHEET)

    def _scale(self, values: list[Value], asides: list[Value]) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        told = self.content.get("percent")
        if not isinstance(told, bool):
            return scale_with_asides(values, asides)

        def scale(value: Value) -> Value:
            return replace(value, printed=to_percent(value.printed)) if told else value

        return tuple(map(scale, values)), tuple(map(scale, asides))

    def _choice(self, key: str, valid: Mapping[str, Any], default: str) -> Any:
        given = self.content.get(key, default)
        if given not in valid:
            raise ValueError(f"{self.name}: {key} is {given!r}; expected {', '.join(valid)}")
        return valid[given]

    def _listed(self) -> Iterator[Value]:
        for key, measure in MEASURES.items():
            for name, text in self._by_class(key):
                yield self._value(measure, text, class_name=name)
            if f"mean_{key}" in self.content:
                yield self._value(measure, self.content[f"mean_{key}"], average=Average.MACRO)

    def _rows(self, key: str, naming: str) -> Iterator[Value]:
        """Yield the values of the rows of classes, of averages, or of others; note the images of classes."""
        self._images: dict[str, int] = getattr(self, "_images", {})
        rows = self.content.get(key, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(
                f'{self.name}: {key} is {rows!r}; expected rows such as {{ {naming} = "...", f1 = "0.93" }}'
            )
        for row in rows:
            self._check(row, [naming, *MEASURES, *["images"] * (key == "rows")], f" in {key}")
            name = str(row.get(naming, ""))
            if key != "averages" and not name.strip():
                raise ValueError(f"{self.name}: {key} has an empty {naming} name; expected a name")
            if key == "averages" and name not in ("", *Average):
                raise ValueError(f"{self.name}: the average {name!r}; expected {', '.join(Average)}, or none")
            if "images" in row:
                self._images[name] = self._whole(row["images"], f"size of class {name}")
            for each, measure in MEASURES.items():
                if each in row and key == "averages":
                    yield self._value(measure, row[each], average=Average(name) if name else None)
                elif each in row:
                    yield self._value(measure, row[each], class_name=name)

    def _by_class(self, key: str) -> list[tuple[str, Any]]:
        values = self.content.get(key, [])
        if not isinstance(values, list | dict):
            raise ValueError(f"{self.name}: {key} is {values!r}; expected a list of strings, or strings by class")
        listed = [(str(place), value) for place, value in enumerate(values, start=1)]
        named = list(values.items()) if isinstance(values, dict) else listed
        if any(not str(label).strip() for label, _ in named):
            raise ValueError(f"{self.name}: {key} has an empty class name; expected a name")
        return named

    def _value(
        self, measure: Measure, text: Any, *, class_name: str | None = None, average: Average | None = None
    ) -> Value:
        if not isinstance(text, str) or isinstance(text, _Literal):
            raise ValueError(f'{self.name}: {measure} {text!r} is not a string; expected "0.9882": its decimals matter')
        cell = parse_measured(text, self.find_line(text))
        label = f"{measure} {class_name or average or 'over all'}"
        value = None if cell is None else make_value(measure, cell, label, class_name=class_name, average=average)
        if value is None:
            raise ValueError(f"{self.name}: {measure} {text!r} is not a number; expected one such as 0.9882 or 98.82 %")
        return value

    def _counts(self, key: str) -> dict[str, int]:
        return {label: self._whole(size, f"size of class {label}") for label, size in self._by_class(key)}

    def _whole(self, value: Any, what: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"{self.name}: {what} is {value!r}; expected a whole number")
        return value

    def _with_matrix(self, table: Table) -> Table:
        given = self.content.get("matrix")
        if given is None:
            return table
        try:
            rows = [tuple(parse(str(each), self.find_line.of_row(row)) for each in row) for row in given]
        except (TypeError, ValueError):
            rows = []
        names = [str(name) for name in self.content.get("matrix_classes", table.classes)]
        matrix = make_matrix(rows, names if len(names) == len(rows) else []) if rows else None
        if matrix is None:
            raise ValueError(f"{self.name}: matrix is {given!r}; expected rows of numbers, as many as each row has")
        return replace(table, matrix=matrix)


def write_sheet(document: Document) -> str:
    """Return a sheet with all tables of a document, which says that nobody has confirmed it."""
    lines = [HEAD, "confirmed = false", f"source = {_quote(document.source)}"]
    lines += [f"folds = {document.folds}"] * bool(document.folds)
    for table in document.tables:
        lines += ["", *_section(table)]
    return "\n".join(lines) + "\n"


def _section(table: Table) -> Iterator[str]:
    yield "[[table]]"
    yield f"name = {_quote(table.name)}"
    if table.kind is TableKind.MODELS:
        yield "model = true  # all values are of one model, over all classes"
    item = Item.BOX if not table.whole_images else next((value.item for value in table.values), Item.IMAGE)
    if item is not Item.IMAGE:
        yield f"of = {_quote(next(name for name, each in OF.items() if each is item))}"
    yield from [f"image_set = {_quote(table.image_set)}"] if table.image_set else []
    yield from [f"total = {table.total}"] if table.total is not None else []
    yield from ["partial = true  # classes are left out"] if table.partial else []
    if table.predictions:
        pairs = ", ".join(f"{_quote(name)} = {number}" for name, number in table.predictions.items())
        yield f"predictions = {{ {pairs} }}"
    yield from _list_rows(
        "rows", {n: [v for v in table.values if v.class_name == n] for n in table.classes}, table.sizes
    )
    averages = [value for value in table.values if value.class_name is None and value.measure is not Measure.OTHER]
    yield from _list_averages(averages)
    names = dict.fromkeys(value.class_name or value.label for value in table.asides)
    yield from _list_rows("others", {n: [v for v in table.asides if (v.class_name or v.label) == n] for n in names}, {})
    if table.matrix:
        if table.matrix.classes != table.classes:
            yield f"matrix_classes = [{', '.join(map(_quote, table.matrix.classes))}]"
        rows = [
            ", ".join(_quote(c.text) if table.matrix.shares else str(c.value) for c in row) for row in table.matrix.rows
        ]
        yield from ["matrix = [  # rows are the true classes", *[f"  [{row}]," for row in rows], "]"]


def _list_rows(key: str, rows: Mapping[str, Sequence[Value]], sizes: Mapping[str, int]) -> Iterator[str]:
    made = []
    for name, values in rows.items():
        cells = [f"{ROWS[key]} = {_quote(name)}", *_cells(values)]
        cells += [f"images = {sizes[name]}"] if name in sizes else []
        if len(cells) > 1:
            made.append(f"  {{ {', '.join(cells)} }},  # line {values[0].printed.line}")
    yield from [f"{key} = [", *made, "]"] if made else []


def _list_averages(values: Sequence[Value]) -> Iterator[str]:
    rows: dict[tuple[object, ...], list[Value]] = {}
    for value in values:
        rows.setdefault((value.average, value.printed.line), []).append(value)
    made = []
    for (average, line), row in rows.items():
        cells = [*([f"average = {_quote(str(average))}"] if average else []), *_cells(row)]
        made.append(f"  {{ {', '.join(cells)} }},  # line {line}: {_plain(row[0].label)}")
    yield from ["averages = [", *made, "]"] if made else []


def _cells(values: Sequence[Value]) -> Iterator[str]:
    told = set()
    names = {measure: key for key, measure in MEASURES.items()}
    for value in values:
        if value.measure in names and value.measure not in told:
            told.add(value.measure)
            yield f"{names[value.measure]} = {_quote(format_value(value))}"


def format_value(value: Value) -> str:
    """Return a value as it is printed, with its percent sign, standard deviation and count."""
    count = f" ({value.count[0]}/{value.count[1]})" if value.count else ""
    spread = f" ± {value.spread.text}" if value.spread else ""
    sign = " %" if value.printed.percent and "%" not in value.printed.text else ""
    return f"{value.printed.text}{sign}{spread}{count}"


def _plain(text: str) -> str:
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:60]


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
