"""Check scores that depend on all classes, such as kappa, and bound the accuracy if class sizes are unknown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from in4310repro.audit.averages import stands_in_row
from in4310repro.audit.bounds import Tallies
from in4310repro.audit.claims import FORMATS, Claim, describe_sizes, find_conditions
from in4310repro.audit.document import SCORES, Average, Measure
from in4310repro.audit.intervals import Cell, Interval, Rounding, join_intervals, mean_interval
from in4310repro.audit.joint_counts import Problem, make_problem, other_classes_condition
from in4310repro.audit.scores import AGAINST_THE_REST, READ, find_predictions
from in4310repro.audit.sheets import Sheet, half_error, interval_of, is_rate
from in4310repro.audit.weights import SECONDS, Floats, minimise

WEIGHTED_KAPPA = "kappa is weighted by the distances of the classes"
# Names of classes that have an order: an unlabelled kappa may be weighted by it.
ORDERED = re.compile(
    r"\d|\b(?:low|medium|high|mild|moderate|severe|proliferative|normal|poor|fair|good|excellent|bad|grade|stage"
    r"|level|small|large|young|old|positive|neutral|negative|first|second|i{1,3}|iv)\b",
    re.IGNORECASE,
)
NAMED = 5  # ranges that a message lists
OF_REST = (Measure.SPECIFICITY, Measure.NEGATIVE_PREDICTIVE_VALUE)
Allowed = Callable[[Tallies], Sequence[Interval]]


def check_report_scores(sheet: Sheet) -> Iterator[Claim]:
    """Yield a claim for each average or one-vs-rest score that contradicts the classes' precision, recall and F1."""
    problem = make_problem(sheet)
    if problem is None:
        return
    yield from _check_classes(problem)
    if sheet.table.matrix is not None:
        return
    tallies = {way: Tallies(problem, way) for way in Rounding}
    for cell in sheet.summaries:
        allowed = _allow_intervals(cell) if is_bound(cell) else None
        claim = _claim(cell, allowed, tallies) if allowed else None
        if claim:
            yield claim


def is_bound(cell: Cell) -> bool:
    """Return whether the scores of the classes limit the possible values of the average in `cell`."""
    return not cell.value.spread and _allow_intervals(cell) is not None


def _allow_intervals(cell: Cell) -> Allowed | None:
    """Return a function that computes the intervals in which an average can lie.

    Return None if no check exists for this average.
    """
    measure, average = cell.value.measure, cell.value.average
    if average is Average.MICRO and measure in (Measure.PRECISION, Measure.F1):
        return lambda tallies: tallies.micro(measure, interval_of(cell, tallies.way))
    if measure is Measure.KAPPA and average is None:
        return lambda tallies: tallies.kappas
    if measure is Measure.ERROR and average is Average.OVERALL and is_rate(cell):
        return lambda tallies: tallies.errors
    if measure is Measure.MATTHEWS and average is None:
        # Where its bounds are unknown, those of each class against the rest exclude nothing.
        return lambda tallies: tallies.matthews and [*tallies.matthews, *tallies.of_rest(measure, None)]
    if measure in OF_REST:
        return lambda tallies: tallies.of_rest(measure, average)
    if measure in SCORES and average is None:
        return lambda tallies: tallies.averages(measure, interval_of(cell, tallies.way))
    return None


def _claim(cell: Cell, allowed: Allowed, tallies: Mapping[Rounding, Tallies]) -> Claim | None:
    def fits(way: Rounding, _: Rounding) -> bool:
        found, printed = allowed(tallies[way]), interval_of(cell, way)
        return not found or any(each.meets(printed) for each in found)

    rounded = tallies[Rounding.ROUNDED]
    problem = rounded.problem
    conditions = find_conditions(fits, problem.cells, cell)
    if conditions is None:
        return None
    value, sheet = cell.value, problem.sheet
    if value.measure is Measure.KAPPA and ORDERED.search(" ".join(problem.rows)):
        conditions += (WEIGHTED_KAPPA,)
    single = value.average is not Average.MICRO
    return Claim(
        kind="summary of scores",
        message=f"precision, recall and F1 of all classes allow {value.label.strip() or value.measure} of "
        f"{_shown(allowed(rounded))}; {value.printed.text} is printed",
        cells=(cell, *problem.cells),
        conditions=(*conditions, *((*sheet.several, *other_classes_condition(sheet, True)) if single else ())),
        inputs=describe_sizes(sheet, problem.rows),
        readings=(READ,),
        excluded=("every number of right and of predicted images of each class", FORMATS),
        needs_all=True,
        needs_counts=True,
    )


