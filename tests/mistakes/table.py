"""The table of all 58 mistakes in docs/caught/mistakes.csv, written by python -m tests.mistakes.table."""

from __future__ import annotations

import re
from decimal import Decimal

from tests.docs import caught
from tests.mistakes import contents, hooks, keeping, metrics, preprocessing, reproduction, spectra, split, training
from tests.mistakes.mistake import Mistake, size_of

MODULES = (contents, split, preprocessing, training, keeping, metrics, reproduction, hooks, spectra)
MISTAKES: list[Mistake] = sorted((m for module in MODULES for m in module.MISTAKES), key=lambda m: m.number)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")
COLUMNS = ("number", "mistake", "what the check holds", "size on drawn scenes")


def rows() -> list[tuple[object, ...]]:
    return [(each.number, each.name, each.finder, size_of(each)) for each in MISTAKES]


def differences(written: str, computed: str) -> list[str]:
    """Return a sentence per line in which two tables differ by more than one in the last digit of a number."""
    one, other = written.splitlines(), computed.splitlines()
    if len(one) != len(other):
        return [f"{len(one)} lines are written and {len(other)} computed"]
    return [f"{a!r} is written and {b!r} computed" for a, b in zip(one, other, strict=True) if not _alike(a, b)]


def _alike(one: str, other: str) -> bool:
    if NUMBER.split(one) != NUMBER.split(other):
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    # Counts, which have no digits behind the point, are equal.
    return all(a == b or ("." in a + b and abs(Decimal(a) - Decimal(b)) <= _last_digit(a, b)) for a, b in pairs)


def _last_digit(*numbers: str) -> Decimal:
    return Decimal(1).scaleb(max(int(Decimal(number).as_tuple().exponent) for number in numbers))


if __name__ == "__main__":
    caught.write("mistakes", COLUMNS, rows())
