"""Bounds of kappa and other scores of a confusion matrix, from the image counts that reported scores allow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil, floor, sqrt

from in4310repro.audit.averages import belongs_to_report
from in4310repro.audit.document import SCORES, Average, Measure
from in4310repro.audit.intervals import Interval, Rounding, mean_interval, weighted_mean
from in4310repro.audit.joint_counts import Choices, Problem
from in4310repro.audit.scores import Class, f1_interval, find_predictions
from in4310repro.audit.sheets import interval_of

ERROR = Fraction(1, 10**9)  # more than that of the doubles that are used here
Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Tallies:
    """Numbers of correct and predicted images by class that fit the scores, and bounds that follow from them."""

    problem: Problem
    way: Rounding

    @cached_property
    def classes(self) -> Sequence[Choices]:
        """Possible counts for each class; empty if unknown.

        The counts are the number of correctly classified images of the class, and the number of images predicted as
        the class. Each image is assumed to have exactly one prediction.
        """
        return self.problem.classes(self.way) or ()

    @cached_property
    def right(self) -> tuple[int, int]:
        """Least and greatest possible number of correctly classified images in all classes together.

        An overall accuracy in the same report narrows this range.
        """
        ends = [[k for k, _, _ in each.choices] for each in self.classes]
        low, high = sum(map(min, ends)), sum(map(max, ends))
        for cell in self.problem.sheet.summaries:
            of_all = cell.value.measure is Measure.ACCURACY and cell.value.average is Average.OVERALL
            if of_all and belongs_to_report(cell, self.problem.sheet):
                printed, images = interval_of(cell, self.way), self.problem.images
                narrow = max(low, ceil(printed.low * images)), min(high, floor(printed.high * images))
                low, high = narrow if narrow[0] <= narrow[1] else (low, high)
        return low, high

    @cached_property
    def predicted(self) -> Ranges:
        """Least and greatest possible number of images predicted as each class."""
        return [
            (min(low for _, low, _ in each.choices), max(high for _, _, high in each.choices)) for each in self.classes
        ]

    @property
    def errors(self) -> Sequence[Interval]:
        """Possible intervals of the error rate, one for each of two definitions; empty if unknown.

        The error rate is the fraction of misclassified images, or 1 minus the mean recall.
        """
        if not self.classes:
            return ()
        wrong = [Fraction(self.problem.images - right, self.problem.images) for right in self.right]
        recalls = [
            Interval(low=1 - Fraction(max(ks), each.size), high=1 - Fraction(min(ks), each.size))
            for each in self.classes
            if (ks := [k for k, _, _ in each.choices])
        ]
        return [Interval(low=wrong[1], high=wrong[0]), mean_interval(recalls, len(recalls))]

    @property
    def kappas(self) -> Sequence[Interval]:
        """Bounds of Cohen's kappa over all possible counts, as a list of one interval; empty if unknown.

        Kappa is (N c - S) / (N^2 - S). N is the number of images, and c the number of correctly classified images.
        S is the sum of n p over all classes, where n images belong to a class and p images are predicted as it.
        """
        if not self.classes:
            return ()
        images = self.problem.images
        low, high = extremes([each.size for each in self.classes], self.predicted, images)
        if images**2 <= high:
            return ()
        return [
            Interval(
                low=Fraction(images * self.right[0] - high, images**2 - high),
                high=Fraction(images * self.right[1] - low, images**2 - low),
            )
        ]

    @property
    def matthews(self) -> Sequence[Interval]:
        """Bounds of the multi-class Matthews correlation (Gorodkin), as a list of one interval; empty if unknown.

        It is (N c - S) / sqrt((N^2 - sum n^2) (N^2 - sum p^2)), with the symbols of `kappas`.
        """
        if not self.classes:
            return ()
        images, sizes = self.problem.images, [each.size for each in self.classes]
        low, high = extremes(sizes, self.predicted, images)
        of_sizes = images**2 - _dot(sizes, sizes)
        squares = sum(p * p for p, _ in self.predicted), sum(p * p for _, p in self.predicted)
        # Counts with a given total have the smallest sum of squares if all are equal.
        variances = images**2 - squares[1], images**2 - max(squares[0], images**2 // len(sizes))
        ends = images * self.right[0] - high, images * self.right[1] - low
        if variances[0] <= 0 or of_sizes <= 0:
            return ()
        least = ends[0] / sqrt(of_sizes * variances[1 if ends[0] >= 0 else 0])
        most = ends[1] / sqrt(of_sizes * variances[0 if ends[1] >= 0 else 1])
        return [Interval(low=Fraction(least), high=Fraction(most)).widened(ERROR)]

    def of_rest(self, measure: Measure, average: Average | None) -> Sequence[Interval]:
        """Return the possible intervals of a one-vs-rest score, such as specificity, for a type of average.

        If no type is given, these are the intervals of all types and of each class. The result is empty if the
        score may be undefined for some class.
        """
        spans = [self._of_class(measure, each) for each in self.classes]
        known = [each for each in spans if each is not None]
        if not known or len(known) < len(spans):
            return ()
        sizes = [each.size for each in self.classes]
        plain, weighted = mean_interval(known, len(known)), weighted_mean(known, sizes)
        if average is Average.MACRO:
            return [plain]
        if average is Average.WEIGHTED:
            return [weighted]
        # Pooled over classes it is (N (m - 2) + c) / (N (m - 1)): an error is a false positive and a false negative.
        images, classes = self.problem.images, len(known)
        ends = [Fraction(images * (classes - 2) + right, images * (classes - 1)) for right in self.right]
        micro = Interval(low=ends[0], high=ends[1])
        return [micro] if average is Average.MICRO else [plain, weighted, micro, *known]

    def _of_class(self, measure: Measure, of: Choices) -> Interval | None:
        values = []
        for k, low, high in of.choices:
            one = Class(k, of.size, self.problem.images - of.size)
            for predicted in (low, high):
                if measure is Measure.SPECIFICITY:
                    values.append(one.specificity(predicted))
                elif measure is Measure.MATTHEWS:
                    values.append(one.matthews(predicted))
                else:
                    value = one.negative_predictive_value(predicted)
                    if value is None:
                        return None
                    values.append(value)
        return Interval(low=min(values), high=max(values))

    def averages(self, measure: Measure, printed: Interval) -> Sequence[Interval]:
        """Return the possible intervals of a score whose label names neither a type of average nor a class.

        The list has intervals for each type of average and for each class. It is empty if a class value or the counts
        are unknown. `printed` is the interval of the reported value.
        """
        sheet = self.problem.sheet
        cells = {m: [interval_of(c, self.way) for c in sheet.classes.get(m, {}).values()] for m in SCORES}
        classes = cells[measure]
        if len(classes) < len(self.problem.rows) or not self.classes:
            return ()
        sizes = [sheet.sizes[name] for name in sheet.classes[measure]]
        found = [
            mean_interval(classes, len(classes)),
            weighted_mean(classes, sizes),
            *self.micro(measure, printed),
            *classes,
        ]
        if measure is Measure.F1 and len(cells[Measure.PRECISION]) == len(cells[Measure.RECALL]) == len(classes):
            means = [
                weighted_mean(cells[m], w)
                for w in ([1] * len(sizes), sizes)
                for m in (Measure.PRECISION, Measure.RECALL)
            ]
            found += [f1_interval(*means[:2]), f1_interval(*means[2:])]
        return [each.widened(ERROR) for each in found]

    def micro(self, measure: Measure, printed: Interval) -> Sequence[Interval]:
        """Return the possible micro averages as a list of one interval; empty if the counts are unknown.

        The interval is `printed`, the interval of the reported value, if it contains a possible micro average.
        Otherwise it is the range of all possible micro averages. An image may have several labels here, so the
        numbers of predictions need not add up to the number of images.
        """
        rows = [
            (self.problem.sheet.sizes[name], find_predictions(row, self.problem.sheet.sizes[name], self.way))
            for name, row in self.problem.rows.items()
        ]
        choices = [(n, found.predicted) for n, found in rows if found is not None and found.predicted]
        if len(choices) < len(rows):
            return ()
        f1, recall = measure is Measure.F1, measure is Measure.RECALL

        def reached(share: Fraction, choose: Callable[[Iterable[Fraction]], Fraction]) -> Fraction:
            """Return the least or greatest value of numerator - `share` * denominator over all possible counts.

            Both are those of the micro average. `choose` is `min` for the least value and `max` for the greatest.
            """
            return sum(
                (
                    choose(
                        (1 + f1) * k - share * (n if recall else p + f1 * n)
                        for k, ps in each.items()
                        for p in (ps[0], ps[-1])
                    )
                    for n, each in choices
                ),
                Fraction(0),
            )

        if reached(printed.low, max) >= 0 >= reached(printed.high, min):
            return [printed]
        return [Interval(low=_root(reached, min), high=_root(reached, max))]


def _root(
    reached: Callable[[Fraction, Callable[[Iterable[Fraction]], Fraction]], Fraction],
    choose: Callable[[Iterable[Fraction]], Fraction],
) -> Fraction:
    """Find by bisection the number x between 0 and 1 for which `reached(x, choose)` is zero."""
    low, high = Fraction(0), Fraction(1)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle, choose) > 0 else (low, middle)
    return high


def extremes(values: Sequence[int], ranges: Ranges, total: int) -> tuple[int, int]:
    """Return the least and greatest sum of value * count over all counts with given ranges and a fixed total.

    If no counts within `ranges` add up to `total`, the total is ignored.
    """
    lows, highs = [low for low, _ in ranges], [high for _, high in ranges]
    if not sum(lows) <= total <= sum(highs):
        return _dot(values, lows), _dot(values, highs)
    found = []
    for sign in (1, -1):
        left, least = total - sum(lows), _dot(values, lows)
        # The remainder goes to the smallest values first for the minimum, to the largest first for the maximum.
        for place in sorted(range(len(values)), key=lambda each: sign * values[each]):
            more = min(left, highs[place] - lows[place])
            left, least = left - more, least + more * values[place]
        found.append(least)
    return found[0], found[1]


def _dot(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(a * b for a, b in zip(one, other, strict=True))
