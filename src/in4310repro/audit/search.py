"""Class sizes that are not printed, from the decimals: those that every table of an image set allows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from in4310repro.audit.data_sets import declared
from in4310repro.audit.intervals import Cell, Rounding, counts_within
from in4310repro.audit.shares import counted_columns
from in4310repro.audit.sheets import Sheet, interval_of
from in4310repro.audit.verdicts import ImageSet, Options

BOUND = 2000  # images of a class, where the decimals tell no more
LARGEST = 20_000  # images of a class that are searched without being asked
CHANCE = 0.01  # sizes that random digits would be expected to allow, below which a size that fits is taken as the size
SIZES_TRIED = 10_000_000  # over all values, without being asked for more
CELLS = 500  # values that are searched although random digits would fit too
PARTITIONED = 6  # tables whose partitions into image sets are all tried
SPLIT = 1.0  # natural logarithm of how much more probable sets must be for each set more
STEPS = 200_000_000  # of the search for sizes with a given sum
Sizes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """Accuracies of one table by class, and the way in which all of them can have been rounded."""

    name: str
    cells: Mapping[str, Cell]
    fits: Mapping[str, Sizes]  # all sizes up to the bound that allow the accuracy
    rounding: Rounding
    declared: tuple[str | None, int | None]  # name of the image set and its images, where the text says so

    def fit(self, name: str, size: int) -> bool:
        """Whether a size allows the accuracy of a class, in any way of rounding."""
        cell = self.cells[name]
        return any(counts_within(interval_of(cell, way), size) for way in (self.rounding, Rounding.TRUNCATED))


def search(all_sheets: Sequence[Sheet], options: Options) -> Iterator[ImageSet]:
    """The image sets of all tables with accuracies and without sizes."""
    columns: dict[tuple[str, ...], list[tuple[Sheet, dict[str, Cell]]]] = {}
    for sheet in all_sheets:
        column = {} if sheet.sized or sheet.averaged else next(counted_columns(sheet), {})
        cells = {name: cell for name, cell in narrowed(column).items() if not cell.value.spread and not cell.ambiguous}
        if cells and len(cells) == len(column):
            columns.setdefault(tuple(sorted(cells)), []).append((sheet, cells))
    for tables in columns.values():
        yield from _sets(tables, options)


def narrowed(column: Mapping[str, Cell]) -> dict[str, Cell]:
    """The cells with trailing zeros put back, where none is printed and values are shorter than the others."""
    printed = [cell.value.printed for cell in column.values()]
    if any(each.text.rstrip("% ").endswith("0") and "." in each.text for each in printed):
        return dict(column)
    least = min((cell.unit for cell in column.values()), default=Fraction(1))
    return {name: replace(cell, unit=least) if cell.share else cell for name, cell in column.items()}


def bound_of(cells: Sequence[Cell], options: Options) -> int:
    """The largest class size that is searched: as given, or as far as one accuracy of so many decimals tells."""
    if options.bound:
        return options.bound
    unit = max((float(cell.unit) for cell in cells if cell.share not in (0, 1)), default=1.0)
    largest = max(BOUND, min(LARGEST, SIZES_TRIED // max(1, len(cells))))
    return int(min(largest, max(BOUND, math.sqrt(2 * CHANCE / unit))))


def fits(cell: Cell, rounding: Rounding, bound: int) -> Sizes:
    """All n up to the bound for which some k/n is printed like this."""
    interval = interval_of(cell, rounding)
    sizes = np.arange(1, bound + 1)
    # In floats first, and generously.
    first, last = float(interval.low) * sizes - 1e-9, float(interval.high) * sizes + 1e-9
    near = sizes[np.ceil(np.maximum(first, 0)) <= np.floor(np.minimum(last, sizes))]
    if float(interval.high - interval.low) > 1e-6:
        return np.asarray(near, dtype=np.int64)
    # Whether the first whole number from low n on is at most high n, in whole numbers.
    (a, b), (c, d) = interval.low.as_integer_ratio(), interval.high.as_integer_ratio()
    exact = [size for size in near.tolist() if max(0, -(-a * size // b)) <= min(size, c * size // d)]
    return np.array(exact, dtype=np.int64)


def _sets(tables: Sequence[tuple[Sheet, dict[str, Cell]]], options: Options) -> Iterator[ImageSet]:
    cells = [cell for _, column in tables for cell in column.values()]
    bound = bound_of(cells, options)
    names = list(tables[0][1])
    chance = {name: chance_fits([column[name] for _, column in tables], bound) for name in names}
    if len(cells) > CELLS and max(chance.values()) > CHANCE:
        return
    read = [_accuracies(sheet, column, bound) for sheet, column in tables]
    for group in _partition(read, names, bound):
        yield _image_set(group, names, bound, options)


def _accuracies(sheet: Sheet, column: Mapping[str, Cell], bound: int) -> Accuracies:
    rounding = Rounding.ROUNDED
    allowed = {name: fits(cell, rounding, bound) for name, cell in column.items()}
    if not all(map(len, allowed.values())):
        truncated = {name: fits(cell, Rounding.TRUNCATED, bound) for name, cell in column.items()}
        if all(map(len, truncated.values())):
            rounding, allowed = Rounding.TRUNCATED, truncated
    return Accuracies(
        name=sheet.name,
        cells=column,
        fits=allowed,
        rounding=rounding,
        declared=(sheet.table.image_set, sheet.table.total),
    )


def _partition(tables: Sequence[Accuracies], names: Sequence[str], bound: int) -> list[list[Accuracies]]:
    """The tables in groups of one image set each: the partition whose sizes are least likely to fit by chance."""
    for sizes in declared(len(names)):
        together = [table for table in tables if all(map(table.fit, names, sizes))]
        if together and _is_told(together, names, sizes):
            rest = [table for table in tables if table not in together]
            return [together, *(_partition(rest, names, bound) if rest else [])]
    units = _by_image_set(tables, names)
    if len(units) <= PARTITIONED:
        costs = ((sum(_cost(group, names) for group in groups), groups) for groups in _partitions(units))
        return min(costs, key=lambda pair: pair[0])[1]
    groups: list[list[Accuracies]] = []
    for unit in units:
        options = [_cost([*group, *unit], names) - _cost(group, names) for group in groups]
        best = min(range(len(groups)), key=lambda place: options[place], default=None)
        if best is not None and options[best] <= _cost(unit, names):
            groups[best] += unit
        else:
            groups.append(list(unit))
    return groups


def _by_image_set(tables: Sequence[Accuracies], names: Sequence[str]) -> list[list[Accuracies]]:
    """Tables that belong together by the name of their image set and its total, where some sizes fit all of them."""
    units: list[list[Accuracies]] = []
    for key in dict.fromkeys(table.declared for table in tables):
        unit = [table for table in tables if table.declared == key]
        together = key != (None, None) and _cost(unit, names) < math.inf
        units += [unit] if together else [[table] for table in unit]
    return units


def _is_told(tables: Sequence[Accuracies], names: Sequence[str], sizes: Sequence[int]) -> bool:
    """Whether random digits would hardly fit these sizes."""
    logarithm = sum(
        math.log(min(1.0, (size + 1) * float(table.cells[name].unit)))
        for table in tables
        for name, size in zip(names, sizes, strict=True)
    )
    return logarithm < math.log(CHANCE)


def _partitions(units: list[list[Accuracies]]) -> Iterator[list[list[Accuracies]]]:
    """All ways to put units of tables together into groups."""
    if len(units) == 1:
        yield units
        return
    first, *rest = units
    for groups in _partitions(rest):
        for place, group in enumerate(groups):
            yield [*groups[:place], [*first, *group], *groups[place + 1 :]]
        yield [first, *groups]


def _common(tables: Sequence[Accuracies], name: str) -> Sizes:
    common = tables[0].fits[name]
    for table in tables[1:]:
        common = np.intersect1d(common, table.fits[name], assume_unique=True)
    return common


def _cost(tables: Sequence[Accuracies], names: Sequence[str]) -> float:
    """Logarithm of the sizes that random digits would be expected to allow up to the smallest that fits."""
    total = SPLIT
    for name in names:
        common = _common(tables, name)
        if not len(common):
            if len(tables) > 1:
                return math.inf
            # What no size up to the bound allows says nothing about its class.
            continue
        total += math.log(max(1e-300, chance_fits([table.cells[name] for table in tables], int(common[0]))))
    return total


def chance_fits(cells: Sequence[Cell], bound: int) -> float:
    """Class sizes up to the bound that random digits in place of these would be expected to allow.

    sum over n of prod over tables of min(1, (n + 1) unit): n + 1 counts among 1/unit strings. An accuracy of exactly
    0 or 1 goes with every size.
    """
    allowed = np.arange(2, bound + 2)
    product = np.ones(bound)
    for cell in cells:
        if cell.share not in (0, 1):
            product *= np.minimum(1.0, allowed * float(cell.unit))
    return float(product.sum())


def _image_set(tables: Sequence[Accuracies], names: Sequence[str], bound: int, options: Options) -> ImageSet:
    """The sizes of one group: declared ones, the only ones with the given sum, or the smallest that fit."""
    allowed = {name: _common(tables, name) for name in names}
    chance = {
        name: chance_fits([table.cells[name] for table in tables if len(table.fits[name])], bound) for name in names
    }
    smallest = {name: int(sizes[0]) if len(sizes) else 1 for name, sizes in allowed.items()}
    chance = {name: value if len(allowed[name]) else float(bound) for name, value in chance.items()}
    taken = smallest
    known = [
        sizes
        for sizes in declared(len(names))
        if options.images in (None, sum(sizes)) and all(all(map(table.fit, names, sizes)) for table in tables)
    ]
    totals = [total for total in (options.images, *(table.declared[1] for table in tables)) if total]
    if known and _is_told(tables, names, known[0]):
        taken, chance = dict(zip(names, known[0], strict=True)), dict.fromkeys(names, 0.0)
    else:
        for total in totals:
            choice = only_choice([sizes.tolist() for sizes in allowed.values()], total)
            if choice:
                taken = dict(zip(names, choice, strict=True))
                break
    return ImageSet(
        tables=tuple(table.name for table in tables), smallest=smallest, taken=taken, chance=chance, origin="search"
    )


def only_choice(options: Sequence[Sequence[int]], total: int) -> tuple[int, ...] | None:
    """One size from each list such that they sum to the total, if there is exactly one way; else None."""
    if sum(map(len, options)) * total > STEPS or len(options) * total > STEPS:
        return None
    # Ways to reach each sum with the first lists, counted up to two.
    ways = [np.zeros(total + 1, dtype=np.uint8)]
    ways[0][0] = 1
    for sizes in options:
        reached = np.zeros_like(ways[0])
        for size in sizes:
            if size <= total:
                reached[size:] = np.minimum(reached[size:] + ways[-1][: total + 1 - size], 2)
        ways.append(reached)
    if ways[-1][total] != 1:
        return None
    chosen: list[int] = []
    for sizes, before in zip(reversed(options), reversed(ways[:-1]), strict=True):
        size = next(size for size in sizes if size <= total and before[total - size])
        chosen.append(size)
        total -= size
    return tuple(reversed(chosen))
