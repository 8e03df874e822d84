"""Compare confusion matrices with the scores beside them; rows may be true or predicted classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from in4310repro.audit.averages import BATCH, belongs_to_report, nearest_batch_mean
from in4310repro.audit.claims import FORMATS, Claim, find_conditions
from in4310repro.audit.document import Average, ConfusionMatrix, Measure, Value
from in4310repro.audit.intervals import Cell, Interval, Rounding
from in4310repro.audit.matrix_scores import Counts, Scores, score_matrix
from in4310repro.audit.sheets import Sheet, half_error, interval_of, is_rate, make_cells

ORIENTATIONS = ("rows are the true classes", "rows are the predicted classes")
OTHER = "the confusion matrix is of other images or of another network"
ORDER = "the matrix has its classes in another order"
LISTED = 3  # up to this many contradictions get a finding each; more are merged into one
NAMED = 5  # values that are named in one sentence
OF_CLASSES = (
    Measure.RECALL,
    Measure.ACCURACY,
    Measure.PRECISION,
    Measure.F1,
    Measure.SPECIFICITY,
    Measure.NEGATIVE_PREDICTIVE_VALUE,
    Measure.MATTHEWS,
    Measure.BALANCED_ACCURACY,
    Measure.PREVALENCE,
    Measure.DETECTION_RATE,
    Measure.DETECTION_PREVALENCE,
    Measure.FALSE_POSITIVE_RATE,
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Result of comparing a matrix, in one orientation, with the values of its table."""

    claims: tuple[Claim, ...]
    agreeing: int  # number of class values that agree with the matrix
    compared: int
    sums: int  # rows that sum to the printed images of their class
    complete: bool  # whether all of them do, or none are printed


def check_matrix(sheet: Sheet) -> Iterator[Claim]:
    """Yield a claim for each value that contradicts the confusion matrix.

    If the transpose of the matrix fits better, the values are compared with the transpose. If too few class
    sizes and class values of the table agree with the matrix, the matrix may describe other images. Each
    claim then says that it holds only if the matrix describes the same images as the table. If the table has
    neither class sizes nor class values to compare, the images are assumed to be the same.
    """
    matrix = sheet.table.matrix
    counts = matrix_counts(matrix) if matrix else None
    names = list(dict.fromkeys([*sheet.sizes, *(name for m in OF_CLASSES for name in sheet.classes.get(m, {}))]))
    if matrix is None or counts is None or (names and len(names) != len(counts)) or not sum(map(sum, counts)):
        return
    ordered, certain = _order_classes(matrix, names, counts, sheet)
    ways = [_compare(sheet, s, ordered, o, matrix) for o, s in zip(ORIENTATIONS, _orient(counts), strict=True)]
    complete = [way for way in ways if way.complete] or ways
    best = min(complete, key=lambda way: len(way.claims))
    conditions = [] if certain or not names else [ORDER]
    conditions += [] if _has_same_images(best, sheet, len(counts)) else [OTHER]
    inputs = (f"the confusion matrix from line {matrix.rows[0][0].line}{_sums(best, sheet)}",)
    claims = [replace(each, conditions=(*each.conditions, *conditions), inputs=inputs) for each in best.claims]
    yield from claims if len(claims) <= LISTED else _merge(claims)


def _sums(best: Comparison, sheet: Sheet) -> str:
    return ", whose sums are the class sizes" if best.complete and sheet.sizes else ""


def _has_same_images(best: Comparison, sheet: Sheet, classes: int) -> bool:
    """Return whether enough values agree to conclude that matrix and table describe the same predictions."""
    if not sheet.sizes and not best.compared:
        return True
    mostly = 2 * best.agreeing >= best.compared
    if sheet.sizes and best.complete:
        return mostly or sheet.alone
    return mostly and best.agreeing >= 2 and (not sheet.sizes or 2 * best.sums >= classes)


def _order_classes(
    matrix: ConfusionMatrix, names: Sequence[str], counts: Counts, sheet: Sheet
) -> tuple[Sequence[str], bool]:
    """Return the class names in the order of the matrix, and whether this order is certain or assumed.

    If the matrix and the table have the same names, the order of the matrix is used, unless the row sums fit
    the order of the table better. In all other cases the order of the table is used. It counts as certain if no
    class sizes are known, or if all class sizes differ and at least half of them equal the row sums.
    """
    by_name = {name.strip().casefold(): name for name in names}
    called = [name.strip().casefold() for name in matrix.classes]
    ordered = [by_name[name] for name in called if name in by_name]
    named = len(by_name) == len(names) and sorted(called) == sorted(by_name)
    both = [scores.sizes for scores in _orient(counts)]
    sums = {way: max(_agreement(sizes, way, sheet) for sizes in both) for way in {tuple(ordered), tuple(names)}}
    if named and (sums[tuple(ordered)] >= sums[tuple(names)]):
        return ordered, True
    different = len(set(sheet.sizes.values())) == len(names)
    return names, not sheet.sizes or (different and 2 * sums[tuple(names)] >= len(names))


def _agreement(sums: Sequence[int], names: Sequence[str], sheet: Sheet) -> int:
    """Return the number of classes in `names` whose class size equals the row sum with the same index."""
    return sum(sheet.sizes.get(name) == number for name, number in zip(names, sums, strict=False))


