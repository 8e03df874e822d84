"""Check kappa, correlation, specificity and micro averages against the scores and sizes of all classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from in4310repro.audit.bounds import Tallies
from in4310repro.audit.claims import FORMATS, Claim, describe_sizes, find_conditions
from in4310repro.audit.confusion import is_compared
from in4310repro.audit.document import SCORES, Average, Measure
from in4310repro.audit.intervals import Cell, Interval, Rounding
from in4310repro.audit.joint_counts import Problem, make_problem, other_classes_condition
from in4310repro.audit.scores import AGAINST_THE_REST, READ, find_predictions
from in4310repro.audit.sheets import Sheet, interval_of

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
    """Yield a claim for each average or one-vs-rest score that precision, recall and F1 rule out."""
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
    """Return whether the scores of all classes limit the range of an average."""
    return not cell.value.spread and _allow_intervals(cell) is not None


def _allow_intervals(cell: Cell) -> Allowed | None:
    """Return a function that gives the possible intervals of an average; None if no check exists for it."""
    measure, average = cell.value.measure, cell.value.average
    if average is Average.MICRO and measure in (Measure.PRECISION, Measure.F1):
        return lambda tallies: tallies.micro(measure, interval_of(cell, tallies.way))
    if measure is Measure.KAPPA and average is None:
        return lambda tallies: tallies.kappas
    if measure is Measure.ERROR and average is Average.OVERALL and is_compared(cell):
        return lambda tallies: tallies.errors
    if measure is Measure.MATTHEWS and average is None:
        return lambda tallies: [*tallies.matthews, *tallies.of_rest(measure, None)]
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
        weighted = rounded.weighted_kappas
        conditions += (WEIGHTED_KAPPA,) * any(each.meets(interval_of(cell, Rounding.TWICE)) for each in weighted)
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
    """Return the distinct intervals as text; if there are many, the first few and the number of further ones."""
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
