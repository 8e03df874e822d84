"""Compute the scores of each class and their usual averages from a confusion matrix of counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from in4310repro.audit.document import SCORES, Average, Measure

Counts = Sequence[Sequence[int]]
Column = Sequence[Fraction | None]
# Digits of a square root: more than any double has.
ROOT = 10**30


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores computed from a matrix of counts, in its class order; a score is None if undefined."""

    sizes: tuple[int, ...]
    by_measure: Mapping[Measure, tuple[Fraction | None, ...]]
    against_the_rest: tuple[Fraction, ...]  # (TP + TN) / all
    accuracy: Fraction
    kappas: tuple[Fraction, ...]  # Cohen's, with linear and with quadratic weights; none where chance is certain
    matthews: Fraction | None

    @property
    def kappa(self) -> Fraction | None:
        """Unweighted Cohen's kappa; None if all images are of one class and predicted as that class."""
        return self.kappas[0] if self.kappas else None

    def of_class(self, measure: Measure, place: int) -> tuple[Fraction, ...]:
        """Return the values that a metric can have for a class, one for each usual definition of the metric.

        The result is empty if the metric is undefined. `place` is the index of the class.
        """
        if measure is Measure.ACCURACY:
            values = [self.by_measure[Measure.RECALL][place], self.against_the_rest[place]]
        elif measure is Measure.BALANCED_ACCURACY:
            pair = [self.by_measure[each][place] for each in (Measure.RECALL, Measure.SPECIFICITY)]
            values = [(pair[0] + pair[1]) / 2] if pair[0] is not None and pair[1] is not None else []
        else:
            values = [self.by_measure[measure][place]] if measure in self.by_measure else []
        return tuple(value for value in values if value is not None)

    def over_all(self, measure: Measure, average: Average | None) -> tuple[Fraction, ...]:
        """Return the values that an average of a metric can have under its usual definitions.

        If `average` names no type, the values of single classes are included for metrics such as precision,
        since such a number often belongs to one class. The result is empty if no definition is implemented.
        """
        if measure is Measure.ACCURACY:
            return tuple(self._accuracies(average))
        if measure is Measure.ERROR:
            return tuple(1 - each for each in self._accuracies(average))
        if measure is Measure.KAPPA:
            # The label of a weighted kappa does not name the weights.
            return () if average is Average.WEIGHTED else self.kappas
        if measure is Measure.BALANCED_ACCURACY:
            chance = Fraction(1, len(self.sizes))
            means = list(_means(self.by_measure[Measure.RECALL]))
            return (*means, *((mean - chance) / (1 - chance) for mean in means))
        if measure not in self.by_measure:
            return ()
        whole = [self.matthews] if measure is Measure.MATTHEWS and self.matthews is not None else []
        return (*whole, *self._averaged(measure, average))

    def _accuracies(self, average: Average | None) -> Iterator[Fraction]:
        if average is not Average.MACRO:
            yield self.accuracy
        if average in (Average.MACRO, Average.UNNAMED):
            yield from _means(self.by_measure[Measure.RECALL])
            yield from _means(self.against_the_rest)

    def _averaged(self, measure: Measure, average: Average | None) -> Iterator[Fraction]:
        column = self.by_measure[measure]
        named = average if average in (Average.MACRO, Average.WEIGHTED, Average.MICRO) else None
        if named in (None, Average.MACRO):
            yield from _means(column)
            if measure is Measure.F1:
                yield from self._of_means()
        if named in (None, Average.WEIGHTED):
            yield from _weighted(column, self.sizes)
        if named in (None, Average.MICRO) and measure in SCORES:
            yield self.accuracy
        if named is None:
            yield from (value for value in column if value is not None)

    def _of_means(self) -> Iterator[Fraction]:
        """Yield F1 of mean precision and mean recall (Opitz and Burst, Macro F1 and Macro F1, 2019)."""
        for precision in _means(self.by_measure[Measure.PRECISION]):
            for recall in _means(self.by_measure[Measure.RECALL]):
                if precision + recall:
                    yield 2 * precision * recall / (precision + recall)