def matrix_counts(matrix: ConfusionMatrix) -> Counts | None:
    """Return the matrix as integers; None if it is not square or contains fractions or negative numbers."""
    cells = [[printed.value for printed in row] for row in matrix.rows]
    square = all(len(row) == len(cells) for row in cells)
    if matrix.shares or not square or any(value.denominator > 1 or value < 0 for row in cells for value in row):
        return None
    return [[int(value) for value in row] for row in cells]


def _orient(counts: Counts) -> tuple[Scores, Scores]:
    return score_matrix(counts), score_matrix([list(column) for column in zip(*counts, strict=True)])


def _compare(
    sheet: Sheet, scores: Scores, names: Sequence[str], orientation: str, matrix: ConfusionMatrix
) -> Comparison:
    claims: list[Claim] = []
    places = {name: place for place, name in enumerate(names)}
    wrong = {name: n for name, n in sheet.sizes.items() if name in places and scores.sizes[places[name]] != n}
    claims += [_claim_sum(sheet, name, scores, places[name], orientation, matrix) for name in wrong]
    agreeing = compared = 0
    for measure in OF_CLASSES:
        column = sheet.classes.get(measure, {})
        error = half_error(column.values())
        for name, cell in column.items():
            exact = scores.of_class(measure, places[name])
            if exact:
                claim = _claim(cell, exact, error, orientation)
                compared += 1
                agreeing += claim is None
                claims += [claim] if claim else []
    for cell in sheet.summaries:
        exact = scores.over_all(cell.value.measure, cell.value.average) if is_rate(cell) else ()
        claim = _claim(cell, exact, Fraction(0), orientation) if exact and not cell.value.spread else None
        claims += [_explain_by_batches(claim, cell, scores, sheet)] if claim else []
    sums = sum(sheet.sizes.get(name) == scores.sizes[place] for name, place in places.items())
    return Comparison(
        claims=tuple(claims), agreeing=agreeing, compared=compared, sums=sums, complete=sums == len(places)
    )


def _claim_sum(sheet: Sheet, name: str, scores: Scores, place: int, orientation: str, matrix: ConfusionMatrix) -> Claim:
    rows = matrix.rows if orientation == ORIENTATIONS[0] else tuple(zip(*matrix.rows, strict=True))
    values = [Value(measure=Measure.OTHER, printed=p, class_name=name, label="confusion matrix") for p in rows[place]]
    return Claim(
        kind="confusion matrix",
        message=f"{name} has {sheet.sizes[name]} images, as {sheet.origin}; its sum in the confusion matrix is "
        f"{scores.sizes[place]}",
        cells=tuple(make_cells(values)),
        readings=(orientation,),
        excluded=("the other orientation of the matrix",),
        needs_counts=True,
    )


def _explain_by_batches(claim: Claim, cell: Cell, scores: Scores, sheet: Sheet) -> Claim:
    """Return the claim. If the value may be a mean over batches, add that as a condition.

    The mean of the batches' accuracies has bounds; those of other scores depend on the images of each batch.
    """
    if not sheet.in_batches or belongs_to_report(cell, sheet):
        return claim
    if cell.value.measure is Measure.ACCURACY and cell.value.average is not Average.MACRO:
        printed, exact = interval_of(cell, Rounding.ROUNDED), Interval(low=scores.accuracy, high=scores.accuracy)
        recalls = [recall for recall in scores.by_measure[Measure.RECALL] if recall is not None]
        classes = Interval(low=min(recalls), high=max(recalls))
        if not nearest_batch_mean(exact, sum(scores.sizes), printed, classes).meets(printed):
            return claim
    return replace(claim, conditions=(*claim.conditions, f"the value is a mean over batches of up to {BATCH} images"))


def _claim(cell: Cell, exact: Sequence[Fraction], error: Fraction, orientation: str) -> Claim | None:
    def fits(way: Rounding, _: Rounding) -> bool:
        interval = interval_of(cell, way).widened(error)
        return any(each in interval for each in exact)

    conditions = find_conditions(fits)
    if conditions is None:
        return None
    value = cell.value
    subject = f"of {value.class_name}" if value.class_name is not None else "over all classes"
    return Claim(
        kind="confusion matrix",
        message=f"{value.measure} {subject} is printed as {value.printed.text}; the confusion matrix gives "
        f"{_shown(exact)}",
        cells=(cell,),
        conditions=conditions,
        readings=(orientation,),
        excluded=("the other orientation of the matrix", FORMATS),
        needs_counts=True,
    )


def _shown(exact: Sequence[Fraction]) -> str:
    first = exact[0]
    ratio = f"{first.numerator}/{first.denominator} = " if first.denominator < 10**9 else ""
    others = sorted({f"{float(each):.6g}" for each in exact[1:]} - {f"{float(first):.6g}"})
    return f"{ratio}{float(first):.6g}" + (f", or {', '.join(others[:NAMED])} by other definitions" if others else "")


def _merge(claims: Sequence[Claim]) -> Iterator[Claim]:
    """Yield the claims, after merging claims with equal conditions into one claim."""
    groups: dict[tuple[str, ...], list[Claim]] = {}
    for claim in claims:
        groups.setdefault(claim.conditions, []).append(claim)
    for conditions, group in groups.items():
        more = f"; and {len(group) - NAMED} more" if len(group) > NAMED else ""
        yield replace(
            group[0],
            message="; ".join(claim.message for claim in group[:NAMED]) + more,
            cells=tuple(cell for claim in group for cell in claim.cells),
            conditions=conditions,
        )
