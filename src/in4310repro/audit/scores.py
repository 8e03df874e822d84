"""Check precision, recall and F1 of a class against each other and against whole image counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from in4310repro.audit.claims import FORMATS, Claim, describe_sizes, find_conditions
from in4310repro.audit.document import SCORES, Average, Measure
from in4310repro.audit.doubts import DIFFERENT
from in4310repro.audit.intervals import ROUNDOFF32, Cell, Interval, Rounding, counts_within
from in4310repro.audit.matrix_scores import correlation
from in4310repro.audit.sheets import Sheet, half_error, interval_of, is_rate

NAMED = (Average.MACRO, Average.WEIGHTED, Average.MICRO)
BEYOND = "and no mean of F1s exceeds the mean of (P + R) / 2 or falls below that of P + R - 1"
# Most counts of right images to try one by one; if more are possible, the printed decimals tell nothing.
TRIED = 5000
READ = "recall = TP / n, precision = TP / predicted, F1 = 2 TP / (n + predicted)"


def harmonic(precision: Fraction, recall: Fraction) -> Fraction:
    """Return F1 = 2 P R / (P + R) for precision P and recall R; zero if P and R are zero."""
    return 2 * precision * recall / (precision + recall) if precision + recall else Fraction(0)


def f1_interval(precision: Interval, recall: Interval) -> Interval:
    """Return the interval of F1 for intervals of precision and recall; F1 rises with both."""
    zero = Fraction(0)
    return Interval(
        low=harmonic(max(zero, precision.low), max(zero, recall.low)),
        high=harmonic(max(zero, precision.high), max(zero, recall.high)),
    )


def mean_f1_interval(precision: Interval, recall: Interval) -> Interval:
    """Return bounds of the mean F1 from mean precision and mean recall; all three means have equal class weights.

    F1 is at most (P + R) / 2. It is at least P + R - 1, because (1 - P) (1 - R) >= 0 gives
    2 P R >= (P + R) (P + R - 1). Both bounds are linear in P and R, so they also hold for means.
    """
    low = max(Fraction(0), precision.low + recall.low - 1)
    return Interval(low=low, high=(precision.high + recall.high) / 2)


def check_scores(sheet: Sheet) -> Iterator[Claim]:
    """Yield a claim for each class whose precision, recall and F1 are impossible.

    Either the scores contradict each other, or they cannot result from whole numbers of images, or they need more
    false positives than there are images in the other classes.
    """
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


def check_error(sheet: Sheet) -> Iterator[Claim]:
    """Yield a contradiction if an accuracy and an error over all classes do not add up to one."""
    pair = [[c for c in sheet.summaries if c.value.measure is m] for m in (Measure.ACCURACY, Measure.ERROR)]
    if [len(cells) for cells in pair] != [1, 1] or pair[0][0].value.average is Average.MACRO:
        return
    (accuracy,), (error,) = pair

    def fits(way: Rounding, _: Rounding) -> bool:
        wrong = interval_of(accuracy, way)
        return Interval(low=1 - wrong.high, high=1 - wrong.low).meets(interval_of(error, way))

    conditions = find_conditions(fits, [accuracy, error])
    if conditions is not None and is_rate(error):
        yield Claim(
            kind="error",
            message=f"accuracy is printed as {accuracy.value.printed.text} and error as {error.value.printed.text}, "
            "which do not add up to one",
            cells=(accuracy, error),
            conditions=conditions,
            excluded=(FORMATS,),
        )


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
        # An average that is named is the same for all three; medians and thresholds are doubts all the same.
        conditions=(*conditions, *(each for each in sheet.mixed if average not in NAMED or each != DIFFERENT)),
        readings=("F1 = 2 P R / (P + R), or a mean of such",),
        excluded=("means over classes, folds and batches with any weights", FORMATS),
    )


def _check_counts(sheet: Sheet, name: str, row: Mapping[Measure, Cell], error: Fraction) -> Claim | None:
    """Return a claim if the scores cannot result from whole numbers of images; otherwise None."""
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
    """Return a claim if a class's scores need too many false positives; otherwise None.

    The number is too large if it exceeds the number of images in the other classes.
    """
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


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Possible numbers of correct images of a class, and a dict from each to the possible numbers of predictions."""

    correct: range
    predicted: Mapping[int, range]


def find_predictions(
    row: Mapping[Measure, Cell], size: int, rounding: Rounding, others: int | None = None, most: int = TRIED
) -> Predictions | None:
    """Return all pairs of true positives and predictions that give a class's scores; None if there are none.

    With n images of the class, p predictions of it and TP true positives, the recall is TP/n, the precision TP/p
    and F1 is 2 TP/(n + p). `size` is n. `others` is the number of images of other classes, which limits the false
    positives. Specificity and other scores that depend on `others` are used only if `others` is given. If the
    recall allows more than `most` numbers of true positives, the result contains only these numbers, without
    numbers of predictions.
    """
    intervals = {measure: interval_of(cell, rounding) for measure, cell in row.items()}
    # Where nothing is right, F1 is undefined, and scikit-learn's zero_division prints it as one.
    if Measure.F1 in row and row[Measure.F1].share == 1 and any(row[each].share == 0 for each in SCORES if each in row):
        intervals.pop(Measure.F1)
    recall = intervals.get(Measure.RECALL)
    correct = counts_within(recall, size) if recall else range(size + 1)
    if len(correct) > most:
        return Predictions(correct=correct, predicted={})
    predicted = {k: _find_predicted(k, size, intervals) for k in correct}
    if others is not None:
        predicted = {k: range(each.start, min(each.stop, k + others + 1)) for k, each in predicted.items()}
        for measure, narrowed in AGAINST_THE_REST.items():
            if measure in intervals and others:
                predicted = {
                    k: narrowed(intervals[measure], Class(k, size, others), each)
                    for k, each in predicted.items()
                    if each
                }
    fitting = {k: counts for k, counts in predicted.items() if counts}
    return Predictions(correct=range(min(fitting), max(fitting) + 1), predicted=fitting) if fitting else None


