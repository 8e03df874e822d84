"""Results of one reader: tables with their line numbers, and lines that were not understood."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from in4310repro.audit.document import Average, Measure, Printed, Table, Unread, Value
from in4310repro.audit.readers.numbers import Measured, to_percent

# Measures of boxes and pixels, or none of a share: no percentage is inferred for a loss.
UNSCALED = (Measure.OTHER,)
# Beside these a count is not of the images of the class.
COUNTED_OTHERWISE = (Measure.PRECISION, Measure.F1, Measure.SPECIFICITY, Measure.NEGATIVE_PREDICTIVE_VALUE)


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A table, the lines from which it was read, and the name of its reader."""

    table: Table
    first: int
    last: int
    reader: str
    joins: bool = True  # False: a value of the best epoch, or of another network, that belongs to no table near it
    certain: bool = False  # the text itself says what each number is
    lines: frozenset[int] = frozenset()  # lines besides those of its numbers that it was read from: headings, sizes


@dataclass(frozen=True, kw_only=True)
class Result:
    """Tables that one reader found in a text, and lines with results that it did not understand."""

    pieces: tuple[Piece, ...] = ()
    unread: tuple[Unread, ...] = ()
    lines: frozenset[int] = frozenset()  # from 1: those that the reader has dealt with
    running: bool = False  # it is a table of a log, by epoch


def make_value(
    measure: Measure, cell: Measured, label: str, *, class_name: str | None = None, average: Average | None = None
) -> Value | None:
    """Return a Value with a cell's number, count and standard deviation; None if the cell holds only a count."""
    # What is above 200 is no score, and no percentage with a digit too many.
    if cell.printed is None or (measure is not Measure.OTHER and cell.printed.shown > 200):
        return None
    return Value(
        measure=measure,
        printed=cell.printed,
        class_name=class_name,
        average=average,
        count=cell.count,
        spread=cell.spread,
        label=label,
    )


def scale_values(values: Sequence[Value]) -> tuple[Value, ...]:
    """Return the values, and mark those that appear to be percentages although they have no percent sign.

    If most class values of a metric are above 1, all of them are percentages. The same holds if one of them
    is above 1 and has a percent sign in its label. Otherwise, if at least one of them is 2 or more, only
    those above 1 are percentages. An average is a percentage only if the average itself is above 1, as
    people also print `mean 0.93` under percentages.
    """
    measures = {value.measure for value in values}
    mostly = {measure: _mostly_percent(values, measure) for measure in measures}
    some = {measure: any(value.printed.value >= 2 for value in _unsigned(values, measure)) for measure in measures}
    return tuple(_scale(value, mostly[value.measure], some[value.measure]) for value in values)


def scale_with_asides(values: Sequence[Value], asides: Sequence[Value]) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """Return `values` and `asides` with percentages marked; `scale_values` judges both groups together.

    `asides` are values of table rows or lines that look like classes, but probably are not.
    """
    together = scale_values([*values, *asides])
    return together[: len(values)], together[len(values) :]


def _unsigned(values: Iterable[Value], measure: Measure) -> list[Value]:
    return [v for v in values if v.measure is measure and v.class_name is not None and not v.printed.percent]


def _mostly_percent(values: Iterable[Value], measure: Measure) -> bool:
    plain = _unsigned(values, measure)
    headed = any(value.printed.value > 1 and "%" in value.label for value in plain)
    return headed or 2 * sum(value.printed.value > 1 for value in plain) > len(plain)


def _scale(value: Value, mostly: bool, some: bool) -> Value:
    number = value.printed.value
    of_class = value.class_name is not None and (mostly or (some and number > 1))
    if value.measure in UNSCALED or value.printed.percent or not (of_class or number >= 2 or (mostly and number > 1)):
        return value
    spread = to_percent(value.spread) if value.spread else None
    return replace(value, printed=to_percent(value.printed), spread=spread)


def collect_sizes(values: Iterable[Value], sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the class sizes in `sizes`, and sizes of other classes from values printed as counts.

    A value such as 286/300 gives the size 300.
    """
    of_class = (v for v in values if v.class_name is not None and v.count and v.measure not in COUNTED_OTHERWISE)
    counted = {str(value.class_name): value.count[1] for value in of_class if value.count}
    return {**counted, **sizes}


def name_tables(tables: Sequence[Table]) -> Iterator[Table]:
    """Yield the tables with distinct names; a repeated name gets a number appended."""
    given: dict[str, int] = {}
    for table in tables:
        given[table.name] = given.get(table.name, 0) + 1
        name = table.name if given[table.name] == 1 else f"{table.name} ({given[table.name]})"
        while name != table.name and name in given:
            given[table.name] += 1
            name = f"{table.name} ({given[table.name]})"
        given.setdefault(name, 1)
        yield replace(table, name=name)


def move(piece: Piece, by: int) -> Piece:
    """Return the piece with `by` added to all of its line numbers."""

    def number(printed: Printed) -> Printed:
        return replace(printed, line=printed.line + by)

    def values(of: Iterable[Value]) -> tuple[Value, ...]:
        return tuple(replace(v, printed=number(v.printed), spread=v.spread and number(v.spread)) for v in of)

    table, matrix = piece.table, piece.table.matrix
    matrix = matrix and replace(matrix, rows=tuple(tuple(map(number, row)) for row in matrix.rows))
    return replace(
        piece,
        table=replace(table, values=values(table.values), asides=values(table.asides), matrix=matrix),
        first=piece.first + by,
        last=piece.last + by,
        lines=frozenset(line + by for line in piece.lines),
    )
