"""List what was recognised in a report, before any verdict."""

from __future__ import annotations

from collections.abc import Iterator

from in4310repro.audit.document import Document, Table, Value
from in4310repro.system.text import visible

SHOWN = 12  # class values of a measure that are printed; of more, the first and the last
UNREAD = 20  # lines that were not understood


def show(document: Document) -> str:
    """Return a text that lists each table with its classes, values, sizes and lines, then the unread lines."""
    formats = ", ".join(document.formats) or "nothing"
    lines = [f"{document.source}: {len(document.tables)} tables ({formats})"]
    for table in document.tables:
        lines += _table(table)
    if document.folds:
        lines.append(f"folds or runs mentioned: {document.folds}")
    if document.unread:
        lines.append("not understood:")
        lines += [f"  line {each.line}: {each.text[:100]} ({each.why})" for each in document.unread[:UNREAD]]
        more = len(document.unread) - UNREAD
        lines += [f"  and {more} more lines"] if more > 0 else []
    # A name of a JSON or TOML file may contain line breaks.
    return "\n".join(map(visible, lines))


def _table(table: Table) -> Iterator[str]:
    image_set = f", image set {table.image_set}" if table.image_set else ""
    yield f"{table.name}{image_set}"
    for measure in dict.fromkeys(value.measure for value in table.values):
        values = [value for value in table.values if value.measure is measure]
        classes = [value for value in values if value.class_name is not None]
        if classes:
            yield f"  {measure} of {len(classes)} classes, {_lines(classes)}: {', '.join(_format(classes))}"
        for value in values:
            if value.class_name is None:
                average = f"{value.average} " if value.average else ""
                yield f"  {average}{measure}, line {value.printed.line}: {_text(value)} ({value.label})"
    if table.sizes:
        yield f"  images: {', '.join(f'{name} {size}' for name, size in list(table.sizes.items())[:SHOWN])}"
    if table.total is not None:
        yield f"  images in all: {table.total}"
    if table.matrix:
        unit = "shares" if table.matrix.shares else "counts"
        yield f"  confusion matrix of {len(table.matrix.rows)} classes, {unit}, line {table.matrix.rows[0][0].line}"


def _format(values: list[Value]) -> list[str]:
    texts = [f"{value.class_name} {_text(value)}" for value in values]
    return texts if len(texts) <= SHOWN else [*texts[: SHOWN - 2], "...", texts[-1]]


def _text(value: Value) -> str:
    count = f" ({value.count[0]}/{value.count[1]})" if value.count else ""
    spread = f" ± {value.spread.text}" if value.spread else ""
    sign = " %" if value.printed.percent and "%" not in value.printed.text else ""
    return f"{value.printed.text}{sign}{spread}{count}"


def _lines(values: list[Value]) -> str:
    first, last = min(value.printed.line for value in values), max(value.printed.line for value in values)
    return f"line {first}" if first == last else f"lines {first} to {last}"