def _find_predicted(correct: int, size: int, intervals: Mapping[Measure, Interval]) -> range:
    """Return the numbers of predictions, at most 2**53, that give precision and F1 with `correct` true positives."""
    low, high = correct, 2**53
    for measure, interval in intervals.items():
        if measure not in (Measure.PRECISION, Measure.F1):
            continue
        if correct == 0:
            # Nothing predicted: precision and F1 are printed as zero, or as one if the caller chose that.
            if interval.low > 0 and not interval.high >= 1:
                return range(0)
            continue
        rest = size if measure is Measure.F1 else 0
        factor = 2 if measure is Measure.F1 else 1
        if interval.high <= 0:
            return range(0)
        low = max(low, ceil(factor * correct / interval.high) - rest)
        if interval.low > 0:
            high = min(high, floor(factor * correct / interval.low) - rest)
    return range(low, high + 1)


@dataclass(frozen=True)
class Class:
    """Image counts for a one-vs-rest score: class size, its correct images, and images of all other classes."""

    right: int
    size: int
    others: int

    def specificity(self, predicted: int) -> Fraction:
        """Return TN / (TN + FP) if this class was predicted `predicted` times."""
        return Fraction(self.others - predicted + self.right, self.others)

    def negative_predictive_value(self, predicted: int) -> Fraction | None:
        """Return TN / (TN + FN) if this class was predicted `predicted` times; None if TN + FN is zero."""
        left = self.size + self.others - predicted
        return Fraction(left - self.size + self.right, left) if left else None

    def matthews(self, predicted: int) -> Fraction:
        """Return the one-vs-rest Matthews correlation if this class was predicted `predicted` times; 0 if undefined."""
        images = self.size + self.others
        covariance = images * self.right - self.size * predicted
        return correlation(covariance, self.size * self.others, predicted * (images - predicted)) or Fraction(0)


def _by_specificity(interval: Interval, of: Class, predicted: range) -> range:
    # specificity = 1 - (p - k) / others
    low = of.right + ceil(of.others * (1 - interval.high))
    high = of.right + floor(of.others * (1 - interval.low))
    return range(max(low, predicted.start), min(high + 1, predicted.stop))


def _by_balanced_accuracy(interval: Interval, of: Class, predicted: range) -> range:
    recall = Fraction(of.right, of.size)
    return _by_specificity(Interval(low=2 * interval.low - recall, high=2 * interval.high - recall), of, predicted)


def _by_negative_predictive_value(interval: Interval, of: Class, predicted: range) -> range:
    images, missed = of.size + of.others, of.size - of.right
    if not missed:
        # It is one, or undefined where every image is predicted as this class.
        return predicted if interval.high >= 1 else range(max(images, predicted.start), predicted.stop)
    if interval.low >= 1:
        return range(0)
    # NPV = 1 - (n - k) / (N - p)
    high = images - ceil(missed / (1 - interval.low))
    low = images - floor(missed / (1 - interval.high)) if interval.high < 1 else predicted.start
    return range(max(low, predicted.start), min(high + 1, predicted.stop))


def _by_matthews(interval: Interval, of: Class, predicted: range) -> range:
    """Return the numbers of predictions that give a Matthews correlation in the interval.

    For a fixed number of true positives, the correlation falls as the number p of predictions rises. With k true
    positives, n images of the class and N images in total, its derivative has the sign of 2 k p - n p - N k. This
    is not positive, because k <= n and p <= N.
    """
    start = _find_first(predicted, lambda p: of.matthews(p) <= interval.high)
    return range(start, _find_first(range(start, predicted.stop), lambda p: of.matthews(p) < interval.low))


def _find_first(numbers: range, holds: Callable[[int], bool]) -> int:
    """Return the first number for which `holds` is true, by bisection; the end of the range if there is none."""
    low, high = numbers.start, max(numbers.start, numbers.stop)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


# How a score of a class against the rest narrows its predictions, for one number of right images.
AGAINST_THE_REST: Mapping[Measure, Callable[[Interval, Class, range], range]] = {
    Measure.SPECIFICITY: _by_specificity,
    Measure.BALANCED_ACCURACY: _by_balanced_accuracy,
    Measure.NEGATIVE_PREDICTIVE_VALUE: _by_negative_predictive_value,
    Measure.MATTHEWS: _by_matthews,
}
