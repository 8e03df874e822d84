"""Find the unit to which a number was rounded; it is coarser than the last decimal if zeros were filled in."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from in4310repro.audit.document import Measure, Printed
from in4310repro.audit.intervals import FULL, ROUNDOFF64

# One full double in ten ends in a zero, which is not printed; up to three are allowed for.
ALMOST_FULL = FULL - 3
# A share is not rounded to fewer decimals than this before it is printed with more.
COARSEST = 2
# A double this close to a number of at most SHORT decimals was rounded to them and multiplied by 100.
SHORT, CLOSE = 8, 8 * ROUNDOFF64


def find_units(column: Sequence[Printed], measures: Sequence[Measure]) -> list[Fraction]:
    """Return the unit to which each number was rounded, such as 1/100, as a share.

    `round(share, 2) * 100` is printed as 95.0, 95.00 or 56.99999999999999, with a unit of one percent. This is
    assumed for a number that ends in two or more zeros, for a full-length double next to a short decimal, and
    for a measure whose numbers all end in zeros.
    """
    pairs = list(zip(column, measures, strict=True))
    common = {measure: _count_common_decimals([p for p, m in pairs if m is measure]) for measure in set(measures)}
    return [_unit(printed, common[measure]) for printed, measure in pairs]


def _unit(printed: Printed, common: int | None) -> Fraction:
    decimals = count_decimals(printed)
    if common is not None and decimals <= common:
        return max(printed.unit, Fraction(1, 10**common))
    if printed.value in (0, 1) or printed.decimals - decimals < 2:
        return printed.unit
    return Fraction(1, 10 ** max(min(COARSEST, printed.decimals), decimals))


@lru_cache(maxsize=100_000)
def count_decimals(printed: Printed) -> int:
    """Return the number of decimals without trailing zeros; 0.5699999999999999 counts as 0.57."""
    if printed.decimals >= ALMOST_FULL:
        for decimals in range(SHORT + 1):
            if abs(printed.value - round(printed.value, decimals)) <= CLOSE:
                return decimals
    text = str(abs(printed.digits))
    return printed.decimals - (len(text) - len(text.rstrip("0"))) if printed.digits else 0


def _count_common_decimals(column: Sequence[Printed]) -> int | None:
    """Return the most decimals in use if two or more numbers all end in extra zeros; else None."""
    telling = [printed for printed in column if printed.value not in (0, 1)]
    most = max(COARSEST, *map(count_decimals, telling), COARSEST)
    if len(telling) < 2 or any(printed.decimals <= most for printed in telling):
        return None
    return most
