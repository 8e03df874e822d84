"""Averages of class values: plain, weighted, one-vs-rest, over batches, and F1 of mean precision and recall."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from in4310repro.audit.document import SCORES, Average, Measure
from in4310repro.audit.intervals import (
    ALMOST_FULL,
    ROUNDOFF32,
    ROUNDOFF64,
    Cell,
    Interval,
    Rounding,
    join_intervals,
    mean_interval,
    weighted_mean,
)
from in4310repro.audit.scores import f1_interval
from in4310repro.audit.shares import counts, list_counted_columns
from in4310repro.audit.sheets import Sheet, half_error, interval_of

# For each averaged measure, the measures of class values that it can be an average of.
PARTS = {
    Measure.ACCURACY: (Measure.ACCURACY, Measure.RECALL),
    Measure.BALANCED_ACCURACY: (Measure.RECALL, Measure.ACCURACY),
    Measure.RECALL: (Measure.RECALL, Measure.ACCURACY),
    Measure.PRECISION: (Measure.PRECISION,),
    Measure.F1: (Measure.F1,),
    Measure.AVERAGE_PRECISION: (Measure.AVERAGE_PRECISION,),
}
WEIGHTED = "weighted by images"
# Label of a number in the row `accuracy` and in the column of another measure.
ROW = re.compile(r"accuracy\W+.*(?:precision|recall|f1|score|measure|support|sensitivity)", re.IGNORECASE)
BELOW = 5  # lines below the last class in which the averages of a report are
AS_ZEROS = "plain mean with classes without a value as zeros"
BATCH = 1024  # images, the most that are considered
# Common batch sizes; no others are considered.
COMMON = frozenset(
    {2**k for k in range(11)}
    | {12, 24, 48, 96, 192}
    | {10, 15, 18, 20, 25, 28, 30, 36, 40, 50, 56, 60, 72, 75, 80, 90, 100, 112, 120, 125, 144, 150, 180, 200, 250, 300}
    | {400, 500, 1000}
)
ANY = Interval(low=Fraction(0), high=Fraction(1))
DEVIATIONS = 3  # standard deviations by which a last batch may be further off than the best and the worst class
IMPROBABLE = 1e-3
# Larger than the error of the doubles that are used here.
ERROR = Fraction(1, 10**12)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A formula that may have given a reported average, with the interval of its result for each way of rounding."""

    name: str
    means: Mapping[Rounding, Interval]
    condition: str = ""  # of readings that are merely possible


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A reported average together with the class values that it averages."""

    cell: Cell
    measure: Measure  # of the parts
    parts: Mapping[str, Cell]

    @property
    def average(self) -> Average | None:
        """Type of average, such as weighted, that the label names. None if the label names no type.

        It is MACRO for balanced accuracy, which is the mean of the recalls of all classes.
        """
        balanced = self.cell.value.measure is Measure.BALANCED_ACCURACY
        return Average.MACRO if balanced else self.cell.value.average


def list_summaries(sheet: Sheet) -> Iterator[Summary]:
    """Yield the averages in a table. Averages of fewer than two reported class values are left out."""
    for cell in sheet.summaries:
        measures = PARTS.get(cell.value.measure, ())
        measure = next((each for each in measures if sheet.classes.get(each)), None)
        if measure is None or (cell.value.average is None and cell.value.measure is not Measure.BALANCED_ACCURACY):
            continue
        parts = sheet.classes[measure]
        if len(parts) >= 2:
            yield Summary(cell=cell, measure=measure, parts=parts)


def list_readings(summary: Summary, sheet: Sheet) -> Iterator[Reading]:
    """Yield the formulas (Readings) by which a reported average may have been computed, according to its label.

    For weighted, overall and micro averages, formulas are yielded only if all class sizes are known.
    """
    average = summary.average
    if average is Average.MACRO:
        yield from read_plain_means(summary, sheet)
        yield from _read_macro_variants(summary, sheet)
        yield from read_one_vs_rest(summary, sheet)
    elif average in (Average.WEIGHTED, Average.OVERALL, Average.MICRO) and _has_all_sizes(summary, sheet):
        if average is not Average.MICRO or summary.cell.value.measure in (Measure.RECALL, Measure.ACCURACY):
            yield read_weighted_mean(summary, sheet)
        if average is Average.OVERALL and not belongs_to_report(summary.cell, sheet):
            yield from read_plain_means(summary, sheet)
            if not sheet.of_program:
                yield from read_one_vs_rest(summary, sheet)
            if sheet.is_in_batches(summary.cell):
                yield _read_over_batches(summary, sheet)


def belongs_to_report(cell: Cell, sheet: Sheet) -> bool:
    """Return whether an accuracy is printed in a classification report that lists recalls and class sizes.

    In such a report, one program computed all rows from the same labels and predictions.
    """
    return bool(sheet.table.sizes) and Measure.RECALL in sheet.classes and stands_in_row(cell, sheet)


def stands_in_row(cell: Cell, sheet: Sheet) -> bool:
    """Return whether an accuracy has its own row in a table, under the heading of another metric such as F1."""
    lines = [each.value.printed.line for column in sheet.classes.values() for each in column.values()]
    named = ROW.match(cell.value.label or "") is not None
    return named and bool(lines) and min(lines) < cell.value.printed.line <= max(lines) + BELOW


def _read_over_batches(summary: Summary, sheet: Sheet) -> Reading:
    images = _all(sheet)

    def mean(way: Rounding) -> Interval:
        classes = join_intervals([interval_of(part, way) for part in summary.parts.values()])
        return nearest_batch_mean(_weighted(summary, sheet, way), images, interval_of(summary.cell, way), classes)

    condition = f"the value is a mean over batches of up to {BATCH} images"
    return replace(make_reading("mean over batches", mean), condition=condition)


def read_one_vs_rest(summary: Summary, sheet: Sheet) -> Iterator[Reading]:
    """Yield a formula (Reading) that relates overall accuracy to the one-vs-rest accuracies of the classes.

    The one-vs-rest accuracy of a class is (TP + TN) / all images. A wrongly classified image is an error for two
    classes: its own and the predicted one. Let p be the overall accuracy, a_c the one-vs-rest accuracy of class c
    and m the number of classes. Then the differences 1 - a_c add up to 2 (1 - p).
    Hence p = 1 - sum (1 - a_c) / 2, and the mean of a_c is 1 - 2 (1 - p) / m.
    """
    if summary.cell.value.measure is not Measure.ACCURACY:
        return
    parts, classes = list(summary.parts.values()), len(summary.parts)
    if summary.measure is Measure.ACCURACY:

        def overall(way: Rounding) -> Interval:
            total = mean_interval([interval_of(part, way) for part in parts], 1)
            return Interval(low=1 - (classes - total.low) / 2, high=1 - (classes - total.high) / 2)

        yield make_reading("share of all images, where those of classes are against the rest", overall)
    else:

        def mean(way: Rounding) -> Interval:
            known = _has_all_sizes(summary, sheet)
            recalls = (
                _weighted(summary, sheet, way) if known else join_intervals([interval_of(part, way) for part in parts])
            )
            factor = Fraction(2, classes)
            return Interval(low=1 - factor * (1 - recalls.low), high=1 - factor * (1 - recalls.high))

        yield make_reading("mean accuracy of each class against the rest", mean)


def _has_all_sizes(summary: Summary, sheet: Sheet) -> bool:
    """Return whether all class sizes are known and the class values are not one-vs-rest accuracies."""
    against_the_rest = summary.measure is Measure.ACCURACY and any(score in sheet.classes for score in SCORES)
    return not against_the_rest and set(summary.parts) <= set(sheet.sizes) and _all(sheet) > 0


def _all(sheet: Sheet) -> int:
    return sum(sheet.sizes.values())


def make_reading(name: str, mean: object) -> Reading:
    """Return a Reading called `name`, with one interval for each way of rounding the class values.

    The interval for the rounding `way` is `mean(way)`.
    """
    return Reading(name=name, means={way: mean(way) for way in Rounding})  # type: ignore[operator]


def read_plain_means(summary: Summary, sheet: Sheet) -> Iterator[Reading]:
    """Yield plain means (Readings) of the class values, which differ in the classes that they include.

    Besides the mean of all values, there are means that omit classes without images or classes with value zero.
    Another mean counts classes without a reported value as zero.
    """
    parts = summary.parts
    yield make_reading("plain mean", lambda way: _plain(list(parts.values()), len(parts), way, summary))
    present = [cell for name, cell in parts.items() if sheet.sizes.get(name) != 0]
    if present and len(present) < len(parts):
        name = "plain mean of the classes that have images"
        yield make_reading(name, lambda way: _plain(present, len(present), way, summary))
    yield from _read_without_zeros(summary, sheet)
    missing = {name for cells in sheet.classes.values() for name in cells} | set(sheet.sizes)
    if len(missing) > len(parts):
        yield make_reading(AS_ZEROS, lambda way: _plain(list(parts.values()), len(missing), way, summary))


def _read_without_zeros(summary: Summary, sheet: Sheet) -> Iterator[Reading]:
    """Yield plain means (Readings) that omit classes with value zero, since these classes may have no images."""
    parts = summary.parts
    zeros = sum(cell.share == 0 and name not in sheet.sizes for name, cell in parts.items())
    # Computed once, since the sum is the same for every number of classes, and there may be hundreds of zeros.
    sums = {way: mean_interval([interval_of(part, way) for part in parts.values()], 1) for way in Rounding}
    error = sum_error(summary)
    for number in range(len(parts) - 1, max(0, len(parts) - zeros - 1), -1):
        means = {way: mean_interval([each], number).widened(error) for way, each in sums.items()}
        yield Reading(name=f"plain mean of {number} classes, without some of those printed as zero", means=means)


def _plain(parts: Sequence[Cell], number: int, way: Rounding, summary: Summary) -> Interval:
    return mean_interval([interval_of(part, way) for part in parts], number).widened(sum_error(summary))


def sum_error(summary: Summary) -> Fraction:
    """Return an upper bound on the rounding error of a float sum of the summary's values, each in [0, 1].

    Higham, Accuracy and Stability of Numerical Algorithms, 4.2.
    """
    cells = [*summary.parts.values(), summary.cell]
    double = summary.cell.value.printed.decimals >= ALMOST_FULL and error_is_double(summary.cell)
    return len(cells) * (ROUNDOFF64 if double else ROUNDOFF32) + half_error(cells)


def error_is_double(cell: Cell) -> bool:
    """Return whether a number has so many digits that it may have been computed in double precision."""
    return interval_of(cell, Rounding.ROUNDED).high - cell.share < ROUNDOFF32 / 2**8


def _read_macro_variants(summary: Summary, sheet: Sheet) -> Iterator[Reading]:
    """Yield the formulas (Readings) for macro F1 and balanced accuracy that are not plain means.

    Macro F1 may be the F1 of mean precision and mean recall (Opitz and Burst, "Macro F1 and Macro F1", 2019).
    Balanced accuracy b of m classes may be adjusted for chance: (b - 1/m) / (1 - 1/m), as in scikit-learn's
    balanced_accuracy_score.
    """
    if summary.cell.value.measure is Measure.F1:
        means = {
            cell.value.measure: cell
            for cell in sheet.summaries
            if cell.value.average is summary.cell.value.average
            and cell.value.measure in (Measure.PRECISION, Measure.RECALL)
        }
        if len(means) == 2:
            precision, recall = means[Measure.PRECISION], means[Measure.RECALL]
            yield make_reading(
                "F1 of mean precision and mean recall",
                lambda way: f1_interval(interval_of(precision, way), interval_of(recall, way)),
            )
    if summary.cell.value.measure is Measure.BALANCED_ACCURACY:
        chance = Fraction(1, len(summary.parts))
        parts = list(summary.parts.values())

        def adjusted(way: Rounding) -> Interval:
            mean = _plain(parts, len(parts), way, summary)
            return Interval(low=(mean.low - chance) / (1 - chance), high=(mean.high - chance) / (1 - chance))

        yield make_reading("balanced accuracy adjusted for chance", adjusted)


def read_weighted_mean(summary: Summary, sheet: Sheet) -> Reading:
    """Return the mean of the class values, weighted by class size, as a Reading.

    If the class values are recalls, this mean is the fraction of correctly classified images.
    """
    return make_reading(WEIGHTED, lambda way: _weighted(summary, sheet, way))


def _weighted(summary: Summary, sheet: Sheet, way: Rounding) -> Interval:
    intervals = {name: interval_of(cell, way) for name, cell in summary.parts.items()}
    images = sum(sheet.sizes[name] for name in intervals)
    if any(summary.parts[name] is column.get(name) for column in list_counted_columns(sheet) for name in intervals):
        ranges = {n: counts(cell, sheet.sizes[n], way) for n, cell in summary.parts.items() if sheet.sizes[n]}
        if all(ranges.values()) and not half_error(summary.parts.values()):
            low, high = (sum(each[end] for each in ranges.values()) for end in (0, -1))
            return Interval(low=Fraction(low, images), high=Fraction(high, images)).widened(sum_error(summary))
    weights = [sheet.sizes[name] for name in intervals]
    return weighted_mean(intervals.values(), weights).widened(sum_error(summary))


def batch_means(accuracy: Interval, images: int) -> Interval:
    """Return the interval in which the mean of the batch accuracies lies, for any batch size up to 1,024.

    All B batches have b images, except the last, which has r. The mean is ((B - 1) p + q) / B, where p is
    the accuracy of the full batches and q that of the last batch. The accuracy over all n images is
    ((B - 1) b p + r q) / n. For a fixed accuracy over all images, the mean is lowest if the last batch has
    as few correctly classified images as possible, and highest if it has as many as possible.
    """
    sizes = np.arange(1, min(BATCH, images) + 1)
    full = -(-images // sizes) - 1
    rest = images - full * sizes
    fewest, most = float(accuracy.low) * images, float(accuracy.high) * images
    least = np.maximum(0.0, fewest - full * sizes)
    greatest = np.minimum(most, rest)
    low = ((fewest - least) / sizes + least / rest) / (full + 1)
    high = ((most - greatest) / sizes + greatest / rest) / (full + 1)
    return Interval(
        low=min(Fraction(float(low.min())) - ERROR, accuracy.low),
        high=max(Fraction(float(high.max())) + ERROR, accuracy.high),
    )


def nearest_batch_mean(accuracy: Interval, images: int, printed: Interval, classes: Interval = ANY) -> Interval:
    """Return `accuracy` or an interval for the mean of batch accuracies, whichever is nearer to `printed`.

    Let k images be classified correctly, among them q of the r images in the last batch. The mean over B batches
    of b images is then ((k - q) / b + q / r) / B. `accuracy` is an interval, so k and the mean are intervals too.
    The mean is computed for each common batch size b and each q. Images may be sorted by class, so q may be any
    number that the class accuracies `classes` allow. A mean that leaves out the last batch is computed only if q
    is also probable for images in random order (hypergeometric distribution).
    """
    fewest, most = float(accuracy.low) * images, float(accuracy.high) * images
    middle, reach = float(classes.low + classes.high) / 2, float(classes.high - classes.low) / 2
    best = accuracy
    for size in sorted(each for each in COMMON if each <= min(BATCH, images)):
        full = -(-images // size) - 1
        rest = images - full * size
        right = np.arange(rest + 1)
        low, high = np.maximum(fewest - right, 0.0), np.minimum(most - right, full * size)
        spread = DEVIATIONS * np.sqrt(0.25 / rest)
        valid = (low <= high + float(ERROR)) & (np.abs(right / rest - middle) <= reach + spread)
        left_out = valid & (_probability(images, (fewest + most) / 2, rest) > IMPROBABLE)
        means = [(low / size + right / rest) / (full + 1), (high / size + right / rest) / (full + 1)]
        if full:
            means = [np.append(means[0], low / (full * size)), np.append(means[1], high / (full * size))]
            valid = np.append(valid, left_out)
        best = _choose_nearer(best, printed, means[0][valid], means[1][valid])
    return best


def _choose_nearer(best: Interval, printed: Interval, low: NDArray[np.float64], high: NDArray[np.float64]) -> Interval:
    """Return `best` or one of the intervals from low[i] to high[i], whichever is nearest to `printed`."""
    if not len(low):
        return best
    gaps = np.maximum(low - float(printed.high), float(printed.low) - high)
    place = int(gaps.argmin())
    other = Interval(low=Fraction(float(low[place])) - ERROR, high=Fraction(float(high[place])) + ERROR)
    return other if _gap(other, printed) < _gap(best, printed) else best


def _gap(one: Interval, other: Interval) -> Fraction:
    return max(one.low - other.high, other.low - one.high)


def _probability(images: int, right: float, drawn: int) -> NDArray[np.float64]:
    """Return the probabilities that 0, 1, ..., `drawn` images of a random batch are classified correctly.

    The batch is drawn from `images` images, of which `right` are classified correctly. The distribution is
    hypergeometric.
    """
    q = np.arange(drawn + 1)

    def log_choices(of: float, some: NDArray[np.int64]) -> NDArray[np.float64]:
        inside = (some >= 0) & (some <= of)
        values = gammaln(of + 1) - gammaln(np.where(inside, some, 0) + 1) - gammaln(np.where(inside, of - some, of) + 1)
        return np.where(inside, values, -np.inf)

    ways = log_choices(right, q) + log_choices(images - right, drawn - q)
    return np.asarray(np.exp(ways - log_choices(images, np.array([drawn]))))
