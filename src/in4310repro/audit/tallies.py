"""Image counts of one class: all numbers of correct and predicted images that its scores allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from in4310repro.audit.document import Measure
from in4310repro.audit.intervals import Cell, Interval, Rounding, counts_within
from in4310repro.audit.matrix_scores import correlation
from in4310repro.audit.sheets import interval_of

# Most counts of right images to try one by one; if more are possible, the printed decimals tell nothing.
TRIED = 5000
READ = "recall = TP / n, precision = TP / predicted, F1 = 2 TP / (n + predicted)"


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Possible numbers of correct images of a class, and of predictions for each of them."""

    correct: range
    predicted: Mapping[int, range]


def find_predictions(
    row: Mapping[Measure, Cell], size: int, rounding: Rounding, others: int | None = None
) -> Predictions | None:
    """Return the numbers of correct and predicted images that give a class's scores; None if none do.

    With TP right and p predicted images of n: recall TP/n, precision TP/p, F1 2 TP/(n + p). `others` is the number of
    images of other classes, and wrong predictions are at most that many. Specificity and other scores that need this
    number are used only if it is given.
    """
    intervals = {measure: interval_of(cell, rounding) for measure, cell in row.items()}
    recall = intervals.get(Measure.RECALL)
    correct = counts_within(recall, size) if recall else range(size + 1)
    if len(correct) > TRIED:
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
    """Return the possible numbers of predictions for `correct` correct images, up to 2**53."""
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
    """A class of `size` images, `right` of them predicted correctly, and `others` images of other classes."""

    right: int
    size: int
    others: int

    def specificity(self, predicted: int) -> Fraction:
        """Return TN / (TN + FP) for this number of predictions."""
        return Fraction(self.others - predicted + self.right, self.others)

    def negative_predictive_value(self, predicted: int) -> Fraction | None:
        """Return TN / (TN + FN) for this number of predictions; None if every image is predicted as this class."""
        left = self.size + self.others - predicted
        return Fraction(left - self.size + self.right, left) if left else None

    def matthews(self, predicted: int) -> Fraction:
        """Return the one-vs-rest Matthews correlation for this number of predictions; 0 if undefined."""
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

    It falls as predictions rise: with k right of n and p predicted of N the derivative has the sign of
    2 k p - n p - N k, and k <= n, p <= N.
    """
    start = _find_first(predicted, lambda p: of.matthews(p) <= interval.high)
    return range(start, _find_first(range(start, predicted.stop), lambda p: of.matthews(p) < interval.low))


def _find_first(numbers: range, holds: Callable[[int], bool]) -> int:
    """Return the first number at which a condition starts to hold, by bisection; the end if it never does."""
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
