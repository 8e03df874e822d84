"""Check confusion matrices of shares: rows must sum to one, and the diagonal must equal the class values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from in4310repro.audit.claims import FORMATS, Claim, describe_sizes, find_conditions
from in4310repro.audit.document import Average, ConfusionMatrix, Measure, Printed, Value
from in4310repro.audit.intervals import ROUNDOFF32, ROUNDOFFS, Cell, Interval, Rounding, counts_within, mean_interval
from in4310repro.audit.readers.numbers import to_percent
from in4310repro.audit.sheets import EXCESS, Sheet, interval_of

# Lines that may be wrong while the others still show how a matrix was normalised, and its images.
WRONG = 2
# Least negative decimal logarithm of the probability that a diagonal agrees with most class values by chance, for
# a finding without and with conditions.
TOLD, HINTED = 4.0, 2.0
# Largest unsurprising difference between precision and recall of a class, or its recalls on two sets.
APART = 0.05
IN_DOUBT = ("the confusion matrix is of other images", "the shares are of predictions, and not of true classes")
TRUE_ROWS = "rows are the true classes, each divided by its images"
Line = Sequence[Cell]


@dataclass(frozen=True, kw_only=True)
class Shares:
    """A confusion matrix of fractions: each row sums to one or, if `whole`, all cells together do."""

    names: tuple[str, ...]
    lines: tuple[Line, ...]
    whole: bool  # all cells together add up to one
    wrong: tuple[int, ...] = ()  # lines that do not


def check_share_matrix(sheet: Sheet) -> Iterator[Claim]:
    """Yield a claim for each contradiction within a confusion matrix of fractions.

    Contradictions between the matrix and the class values or class sizes are included.
    """
    shares = read_shares(sheet.table.matrix) if sheet.table.matrix else None
    if shares is None:
        return
    for place in shares.wrong:
        yield from _claim_sum(shares, place)
    if shares.whole:
        yield from _claim_trace(shares, sheet)
        turned = replace(shares, lines=tuple(zip(*shares.lines, strict=True)))
        recalls = sheet.classes.get(Measure.RECALL) or sheet.classes.get(Measure.ACCURACY, {})
        shares = turned if find_differing(shares, recalls) is None else shares
    for measure in (Measure.RECALL, Measure.ACCURACY, Measure.PRECISION):
        column = sheet.classes.get(measure, {})
        unlike = find_differing(shares, column)
        if unlike is None:
            continue
        evidence = weigh_evidence(shares, column, unlike)
        doubts = () if evidence >= TOLD else IN_DOUBT
        for place in unlike if evidence >= HINTED and (evidence >= TOLD or not shares.whole) else ():
            yield from _claim_diagonal(shares, place, column[shares.names[place]], doubts)
        if measure is not Measure.PRECISION and not shares.whole:
            yield from _claim_counts(shares, sheet, doubts)
            return


def read_shares(matrix: ConfusionMatrix) -> Shares | None:
    """Return a confusion matrix of fractions as a `Shares` object; None if it cannot be read as such a matrix.

    The object has the rows or the columns of the matrix as lines, whichever sum to one more often. Its field
    `wrong` has the indices of the lines that do not sum to one and are not all zero. If all cells together
    sum to one, the lines are the rows and `wrong` is empty. The result is None if the matrix holds counts,
    if it is not square, or if too few lines sum to one.
    """
    size = len(matrix.rows)
    if not matrix.shares or any(len(row) != size for row in matrix.rows):
        return None
    rows = tuple(_cells(matrix))
    columns = tuple(zip(*rows, strict=True))
    if any(adds_up([cell for row in rows for cell in row], way) for way in Rounding):
        return Shares(names=matrix.classes, lines=rows, whole=True)
    ways = [(lines, [i for i, line in enumerate(lines) if not _fits(line)]) for lines in (rows, columns)]
    lines, wrong = min(ways, key=lambda way: len(way[1]))
    if len(wrong) > WRONG or size <= 2 * len(wrong):
        return None
    return Shares(names=matrix.classes, lines=lines, whole=False, wrong=tuple(wrong))


def _cells(matrix: ConfusionMatrix) -> Iterator[Line]:
    """Yield each row of the matrix as cells with a fraction and its rounding unit.

    An integer shows no decimals, so it gets the coarsest unit of the other cells. If the cells are
    percentages without a sign, an integer keeps its own unit.
    """
    percent = any(printed.value > 1 + EXCESS for row in matrix.rows for printed in row)
    rows = [[to_percent(p) if percent else p for p in row] for row in matrix.rows]
    units = [p.unit for row in rows for p in row if "." in p.text.rstrip(".% ") or {",", "%"} & {*p.text} or percent]
    coarsest = max(units, default=Fraction(1, 100))
    for name, row in zip(matrix.classes, rows, strict=True):
        yield [_cell(name, other, p, coarsest) for other, p in zip(matrix.classes, row, strict=True)]


def _cell(name: str, other: str, printed: Printed, coarsest: Fraction) -> Cell:
    label = f"share at {name}, {other} in the confusion matrix"
    value = Value(measure=Measure.OTHER, printed=printed, class_name=name, label=label)
    return Cell(value=value, share=printed.value, unit=min(printed.unit, coarsest), error=ROUNDOFFS * ROUNDOFF32)


def adds_up(cells: Sequence[Cell], way: Rounding) -> bool:
    """Return whether fractions that were rounded in the given way can sum to one.

    Fractions that are all zero are accepted, too, as for a class without images.
    """
    return 1 in _sum(cells, way) or all(cell.share == 0 for cell in cells)


def _fits(line: Line) -> bool:
    return adds_up(line, Rounding.ROUNDED)


def _sum(cells: Sequence[Cell], way: Rounding) -> Interval:
    return mean_interval([interval_of(cell, way) for cell in cells], 1)


def _claim_sum(shares: Shares, place: int) -> Iterator[Claim]:
    """Yield a claim for a row (or column) whose sum is not one although most other sums are."""
    line, name = shares.lines[place], shares.names[place]
    conditions = find_conditions(lambda way, _: adds_up(line, way)) or ()
    total = _sum(line, Rounding.ROUNDED)
    rest = () if total.low > 1 else ("some predictions are of a class that is not in the matrix",)
    yield Claim(
        kind="shares",
        message=f"the shares of {name} in the confusion matrix add up to {total}, those of the other classes to one",
        cells=tuple(line),
        conditions=(*conditions, *rest),
        readings=("a confusion matrix of shares, each line divided by its sum",),
        excluded=("the sums across, and the sum of all cells", FORMATS),
    )


def find_differing(shares: Shares, column: Mapping[str, Cell]) -> list[int] | None:
    """Return the indices of classes whose diagonal cell and class value differ; None if too many differ.

    If most classes agree, the class values are assumed to be the diagonal of this matrix.
    """
    if set(column) != set(shares.names):
        return None
    unlike = [
        place
        for place, name in enumerate(shares.names)
        if not any(share_on_diagonal(shares, place, way).meets(interval_of(column[name], way)) for way in Rounding)
    ]
    agree = len(shares.names) - len(unlike)
    return unlike if len(unlike) <= WRONG and agree >= max(2, 2 * len(unlike)) else None


def weigh_evidence(shares: Shares, column: Mapping[str, Cell], unlike: Sequence[int]) -> float:
    """Return -log10 of the probability that so many class values agree by chance with the diagonal.

    The probability is a product with one factor for each class that agrees; `unlike` has the indices of the
    others. A factor is the width of the rounding intervals divided by the largest likely difference of two
    unrelated values, and at most 1. That difference is `APART` or, if this is smaller, one minus the class value.
    """
    evidence = 0.0
    for place, name in enumerate(shares.names):
        if place not in unlike:
            diagonal, printed = (
                share_on_diagonal(shares, place, Rounding.ROUNDED),
                interval_of(column[name], Rounding.ROUNDED),
            )
            width = float(diagonal.high - diagonal.low + printed.high - printed.low)
            evidence += math.log10(max(1.0, min(APART, float(1 - column[name].share)) / width))
    return evidence


def share_on_diagonal(shares: Shares, place: int, way: Rounding) -> Interval:
    """Return the interval of possible values of a row's diagonal cell, as a fraction of the row's sum.

    `place` is the index of the row, and `way` is the assumed rounding of the printed numbers.
    """
    cell, line = shares.lines[place][place], shares.lines[place]
    own = interval_of(cell, way)
    if not shares.whole:
        return own
    rest = _sum([other for other in line if other is not cell], way)
    low, high = max(Fraction(0), own.low), max(Fraction(0), own.high)
    least, most = max(Fraction(0), rest.low), max(Fraction(0), rest.high)
    return Interval(low=low / (low + most) if low else low, high=high / (high + least) if high else high)


def _claim_diagonal(shares: Shares, place: int, cell: Cell, doubts: tuple[str, ...]) -> Iterator[Claim]:
    diagonal = shares.lines[place][place]
    value = cell.value
    yield Claim(
        kind="confusion matrix",
        message=f"{value.measure} of {value.class_name} is printed as {value.printed.text}; the confusion matrix has "
        f"{diagonal.value.printed.text} on its diagonal{' of shares of all images' if shares.whole else ''}",
        cells=(cell, diagonal),
        conditions=doubts,
        readings=("the diagonal is this measure, for that of most other classes is",),
        excluded=("the diagonal divided across", FORMATS),
        needs_counts=True,
    )


def _claim_counts(shares: Shares, sheet: Sheet, doubts: tuple[str, ...]) -> Iterator[Claim]:
    """Yield a claim for each fraction in the matrix that cannot be a rounded k / n with a whole number k.

    n is the number of images of the class. `doubts` are assumptions that are added to the conditions of each
    claim.
    """
    for name, line in zip(shares.names, shares.lines, strict=True):
        for cell in line if name in sheet.sizes else ():
            conditions = find_conditions(_of_images(cell, sheet.sizes[name]))
            if conditions is not None:
                yield Claim(
                    kind="count",
                    message=f"{cell.value.label} is printed as {cell.value.printed.text}, and no number of "
                    f"{sheet.sizes[name]} images gives that",
                    cells=(cell,),
                    conditions=(*conditions, *doubts),
                    inputs=describe_sizes(sheet, [name]),
                    readings=(TRUE_ROWS,),
                    excluded=(FORMATS,),
                    needs_counts=True,
                )


def _of_images(cell: Cell, size: int) -> Callable[[Rounding, Rounding], bool]:
    return lambda way, _: bool(counts_within(interval_of(cell, way), size))


def _claim_trace(shares: Shares, sheet: Sheet) -> Iterator[Claim]:
    """Yield a claim for each overall accuracy that differs from the sum of the diagonal."""
    diagonal = [line[place] for place, line in enumerate(shares.lines)]
    for cell in sheet.summaries:
        if cell.value.measure is not Measure.ACCURACY or cell.value.average is not Average.OVERALL:
            continue
        conditions = find_conditions(_is_trace(diagonal, cell))
        if conditions is not None:
            yield Claim(
                kind="confusion matrix",
                message=f"{cell.value.label} is printed as {cell.value.printed.text}; the diagonal of the confusion "
                f"matrix adds up to {_sum(diagonal, Rounding.ROUNDED)}",
                cells=(cell, *diagonal),
                conditions=(*conditions, "the confusion matrix is of other images"),
                readings=("a confusion matrix of shares of all images",),
                excluded=(FORMATS,),
                needs_counts=True,
            )


def _is_trace(diagonal: Sequence[Cell], cell: Cell) -> Callable[[Rounding, Rounding], bool]:
    return lambda way, other: _sum(diagonal, way).meets(interval_of(cell, other))
