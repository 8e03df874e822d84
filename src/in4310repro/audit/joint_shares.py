"""Bound the accuracy by the scores of all classes of unknown size, with a linear programme."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from in4310repro.audit.averages import stands_in_row
from in4310repro.audit.claims import FORMATS, Claim, find_conditions
from in4310repro.audit.document import SCORES, Average, Measure
from in4310repro.audit.intervals import Cell, Interval, Rounding, join_intervals, mean_interval
from in4310repro.audit.sheets import Sheet, half_error, interval_of
from in4310repro.audit.weights import SECONDS, Floats, minimise

# Larger than the tolerance of the solver, 1e-7, and the error of numbers in float32.
SLACK = 1e-6
Rows = Mapping[str, Mapping[Measure, Cell]]


def check_joint_shares(sheet: Sheet, seconds: float = SECONDS) -> Iterator[Claim]:
    """Yield a claim for each accuracy that the scores of all classes rule out for any class sizes.

    Each image has one label and one prediction. For each class, w is its share of images, q of predictions and t of
    right images: t = R w = P q, 2 t = F1 (w + q), sum w = sum q = 1. The accuracy is sum t: a weighted mean of the
    recalls, and also of the precisions.
    """
    rows = {
        name: {m: sheet.classes[m][name] for m in SCORES if name in sheet.classes.get(m, {})}
        for name in sheet.classes.get(Measure.RECALL, {})
    }
    names = {name for measure in SCORES for name in sheet.classes.get(measure, {})}
    if sheet.sizes or len(rows) < 2 or set(rows) != names or not any(len(row) > 1 for row in rows.values()):
        return
    if half_error([cell for row in rows.values() for cell in row.values()]):
        return
    for cell in sheet.summaries:
        if cell.value.measure is Measure.ACCURACY and cell.value.average is Average.OVERALL and not cell.value.spread:
            claim = _claim(sheet, rows, cell, seconds)
            if claim:
                yield claim


def _claim(sheet: Sheet, rows: Rows, cell: Cell, seconds: float) -> Claim | None:
    def fits(way: Rounding, _: Rounding) -> bool:
        printed, recalls = interval_of(cell, way), [interval_of(row[Measure.RECALL], way) for row in rows.values()]
        # Other checks use recalls alone or their plain mean.
        if not join_intervals(recalls).meets(printed) or mean_interval(recalls, len(recalls)).meets(printed):
            return True
        bounds = bound_accuracy(rows, way, seconds)
        return bounds is None or (bounds[0] <= printed.high and printed.low <= bounds[1])

    cells = [each for row in rows.values() for each in row.values()]
    conditions, bounds = find_conditions(fits, cells, cell), bound_accuracy(rows, Rounding.ROUNDED, seconds)
    if conditions is None or bounds is None:
        return None
    return Claim(
        kind="accuracy of scores",
        message=f"precision, recall and F1 of the {len(rows)} classes allow an accuracy of {bounds[0]:.4f} to "
        f"{bounds[1]:.4f} whatever their sizes; {cell.value.printed.text} is printed",
        cells=(cell, *cells),
        conditions=(
            *conditions,
            *sheet.several,
            *(
                []
                if stands_in_row(cell, sheet)
                else ["the value is a mean over batches, or of other images than its parts"]
            ),
        ),
        readings=("a mean of recalls weighted by images and of precisions weighted by predictions",),
        excluded=("every share of images and predictions of each class, by linear programming", FORMATS),
        needs_all=True,
        needs_counts=True,
    )


def bound_accuracy(rows: Rows, way: Rounding, seconds: float = SECONDS) -> tuple[float, float] | None:
    """Return the lowest and highest accuracy that the scores allow; None if none is possible or the solver fails."""
    coefficients, limits = _inequalities(list(rows.values()), way)
    classes = len(rows)
    once = np.zeros((2, 3 * classes))
    once[0, :classes] = once[1, classes : 2 * classes] = 1
    right = np.concatenate([np.zeros(2 * classes), np.ones(classes)])
    results = [minimise(sign * right, coefficients, limits, once, seconds) for sign in (1, -1)]
    if any(result.status != 0 for result in results):
        return None
    return float(results[0].fun) - SLACK, -float(results[1].fun) + SLACK


def _inequalities(rows: Sequence[Mapping[Measure, Cell]], way: Rounding) -> tuple[Floats, Floats]:
    """Return A and b of A x <= b, with x the shares of images, predictions and correct images by class."""
    classes = len(rows)
    made: list[Floats] = []
    for place, row in enumerate(rows):
        images, predicted, right = place, classes + place, 2 * classes + place
        for measure, cell in row.items():
            interval = interval_of(cell, way)
            of = {Measure.RECALL: (images,), Measure.PRECISION: (predicted,), Measure.F1: (images, predicted)}[measure]
            made += _bound_rows(interval, of, right, 2.0 if measure is Measure.F1 else 1.0, 3 * classes)
    for place in range(classes):
        for whole in (place, classes + place):
            made.append(_row(3 * classes, {2 * classes + place: 1.0, whole: -1.0}))
    return np.array(made), np.full(len(made), SLACK)


def _bound_rows(interval: Interval, of: Sequence[int], right: int, factor: float, width: int) -> Iterator[Floats]:
    """Yield inequality rows for low * s <= factor * x[right] <= high * s; s is the sum of x at the indices `of`."""
    yield _row(width, {right: -factor, **dict.fromkeys(of, float(interval.low))})
    # A score of a class without a right image may be undefined, and programs print different things for that.
    if interval.high > 0:
        yield _row(width, {right: factor, **dict.fromkeys(of, -float(interval.high))})


def _row(width: int, entries: Mapping[int, float]) -> Floats:
    row = np.zeros(width)
    for place, value in entries.items():
        row[place] = value
    return row
