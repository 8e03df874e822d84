"""Reads printed numbers, each with the decimals it was printed with, from the text of a report or a TOML file.

Every line that gives a measure is either understood or refused: a number that nobody looked at would pass as checked.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

ACCURACY, PRECISION = "accuracy", "average precision"
METRICS = (ACCURACY, PRECISION)

AP = r"(?:average precision|ap)(?: scores?)?"
# A pattern with a class name reads a class's value, one without reads the mean over the classes.
LABELS = {
    ACCURACY: (
        r"(?:the )?(?:class )?accuracy (?:for|of) class (?P<name>\w+)",
        r"class (?P<name>\w+) accuracy",
        r"(?:the )?mean (?:class )?accuracy(?: (?:for|of|over) all classes)?",
    ),
    PRECISION: (
        rf"(?:the )?{AP} (?:for|of) class (?P<name>\w+)",
        rf"class (?P<name>\w+) {AP}",
        rf"(?:the )?(?:mean )?{AP} (?:for|of|over) all classes",
        rf"(?:the )?(?:mean {AP}|map)",
    ),
}
HEADINGS = {ACCURACY: ("accuracy", "class accuracy"), PRECISION: ("ap", "average precision", "average precision score")}
MEAN_ROWS = ("mean", "average", "all", "all classes", "mean over all classes")
VALID = "; ".join(
    (
        "Accuracy for class C",
        "Mean accuracy over all classes",
        "Average precision score for class C",
        "Average precision score for all classes",
    )
)
MEASURE = re.compile(
    r"\b(?:(?:for|of|over) (?:class \w|all classes)|(?:accuracy|precision|recall|sensitivity|specificity|f1\w*|scores?"
    r"|auc|auroc|roc|kappa|mcc|iou|dice|jaccard|loss|errors?|top-?\d|map|ap)\b)"
)
CLOSING = re.compile(r"((?:figure|table)\s+\d+)\s*(?:[.:].*)?", re.IGNORECASE)
NUMBER = re.compile(r"([-+]?\d{1,20}(?:\.\d{1,60})?(?:e[-+]?\d{1,2})?)\s*(%?)", re.IGNORECASE)
TOML_KEYS = {
    ACCURACY: ("accuracy", "mean_accuracy"),
    PRECISION: ("average_precision", "mean_average_precision"),
}


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A number as it was printed: the fraction digits / 10**decimals, percent already divided by 100."""

    text: str
    where: str
    digits: int
    decimals: int
    percent: bool

    @property
    def value(self) -> Fraction:
        """The number that the text says."""
        return Fraction(self.digits, 10**self.decimals)

    @property
    def shown(self) -> Fraction:
        """The number before the percent sign, where there is one."""
        return self.value * (100 if self.percent else 1)

    @property
    def unit(self) -> Fraction:
        """One in the last printed place."""
        return Fraction(1, 10**self.decimals)


@dataclass(frozen=True, kw_only=True)
class Column:
    """One metric of one table, by class, and its mean where one is printed."""

    values: Mapping[str, Printed]
    mean: Printed | None


