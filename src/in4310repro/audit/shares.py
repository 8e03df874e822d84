"""Check single values: range 0 to 1, possible k/n, agreement with a printed count, possible average precision."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

from in4310repro.audit.claims import CONDITIONS, FORMATS, SMALL, Claim, describe_sizes, find_conditions
from in4310repro.audit.document import SCORES, Measure
from in4310repro.audit.intervals import SURE, Cell, Rounding, counts_within, half_precision, is_half
from in4310repro.audit.sheets import EXCESS, VISIBLE_FLOAT16, Sheet, interval_of

SHARES = (
    Measure.ACCURACY,
    Measure.AVERAGE_PRECISION,
    Measure.BALANCED_ACCURACY,
    Measure.SPECIFICITY,
    Measure.NEGATIVE_PREDICTIVE_VALUE,
    *SCORES,
)
HALF = "the values were computed in half precision"  # whose steps are seen at four decimals and not at three
ARITHMETIC = "k/n, 100 k/n, 1 - e/n, k (1/n) and 100 - 100 e/n in float64, float32 and float16"


def check_range(sheet: Sheet) -> Iterator[Claim]:
    """Yield a contradiction for each score outside 0 to 1 whose metric can only be from 0 to 1."""
    cells = [cell for column in sheet.classes.values() for cell in column.values()]
    for cell in (*cells, *sheet.summaries):
        value = cell.value
        if value.measure not in SHARES or value.printed.value <= 1 + EXCESS:
            continue
        yield Claim(
            kind="range",
            message=f"{_name(cell)} is printed as {value.printed.text}, which is not a share between 0 and 1",
            cells=(cell,),
            conditions=() if _is_among_shares(cell, cells) else tuple(_explain_range(cell)),
            excluded=("a share", "a percentage"),
        )


def _is_among_shares(cell: Cell, cells: Sequence[Cell]) -> bool:
    """Return whether a value between 1 and 2 is an impossible fraction, rather than a percentage.

    This is so only for the value of a class that is not marked as a percentage, and if the other values of
    the same metric confirm it. None of them may be above 1, and at least two must be between 0 and 1 and
    have the same number of decimals as the value.
    """
    value = cell.value
    column = [other.value.printed for other in cells if other is not cell and other.value.measure is value.measure]
    alike = [each for each in column if each.decimals == value.printed.decimals and 0 < each.value < 1]
    plain = value.class_name is not None and not value.printed.percent and "%" not in value.label
    # Zeros can be shares or percentages: two other values must clearly be shares.
    return plain and 1 < value.printed.value < 2 and len(alike) >= 2 and all(each.value <= 1 for each in column)


def _explain_range(cell: Cell) -> Iterator[str]:
    """Yield possible explanations of a number outside 0 to 1, such as a percentage without its sign."""
    if not cell.value.printed.percent and cell.share <= 100:
        yield f"{cell.value.printed.text} is a percentage without its sign"
    elif "%" not in cell.value.printed.text:
        yield f"{cell.value.printed.text} is a count or in another unit"


def check_counts(sheet: Sheet) -> Iterator[Claim]:
    """Yield a contradiction for each accuracy or recall that equals no k/n, where n is the known class size."""
    for column in list_counted_columns(sheet):
        printed = [cell.value.printed for cell in column.values()]
        half, seen = is_half(printed), min(each.decimals for each in printed) >= VISIBLE_FLOAT16
        claims = []
        for name, cell in column.items():
            size = sheet.sizes.get(name)
            claim = _claim_no_count(cell, size, describe_sizes(sheet, [name]), half=half and seen) if size else None
            if claim and half and not seen and size and _fits_half_precision(cell, size):
                claim = replace(claim, conditions=(*claim.conditions, HALF))
            if claim and size and counts_within(cell.before_epsilon(Fraction(size)), size):
                claim = replace(claim, conditions=(*claim.conditions, SMALL))
            if claim and not cell.value.spread:
                others = [(c, n) for other, c in column.items() if other != name and (n := sheet.sizes.get(other))]
                ruled_out = set(_rule_out(others))
                claims.append(replace(claim, conditions=tuple(c for c in claim.conditions if c not in ruled_out)))
        # Mistyping most values of a table is unlikely; giving test set sizes for validation results is common.
        other = sheet.origin == "given" and len(claims) >= 3 and 2 * len(claims) > len(column)
        conditions = ("the table is of another image set than the sizes that are given",) if other else ()
        yield from (replace(claim, conditions=(*claim.conditions, *conditions)) for claim in claims)


def _rule_out(others: Sequence[tuple[Cell, int]]) -> Iterator[str]:
    """Yield the explanations, half precision, epsilon or truncation, that other values of the same column rule out.

    Half precision is ruled out if at least one of these values cannot come from it. Truncation is ruled out only
    if at least two cannot come from it, since a single value may be mistyped.
    """
    rounded = [(cell, size) for cell, size in others if counts(cell, size, Rounding.ROUNDED)]
    if any(not _fits_half_precision(cell, size) for cell, size in rounded):
        yield HALF
    if any(cell.share > 0 and cell.value.printed.decimals >= SURE for cell, _ in rounded):
        yield SMALL
    whole = any(cell.value.printed.percent and cell.value.printed.decimals <= 2 for cell, _ in others)
    if not whole and sum(not counts(cell, size, Rounding.TRUNCATED) for cell, size in rounded) >= 2:
        yield CONDITIONS[Rounding.TRUNCATED]


def _claim_no_count(cell: Cell, size: int, inputs: tuple[str, ...], *, half: bool) -> Claim | None:
    conditions = find_conditions(lambda way, _: bool(counts(cell, size, way, half)))
    if conditions is None:
        return None
    return Claim(
        kind="count",
        message=f"{_name(cell)} is printed as {cell.value.printed.text}, and no number of {size} images gives "
        f"that{_neighbours(cell, size)}",
        cells=(cell,),
        conditions=conditions,
        inputs=inputs,
        excluded=(ARITHMETIC, FORMATS),
        needs_counts=True,
    )


def list_counted_columns(sheet: Sheet) -> Iterator[dict[str, Cell]]:
    """Yield the columns that hold each class's proportion of correctly classified images.

    Accuracies beside precision, recall or F1 are left out, because they may be one-vs-rest: (TP + TN) / all.
    """
    if not sheet.table.whole_images:
        return
    if Measure.RECALL in sheet.classes:
        yield dict(sheet.classes[Measure.RECALL])
    elif Measure.ACCURACY in sheet.classes and not any(score in sheet.classes for score in SCORES):
        yield dict(sheet.classes[Measure.ACCURACY])


def counts(cell: Cell, size: int, rounding: Rounding, half: bool = False) -> range:
    """Return the range of counts k for which k / `size` may be printed as the value of `cell`.

    Half precision is considered only if `half` is true and no count fits otherwise.
    """
    whole = counts_within(interval_of(cell, rounding), size)
    if whole or not half:
        return whole
    fitting = _half_counts(cell, size, rounding)
    return range(fitting[0], fitting[-1] + 1) if fitting else range(0)


def _fits_half_precision(cell: Cell, size: int) -> bool:
    return bool(_half_counts(cell, size, Rounding.ROUNDED))


def _half_counts(cell: Cell, size: int, rounding: Rounding) -> list[int]:
    interval = interval_of(cell, rounding)
    # Both numbers and their quotient are rounded by up to 1/2048 of themselves.
    error = Fraction(1, 512)
    near = range(max(0, floor((interval.low - error) * size)), min(size, ceil((interval.high + error) * size)) + 1)
    return [k for k in near if any(number in interval for number in half_precision(size, k))]


def _neighbours(cell: Cell, size: int) -> str:
    if cell.ambiguous:
        return ""
    below = floor(cell.share * size)
    texts = [f"{k}/{size} = {k / size:.6g}" for k in (below, below + 1) if 0 <= k <= size]
    return f" ({', '.join(texts)})"


def check_printed_counts(sheet: Sheet) -> Iterator[Claim]:
    """Yield a contradiction for each value that disagrees with the count k/n beside it."""
    for cell in (*[c for column in sheet.classes.values() for c in column.values()], *sheet.summaries):
        if cell.value.count is None or cell.value.count[1] <= 0:
            continue
        claim = _claim_other_count(cell, *cell.value.count)
        if claim:
            yield claim


def _claim_other_count(cell: Cell, correct: int, images: int) -> Claim | None:
    conditions = find_conditions(lambda way, _: _is_printed_so(cell, correct, images, way))
    if conditions is None:
        return None
    return Claim(
        kind="count beside",
        message=f"{_name(cell)} is printed as {cell.value.printed.text} beside {correct} of {images}, which is "
        f"{float(Fraction(correct, images)):.6g}",
        cells=(cell,),
        conditions=conditions,
        inputs=(f"{correct} of {images}, printed beside it",),
        excluded=(ARITHMETIC, FORMATS),
    )


def _is_printed_so(cell: Cell, correct: int, images: int, rounding: Rounding) -> bool:
    interval = interval_of(cell, rounding)
    if Fraction(correct, images) in interval:
        return True
    return is_half([cell.value.printed]) and any(x in interval for x in half_precision(images, correct))


def _name(cell: Cell) -> str:
    value = cell.value
    return (
        f"{value.measure} of {value.class_name}" if value.class_name is not None else f"{value.label or value.measure}"
    )


def check_totals(sheet: Sheet) -> Iterator[Claim]:
    """Yield a contradiction for each overall count of correctly classified images that is wrong.

    The overall count must equal the sum of the counts of the classes.
    """
    for measure, column in sheet.classes.items():
        counts = [cell.value.count for cell in column.values() if cell.value.count]
        if len(counts) < max(2, len(column)):
            continue
        right, images = (sum(count[end] for count in counts) for end in (0, 1))
        for cell in sheet.summaries:
            count = cell.value.count
            if cell.value.measure is measure and count and count[1] == images and count[0] != right:
                yield Claim(
                    kind="total",
                    message=f"{cell.value.label or measure} is printed with {count[0]} of {images} images right; "
                    f"the classes have {right}",
                    cells=(cell, *column.values()),
                    inputs=tuple(f"{k} of {n}" for k, n in counts if n),
                    readings=("counts of right images beside each class",),
                    needs_all=True,
                )


def check_supports(sheet: Sheet) -> Iterator[Claim]:
    """Yield a contradiction if the printed images of the classes are more than the printed images in all."""
    table, images = sheet.table, sum(sheet.table.sizes.values())
    if not table.total or images <= table.total or not table.whole_images or not set(table.classes) <= set(table.sizes):
        return
    extra = [name for name, size in table.sizes.items() if images - size == table.total]
    yield Claim(
        kind="total",
        message=f"{table.total} images are printed in all, and the {len(table.sizes)} classes have {images}",
        cells=tuple(sheet.summaries) or tuple(c for column in sheet.classes.values() for c in column.values()),
        conditions=tuple(f"{name} is not a class" for name in extra),
        inputs=describe_sizes(sheet, table.sizes),
        needs_counts=True,
    )


@lru_cache(maxsize=4096)
def least_average_precision(positives: int, negatives: int) -> Fraction:
    """Return the lowest average precision of any ranking of this many positives and negatives, ties included.

    AP is the mean of the precisions at the positives of the ranking. At most all negatives precede the i-th
    positive, so the precision there is at least i / (i + negatives). The mean of these bounds is the lowest AP,
    and the ranking with all negatives first reaches it. See Boyd, Santos Costa, Davis and Page, Unachievable
    Region in Precision-Recall Space, ICML 2012.
    """
    mean = math.fsum(i / (i + negatives) for i in range(1, positives + 1)) / positives
    # Lowered by more than the error of doubles: exact sums of 500 fractions would have a thousand digits.
    return Fraction(mean) * (1 - Fraction(1, 2**40))


def list_ranked(sheet: Sheet) -> Iterator[tuple[str, Cell, int, int]]:
    """Yield (class, average precision, class size, number of all other images) if every class size is known."""
    column = sheet.classes.get(Measure.AVERAGE_PRECISION, {})
    if not sheet.table.whole_images or not column or not set(column) <= set(sheet.sizes):
        return
    total = sum(sheet.sizes.values())
    for name, cell in column.items():
        if sheet.sizes[name] > 0 and cell.share > 0:
            yield name, cell, sheet.sizes[name], total - sheet.sizes[name]


def check_floor(sheet: Sheet) -> Iterator[Claim]:
    """Yield a contradiction for each average precision below the lowest that any ranking of the images can have."""
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
