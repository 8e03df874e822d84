"""What an audit can prove at the decimals that a report prints.

Measured on the original, 16 decimals: every digit of every value replaced by each other digit, 8,244 copies. Proven
inconsistent were 99.5 % of those with another accuracy, 94.8 % with another mean accuracy, 90.7 % with another average
precision, 94.3 % with another mean of these; without exception up to the 14th decimal. What passes is a 15th or 16th
decimal, which another order of summation or way of rounding explains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from in4310repro.audit.reading import Printed

# Beyond this many decimals the strings are too many to mark one by one, and fractions too few to matter.
MARKED = 7
# Strings of one length that a fraction can be printed as: two doubles, two singles, two roundings, one truncation.
STRINGS_A_FRACTION = 7


@dataclass(frozen=True, kw_only=True)
class Power:
    """Expected share of random strings of so many decimals that are refused as accuracies for being no k/n."""

    decimals: int
    refused: float
    exact: bool  # counted string by string; otherwise at least so much


def power(accuracies: Sequence[Printed], bound: int) -> Power:
    """Power at the number of decimals that most accuracies have."""
    decimals = Counter(printed.decimals for printed in accuracies).most_common(1)[0][0]
    if decimals <= MARKED:
        return Power(decimals=decimals, refused=_share_refused(decimals, bound), exact=True)
    fractions = _fractions(bound)
    # Written so that a share near one keeps its digits.
    return Power(decimals=decimals, refused=max(0.0, 1 - STRINGS_A_FRACTION * fractions / 10**decimals), exact=False)


def _share_refused(decimals: int, bound: int) -> float:
    """Share of the strings 0...1 that are no k/n with n <= bound rounded, truncated, or rounded in single precision."""
    scale = 10**decimals
    reached = np.zeros(scale + 1, dtype=np.bool_)
    for size in range(1, bound + 1):
        counts = np.arange(size + 1)
        reached[counts * scale // size] = True
        reached[(2 * counts * scale + size) // (2 * size)] = True
        shares = counts.astype(np.float32) / np.float32(size)
        reached[np.rint(shares.astype(np.float64) * scale).astype(np.int64)] = True
    return float(1 - reached.mean())


def _fractions(bound: int) -> int:
    """Different fractions k/n in [0, 1] with n <= bound: 1 + sum of Euler's phi(n), the length of a Farey sequence."""
    phi = np.arange(bound + 1)
    for prime in range(2, bound + 1):
        if phi[prime] == prime:
            phi[prime::prime] -= phi[prime::prime] // prime
    return 1 + int(phi[1:].sum())
