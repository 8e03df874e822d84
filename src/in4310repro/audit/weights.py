"""Check means with unknown weights: one set of weights must explain all columns of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, linprog

from in4310repro.audit.averages import BATCH, Summary, batch_means, list_readings, list_summaries, read_one_vs_rest
from in4310repro.audit.claims import FORMATS, Claim, find_conditions
from in4310repro.audit.document import Average, Measure
from in4310repro.audit.intervals import Cell, Interval, Rounding, join_intervals, mean_interval
from in4310repro.audit.scores import f1_interval
from in4310repro.audit.sheets import Sheet, half_error, interval_of

# Larger than the tolerance of the solver, 1e-7, and the error of numbers in float32.
SLACK = Fraction(1, 10**6)
ANY = (Average.UNNAMED, Average.OVERALL, Average.MICRO, Average.WEIGHTED)
SECONDS = 5.0  # of one linear programme; one that takes longer decides nothing
INFEASIBLE = 2  # status of the solver
Floats = NDArray[np.float64]
Row = tuple[list[float], float]  # coefficients of the weights, and what their sum is at most


@dataclass(frozen=True, kw_only=True)
class Column:
    """A reported average with its class values, and the sheet (prepared table) that they are from."""

    sheet: Sheet
    summary: Summary

    @property
    def average(self) -> Average | None:
        """Kind of average, such as macro, that the label names."""
        return self.summary.average


def check_weights(group: Sequence[Sheet]) -> Iterator[tuple[Claim, Sheet]]:
    """Yield (claim, table) for each group of averages that no single set of class weights explains.

    The claim states this contradiction and lists the conditions that would explain the averages.
    """
    columns = [
        Column(sheet=sheet, summary=summary)
        for sheet in group
        for summary in list_summaries(sheet)
        if _has_unknown_weights(summary, sheet)
    ]
    for average in ANY:
        same = [column for column in columns if column.average is average]
        for joint in _group_columns(average, same):
            claim = _claim(joint)
            if claim:
                yield claim, joint[0].sheet


def _has_unknown_weights(summary: Summary, sheet: Sheet) -> bool:
    """Return whether an average may be a mean with unknown class weights."""
    if summary.average not in ANY or (
        summary.measure is Measure.AVERAGE_PRECISION and summary.average is not Average.UNNAMED
    ):
        return False
    return not list(list_readings(summary, sheet))


def _group_columns(average: Average, columns: Sequence[Column]) -> Iterator[list[Column]]:
    """Yield lists of columns whose averages must have the same class weights, such as a row of weighted means."""
    if average in (Average.UNNAMED, Average.WEIGHTED):
        keys = [_key(column, columns) for column in columns]
        for key in dict.fromkeys(keys):
            yield [column for column, own in zip(columns, keys, strict=True) if own == key]
    else:
        yield from ([column] for column in columns)


def _key(column: Column, columns: Sequence[Column]) -> tuple[object, ...]:
    """Return a key for the row of averages to which `column` belongs.

    The key holds the class names and the index of the row, because each row of averages may have its own class
    weights.
    """
    of_parts = [
        each for each in columns if each.sheet is column.sheet and each.summary.measure is column.summary.measure
    ]
    place = next(index for index, each in enumerate(of_parts) if each is column)
    return tuple(column.summary.parts), place


def _claim(columns: Sequence[Column]) -> Claim | None:
    cells = [cell for column in columns for cell in (column.summary.cell, *column.summary.parts.values())]

    def fits(parts: Rounding, whole: Rounding) -> bool:
        return any(explain(columns, parts, whole) for explain in EXPLANATIONS)

    summary = columns[0].summary.cell
    conditions = find_conditions(fits, [c for column in columns for c in column.summary.parts.values()], summary)
    if conditions is None:
        return None
    batches = _explain_by_batches(columns)
    conditions += tuple(_explain_otherwise(columns))
    texts = ", ".join(f"{c.summary.cell.value.measure} {c.summary.cell.value.printed.text}" for c in columns[:12])
    label = summary.value.label or str(summary.value.measure)
    many = len(columns) > 1
    return Claim(
        kind="weights" if many else "mean",
        message=f"no weights of the {len(columns[0].summary.parts)} classes give {texts} ({label})"
        + (" at once" if many else "; it lies outside its parts"),
        cells=tuple(cells),
        conditions=(*conditions, *([batches] if batches else [])),
        readings=(f"{label}: a mean of the classes with any weights, the same in every column",),
        excluded=(
            "the plain mean",
            "one set of weights for all columns, by linear programming",
            "micro averages of precision, recall and F1",
            FORMATS,
        ),
        needs_all=True,
    )


def _explain_by_batches(columns: Sequence[Column]) -> str | None:
    """Return a text that explains an accuracy as a mean over batches.

    The result is None if `columns` is not a single accuracy, or if no mean over batches has the printed
    value. If the number of images is unknown, such a mean is assumed to be possible.
    """
    column = columns[0]
    if len(columns) > 1 or column.summary.measure is not Measure.ACCURACY:
        return None
    images = column.sheet.total
    if images is None:
        return "the value is a mean over batches, or of other images than its parts"
    ways = [Rounding.TWICE, Rounding.TRUNCATED]
    for way in ways:
        intervals = [interval_of(cell, way) for cell in column.summary.parts.values()]
        if batch_means(join_intervals(intervals), images).meets(interval_of(column.summary.cell, way)):
            return f"the value is a mean over batches of up to {BATCH} images"
    return None


def _explain_otherwise(columns: Sequence[Column]) -> Iterator[str]:
    """Yield possible explanations of averages that do not follow from the class values.

    Rows that were not read as classes may be classes, or an image may have several labels.
    """
    beside = [column.sheet.asides.get(column.summary.measure, {}) for column in columns]
    if all(beside):
        wider = [
            replace(column, summary=replace(column.summary, parts={**column.summary.parts, **added}))
            for column, added in zip(columns, beside, strict=True)
        ]
        if is_weighted_mean(wider, Rounding.ROUNDED, Rounding.ROUNDED):
            yield f"{', '.join(dict.fromkeys(name for added in beside for name in added))}: a class, too"
    cell = columns[0].summary.cell
    lowest = min(part.share for part in columns[0].summary.parts.values())
    if len(columns) == 1 and cell.value.measure is Measure.ACCURACY and cell.share < lowest:
        yield "an image has several labels, and all of them have to be right"


def is_one_vs_rest(columns: Sequence[Column], parts: Rounding, whole: Rounding) -> bool:
    """Return whether the average is an accuracy that follows from the classes' one-vs-rest accuracies.

    The result is False if there are several averages.
    """
    readings = read_one_vs_rest(columns[0].summary, columns[0].sheet)
    return len(columns) == 1 and any(each.means[parts].meets(_printed(columns[0], whole)) for each in readings)


def is_plain_mean(columns: Sequence[Column], parts: Rounding, whole: Rounding) -> bool:
    """Return whether every average is the plain mean of its class values."""
    for column in columns:
        intervals = [interval_of(cell, parts) for cell in column.summary.parts.values()]
        if not mean_interval(intervals, len(intervals)).meets(_printed(column, whole)):
            return False
    return True


def is_weighted_mean(columns: Sequence[Column], parts: Rounding, whole: Rounding) -> bool:
    """Return whether a single set of class weights gives every average."""
    return are_feasible([row for column in columns for row in _mean_rows(column, parts, whole)])


def is_weighted_without_f1(columns: Sequence[Column], parts: Rounding, whole: Rounding) -> bool:
    """Return whether the averages are weighted means, except one or more F1 scores.

    Each of these F1 scores must be the F1 of the average precision and the average recall. A single set of class
    weights must give all other averages.
    """
    rest = []
    for column in columns:
        others = {other.summary.measure: _printed(other, whole) for other in columns if other.sheet is column.sheet}
        if column.summary.measure is Measure.F1 and {Measure.PRECISION, Measure.RECALL} <= set(others):
            f1 = f1_interval(others[Measure.PRECISION], others[Measure.RECALL])
            if f1.meets(_printed(column, whole)):
                continue
        rest.append(column)
    return len(rest) < len(columns) and is_weighted_mean(rest, parts, whole)


def is_micro(columns: Sequence[Column], parts: Rounding, whole: Rounding) -> bool:
    """Return whether the averages can be micro averages for some class sizes.

    Let w_i be the share of images in class i, P_i and R_i its precision and recall, and P, R and F the micro
    averages. Then sum w_i R_i (1 - P / P_i) = 0, sum w_i R_i = R, and sum w_i (2 R_i - F (1 + R_i / P_i)) = 0.
    """
    rows: list[Row] = []
    for column in columns:
        measure = column.summary.measure
        if measure in (Measure.PRECISION, Measure.F1):
            of_sheet = column.sheet.classes
            if not {Measure.PRECISION, Measure.RECALL} <= set(of_sheet):
                return False
            rows += _micro_rows(column, parts, whole)
        else:
            rows += _mean_rows(column, parts, whole)
    return any(c.summary.measure in (Measure.PRECISION, Measure.F1) for c in columns) and are_feasible(rows)


def _micro_rows(column: Column, parts: Rounding, whole: Rounding) -> list[Row]:
    """Return two linear inequalities that the class weights satisfy if the average is a micro average."""
    printed = _printed(column, whole)
    precisions, recalls = (column.sheet.classes[m] for m in (Measure.PRECISION, Measure.RECALL))
    lows: list[float] = []
    highs: list[float] = []
    for name in column.summary.parts:
        ends = _micro_ends(column.summary.measure, printed, precisions.get(name), recalls.get(name), parts)
        lows.append(ends[0])
        highs.append(-ends[1])
    return [(lows, 0.0), (highs, 0.0)]


def _micro_ends(
    measure: Measure, printed: Interval, precision: Cell | None, recall: Cell | None, way: Rounding
) -> tuple[float, float]:
    """Return the lowest and highest coefficient that a class weight may have in an equation of `is_micro`.

    The coefficient follows from the average `printed` and from the precision and recall of the class, which are
    known only within their rounding.
    """
    if precision is None or recall is None:
        return -1e3, 1e3
    of_precision, of_recall = interval_of(precision, way), interval_of(recall, way)
    if of_precision.low <= 0:
        return -1e3, 1e3

    def coefficient(p: Fraction, r: Fraction, mean: Fraction) -> Fraction:
        return r * (1 - mean / p) if measure is Measure.PRECISION else 2 * r - mean * (1 + r / p)

    values = [
        coefficient(p, r, mean)
        for p in (of_precision.low, of_precision.high)
        for r in (of_recall.low, of_recall.high)
        for mean in (printed.low, printed.high)
    ]
    return float(min(values)), float(max(values))


def _mean_rows(column: Column, parts: Rounding, whole: Rounding) -> list[Row]:
    """Return two linear inequalities that the class weights satisfy if the average is a weighted mean."""
    printed = _printed(column, whole)
    intervals = [interval_of(cell, parts) for cell in column.summary.parts.values()]
    lows, highs = [float(each.low) for each in intervals], [-float(each.high) for each in intervals]
    return [(lows, float(printed.high)), (highs, -float(printed.low))]


def _printed(column: Column, way: Rounding) -> Interval:
    cells = [*column.summary.parts.values(), column.summary.cell]
    return interval_of(column.summary.cell, way).widened(SLACK + half_error(cells))


def are_feasible(rows: Sequence[Row], seconds: float = SECONDS) -> bool:
    """Return whether nonnegative weights with sum one satisfy all inequalities; True if the solver gives up."""
    if not rows:
        return True
    coefficients, limits = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    classes = coefficients.shape[1]
    return int(minimise(np.zeros(classes), coefficients, limits, np.ones((1, classes)), seconds).status) != INFEASIBLE


def minimise(
    objective: Floats, coefficients: Floats, limits: Floats, sums: Floats, seconds: float = SECONDS
) -> OptimizeResult:
    """Minimise the scalar product of `objective` and a vector x by linear programming.

    The constraints are `coefficients` @ x <= `limits`, `sums` @ x = 1, and 0 <= x <= 1 for each component. The
    solver stops after `seconds`.
    """
    return linprog(
        objective,
        A_ub=coefficients,
        b_ub=limits,
        A_eq=sums,
        b_eq=np.ones(len(sums)),
        bounds=(0, 1),
        options={"time_limit": seconds},
    )


EXPLANATIONS = (is_plain_mean, is_weighted_mean, is_weighted_without_f1, is_micro, is_one_vs_rest)


def group_tables(all_sheets: Sequence[Sheet]) -> list[list[Sheet]]:
    """Return lists of tables that were printed side by side, with the same classes on the same lines."""
    made: list[list[Sheet]] = []
    for sheet in all_sheets:
        for group in made:
            if group[0].table.classes == sheet.table.classes and _lines(group[0]) & _lines(sheet):
                group.append(sheet)
                break
        else:
            made.append([sheet])
    return made


def _lines(sheet: Sheet) -> set[int]:
    return {value.printed.line for value in sheet.table.of_classes}
