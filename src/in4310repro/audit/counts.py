"""Printed accuracies as fractions of whole images: which k of n their decimals allow, and which n all tables share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from in4310repro.audit.reading import Printed

# Decimals from which a report can be one of doubles in full.
FULL_FLOAT64 = 15
# Decimals from which single precision can show: it moves a share by 2^-25, and shares of n <= 2000 images keep at least
# 10^-d / 4000 from the middle between two roundings, or are exactly there.
VISIBLE_FLOAT32 = 4

Accuracies = Mapping[str, Mapping[str, Printed]]  # by table and class
SizeArray = NDArray[np.int64]
Ends = tuple[NDArray[Any], NDArray[Any]]

# The first and the last count k of n images that are printed like this, for each n; first > last if there is none.
Convention = Callable[[Printed, SizeArray], Ends]


def half_up(printed: Printed, sizes: SizeArray) -> Ends:
    """Counts with a - 1/2 <= k/n 10^d < a + 1/2, where the number is printed as a / 10^d."""
    low, high, scale = _middles(printed, sizes)
    return -(-low // scale), -(-high // scale) - 1


def half_even(printed: Printed, sizes: SizeArray) -> Ends:
    """As `half_up`, with a tie given to the even last digit."""
    low, high, scale = _middles(printed, sizes)
    if printed.digits % 2:
        return low // scale + 1, -(-high // scale) - 1
    return -(-low // scale), high // scale


def half_either_way(printed: Printed, sizes: SizeArray) -> Ends:
    """As `half_up`, with a tie to either side: Python's round and printf follow the float nearest to k/n."""
    low, high, scale = _middles(printed, sizes)
    return -(-low // scale), high // scale


def truncated(printed: Printed, sizes: SizeArray) -> Ends:
    """Counts with a <= k/n 10^d < a + 1."""
    whole, scale = sizes.astype(object), 10**printed.decimals
    return -(-printed.digits * whole // scale), -(-(printed.digits + 1) * whole // scale) - 1


def _middles(printed: Printed, sizes: SizeArray) -> tuple[NDArray[Any], NDArray[Any], int]:
    """(2a - 1) n, (2a + 1) n and 2 10^d as Python's integers, which do not overflow."""
    whole = sizes.astype(object)
    return (2 * printed.digits - 1) * whole, (2 * printed.digits + 1) * whole, 2 * 10**printed.decimals


def float64(printed: Printed, sizes: SizeArray) -> Ends:
    """The count whose share, in double precision, has this as its shortest decimal: Python's repr, JSON, NumPy."""
    count = _nearest(printed, sizes)
    # An accuracy computed as one minus the share of errors differs in the last bit.
    shares = (
        (100 * (count / sizes), 100 * count / sizes)
        if printed.percent
        else (count / sizes, 1 - (sizes - count) / sizes)
    )
    shown = float(printed.shown)
    shortest = Fraction(repr(shown)) == printed.shown
    return _only(count, shortest & ((shares[0] == shown) | (shares[1] == shown)))


def float32(printed: Printed, sizes: SizeArray) -> Ends:
    """The count whose share in single precision is printed in its own shortest decimals, as a double, or rounded."""
    count = _nearest(printed, sizes)
    shares = np.float32(100 if printed.percent else 1) * (count.astype(np.float32) / sizes.astype(np.float32))
    shown, places = printed.shown, printed.decimals - 2 * printed.percent
    as_double = [
        Fraction(repr(share)) == shown or Fraction(f"{share:.{places}f}") == shown for share in shares.tolist()
    ]
    shortest = Fraction(str(np.float32(float(shown)))) == shown
    return _only(count, np.array(as_double) | (shortest & (shares == np.float32(float(shown)))))


def _nearest(printed: Printed, sizes: SizeArray) -> SizeArray:
    nearest: SizeArray = np.clip(np.rint(float(printed.value) * sizes), 0, sizes).astype(np.int64)
    return nearest


def _only(count: SizeArray, fits: NDArray[np.bool_]) -> Ends:
    return np.where(fits, count, 1), np.where(fits, count, 0)


# Of two that explain a report equally well, the first is taken.
CONVENTIONS: Mapping[str, Convention] = {
    "float64": float64,
    "half-even": half_even,
    "half-up": half_up,
    "half either way": half_either_way,
    "float32": float32,
    "truncated": truncated,
}


def counts(printed: Printed, convention: str, size: int) -> range:
    """Correct images of `size` that are printed like this, in order and without gaps."""
    first, last = CONVENTIONS[convention](printed, np.array([size]))
    return range(max(int(first[0]), 0), min(int(last[0]), size) + 1)


def _fits(printed: Printed, convention: str, bound: int) -> tuple[int, ...]:
    """All n from 1 to the bound for which some k/n is printed like this."""
    sizes = np.arange(1, bound + 1)
    scaled = float(printed.value) * sizes
    # In floats first, and generously: a unit of the last place, the error of a float32, and our own.
    near = sizes[np.abs(scaled - np.rint(scaled)) <= sizes * (float(printed.unit) + 2.0**-24) + 1e-9]
    if not len(near):
        return ()
    first, last = CONVENTIONS[convention](printed, near)
    return tuple(near[np.maximum(first, 0) <= np.minimum(last, near)].tolist())


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One accuracy, read by one convention: the class sizes up to the bound for which some k/n is printed like it."""

    convention: str
    sizes: tuple[int, ...]

    def counts(self, printed: Printed, size: int) -> range:
        """Correct images of `size` that the number allows."""
        return counts(printed, self.convention, size)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tables that one set of class sizes explains; for each class, every size up to the bound that does."""

    tables: tuple[str, ...]
    fits: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """How the accuracies of a report can have been printed; `equals` are conventions that explain it as well."""

    convention: str
    equals: tuple[str, ...]
    readings: Mapping[str, Mapping[str, Reading]]  # by table and class
    groups: tuple[Group, ...]

    @property
    def cost(self) -> tuple[int, int]:
        """Values that the convention does not explain, then sets of class sizes that it needs."""
        apart = [each for row in self.readings.values() for each in row.values() if each.convention != self.convention]
        return len(apart), len(self.groups)


def considered(printed: Sequence[Printed]) -> list[str]:
    """Conventions that numbers of so many decimals can follow."""
    longest = max((each.decimals for each in printed), default=0)
    needs = {"float64": FULL_FLOAT64, "float32": VISIBLE_FLOAT32}
    return [name for name in CONVENTIONS if longest >= needs.get(name, 0)]


def explain(accuracies: Accuracies, bound: int) -> Explanation:
    """The convention that explains most accuracies with the fewest sets of class sizes.

    A number that it does not explain is read by the first other convention that does: what nothing explains is proven
    to be no k/n, whatever the way of printing.
    """
    names = considered([printed for row in accuracies.values() for printed in row.values()])
    sizes = {
        table: {label: {name: _fits(printed, name, bound) for name in names} for label, printed in row.items()}
        for table, row in accuracies.items()
    }
    found = [_explained(sizes, [name, *(other for other in names if other != name)], bound) for name in names]
    best = min(found, key=lambda explanation: explanation.cost)
    equals = tuple(each.convention for each in found if each.cost == best.cost and each is not best)
    return replace(best, equals=equals)


def _explained(
    sizes: Mapping[str, Mapping[str, Mapping[str, tuple[int, ...]]]], preferred: Sequence[str], bound: int
) -> Explanation:
    readings = {
        table: {label: _read(by_convention, preferred) for label, by_convention in row.items()}
        for table, row in sizes.items()
    }
    groups: list[Group] = []
    for name, row in readings.items():
        # An accuracy that nothing explains is reported by itself and says nothing about its class.
        own = {label: reading.sizes or tuple(range(1, bound + 1)) for label, reading in row.items()}
        for place, group in enumerate(groups):
            shared = {label: tuple(sorted({*group.fits[label]} & {*own[label]})) for label in group.fits}
            if all(shared.values()):
                groups[place] = Group(tables=(*group.tables, name), fits=shared)
                break
        else:
            groups.append(Group(tables=(name,), fits=own))
    return Explanation(convention=preferred[0], equals=(), readings=readings, groups=tuple(groups))


def _read(sizes: Mapping[str, tuple[int, ...]], preferred: Sequence[str]) -> Reading:
    explaining = next((name for name in preferred if sizes[name]), preferred[0])
    return Reading(convention=explaining, sizes=sizes[explaining])


def only_choice(options: Sequence[Sequence[int]], total: int) -> tuple[int, ...] | None:
    """One size from each list such that they sum to the total, if there is exactly one way; else None."""
    # Ways to reach each sum with the first lists, counted up to two.
    ways = [np.zeros(total + 1, dtype=np.int64)]
    ways[0][0] = 1
    for sizes in options:
        reached = np.zeros_like(ways[0])
        for size in sizes:
            if size <= total:
                reached[size:] += ways[-1][: total + 1 - size]
        ways.append(np.minimum(reached, 2))
    if ways[-1][total] != 1:
        return None
    chosen: list[int] = []
    for sizes, before in zip(reversed(options), reversed(ways[:-1]), strict=True):
        size = next(size for size in sizes if size <= total and before[total - size])
        chosen.append(size)
        total -= size
    return tuple(reversed(chosen))


def chance_fits(printed: Sequence[Printed], bound: int) -> float:
    """Class sizes up to the bound that random digits in place of these would be expected to allow by one convention.

    sum over n of prod over tables of min(1, (n + 1) / 10^d): n + 1 counts among 10^d strings. An accuracy of exactly
    0 or 1 goes with every size.
    """
    telling = [10.0**each.decimals for each in printed if each.value not in (0, 1)]
    allowed = np.arange(2, bound + 2)
    return float(np.prod([np.minimum(1.0, allowed / strings) for strings in [*telling, 1.0]], axis=0).sum())
