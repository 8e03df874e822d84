"""Short descriptions of a document that was read, for use in tests."""

from pathlib import Path

from in4310repro.audit.document import Document, Measure, Table, Value
from in4310repro.audit.readers import read


def classes(table: Table, measure: Measure = Measure.ACCURACY) -> dict[str, str]:
    """Return a dict from class name to the class's printed value of one metric."""
    return {v.class_name: v.printed.text for v in table.values if v.class_name is not None and v.measure is measure}


def summaries(table: Table, measure: Measure = Measure.ACCURACY) -> dict[str, str]:
    """Return a dict from the name of an average to its printed value of one metric."""
    return {str(v.average): v.printed.text for v in table.values if v.class_name is None and v.measure is measure}


def only(source: str | Path) -> Table:
    """Return the only table of a source, and assert that every line with results was understood."""
    document = read(source)
    assert [each for each in document.unread if each.measuring] == []
    (table,) = document.tables
    return table


def measures(document: Document) -> set[Measure]:
    return {value.measure for table in document.tables for value in table.values}


def everything(document: Document) -> list[str]:
    """Return a line for each table, each value and each line that was not understood."""
    told = [f"as {', '.join(document.formats)}" + (f"; {document.folds} folds" if document.folds else "")]
    for table in document.tables:
        told.append(f"{table.name}{_facts(table)}")
        told += [f"  doubt: {doubt}" for doubt in table.doubts]
        told += [f"  {_told(value)}" for value in table.values]
        told += [f"  aside {_told(value)}" for value in table.asides]
        if table.matrix is not None:
            rows = [" ".join(cell.text for cell in row) for row in table.matrix.rows]
            of = "shares" if table.matrix.shares else "counts"
            told.append(
                f"  {table.matrix.rows[0][0].line} {of} of {', '.join(table.matrix.classes)}: {'; '.join(rows)}"
            )
    return told + [
        f"unread {unread.line} {unread.text}: {unread.why}" for unread in document.unread if unread.measuring
    ]


def _facts(table: Table) -> str:
    facts = {
        "set": table.image_set,
        "sizes": dict(table.sizes),
        "total": table.total,
        "partial": table.partial,
        "boxes": not table.whole_images,
    }
    return "".join(f" | {name} {fact}" for name, fact in facts.items() if fact)


def _told(value: Value) -> str:
    who = value.class_name if value.class_name is not None else f"<{value.average or ''}>"
    count = f" {value.count[0]} of {value.count[1]}" if value.count else ""
    spread = f" ±{value.spread.text}" if value.spread else ""
    percent = " %" if value.printed.percent and "%" not in value.printed.text else ""
    return f"{value.printed.line} {who} {value.measure} {value.printed.text}{percent}{count}{spread} ({value.label})"