def _shown(intervals: Sequence[Interval]) -> str:
    """Return the distinct intervals as text. If there are many, list the first `NAMED` and count the others."""
    ends = [tuple(f"{float(end):.4f}" for end in (each.low, each.high)) for each in intervals]
    texts = list(dict.fromkeys(low if low == high else f"{low} to {high}" for low, high in ends))
    return ", or ".join(texts[:NAMED]) + (f", or {len(texts) - NAMED} more" if len(texts) > NAMED else "")


def _check_classes(problem: Problem) -> Iterator[Claim]:
    """Yield a claim for each class whose one-vs-rest scores contradict its precision, recall and F1."""
    for name, row in problem.rows.items():
        columns = problem.sheet.classes
        more = {measure: columns[measure][name] for measure in AGAINST_THE_REST if name in columns.get(measure, {})}
        claim = _check_class(problem, name, row, more) if more else None
        if claim:
            yield claim


def _check_class(
    problem: Problem, name: str, row: Mapping[Measure, Cell], more: Mapping[Measure, Cell]
) -> Claim | None:
    sheet, size = problem.sheet, problem.sheet.sizes[name]
    others, every = problem.images - size, {**row, **more}

    def fits(way: Rounding, _: Rounding) -> bool:
        # Other checks use precision, recall and F1 by themselves.
        known = find_predictions(row, size, way, others=others)
        return known is None or find_predictions(every, size, way, others=others) is not None

    conditions = find_conditions(fits, every.values())
    if conditions is None:
        return None
    scores = ", ".join(f"{measure} {cell.value.printed.text}" for measure, cell in every.items())
    return Claim(
        kind="scores against the rest",
        message=f"no whole numbers of right and of predicted images give {scores} of {name} with {size} images and "
        f"{others} of the other classes",
        cells=tuple(every.values()),
        conditions=(*conditions, *sheet.several, *other_classes_condition(sheet, True)),
        inputs=describe_sizes(sheet, sheet.sizes),
        readings=(f"{READ}, specificity = TN / (TN + FP), negative predictive value = TN / (TN + FN)",),
        excluded=(f"every number of right images of {size} with every number of predicted ones", FORMATS),
        needs_all=True,
        needs_counts=True,
    )


# Larger than the tolerance of the solver, 1e-7, and the error of numbers in float32.
SLACK = 1e-6
Rows = Mapping[str, Mapping[Measure, Cell]]


def check_joint_shares(sheet: Sheet, seconds: float = SECONDS) -> Iterator[Claim]:
    """Yield a claim for each accuracy that no class sizes can explain, given the scores of all classes.

    Each image has one label and one prediction. For each class, w is the fraction of all images with its label,
    q the fraction with its prediction, and t the fraction with both. With recall R and precision P of the class,
    t = R w = P q and 2 t = F1 (w + q). Over all classes, w sums to 1, and so does q. The accuracy is the sum of
    t: a weighted mean of the recalls, and also of the precisions.
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
            claim = _claim_outside_bounds(sheet, rows, cell, seconds)
            if claim:
                yield claim


def _claim_outside_bounds(sheet: Sheet, rows: Rows, cell: Cell, seconds: float) -> Claim | None:
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
    """Return the lowest and highest accuracy that the scores of the classes allow.

    Return None if no accuracy is possible, or if the solver fails or needs more than `seconds`. `way` is the
    assumed rounding of the printed scores.
    """
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
    """Return A and b of the inequalities A x <= b that follow from the scores.

    The vector x holds fractions of all images: first the images with the label of each class, then those with
    its prediction, then those with both.
    """
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
    """Yield vectors a for which a . x <= 0 expresses one of two inequalities.

    The inequalities are low * s <= factor * x[right] and factor * x[right] <= high * s. Here s is the sum of x at
    the indices `of`, x has `width` components, and low and high are the ends of `interval`. If high is 0, only
    the first inequality is expressed.
    """
    yield _row(width, {right: -factor, **dict.fromkeys(of, float(interval.low))})
    # A score of a class without a right image may be undefined, and programs print different things for that.
    if interval.high > 0:
        yield _row(width, {right: factor, **dict.fromkeys(of, -float(interval.high))})


def _row(width: int, entries: Mapping[int, float]) -> Floats:
    row = np.zeros(width)
    for place, value in entries.items():
        row[place] = value
    return row
