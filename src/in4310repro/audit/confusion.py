"""Confusion matrices held against what is printed beside them, with rows as true classes and as predicted ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from in4310repro.audit.claims import FORMATS, Claim, conditions_of
from in4310repro.audit.document import Average, ConfusionMatrix, Measure
from in4310repro.audit.intervals import Cell, Rounding
from in4310repro.audit.sheets import SCORES, Sheet, half_error, interval_of

ORIENTATIONS = ("rows are the true classes", "rows are the predicted classes")
Counts = Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a matrix of counts gives, by class in its order; None where it is undefined."""

    sizes: tuple[int, ...]
    by_measure: Mapping[Measure, tuple[Fraction | None, ...]]
    accuracy: Fraction
    kappa: Fraction | None  # Cohen's; None where agreement by chance is certain


def scores_of(counts: Counts) -> Scores:
    """Recall, precision, F1, accuracy and Cohen's kappa of a matrix whose rows are the true classes.

    kappa = (p - e) / (1 - e), p the share of the diagonal, e = sum over classes of row sum x column sum / n^2: Cohen,
    "A coefficient of agreement for nominal scales" (1960).
    """
    right = [row[place] for place, row in enumerate(counts)]
    sizes = [sum(row) for row in counts]
    predicted = [sum(column) for column in zip(*counts, strict=True)]
    recall = tuple(Fraction(k, n) if n else None for k, n in zip(right, sizes, strict=True))
    precision = tuple(Fraction(k, n) if n else None for k, n in zip(right, predicted, strict=True))
    # 2 P R / (P + R), zero where nothing is right.
    f1 = tuple(
        Fraction(2 * k, n + p) if n + p else Fraction(0) for k, n, p in zip(right, sizes, predicted, strict=True)
    )
    return Scores(
        sizes=tuple(sizes),
        by_measure={Measure.RECALL: recall, Measure.PRECISION: precision, Measure.F1: f1},
        accuracy=Fraction(sum(right), max(1, sum(sizes))),
        kappa=_kappa(right, sizes, predicted),
    )


def _kappa(right: Sequence[int], sizes: Sequence[int], predicted: Sequence[int]) -> Fraction | None:
    images = sum(sizes)
    chance = sum(n * p for n, p in zip(sizes, predicted, strict=True))
    return Fraction(images * sum(right) - chance, images**2 - chance) if images**2 > chance else None


def unlike_matrix(sheet: Sheet) -> Iterator[Claim]:
    """Class values that are not those of the matrix printed with them, in neither orientation.

    Only a matrix whose sums are the printed class sizes, in the printed order, is taken to be of the same images.
    """
    matrix = sheet.table.matrix
    counts = counts_of(matrix) if matrix else None
    names = list(sheet.sizes)
    printed = {name for measure in SCORES for name in sheet.classes.get(measure, {})}
    if matrix is None or counts is None or len(names) != len(counts) or printed != set(names):
        return
    sizes = tuple(sheet.sizes.values())
    ways = {o: scores for o, scores in zip(ORIENTATIONS, _both(counts), strict=True) if scores.sizes == sizes}
    if not ways:
        return
    wrong = [list(_unlike(sheet, scores, names, orientation)) for orientation, scores in ways.items()]
    inputs = (f"the confusion matrix from line {matrix.rows[0][0].line}, whose sums are the class sizes",)
    for claim in min(wrong, key=len):
        yield replace(claim, conditions=(*claim.conditions, *_other_order(matrix, sizes, names)), inputs=inputs)


def _other_order(matrix: ConfusionMatrix, sizes: Sequence[int], names: Sequence[str]) -> Iterator[str]:
    """Sizes tell the order of the classes where no two are equal; else names have to."""
    same = tuple(map(str.casefold, matrix.classes)) == tuple(map(str.casefold, names))
    if not same and len(set(sizes)) < len(names):
        yield "the matrix has its classes in another order"


def counts_of(matrix: ConfusionMatrix) -> Counts | None:
    """The matrix in whole images; None for shares."""
    cells = [[printed.value for printed in row] for row in matrix.rows]
    square = all(len(row) == len(cells) for row in cells)
    if matrix.shares or not square or any(value.denominator > 1 or value < 0 for row in cells for value in row):
        return None
    return [[int(value) for value in row] for row in cells]


def _both(counts: Counts) -> tuple[Scores, Scores]:
    return scores_of(counts), scores_of([list(column) for column in zip(*counts, strict=True)])


def _unlike(sheet: Sheet, scores: Scores, names: Sequence[str], orientation: str) -> Iterator[Claim]:
    for measure, exact in scores.by_measure.items():
        column = sheet.classes.get(measure, {})
        error = half_error(column.values())
        for name, value in zip(names, exact, strict=True):
            if name in column and value is not None:
                claim = _claim(column[name], value, error, orientation)
                if claim:
                    yield claim
    for cell in sheet.summaries:
        overall = cell.value.measure is Measure.ACCURACY and cell.value.average is Average.OVERALL
        expected = scores.accuracy if overall else scores.kappa if cell.value.measure is Measure.KAPPA else None
        if expected is not None and (claim := _claim(cell, expected, Fraction(0), orientation)):
            # Weights by the distance of classes are in use too, and seldom said.
            weighted = () if overall else ("the kappa weights its disagreements",)
            yield replace(claim, conditions=(*claim.conditions, *weighted))


def _claim(cell: Cell, exact: Fraction, error: Fraction, orientation: str) -> Claim | None:
    def fits(way: Rounding, _: Rounding) -> bool:
        return exact in interval_of(cell, way).widened(error)

    conditions = conditions_of(fits)
    if conditions is None:
        return None
    value = cell.value
    subject = f"of {value.class_name}" if value.class_name is not None else "over all classes"
    return Claim(
        kind="confusion matrix",
        message=f"{value.measure} {subject} is printed as {value.printed.text}; the confusion matrix gives "
        f"{exact.numerator}/{exact.denominator} = {float(exact):.6g}",
        cells=(cell,),
        conditions=conditions,
        readings=(orientation,),
        excluded=("the other orientation of the matrix", FORMATS),
        needs_counts=True,
    )
