"""Read a grid whose classes are rows or columns, beside networks, class sizes, counts and summary rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from in4310repro.audit.document import Measure, Table, TableKind, Unread
from in4310repro.audit.readers.grid import Grid, Row, add_labels, flip, is_numeric, strip_signs
from in4310repro.audit.readers.labels import CLASSWISE
from in4310repro.audit.readers.matrices import matrix_of_grid
from in4310repro.audit.readers.numbers import is_missing, parse_measured
from in4310repro.audit.readers.pieces import Piece, Result, collect_sizes, scale_with_asides
from in4310repro.audit.readers.roles import EPOCH, Columns, Kind, columns_of, evidence_of_classes, kind_of
from in4310repro.audit.readers.table_rows import (
    DOTS,
    NO_NETWORK,
    Draft,
    class_tables,
    find_measure,
    summary_tables,
    wide_tables,
)
from in4310repro.audit.readers.words import BEST, CLASS, NETWORK_NAME, PARTIAL, SIZE, SPREADS, Heading, heading

# Columns of detectors and of segmentation: values of boxes or pixels.
BOXES = re.compile(
    r"\b(?:gts?|dets?|detections|instances|boxe?s?|m?iou|dice|jaccard|pixels?|ap ?(?:[sml]|small|medium|large)"
    r"|ar ?@?\d{0,3})\b"
)


def read_grid(table: Grid) -> Result:
    """Return the tables read from a grid. The result is empty if the grid has no values of classes or networks.

    Raises:
        ValueError: a row with values has an empty class name.
    """
    table = _add_header(table)
    matrix = matrix_of_grid(table)
    if matrix is not None:
        return Result(pieces=(matrix,), lines=_lines(table))
    if not table.header:
        return Result()
    return Result(lines=_lines(table)) if is_of_tests(table) else _read(_pivot(table))


def is_unrelated(table: Grid) -> bool:
    """Return whether a table holds no scores: it names no metric and some number is outside 0 to 100."""
    words = [table.title, *table.names, *[row.cells[0] for row in table.body]]
    if any(heading(text).measure for text in words) or CLASSWISE.search(table.title):
        return False
    cells = (parse_measured(strip_signs(cell), 0) for row in table.body for cell in row.cells[1:])
    return any(not 0 <= cell.printed.value <= 100 for cell in cells if cell and cell.printed)


def _read(table: Grid) -> Result:
    """Return the tables of a grid that has a header and is not a confusion matrix."""
    columns = columns_of(table)
    if columns is None and all(is_numeric(cell) for row in table.body for cell in row.cells if cell):
        table = add_labels(table)
        columns = columns_of(table)
    if columns is None or not columns.values:
        return Result()
    kind = kind_of(table, columns)
    if not table.flipped:
        turned = _orient(table, columns, kind)
        if turned is not None:
            return read_grid(turned)
    if kind is Kind.EPOCHS and not _is_of_program(columns):
        return _last_epoch(table, columns)
    if kind is not Kind.CLASSES and _is_wide(columns) and (not table.flipped or _is_of_program(columns)):
        return _result(table, list(wide_tables(table, columns)), [])
    if kind is Kind.CLASSES or (kind is Kind.UNKNOWN and _rows_are_classes(table, columns)):
        return _result(table, *class_tables(table, columns))
    return _result(table, list(summary_tables(table, columns)), [])


def _last_epoch(table: Grid, columns: Columns) -> Result:
    """Return the values in the last row of a training log.

    No values are returned if the columns name classes, or if the column of row names is headed `epoch`,
    `step` or the like.
    """
    last = replace(table, rows=(*table.rows[: table.header], table.rows[-1]))
    told = _is_wide(columns) or EPOCH.fullmatch(table.names[columns.label].lower())
    read = Result() if told else _result(last, list(summary_tables(last, columns)), [])
    return replace(read, lines=_lines(table), running=True)


def _pivot(table: Grid) -> Grid:
    """Convert a table with the columns class, metric and value to a table with one column per metric.

    Any other table is returned unchanged.
    """
    names = [name.lower() for name in table.names]
    place = next((i for i, name in enumerate(names) if name in ("metric", "measure", "metric name", "score")), None)
    last = len(names) - 1
    plain = (
        len(names) == 3 and place not in (None, last) and all(is_numeric(cell) for cell in table.column(last) if cell)
    )
    if (
        place is None
        or not plain
        or not all(heading(cell).measure or SIZE.fullmatch(cell.lower()) for cell in table.column(place))
    ):
        return table
    label = 1 - place
    if all(map(is_numeric, table.column(label))) and not CLASS.fullmatch(names[label]):
        return table  # two networks side by side
    measures = list(dict.fromkeys(table.column(place)))
    rows: dict[str, dict[str, tuple[str, int]]] = {}
    for row in table.body:
        rows.setdefault(row.cells[label], {}).setdefault(row.cells[place], (row.cells[last], row.lines[last]))
    if sum(map(len, rows.values())) < len(table.body):
        return table
    first = min(table.rows[0].lines)
    cells = (table.names[label], *measures)
    header = Row(cells=cells, lines=tuple(first for _ in cells))
    made = []
    for name, values in rows.items():
        given = [values.get(measure, ("", first)) for measure in measures]
        lines = [line for _, line in given]
        made.append(Row(cells=(name, *[text for text, _ in given]), lines=(lines[0], *lines)))
    return replace(table, rows=(header, *made), header=1)


def _add_header(table: Grid) -> Grid:
    """Return the table, with a header added if it has none and its columns are class, metric and value."""
    if table.header or table.width != 3 or not all(is_numeric(cell) for cell in table.column(2)):
        return table
    measures = table.column(1)
    known = all(heading(cell).measure or SIZE.fullmatch(cell.lower()) for cell in measures)
    if not known or len(set(measures)) == len(measures):
        return table
    first = min(table.rows[0].lines)
    return replace(table, rows=(Row(cells=("class", "metric", "value"), lines=(first,) * 3), *table.rows), header=1)


def is_of_tests(table: Grid) -> bool:
    """Return whether a table compares required with achieved values and does not list classes."""
    names = [name.lower() for name in table.names]
    of_classes = any(re.search(r"\b(?:class|categor|label|klasse)", name) for name in names[:2])
    targets = any(
        re.search(r"\b(?:target|goal|expected|required?|requirement|threshold|soll)\b", name) for name in names
    )
    outcomes = any(re.search(r"\b(?:actual|measured|achieved|obtained|result|status|ist)\b", name) for name in names)
    return targets and outcomes and not of_classes


def _orient(table: Grid, columns: Columns, kind: Kind) -> Grid | None:
    """Return the grid transposed if its columns are classes or its rows are metrics. In other cases return None."""
    corner = table.names[columns.label]
    if kind is Kind.METRICS:
        named = CLASS.fullmatch(corner.lower()) and any(of.text.lower() not in NO_NETWORK for _, of in columns.values)
        return flip(table, "class" if named or _columns_are_classes(table, columns) else "")
    if kind is Kind.CLASSES or not _columns_are_classes(table, columns):
        return None
    at_corner = heading(corner).measure and not heading(table.title).measure
    return flip(replace(table, title=corner) if at_corner else table, "class")


def _is_wide(columns: Columns) -> bool:
    """Return whether two or more columns each name both a metric and a class, such as `Acc_sea` or `AP forest`."""
    named = {
        of.rest.lower() for _, of in columns.values if of.measure and of.rest and not NETWORK_NAME.fullmatch(of.rest)
    }
    named = {name for name in named if not SPREADS.fullmatch(name)}
    return len(named) >= 2 and not all(BEST.fullmatch(name) for name in named)


def _is_of_program(columns: Columns) -> bool:
    """Return whether three or more columns have the same name except for the class, such as `test_acc_sea`."""
    forms = Counter(
        of.text.lower().replace(of.rest.lower(), "{}") for _, of in columns.values if of.measure and of.rest
    )
    return any(times >= 3 and re.search(r"[_/]\{\}|\{\}[_/]", form) for form, times in forms.items())


def _columns_are_classes(table: Grid, columns: Columns) -> bool:
    """Return whether the columns of a table are classes.

    At least two of the columns with values, and at least half of them, must name no metric, and none of these may
    have the name of a network. In addition, there must be a column of means, or the title must say that the
    values are per class.
    """
    plain = [of for _, of in columns.values if not of.measure and of.rest]
    many = len(plain) >= 2 and len(plain) * 2 >= len(columns.values)
    told = any(of.summary for _, of in columns.values) or CLASSWISE.search(table.title) is not None
    return many and told and not any(NETWORK_NAME.fullmatch(of.rest) for of in plain)


def _rows_are_classes(table: Grid, columns: Columns) -> bool:
    measured_columns = any(of.measure for _, of in columns.values)
    return evidence_of_classes(table, columns) and (measured_columns or find_measure(table, columns) is not None)


def _result(table: Grid, drafts: Sequence[Draft], unread: Sequence[Unread]) -> Result:
    lines = _lines(table)
    labels = {row.cells[0].strip() for row in table.body}
    partial = PARTIAL.search(f"{table.title} {table.names[0]}".lower()) is not None or bool(labels & DOTS)
    whole = not any(BOXES.search(name.lower()) or _is_at_overlap(heading(name)) for name in table.names)
    pieces = []
    for draft in drafts:
        if not draft.values:
            continue
        values, asides = scale_with_asides(draft.values, draft.asides)
        name = " · ".join(filter(None, (table.title[:80], draft.network, draft.image_set or "")))
        made = Table(
            name=name or f"the table from line {min(lines)}",
            values=values,
            asides=asides,
            doubts=tuple(dict.fromkeys(draft.doubts)),
            sizes=collect_sizes(values, draft.sizes),
            total=draft.total,
            image_set=draft.image_set,
            partial=partial,
            whole_images=whole,
        )
        has_classes = bool(made.of_classes)
        made = made if has_classes or not draft.network else replace(made, kind=TableKind.MODELS)
        used = _list_used(table, {printed.line for printed in made.printed})
        joins = not partial if has_classes else not (draft.best or draft.network)
        pieces.append(
            Piece(table=made, first=min(lines), last=max(lines), reader=table.reader, joins=joins, lines=used)
        )
    return Result(pieces=tuple(pieces), unread=tuple(unread), lines=lines)


def _list_used(table: Grid, numbers: set[int]) -> frozenset[int]:
    """Return the line numbers of the header and of the rows that need no further reading.

    A row needs none if values were read from one of its lines, which is then in `numbers`, or if a value is
    missing in the row. A row of a transposed table has cells from many lines. Of such a row, only the lines of
    class sizes are returned.
    """
    heads = table.rows[: table.header]
    headings = {line for row in heads for line in (row.lines[:1] if table.flipped else row.lines)}
    dealt = [row for row in table.body if numbers & set(row.lines) or any(map(is_missing, row.cells[1:]))]
    of_rows = {line for row in dealt for line in (_lines_of_sizes(table, row) if table.flipped else row.lines)}
    return frozenset(headings | of_rows)


def _lines_of_sizes(table: Grid, row: Row) -> list[int]:
    return [line for name, line in zip(table.names, row.lines, strict=True) if SIZE.fullmatch(name.lower())]


def _is_at_overlap(of: Heading) -> bool:
    """Return whether a heading names an average precision at an IoU threshold, such as `AP50`."""
    return of.measure is Measure.AVERAGE_PRECISION and of.threshold != ""


def _lines(table: Grid) -> frozenset[int]:
    return frozenset(line for row in table.rows for line in row.lines)
