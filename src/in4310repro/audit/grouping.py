"""Partition of tables by the image set that they share: the most probable one, and alternatives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from in4310repro.audit.intervals import Cell, Rounding, counts_within
from in4310repro.audit.sheets import interval_of

SEARCHED = 7  # groups of tables whose partitions are all tried, 877 at most
# Natural logarithm of the prior odds against a further image set: for one class, and for each further class. Chosen
# by simulation: most tables that alternate between two sets are separated, and no tables of one set are.
SPLIT, SPLIT_OF_CLASS = 2.0, 0.5
# The same for an image set with none of the given totals, and for a second image set with the same total.
OTHER_TOTAL = 7.0
RIVAL = 0.01  # probability below which another partition is not named
NAMED = 3  # partitions that are named
STEPS = 200_000_000  # of a sum over all sizes with a given total
Sizes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """Class accuracies of one table, with their way of rounding and the class sizes that allow each accuracy."""

    name: str
    cells: Mapping[str, Cell]
    fits: Mapping[str, Sizes]  # all sizes up to the bound that allow the accuracy
    rounding: Rounding
    declared: tuple[str | None, int | None]  # name of the image set and its images, where the text says so

    def fit(self, name: str, size: int) -> bool:
        """Return whether the printed accuracy of class `name` is k / `size` for some integer k.

        The quotient may have been rounded or truncated.
        """
        cell = self.cells[name]
        return any(counts_within(interval_of(cell, way), size) for way in (self.rounding, Rounding.TRUNCATED))


@dataclass(frozen=True, kw_only=True)
class Group:
    """Tables that share an image set, with its class sizes if known."""

    tables: tuple[Accuracies, ...]
    sizes: tuple[int, ...] | None = None  # of the classes, where a set that is known beforehand fits
    doubt: float = 0.0  # probability of all partitions in which these tables do not form a group
    rivals: tuple[str, ...] = ()  # other partitions of the tables that explain the values about as well


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Assumptions before any value is seen: a bound of class sizes, and the given totals of image sets."""

    bound: int
    totals: tuple[int, ...]


def common_sizes(tables: Sequence[Accuracies], name: str) -> Sizes:
    """Return the sizes of class `name` that all tables allow; tables that allow no size are ignored."""
    telling = [table.fits[name] for table in tables if len(table.fits[name])] or [tables[0].fits[name]]
    return reduce(np.intersect1d, telling)


def group_by_image_set(tables: Sequence[Accuracies], names: Sequence[str], prior: Prior) -> list[Group]:
    """Partition the tables into groups that share an image set."""
    units = join_declared(tables, names)
    evidence = Evidence(units, names, prior)
    if len(units) <= SEARCHED:
        return list(find_best_partition(evidence))
    return [Group(tables=evidence.tables(places)) for places in assign_greedily(evidence)]


class Evidence:
    """Log probability of the reported values under the assumption that certain tables share an image set.

    A unit is a table, or several tables that surely share an image set.
    """

    def __init__(self, units: Sequence[Sequence[Accuracies]], names: Sequence[str], prior: Prior) -> None:
        self.units, self.names, self.prior = units, names, prior
        self._known: dict[tuple[int, ...], dict[int | None, float]] = {}

    def tables(self, places: Sequence[int]) -> tuple[Accuracies, ...]:
        """Return all tables of the units at indices `places`. A unit is a list of tables that share an image set."""
        return tuple(table for place in sorted(places) for table in self.units[place])

    def of(self, places: Sequence[int]) -> float:
        """Return the log probability of the values if the units at the indices `places` share one image set.

        A unit is a list of tables. The most probable total number of images is assumed. A penalty for the image set
        is subtracted.
        """
        return max(self.by_total(places).values())

    def by_total(self, places: Sequence[int]) -> Mapping[int | None, float]:
        """Return the log probability of the values for each total number of images in a common image set.

        The units at the indices `places`, which are lists of tables, are assumed to share this image set. The keys of
        the result are the totals that were given in advance, and None for an unknown total. A penalty for the image
        set is subtracted from each log probability.
        """
        key = tuple(sorted(places))
        if key not in self._known:
            tables = self.tables(key)
            free = _weigh_freely(tables, self.names, self.prior.bound) - (OTHER_TOTAL if self.prior.totals else 0.0)
            summed = {total: weigh_total(tables, self.names, total) for total in self.prior.totals}
            split = SPLIT + SPLIT_OF_CLASS * (len(self.names) - 1)
            self._known[key] = {total: value - split for total, value in ({None: free} | summed).items()}
        return self._known[key]

    def of_partition(self, groups: Sequence[Sequence[int]]) -> float:
        """Return the log probability of the values if each group of units has an image set of its own.

        A penalty is subtracted if several image sets have the same given total of images.
        """
        best: dict[frozenset[int], float] = {frozenset(): 0.0}
        for places in groups:
            reached: dict[frozenset[int], float] = {}
            for used, before in best.items():
                for total, evidence in self.by_total(places).items():
                    after = used if total is None else used | {total}
                    value = before + evidence - (OTHER_TOTAL if total in used else 0.0)
                    reached[after] = max(value, reached.get(after, -math.inf))
            best = reached
        return max(best.values())


def join_declared(tables: Sequence[Accuracies], names: Sequence[str]) -> list[list[Accuracies]]:
    """Return lists of tables. Tables that declare the same image set and total are put in one list.

    A table that declares neither is alone in its list. Tables that declare the same are kept apart if no common
    class sizes fit them.
    """
    units: list[list[Accuracies]] = []
    for key in dict.fromkeys(table.declared for table in tables):
        unit = [table for table in tables if table.declared == key]
        together = key != (None, None) and all(len(common_sizes(unit, name)) for name in names if _tells(unit, name))
        units += [unit] if together else [[table] for table in unit]
    return units


