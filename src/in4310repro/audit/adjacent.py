"""Join consecutive lines that each report one score over all classes, such as accuracy and F1 of one result."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from in4310repro.audit.document import Document, Table, TableKind, Value
from in4310repro.audit.links import ELSEWHERE, OF_ALL, Joined, has_parts, line_range
from in4310repro.audit.readers.words import BEST, heading

AVERAGED = re.compile(r"\b(?:mean|average|avg)\b", re.IGNORECASE)


def with_adjacent_lines(tables: Sequence[Joined], document: Document) -> list[Joined]:
    """Return the tables; consecutive one-line tables of one result are joined into one table.

    A metric that occurs a second time starts the next result. If the results then list different metrics, it is
    unclear which line belongs to which result, and no lines are joined.
    """
    made: list[Joined] = []
    for run in _runs(tables, document):
        results = list(_results([table for table, _ in run])) if len(run) > 1 else []
        alike = len({tuple(map(_measure, each)) for each in results}) == 1
        made += [(_joined(each), ()) for each in results] if alike else run
    return made


def _runs(tables: Sequence[Joined], document: Document) -> Iterator[list[Joined]]:
    """Yield lists of consecutive one-line tables; a table that cannot be joined is a list by itself."""
    run: list[Joined] = []
    for joined in tables:
        if run and not _continues(run[-1], joined, document):
            yield run
            run = []
        run.append(joined)
    if run:
        yield run


def _continues(before: Joined, after: Joined, document: Document) -> bool:
    (one, own), (other, others) = before, after
    if own or others or not (_is_line(one) and _is_line(other)):
        return False
    between = document.lines[line_range(one)[1] : line_range(other)[0] - 1]
    same = (one.image_set, one.section) == (other.image_set, other.section)
    return same and len(between) <= 1 and not any(line.strip() for line in between)


def _is_line(table: Table) -> bool:
    """Return whether a table is a single line that names only a metric over all classes."""
    single = len(table.values) == 1 and table.kind is TableKind.SUMMARY and not table.asides
    return single and not has_parts(table) and not table.partial and _is_plain(table.values[0])


def _is_plain(value: Value) -> bool:
    label = value.label.replace("_", " ")
    other = BEST.search(label.lower()) or ELSEWHERE.search(AVERAGED.sub("", label))
    return value.measure in OF_ALL and not heading(value.label).rest and not other


def _results(tables: Sequence[Table]) -> Iterator[list[Table]]:
    """Split the lines into results; a metric that occurs again starts the next result."""
    result: list[Table] = []
    for table in tables:
        if _measure(table) in map(_measure, result):
            yield result
            result = []
        result.append(table)
    yield result


def _measure(table: Table) -> tuple[object, object]:
    return table.values[0].measure, table.values[0].average


def _joined(tables: Sequence[Table]) -> Table:
    if len(tables) == 1:
        return tables[0]
    first, last = line_range(tables[0])[0], line_range(tables[-1])[1]
    return replace(
        tables[0],
        name=f"lines {first} to {last}",
        values=tuple(value for table in tables for value in table.values),
        total=next((table.total for table in tables if table.total), None),
        doubts=tuple(dict.fromkeys(doubt for table in tables for doubt in table.doubts)),
        first=first,
        last=last,
    )
