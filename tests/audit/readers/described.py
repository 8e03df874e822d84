"""What a reader made of a text, short enough to be written in a test."""

from pathlib import Path

from in4310repro.audit.document import Document, Measure, Table
from in4310repro.audit.readers import read


def classes(table: Table, measure: Measure = Measure.ACCURACY) -> dict[str, str]:
    """The printed value of each class."""
    return {v.class_name: v.printed.text for v in table.values if v.class_name is not None and v.measure is measure}


def summaries(table: Table, measure: Measure = Measure.ACCURACY) -> dict[str, str]:
    """The printed value of each average."""
    return {str(v.average): v.printed.text for v in table.values if v.class_name is None and v.measure is measure}


def only(source: str | Path) -> Table:
    """The one table of a source of which every line was understood."""
    document = read(source)
    assert document.unread == ()
    (table,) = document.tables
    return table


def measures(document: Document) -> set[Measure]:
    return {value.measure for table in document.tables for value in table.values}