@dataclass(frozen=True, kw_only=True)
class Table:
    """What one figure or table of the report prints; both metrics have a column, which may be empty."""

    name: str
    columns: Mapping[str, Column]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One value on its way into a table; no class name means the mean."""

    metric: str
    name: str | None
    printed: Printed


def read(source: str | Path) -> tuple[Table, ...]:
    """The tables of a report: of its text, or of a file, which is TOML if its name ends so and text otherwise.

    In text, a line 'Figure N' or 'Table N' closes a table and names it; the last table needs none.

    Raises:
        ValueError: no value found, an unknown metric, a value that is no number, a value given twice, or tables
            with different classes.
    """
    if isinstance(source, str):
        return _agreeing(_tables_of_text(source))
    try:
        text = source.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source} is not UTF-8 text: {error}") from error
    return _agreeing(_tables_of_toml(text) if source.suffix == ".toml" else _tables_of_text(text))


def parse(text: str, where: str) -> Printed:
    """A printed number, such as 0.9882 or 98.82 %.

    Raises:
        ValueError: the text is no decimal number.
    """
    found = NUMBER.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{where}: {text.strip()!r} is no number; 0.9882 and 98.82 % are valid")
    mantissa, _, exponent = found[1].lower().partition("e")
    shown = max(0, len(mantissa.partition(".")[2]) - int(exponent or 0))
    digits = int(Fraction(found[1]) * 10**shown)
    percent = bool(found[2])
    return Printed(text=found[0], where=where, digits=digits, decimals=shown + 2 * percent, percent=percent)


def _tables_of_text(text: str) -> Iterator[Table]:
    entries: list[Entry] = []
    header: list[str] | None = None
    for number, raw in enumerate(text.splitlines(), start=1):
        where, line = f"line {number}", re.sub(r"[*`#>]", "", raw).replace("_", " ").strip().removeprefix("- ")
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            entries += _row(header, cells, where) if header else []
            header = header or _header(cells, where)
            continue
        header = None
        closing = CLOSING.fullmatch(line)
        if closing and entries:
            yield _table(closing[1], entries)
            entries = []
        elif not closing:
            entries += _labelled(line, where, inside=bool(entries))
    if entries:
        yield _table(f"the table from {entries[0].printed.where}", entries)


def _labelled(line: str, where: str, inside: bool) -> Iterator[Entry]:
    """The value of a line `label: number`; inside a table, every such line must be understood."""
    label, *rest = re.split(r"\s*[:=]\s*", line, maxsplit=1)
    label = " ".join(label.lower().split())
    for metric, patterns in LABELS.items():
        for pattern in patterns:
            found = re.fullmatch(pattern, label)
            if found and rest:
                yield Entry(metric=metric, name=found.groupdict().get("name"), printed=parse(rest[0], where))
                return
    if rest and NUMBER.match(rest[0]) and (inside or MEASURE.search(label)):
        raise ValueError(f"{where}: unknown metric {label!r}; valid are {VALID}")


def _header(cells: Sequence[str], where: str) -> list[str]:
    """The metric of each column of a Markdown table, `class` for the names; one without measures is skipped."""
    names = [" ".join(cell.lower().split()) for cell in cells]
    if not any(MEASURE.search(name) for name in names):
        return ["skip"] * len(names)
    known = {heading: metric for metric, headings in HEADINGS.items() for heading in headings}
    unknown = [name for name in names if name not in known and name != "class"]
    if unknown or names[0] != "class":
        raise ValueError(
            f"{where}: unknown columns {unknown or names}; class, accuracy and AP, in this order, are valid"
        )
    return [known.get(name, "class") for name in names]


def _row(header: Sequence[str], cells: Sequence[str], where: str) -> Iterator[Entry]:
    if header[0] == "skip" or all(re.fullmatch(r":?-+:?", cell) for cell in cells):
        return
    if len(cells) != len(header):
        raise ValueError(f"{where}: {len(cells)} cells under {len(header)} columns; as many are valid")
    name = None if cells[0].lower() in MEAN_ROWS else cells[0].lower()
    for metric, cell in zip(header[1:], cells[1:], strict=True):
        yield Entry(metric=metric, name=name, printed=parse(cell, where))


def _tables_of_toml(text: str) -> Iterator[Table]:
    content = tomllib.loads(text)
    tables = content.pop("table", [])
    if content or not isinstance(tables, list):
        raise ValueError(f"unknown TOML keys {sorted(content)}; [[table]] sections are valid")
    for number, section in enumerate(tables, start=1):
        name = str(section.pop("name", f"table {number}"))
        entries = [entry for metric, keys in TOML_KEYS.items() for entry in _section(section, metric, keys, name)]
        if section:
            valid = ", ".join(key for keys in TOML_KEYS.values() for key in keys)
            raise ValueError(f"{name}: unknown metric {', '.join(section)}; valid are name, {valid}")
        yield _table(name, entries)


def _section(section: dict[str, Any], metric: str, keys: tuple[str, str], where: str) -> Iterator[Entry]:
    values, mean = section.pop(keys[0], []), section.pop(keys[1], None)
    if not isinstance(values, list | dict):
        raise ValueError(f"{where}: {keys[0]} is {values!r}; a list of strings, or strings by class, are valid")
    named: Any = values.items() if isinstance(values, dict) else enumerate(values, start=1)
    for name, value in [*named, *([] if mean is None else [(None, mean)])]:
        if not isinstance(value, str):
            raise ValueError(f'{where}: {metric} {value!r} is no string; write "0.9882": its decimals are information')
        yield Entry(metric=metric, name=name and str(name).lower(), printed=parse(value, where))


def _table(name: str, entries: Sequence[Entry]) -> Table:
    given: dict[str, dict[str | None, Printed]] = {metric: {} for metric in METRICS}
    for entry in entries:
        earlier = given[entry.metric].setdefault(entry.name, entry.printed)
        if earlier is not entry.printed:
            what = f"{entry.metric} of {'class ' + entry.name if entry.name else 'all classes'}"
            raise ValueError(
                f"{entry.printed.where}: {what} is given twice, first at {earlier.where}; "
                "a line 'Figure N' closes a table"
            )
    columns = {}
    for metric, values in given.items():
        mean = values.pop(None, None)
        columns[metric] = Column(values={name: value for name, value in values.items() if name}, mean=mean)
    return Table(name=name, columns=columns)


def _agreeing(tables: Iterator[Table]) -> tuple[Table, ...]:
    """The tables, once it is sure that they are of the same classes and can be told apart."""
    read = tuple(tables)
    columns = [(table.name, metric, tuple(table.columns[metric].values)) for table in read for metric in METRICS]
    filled = [column for column in columns if column[2]]
    if not filled:
        raise ValueError(f"no value of a class found; valid lines are {VALID}, each with a colon and a number")
    for name, metric, classes in filled:
        if set(classes) != set(filled[0][2]):
            raise ValueError(
                f"{name} gives {metric} for the classes {', '.join(classes)}; those of {filled[0][0]} are "
                f"{', '.join(filled[0][2])}, and one audit is of tables with the same classes"
            )
    names = [table.name for table in read]
    if len(set(names)) < len(names):
        raise ValueError(f"two tables have one name among {', '.join(names)}; a name for each is valid")
    return read