def score_matrix(counts: Counts) -> Scores:
    """Return the scores of a count matrix whose rows are the true classes.

    Kappa is 1 - sum w o / sum w e for observed counts o and expected counts e. Off the diagonal, the weight w
    is 1, |i - j| or (i - j)^2: Cohen, "A coefficient of agreement for nominal scales" (1960) and "Weighted
    kappa" (1968).
    """
    right = [row[place] for place, row in enumerate(counts)]
    sizes = [sum(row) for row in counts]
    predicted = [sum(column) for column in zip(*counts, strict=True)]
    triples = list(zip(right, sizes, predicted, strict=True))
    images = max(1, sum(sizes))
    # 2 P R / (P + R), zero if nothing is right.
    f1 = tuple(Fraction(2 * k, n + p) if n + p else Fraction(0) for k, n, p in triples)
    return Scores(
        sizes=tuple(sizes),
        by_measure={
            Measure.RECALL: tuple(_share(k, n) for k, n, _ in triples),
            Measure.PRECISION: tuple(_share(k, p) for k, _, p in triples),
            Measure.F1: f1,
            Measure.SPECIFICITY: tuple(_share(images - n - p + k, images - n) for k, n, p in triples),
            Measure.NEGATIVE_PREDICTIVE_VALUE: tuple(_share(images - n - p + k, images - p) for k, n, p in triples),
            Measure.PREVALENCE: tuple(Fraction(n, images) for n in sizes),
            Measure.DETECTION_RATE: tuple(Fraction(k, images) for k in right),
            Measure.DETECTION_PREVALENCE: tuple(Fraction(p, images) for p in predicted),
            Measure.FALSE_POSITIVE_RATE: tuple(_share(p - k, images - n) for k, n, p in triples),
            Measure.MATTHEWS: tuple(
                correlation(images * k - n * p, n * (images - n), p * (images - p)) for k, n, p in triples
            ),
        },
        against_the_rest=tuple(Fraction(images - n - p + 2 * k, images) for k, n, p in triples),
        accuracy=Fraction(sum(right), images),
        kappas=tuple(_kappas(counts, sizes, predicted)),
        matthews=correlation(
            images * sum(right) - sum(n * p for n, p in zip(sizes, predicted, strict=True)),
            images**2 - sum(n * n for n in sizes),
            images**2 - sum(p * p for p in predicted),
        ),
    )


def _share(part: int, whole: int) -> Fraction | None:
    return Fraction(part, whole) if whole else None


def correlation(covariance: int, one: int, other: int) -> Fraction | None:
    """Return covariance / sqrt(one * other) to thirty digits; None if `one` or `other`, the variances, is zero.

    Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient" (2004).
    """
    return Fraction(covariance * ROOT, isqrt(one * other * ROOT**2)) if one * other else None


def _kappas(counts: Counts, sizes: Sequence[int], predicted: Sequence[int]) -> Iterator[Fraction]:
    images, places = sum(sizes), range(len(counts))
    for power in (0, 1, 2):
        weights = {(i, j): abs(i - j) ** power for i in places for j in places if i != j}
        observed = images * sum(weight * counts[i][j] for (i, j), weight in weights.items())
        expected = sum(weight * sizes[i] * predicted[j] for (i, j), weight in weights.items())
        if expected:
            yield 1 - Fraction(observed, expected)


def _means(column: Column) -> Iterator[Fraction]:
    """Yield the mean of the defined values in a column.

    If some values are undefined, also yield two means over the whole column. The first counts every undefined
    value as 0, and the second counts it as 1.
    """
    defined = [value for value in column if value is not None]
    total = sum(defined, Fraction(0))
    if defined:
        yield total / len(defined)
    if len(defined) < len(column):
        yield total / len(column)
        yield (total + len(column) - len(defined)) / len(column)


def _weighted(column: Column, sizes: Sequence[int]) -> Iterator[Fraction]:
    """Yield the mean weighted by class size, first with zeros and then with ones in place of undefined values."""
    images = sum(sizes)
    for undefined in (0, 1) if images else ():
        values = [Fraction(undefined) if value is None else value for value in column]
        yield sum((n * value for n, value in zip(sizes, values, strict=True)), Fraction(0)) / images
