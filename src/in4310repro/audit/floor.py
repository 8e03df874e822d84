"""Lowest average precision that a ranking can have; a reported value below it is impossible."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from in4310repro.audit.claims import Claim, describe_sizes
from in4310repro.audit.document import Measure
from in4310repro.audit.intervals import Cell, Rounding
from in4310repro.audit.sheets import Sheet, interval_of


@lru_cache(maxsize=4096)
def least_average_precision(positives: int, negatives: int) -> Fraction:
    """Return the lowest average precision of any ranking of this many positives and negatives, ties included.

    AP is the mean of the precisions at the positives in the ranking. At most all negatives precede the i-th positive,
    so the precision there is at least i / (i + negatives), and AP >= (1/p) sum_{i=1..p} i / (i + negatives), which the
    worst ranking reaches. Boyd, Santos Costa, Davis and Page, Unachievable Region in Precision-Recall Space, ICML 2012.
    """
    mean = math.fsum(i / (i + negatives) for i in range(1, positives + 1)) / positives
    # Lowered by more than the error of doubles: exact sums of 500 fractions would have a thousand digits.
    return Fraction(mean) * (1 - Fraction(1, 2**40))


def list_ranked(sheet: Sheet) -> Iterator[tuple[str, Cell, int, int]]:
    """Yield class, average precision, class size and number of images outside it, if all sizes are known."""
    column = sheet.classes.get(Measure.AVERAGE_PRECISION, {})
    if not sheet.table.whole_images or not column or not set(column) <= set(sheet.sizes):
        return
    total = sum(sheet.sizes.values())
    for name, cell in column.items():
        if sheet.sizes[name] > 0 and cell.share > 0:
            yield name, cell, sheet.sizes[name], total - sheet.sizes[name]


def check_floor(sheet: Sheet) -> Iterator[Claim]:
    """Yield a claim for each average precision that is lower than that of every ranking of the images."""
    accuracies = sheet.classes.get(Measure.ACCURACY, {})
    for name, cell, positives, negatives in list_ranked(sheet):
        least = least_average_precision(positives, negatives)
        highs = [interval_of(cell, way).high for way in Rounding]
        if max(highs) < least:
            # Detectors rank boxes, and miss some; a network that classifies ranks every image.
            boxes = () if name in accuracies else ("the average precision is of boxes, not of whole images",)
            yield Claim(
                kind="floor",
                message=f"average precision of {name} is printed as {cell.value.printed.text}; the worst ranking of "
                f"{positives} images among {positives + negatives} has {float(least):.4f}",
                cells=(cell,),
                conditions=boxes,
                inputs=describe_sizes(sheet, [name]),
                needs_all=True,
                needs_counts=True,
            )
