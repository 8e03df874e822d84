"""Check if any whole image counts give all reported scores of one binary test."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from in4310repro.audit.claims import FORMATS, Claim, find_conditions
from in4310repro.audit.document import Average, Measure
from in4310repro.audit.intervals import Cell, Interval, Rounding
from in4310repro.audit.sheets import Sheet, half_error, interval_of
from in4310repro.audit.stated_sizes import Split

SCORES = (
    Measure.RECALL,
    Measure.SPECIFICITY,
    Measure.PRECISION,
    Measure.NEGATIVE_PREDICTIVE_VALUE,
    Measure.ACCURACY,
    Measure.BALANCED_ACCURACY,
    Measure.F1,
)
# Names that are used of a binary test; precision, recall and F1 are averages over classes as often.
OF_TESTS = re.compile(
    r"sensitivity|specificity|\bppv\b|\bnpv\b|predictive value|\btpr\b|\btnr\b|true[ _](?:pos|neg)", re.IGNORECASE
)
READ = "sensitivity TP / P, specificity TN / N, PPV TP / (TP + FP), NPV TN / (TN + FN), F1 2 TP / (2 TP + FP + FN)"
OF_CLASSES = "the scores are averages over several classes"
LARGEST = 100_000  # images
PAIRS = 1_000_000  # pairs of positives and right positives that are tried; where more are possible nothing is decided
CHUNK = 200_000
SLACK = 1e-6  # images: more than the error of the float arithmetic, so that no possible count is lost
Counts = NDArray[np.float64]
Bounds = tuple[Counts, Counts]


def check_binary_scores(sheet: Sheet) -> Iterator[Claim]:
    """Yield a claim if no pair of integers TP and TN agrees with all printed scores of a binary test."""
    named = sheet.named_split
    row = scores_of_test(sheet)
    if named is None or not row:
        return
    cells = list(row.values())

    def fits(way: Rounding, _: Rounding) -> bool:
        error = half_error(cells)
        return has_counts({m: interval_of(cell, way).widened(error) for m, cell in row.items()}, named.split)

    conditions = find_conditions(fits, cells)
    if conditions is None:
        return
    texts = ", ".join(f"{cell.value.label} {cell.value.printed.text}" for cell in cells)
    yield Claim(
        kind="binary scores",
        message=f"no whole numbers of right positives and right negatives give {texts} of {_shown(named.split)}",
        cells=tuple(cells),
        conditions=(*conditions, *named.conditions, *sheet.elsewhere, *(() if named.binary else [OF_CLASSES])),
        inputs=(f"{_shown(named.split)}, as line {named.line} says",),
        readings=(READ,),
        excluded=(
            "every number of right positives with every number of right negatives"
            + ("" if named.split.positives else ", for every number of positives"),
            FORMATS,
        ),
        needs_counts=True,
    )


def scores_of_test(sheet: Sheet) -> Mapping[Measure, Cell]:
    """Return the scores of a binary test that the table reports, as a dict from metric to score.

    The dict is empty if the table does not report the scores of one binary test.
    """
    cells = [cell for cell in sheet.summaries if cell.value.measure in SCORES]
    row = {cell.value.measure: cell for cell in cells}
    averaged = any(cell.value.average not in (None, Average.OVERALL) or cell.value.spread for cell in cells)
    if sheet.table.has_classes or len(row) != len(cells) or averaged:
        return {}
    of_tests = sum(OF_TESTS.search(cell.value.label) is not None for cell in cells)
    return row if of_tests >= 2 else {}


def _shown(split: Split) -> str:
    if split.positives is None:
        return f"{split.total} images"
    return f"{split.positives} positives and {split.total - split.positives} negatives"


def has_counts(scores: Mapping[Measure, Interval], split: Split) -> bool:
    """Return whether some integers TP and TN give all scores.

    Return True without trying any if there are too many pairs to try, or fewer than two images.

    For given numbers of positives P and true positives TP, every score gives a lower and an upper bound of
    TN. This holds because accuracy, balanced accuracy, specificity, precision TP / (TP + FP), negative
    predictive value TN / (TN + FN) and F1 are monotone in TN. A score that is undefined, 0 / 0, may be
    printed as any number.
    """
    if not 2 <= split.total <= LARGEST:
        return True
    if any(interval.high < 0 or interval.low > 1 for interval in scores.values()):
        return False
    limits = {measure: (float(interval.low), float(interval.high)) for measure, interval in scores.items()}
    positives = split.possible
    low, high = _right_positives(limits, positives, split.total)
    kept = low <= high
    positives, low, widths = positives[kept], low[kept], (high - low + 1)[kept].astype(np.int64)
    if widths.sum() > PAIRS:
        return True
    ends = np.cumsum(widths)
    cuts = np.searchsorted(ends, np.arange(0, (ends[-1] if len(ends) else 0) + CHUNK, CHUNK), side="left")
    for first, last in zip(cuts[:-1], cuts[1:] + 1, strict=True):
        part = slice(int(first), int(last))
        places = np.repeat(np.arange(len(widths[part])), widths[part])
        starts = np.repeat(np.cumsum(widths[part]) - widths[part], widths[part])
        right = low[part][places] + (np.arange(len(places)) - starts)
        fewest, most = _right_negatives(limits, positives[part][places], right, split.total)
        if bool(np.any(np.ceil(fewest - SLACK) <= np.floor(most + SLACK))):
            return True
    return False


def _right_positives(limits: Mapping[Measure, tuple[float, float]], positives: Counts, total: int) -> Bounds:
    """Return bounds of the number of true positives, for each number of positives in `positives`.

    The bounds follow from the limits of recall, specificity, accuracy, precision and negative predictive value.
    """
    negatives = total - positives
    low, high = np.zeros_like(positives), positives.copy()
    fewest, most = np.zeros_like(positives), negatives.copy()
    if Measure.RECALL in limits:
        low, high = _narrowed((low, high), *(end * positives for end in limits[Measure.RECALL]))
    if Measure.SPECIFICITY in limits:
        fewest, most = _narrowed((fewest, most), *(end * negatives for end in limits[Measure.SPECIFICITY]))
    for _ in range(3):
        if Measure.ACCURACY in limits:
            all_right = [end * total for end in limits[Measure.ACCURACY]]
            low, high = _narrowed((low, high), all_right[0] - most, all_right[1] - fewest)
            fewest, most = _narrowed((fewest, most), all_right[0] - high, all_right[1] - low)
        if Measure.PRECISION in limits:
            odds = [_odds(end) for end in limits[Measure.PRECISION]]
            low, high = _narrowed(
                (low, high), _times(odds[0], negatives - most, 0.0), _times(odds[1], negatives - fewest, np.inf)
            )
        if Measure.NEGATIVE_PREDICTIVE_VALUE in limits:
            odds = [_odds(end) for end in limits[Measure.NEGATIVE_PREDICTIVE_VALUE]]
            least, greatest = _times(odds[0], positives - high, 0.0), _times(odds[1], positives - low, np.inf)
            fewest, most = _narrowed((fewest, most), least, greatest)
    empty = np.ceil(fewest - SLACK) > np.floor(most + SLACK)
    low, high = np.ceil(low - SLACK), np.floor(high + SLACK)
    return low, np.where(empty, low - 1, high)


def _narrowed(bounds: Bounds, low: Counts, high: Counts) -> Bounds:
    return np.maximum(bounds[0], low), np.minimum(bounds[1], high)


def _odds(share: float) -> float:
    return share / (1 - share) if share < 1 else np.inf


def _times(odds: float, counts: Counts, unbound: float) -> Counts:
    """Return odds * counts. If `odds` is infinite, a positive count gives infinity and a zero count `unbound`."""
    return odds * counts if np.isfinite(odds) else np.where(counts > SLACK, np.inf, unbound)


def _right_negatives(
    limits: Mapping[Measure, tuple[float, float]], positives: Counts, right: Counts, total: int
) -> Bounds:
    """Return bounds of the number of true negatives.

    There is a lower and an upper bound for each pair of numbers in `positives` and `right` (true positives).
    """
    negatives = total - positives
    bounds = (np.zeros_like(right), negatives)
    for measure, (low, high) in limits.items():
        if measure is Measure.SPECIFICITY:
            bounds = _narrowed(bounds, low * negatives, high * negatives)
        elif measure is Measure.ACCURACY:
            bounds = _narrowed(bounds, low * total - right, high * total - right)
        elif measure is Measure.BALANCED_ACCURACY:
            bounds = _narrowed(bounds, *(negatives * (2 * end - right / positives) for end in (low, high)))
        elif measure is Measure.PRECISION:
            bounds = _narrowed(bounds, *(right + negatives - each for each in _over(right, low, high)))
        elif measure is Measure.F1:
            bounds = _narrowed(bounds, *(right + total - each for each in _over(2 * right, low, high)))
        elif measure is Measure.NEGATIVE_PREDICTIVE_VALUE:
            missed = positives - right
            bounds = _narrowed(bounds, _times(_odds(low), missed, 0.0), _times(_odds(high), missed, np.inf))
    return bounds


def _over(counts: Counts, low: float, high: float) -> Bounds:
    """Return the bounds of n that follow from low <= counts / n <= high.

    The upper bound counts / low comes first, then the lower bound counts / high.
    """
    most = counts / low if low > 0 else np.full_like(counts, np.inf)
    return most, counts / high if high > 0 else np.where(counts > 0, np.inf, 0.0)
