"""Join overall values and confusion matrices with the class tables that they belong to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from in4310repro.audit.document import Average, ConfusionMatrix, Measure, Table, TableKind, Value
from in4310repro.audit.readers.contexts import LINE
from in4310repro.audit.readers.matrices import transpose
from in4310repro.audit.readers.passes import CAPTION
from in4310repro.audit.readers.pieces import Piece

NEAR = 12  # lines between an overall value and the table that it is of
MATRIX_NEAR = 30  # lines between a report and its confusion matrix
ANNOUNCES = re.compile(r"confusion|matrix|report|result|metric|evaluation|statistic|score|summary", re.IGNORECASE)
# Scores of folds: a list of decimals, or a line for each fold.
FOLDS = re.compile(r"[\[(](?:\s*\d?\.\d+[\s,]*){2,}|\b(?:fold|cross|cv)\b", re.IGNORECASE)
BESIDE = 4  # within so many lines, a value without an image set belongs to the table's set
# Recall of a class is its accuracy, so an overall accuracy can belong to a table with either.
OF_IMAGES = {
    Measure.ACCURACY,
    Measure.RECALL,
    Measure.PRECISION,
    Measure.F1,
    Measure.BALANCED_ACCURACY,
    Measure.KAPPA,
    Measure.MATTHEWS,
    Measure.SPECIFICITY,
    Measure.NEGATIVE_PREDICTIVE_VALUE,
    Measure.ERROR,
}


def join(pieces: Sequence[Piece], lines: Sequence[str], near: int = NEAR) -> list[Piece]:
    """Return the tables, with each matrix and overall value merged into the nearest class table that it fits.

    An overall value may be `near` lines away.
    """
    tables = _merge_matrices(pieces, lines)
    # Nothing is joined with a table of several models: a line before it belongs to one of them.
    models = [piece for piece in pieces if piece.table.kind is TableKind.MODELS and piece.first != piece.last]
    rest = []
    for loose in sorted((p for p in pieces if not p.table.has_classes), key=lambda piece: piece.first):
        fitting = sorted(
            (_distance(loose, piece), index)
            for index, piece in enumerate(tables)
            if _fits(loose, piece, lines, near) and not any(_is_between(other, loose, piece) for other in models)
        )
        # At equal distance from two tables the owner is unknown.
        if fitting and (len(fitting) == 1 or fitting[0][0] < fitting[1][0]):
            tables[fitting[0][1]] = _add_summary(tables[fitting[0][1]], loose)
        else:
            rest.append(loose)
    return [*tables, *rest]


def _merge_matrices(pieces: Sequence[Piece], lines: Sequence[str]) -> list[Piece]:
    """Return class tables with their confusion matrices merged in, then the unmatched matrices."""
    tables = [piece for piece in pieces if piece.table.matrix is None and piece.table.has_classes]
    alone = []
    for piece in pieces:
        if piece.table.matrix is None:
            continue
        near = sorted(
            (_distance(piece, table), index)
            for index, table in enumerate(tables)
            if piece.joins
            and _distance(piece, table) <= MATRIX_NEAR
            and table.table.matrix is None
            and not _separates(piece, table, lines)
        )
        of_near = ((index, match_matrix(piece.table.matrix, tables[index].table)) for _, index in near[:2])
        index, matrix = next(((index, matrix) for index, matrix in of_near if matrix is not None), (0, None))
        if matrix is None:
            alone.append(piece)
        else:
            found = tables[index]
            tables[index] = _with_lines_of(replace(found, table=replace(found.table, matrix=matrix)), piece)
    return [*tables, *alone]


def _separates(one: Piece, other: Piece, lines: Sequence[str]) -> bool:
    """Return whether a heading between a matrix and a class table shows that they describe different results."""
    between = lines[min(one.last, other.last) : max(one.first, other.first) - 1]
    return any(line.startswith("#") and not ANNOUNCES.search(line) for line in between)


def match_matrix(matrix: ConfusionMatrix, table: Table) -> ConfusionMatrix | None:
    """Return the matrix with the table's class names, transposed if necessary; None if it does not fit.

    The matrix must have the table's class names, or numbers from 0 in their place. If the names are in a
    different order, the table must have no class sizes. If the matrix holds counts and the size of every
    class is printed, at least half of the row sums, or of the column sums, must equal the class sizes. The
    matrix is transposed if more column sums than row sums equal the class sizes.
    """
    classes = table.classes
    named = matrix.classes == classes
    unnamed = matrix.classes == tuple(str(index) for index in range(len(classes)))
    if not named and not unnamed:
        return matrix if set(matrix.classes) == set(classes) and not table.sizes else None
    renamed = replace(matrix, classes=classes)
    sizes = [table.sizes.get(name) for name in classes]
    if matrix.shares or None in sizes:
        return renamed
    agreeing = _agreement(renamed, sizes)
    turned = _agreement(transpose(renamed), sizes)
    if max(agreeing, turned) * 2 < len(classes):
        return None
    return transpose(renamed) if turned > agreeing else renamed


def _agreement(matrix: ConfusionMatrix, sizes: Sequence[int | None]) -> int:
    return sum(sum(cell.value for cell in row) == size for row, size in zip(matrix.rows, sizes, strict=True))


def _distance(one: Piece, other: Piece) -> int:
    return max(one.first - other.last, other.first - one.last, 0)


def _fits(loose: Piece, piece: Piece, lines: Sequence[str], near: int) -> bool:
    """Return whether an overall value may belong to a table, by distance, headings, image set and metric."""
    distance, of, table = _distance(loose, piece), loose.table.image_set, piece.table.image_set
    between = lines[min(loose.last, piece.last) : max(loose.first, piece.first) - 1]
    apart = any(line.startswith("#") or CAPTION.fullmatch(line) for line in between)
    same_set = of == table or (of == "test" and table is None) or (of is None and distance <= BESIDE)
    measures = all(
        _same_measure(value.measure, piece) and not _has_another(value, piece) for value in loose.table.values
    )
    near_enough = distance <= near and not _is_mean_of_folds(loose, lines)
    return loose.joins and piece.joins and near_enough and same_set and not apart and measures


def _is_mean_of_folds(loose: Piece, lines: Sequence[str]) -> bool:
    """Return whether a mean stands right below the scores of folds: they are what it is of."""
    above = lines[max(0, loose.first - 1 - BESIDE) : loose.first - 1]
    means = any(value.average is Average.UNNAMED for value in loose.table.values)
    return means and any(FOLDS.search(line[:LINE]) for line in above)


def _is_between(other: Piece, loose: Piece, piece: Piece) -> bool:
    """Return whether table `other` lies between the line `loose` and the table `piece`."""
    return min(loose.last, piece.last) < other.first and other.last < max(loose.first, piece.first)


def _same_measure(measure: Measure, piece: Piece) -> bool:
    measures = {value.measure for value in piece.table.values}
    of_images = measure in OF_IMAGES and bool(measures & OF_IMAGES)
    return measure is Measure.OTHER or measure in measures or of_images or piece.table.matrix is not None


def _has_another(value: Value, piece: Piece) -> bool:
    """Return whether the table has a clearly different value for the metric and type of average of `value`."""
    return any(
        other.class_name is None
        and (other.measure, other.average) == (value.measure, value.average)
        and abs(other.printed.value - value.printed.value) > max(other.printed.unit, value.printed.unit)
        for other in piece.table.values
    )


def _add_summary(piece: Piece, loose: Piece) -> Piece:
    table, other = piece.table, loose.table
    of_images = (Measure.ACCURACY, Measure.ERROR)
    counted = next((value.count[1] for value in other.values if value.count and value.measure in of_images), None)
    table = replace(
        table,
        values=(*table.values, *other.values),
        total=table.total or other.total or counted,
        image_set=table.image_set or other.image_set,
    )
    return _with_lines_of(replace(piece, table=table), loose)


def _with_lines_of(piece: Piece, other: Piece) -> Piece:
    """Return `piece` as a part of the text that also has the lines of `other`."""
    first, last = min(piece.first, other.first), max(piece.last, other.last)
    return replace(piece, first=first, last=last, lines=piece.lines | other.lines)
