"""Draft, a table that is still being read, and rules for the names and averages of its values."""

from __future__ import annotations

from dataclasses import dataclass, field

from in4310repro.audit.document import Average, Measure, Value
from in4310repro.audit.readers.grid import Grid
from in4310repro.audit.readers.roles import Columns


@dataclass(kw_only=True)
class Draft:
    """A table that is still being read: the values, sizes and names collected so far."""

    network: str
    image_set: str | None
    values: list[Value] = field(default_factory=list)
    asides: list[Value] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    total: int | None = None
    best: bool = False

    def add(self, value: Value) -> None:
        """Add a value, unless it is an average that pandas repeated in several columns of its row."""
        same = (value.measure, value.average, value.printed.text)
        given = ((each.measure, each.average, each.printed.text) for each in self.values if each.class_name is None)
        if value.class_name is not None or same not in given:
            self.values.append(value)


def collect_group_names(table: Grid, columns: Columns) -> list[tuple[str, ...]]:
    """Return the cells left of each row's label; a blank cell takes the name from the row above."""
    filled = ("",) * len(columns.groups)
    names = []
    for row in table.body:
        cells = [row.cells[column] for column in columns.groups]
        filled = tuple(cell or above for cell, above in zip(cells, filled, strict=True))
        names.append(filled)
    return names


def default_average(measure: Measure) -> Average | None:
    """Return OVERALL for accuracy and error; None for other metrics, which often are of one class."""
    return Average.OVERALL if measure in (Measure.ACCURACY, Measure.ERROR) else None
