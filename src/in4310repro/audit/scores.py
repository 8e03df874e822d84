"""Check precision, recall and F1 of a class against each other and against whole image counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from in4310repro.audit.claims import FORMATS, Claim, describe_sizes, find_conditions
from in4310repro.audit.document import Average, Measure
from in4310repro.audit.intervals import ROUNDOFF32, Cell, Interval, Rounding
from in4310repro.audit.sheets import SCORES, Sheet, half_error, interval_of
from in4310repro.audit.tallies import READ, find_predictions

NAMED = (Average.MACRO, Average.WEIGHTED, Average.MICRO)
BEYOND = "and no mean of F1s exceeds the mean of (P + R) / 2 or falls below that of P + R - 1"


def harmonic(precision: Fraction, recall: Fraction) -> Fraction:
    """Return F1 = 2 P R / (P + R), zero if both are zero."""
    return 2 * precision * recall / (precision + recall) if precision + recall else Fraction(0)


def f1_interval(precision: Interval, recall: Interval) -> Interval:
    """Return the interval of F1 for intervals of precision and recall; F1 rises with both."""
    zero = Fraction(0)
    return Interval(
        low=harmonic(max(zero, precision.low), max(zero, recall.low)),
        high=harmonic(max(zero, precision.high), max(zero, recall.high)),
    )


def mean_f1_interval(precision: Interval, recall: Interval) -> Interval:
    """Return the interval of mean F1 for given mean precision and mean recall with the same weights.

    F1 is at most (P + R) / 2. It is at least P + R - 1, because (1 - P) (1 - R) >= 0 gives
    2 P R >= (P + R) (P + R - 1). Both bounds are linear in P and R, so they also hold for means.
    """
    low = max(Fraction(0), precision.low + recall.low - 1)
    return Interval(low=low, high=(precision.high + recall.high) / 2)


def check_scores(sheet: Sheet) -> Iterator[Claim]:
    """Yield a claim for each class whose precision, recall and F1 contradict each other or fit no image counts."""
    rows = {measure: sheet.classes.get(measure, {}) for measure in SCORES}
    error = max((half_error(column.values()) for column in rows.values()), default=Fraction(0))
    for name in dict.fromkeys(name for column in rows.values() for name in column):
        row = {measure: rows[measure][name] for measure in SCORES if name in rows[measure]}
        claim = (
            _check_f1(sheet, name, row, error)
            or _check_counts(sheet, name, row, error)
            or _check_predictions(sheet, name, row, error)
        )
        if claim:
            yield claim


def _check_f1(sheet: Sheet, name: str, row: Mapping[Measure, Cell], error: Fraction) -> Claim | None:
    if not set(SCORES) <= set(row):
        return None

    def fits(way: Rounding, _: Rounding) -> bool:
        precision, recall, f1 = (interval_of(row[measure], way).widened(error) for measure in SCORES)
        # If nothing is right, F1 is zero or undefined, and programs print either.
        return f1_interval(precision, recall).meets(f1) or min(precision.low, recall.low) <= 0

    def fits_as_mean(way: Rounding, _: Rounding) -> bool:
        precision, recall, f1 = (interval_of(row[measure], way).widened(error) for measure in SCORES)
        return mean_f1_interval(precision, recall).meets(f1) or min(precision.low, recall.low) <= 0

    cells = [row[measure] for measure in SCORES]
    conditions, beyond = find_conditions(fits, cells), find_conditions(fits_as_mean, cells)
    if conditions is None:
        return None
    if beyond is None and not sheet.sizes.get(name):
        conditions += ("the scores are means over batches, whose number of images is not known",)
    conditions += beyond or ()
    if not sheet.table.whole_images:
        conditions += ("precision, recall and F1 are at different thresholds",)
    expected = harmonic(row[Measure.PRECISION].share, row[Measure.RECALL].share)
    texts = {measure: cell.value.printed.text for measure, cell in row.items()}
    return Claim(
        kind="F1",
        message=f"F1 of {name} is printed as {texts[Measure.F1]}; precision {texts[Measure.PRECISION]} and recall "
        f"{texts[Measure.RECALL]} give {float(expected):.5g}" + (f", {BEYOND}" if beyond is not None else ""),
        cells=tuple(cells),
        conditions=conditions,
        readings=("F1 = 2 P R / (P + R)",),
        needs_counts=beyond is None,
    )


def check_mean_f1(sheet: Sheet) -> Iterator[Claim]:
    """Yield a claim for each mean F1 that the reported mean precision and mean recall rule out."""
    averages = dict.fromkeys(cell.value.average for cell in sheet.summaries if cell.value.measure in SCORES)
    for average in averages:
        row = {m: [c for c in sheet.summaries if (c.value.measure, c.value.average) == (m, average)] for m in SCORES}
        if all(len(cells) == 1 for cells in row.values()):
            claim = _check_one_mean_f1(sheet, {measure: cells[0] for measure, cells in row.items()}, average)
            if claim:
                yield claim


def _check_one_mean_f1(sheet: Sheet, row: Mapping[Measure, Cell], average: Average | None) -> Claim | None:
    def fits(way: Rounding, _: Rounding) -> bool:
        precision, recall, f1 = (interval_of(row[measure], way) for measure in SCORES)
        return mean_f1_interval(precision, recall).widened(ROUNDOFF32 * len(SCORES)).meets(f1)

    conditions = find_conditions(fits, list(row.values()))
    if conditions is None:
        return None
    texts = ", ".join(f"{measure} {cell.value.printed.text}" for measure, cell in row.items())
    return Claim(
        kind="mean F1",
        message=f"{average or 'the'} scores are printed as {texts}, {BEYOND}",
        cells=tuple(row.values()),
        conditions=(*conditions, *(sheet.mixed if average not in NAMED else [])),
        readings=("F1 = 2 P R / (P + R), or a mean of such",),
        excluded=("means over classes, folds and batches with any weights", FORMATS),
    )


def _check_counts(sheet: Sheet, name: str, row: Mapping[Measure, Cell], error: Fraction) -> Claim | None:
    """Return a claim if no integer numbers of correct and predicted images give the scores; else None."""
    size = sheet.sizes.get(name)
    if not size or len(row) < 2 or not sheet.table.whole_images or error:
        return None
    conditions = find_conditions(lambda way, _: find_predictions(row, size, way) is not None, list(row.values()))
    if conditions is None:
        return None
    scores = ", ".join(f"{measure} {cell.value.printed.text}" for measure, cell in row.items())
    return Claim(
        kind="counts of scores",
        message=f"no whole numbers of right and of predicted images give {scores} of {name} with {size} images",
        cells=tuple(row.values()),
        conditions=conditions,
        inputs=describe_sizes(sheet, [name]),
        readings=(READ,),
        excluded=(f"every number of right images of {size} with every number of predicted ones", FORMATS),
        needs_counts=True,
    )


def _check_predictions(sheet: Sheet, name: str, row: Mapping[Measure, Cell], error: Fraction) -> Claim | None:
    """Return a claim if a class needs more wrong predictions than the other classes have images; else None."""
    size, images = sheet.sizes.get(name), sum(sheet.sizes.values())
    whole = sheet.table.whole_images and len(sheet.sizes) >= 2
    if not size or len(row) < 2 or not whole or error:
        return None
    conditions = find_conditions(
        lambda way, _: find_predictions(row, size, way, others=images - size) is not None, list(row.values())
    )
    found = find_predictions(row, size, Rounding.ROUNDED)
    if conditions is None or found is None or not found.predicted:
        return None
    fewest = min(each.start - k for k, each in found.predicted.items())
    scores = ", ".join(f"{measure} {cell.value.printed.text}" for measure, cell in row.items())
    return Claim(
        kind="false positives",
        message=f"{scores} of {name} with {size} images need at least {fewest} wrong predictions of it; the other "
        f"classes have {images - size} images",
        cells=tuple(row.values()),
        conditions=(*conditions, *sheet.several),
        inputs=describe_sizes(sheet, sheet.sizes),
        readings=(READ,),
        excluded=(f"every number of right images of {size} with every number of predicted ones", FORMATS),
        needs_all=True,
        needs_counts=True,
    )