def _tells(tables: Sequence[Accuracies], name: str) -> bool:
    return any(len(table.fits[name]) for table in tables)


def _likelihood(tables: Sequence[Accuracies], name: str, sizes: Sizes) -> NDArray[np.float64]:
    """Return the log probability of the accuracies of class `name` for each class size in `sizes`.

    All counts of correctly classified images from 0 to the size are assumed to be equally probable.
    """
    units = [float(t.cells[name].unit) for t in tables if len(t.fits[name]) and t.cells[name].share not in (0, 1)]
    logarithms = [np.log(np.maximum(unit, 1.0 / (sizes + 1))) for unit in units]
    return np.sum(logarithms, axis=0) if logarithms else np.zeros(len(sizes))


def _weigh_freely(tables: Sequence[Accuracies], names: Sequence[str], bound: int) -> float:
    """Return the log probability of the accuracies, averaged over all class sizes up to `bound`.

    The prior probability of a class size is proportional to 1/sqrt(size).
    """
    evidence = 0.0
    all_sizes = math.log(float(np.sum(np.arange(1, bound + 1) ** -0.5)))
    for name in names:
        if not _tells(tables, name):
            continue
        sizes = common_sizes(tables, name)
        if not len(sizes):
            return -math.inf
        evidence += float(np.logaddexp.reduce(_likelihood(tables, name, sizes) - np.log(sizes) / 2)) - all_sizes
    return evidence


def weigh_total(tables: Sequence[Accuracies], names: Sequence[str], total: int, steps: int = STEPS) -> float:
    """Return the log probability of the values, averaged over all choices of class sizes that sum to `total`.

    The result is -inf if no choice fits, or if the computation would need more than `steps` operations.
    """
    allowed = [common_sizes(tables, name) for name in names]
    if sum(map(len, allowed)) * total > steps or total < len(names):
        return -math.inf
    # Ways to reach each sum with the first classes, weighted by the probability of the values.
    ways = np.zeros(total + 1)
    ways[0] = 1.0
    scale = 0.0
    for name, sizes in zip(names, allowed, strict=True):
        reached = np.zeros_like(ways)
        for size, logarithm in zip(sizes.tolist(), _likelihood(tables, name, sizes).tolist(), strict=True):
            if size <= total:
                reached[size:] += math.exp(logarithm) * ways[: total + 1 - size]
        if not reached.any():
            return -math.inf
        scale += math.log(reached.max())
        ways = reached / reached.max()
    return math.log(ways[total]) + scale - log_choices(total, len(names)) if ways[total] else -math.inf


def log_choices(total: int, classes: int) -> float:
    """Return the logarithm of the binomial coefficient C(total - 1, classes - 1).

    The coefficient is the number of ways to write `total` as an ordered sum of `classes` positive sizes.
    """
    return math.lgamma(total) - math.lgamma(classes) - math.lgamma(total - classes + 1)


def find_best_partition(evidence: Evidence, rival: float = RIVAL) -> Iterator[Group]:
    """Yield the groups of the most probable partition of the tables by image set.

    Each group has the probability that it is wrong. It also has the next most probable partitions, if their
    probability exceeds `rival`.
    """
    partitions = list(list_partitions(range(len(evidence.units))))
    logarithms = np.array([evidence.of_partition(groups) for groups in partitions])
    chosen = int(logarithms.argmax())
    if not math.isfinite(logarithms[chosen]):
        yield from (Group(tables=tuple(unit)) for unit in evidence.units)
        return
    probabilities = np.exp(logarithms - np.logaddexp.reduce(logarithms))
    rivals = [
        _describe(evidence, partitions[place])
        for place in np.argsort(-probabilities, kind="stable").tolist()
        if place != chosen and probabilities[place] > rival
    ]
    for places in partitions[chosen]:
        held = sum(p for p, groups in zip(probabilities.tolist(), partitions, strict=True) if places in groups)
        yield Group(tables=evidence.tables(places), doubt=max(0.0, 1.0 - held), rivals=tuple(rivals[:NAMED]))


def _describe(evidence: Evidence, groups: Sequence[Sequence[int]]) -> str:
    """Return a partition of the units as text, with a bar between groups of tables: `A, C | B, D`."""
    return " | ".join(", ".join(table.name for table in evidence.tables(places)) for places in groups)


def list_partitions(units: Sequence[int]) -> Iterator[list[tuple[int, ...]]]:
    """Yield all partitions of the units into groups."""
    if not units:
        yield []
        return
    *rest, last = units
    for groups in list_partitions(rest):
        for place, group in enumerate(groups):
            yield [*groups[:place], (*group, last), *groups[place + 1 :]]
        yield [*groups, (last,)]


def assign_greedily(evidence: Evidence) -> list[list[int]]:
    """Find a probable partition of many units: each joins the group where it fits best, in the order of the report."""
    groups: list[list[int]] = []
    for unit in range(len(evidence.units)):
        _assign(unit, groups, evidence)
    return sorted(map(sorted, groups))


def _assign(unit: int, groups: list[list[int]], evidence: Evidence) -> None:
    """Add a unit to one of `groups`, or append a new group with this unit alone.

    The choice is the one that gives the highest probability.
    """
    gains = [evidence.of([*group, unit]) - evidence.of(group) for group in groups]
    best = max(range(len(groups)), key=lambda place: gains[place], default=None)
    if best is not None and gains[best] >= evidence.of([unit]):
        groups[best].append(unit)
    else:
        groups.append([unit])
