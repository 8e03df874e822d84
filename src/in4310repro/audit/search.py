"""Infer class sizes from the decimals: sizes n for which every reported accuracy is some k/n."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from in4310repro.audit.document import Measure
from in4310repro.audit.grouping import (
    STEPS,
    Accuracies,
    Group,
    Prior,
    Sizes,
    common_sizes,
    group_by_image_set,
    log_choices,
)
from in4310repro.audit.intervals import Cell, Rounding, is_half, smallest_size
from in4310repro.audit.shares import counts, list_counted_columns
from in4310repro.audit.sheets import Sheet, interval_of
from in4310repro.audit.verdicts import Counted, Finding, ImageSet, Options, Rank

BOUND = 2000  # images of a class, where the decimals tell no more
LARGEST = 20_000  # images of a class that are searched without being asked
CHANCE = 0.01  # a size that fits is accepted if random digits are expected to fit fewer sizes
SIZES_TRIED = 10_000_000  # over all values, without being asked for more
CELLS = 500  # values that are searched although random digits would fit too


def search(
    all_sheets: Sequence[Sheet], options: Options, *, most: int = CELLS, allowed: float = CHANCE
) -> Iterator[ImageSet]:
    """Yield image sets with inferred class sizes for the tables that have accuracies but no sizes.

    Tables with the same classes are searched together. If they have more than `most` values, they are searched
    only if the expected number of class sizes that fit by chance is at most `allowed`.
    """
    columns: dict[tuple[str, ...], list[tuple[Sheet, dict[str, Cell]]]] = {}
    for sheet in all_sheets:
        column = {} if sheet.sized or sheet.averaged else next(list_counted_columns(sheet), {})
        cells = {name: cell for name, cell in restore_zeros(column).items() if not cell.ambiguous}
        if cells and len(cells) == len(column):
            columns.setdefault(tuple(sorted(cells)), []).append((sheet, cells))
    for tables in columns.values():
        searched = [cell for _, column in tables for cell in column.values()]
        names, bound = list(tables[0][1]), search_bound(searched, options)
        chance = max(expect_fits([column[name] for _, column in tables], bound) for name in names)
        if len(searched) <= most or chance <= allowed:
            read = [_accuracies(sheet, column, bound) for sheet, column in tables]
            for group in _group(read, names, options, bound):
                yield infer_image_set(group, names, bound, options)


def restore_zeros(column: Mapping[str, Cell]) -> dict[str, Cell]:
    """Return the cells of a column, with a finer rounding unit where trailing zeros may not have been printed.

    If no decimal number ends in 0, then 0.9 beside 0.875 may mean 0.900. All nonzero cells then get the
    finest unit of the column.
    """
    printed = [cell.value.printed for cell in column.values()]
    if any(each.text.rstrip("% ").endswith("0") and "." in each.text for each in printed):
        return dict(column)
    least = min((cell.unit for cell in column.values()), default=Fraction(1))
    return {name: replace(cell, unit=least) if cell.share else cell for name, cell in column.items()}


def search_bound(cells: Sequence[Cell], options: Options) -> int:
    """Return the largest class size to search.

    It is the bound in `options` if there is one. Otherwise it increases with the number of printed decimals, up
    to a limit that depends on the number of cells.
    """
    if options.bound:
        return options.bound
    unit = max((float(cell.unit) for cell in cells if cell.share not in (0, 1)), default=1.0)
    largest = max(BOUND, min(LARGEST, SIZES_TRIED // len(cells)))
    return int(min(largest, max(BOUND, math.sqrt(2 * CHANCE / unit))))


def list_sizes(cell: Cell, rounding: Rounding, bound: int) -> Sizes:
    """Return all class sizes n up to `bound` for which a fraction k/n rounds to the value of `cell`."""
    interval = interval_of(cell, rounding)
    sizes = np.arange(1, bound + 1)
    # A generous preselection in floats.
    first, last = float(interval.low) * sizes - 1e-9, float(interval.high) * sizes + 1e-9
    near = sizes[np.ceil(np.maximum(first, 0)) <= np.floor(np.minimum(last, sizes))]
    if float(interval.high - interval.low) > 1e-6:
        return np.asarray(near, dtype=np.int64)
    # Exact test in integers: is the smallest integer >= low n also <= high n?
    (a, b), (c, d) = interval.low.as_integer_ratio(), interval.high.as_integer_ratio()
    exact = [size for size in near.tolist() if max(0, -(-a * size // b)) <= min(size, c * size // d)]
    return np.array(exact, dtype=np.int64)


def _accuracies(sheet: Sheet, column: Mapping[str, Cell], bound: int) -> Accuracies:
    rounding = Rounding.ROUNDED
    allowed = {name: list_sizes(cell, rounding, bound) for name, cell in column.items()}
    if not all(map(len, allowed.values())):
        truncated = {name: list_sizes(cell, Rounding.TRUNCATED, bound) for name, cell in column.items()}
        if all(map(len, truncated.values())):
            rounding, allowed = Rounding.TRUNCATED, truncated
    return Accuracies(
        name=sheet.name,
        cells=column,
        fits=allowed,
        rounding=rounding,
        declared=(sheet.table.image_set, sheet.table.total),
    )


def _group(tables: Sequence[Accuracies], names: Sequence[str], options: Options, bound: int) -> Iterator[Group]:
    """Yield the groups of tables that share an image set; groups with known class sizes come first."""
    known = list_known_sets(names, options)
    of_sets: dict[tuple[tuple[int, ...], ...], list[Accuracies]] = {}
    for table in tables:
        fitting = tuple(sizes for sizes in known if all(map(table.fit, names, sizes)))
        of_sets.setdefault(fitting, []).append(table)
    rest: list[Accuracies] = []
    for sets, together in of_sets.items():
        if sets and (options.more_sizes or is_significant(together, names, sets[0])):
            # If several fit, the size is unknown.
            yield Group(tables=tuple(together), sizes=sets[0], doubt=0.0 if len(sets) == 1 else 1.0)
        else:
            rest += together
    yield from group_by_image_set(rest, names, Prior(bound=bound, totals=options.totals))


def list_known_sets(names: Sequence[str], options: Options) -> list[tuple[int, ...]]:
    """Return the class sizes of each image set in `options` that has all classes `names`.

    The image sets count only if there are several of them. If none is found and there are six names, return
    the class sizes of the six-class scene photographs; if `options` has totals, only those with such a
    total.
    """
    given = [
        {name.strip().casefold(): n for name, n in sizes.items()}
        for sizes in options.more_sizes and (options.sizes, *options.more_sizes)
    ]
    folded = [name.strip().casefold() for name in names]
    sets = [tuple(sizes[name] for name in folded) for sizes in given if set(folded) <= set(sizes)]
    scenes = [sizes for sizes in known_sizes(len(names)) if not options.totals or sum(sizes) in options.totals]
    return list(dict.fromkeys(sets or scenes))


def is_significant(tables: Sequence[Accuracies], names: Sequence[str], sizes: Sequence[int]) -> bool:
    """Return whether the values of the tables are evidence of these class sizes.

    They are if values with random digits would fit the sizes with a probability below `CHANCE`.
    """
    logarithm = sum(
        math.log(min(1.0, (size + 1) * float(table.cells[name].unit)))
        for table in tables
        for name, size in zip(names, sizes, strict=True)
        if table.cells[name].share not in (0, 1)
    )
    return logarithm < math.log(CHANCE)


def expect_fits(cells: Sequence[Cell], bound: int) -> float:
    """Return the expected number of class sizes up to `bound` that fit the cells if their digits are random.

    It is the sum over the sizes n of a product with one factor min(1, (n + 1) u) for each cell. A cell with
    rounding unit u can show 1/u numbers, and a class of n images gives at most n + 1 of them. An accuracy of
    exactly 0 or 1 fits every size.
    """
    allowed = np.arange(2, bound + 2)
    product = np.ones(bound)
    for cell in cells:
        if cell.share not in (0, 1):
            product *= np.minimum(1.0, allowed * float(cell.unit))
    return float(product.sum())


def infer_image_set(group: Group, names: Sequence[str], bound: int, options: Options) -> ImageSet:
    """Return the image set of a group with its class sizes.

    Known class sizes are used if the group has any. If it has none, and exactly one choice of fitting sizes adds
    up to a given total, this choice is used. In all other cases the smallest fitting sizes are used.
    """
    tables = group.tables
    allowed = {name: common_sizes(tables, name) for name in names}
    chance = {
        name: expect_fits([table.cells[name] for table in tables if len(table.fits[name])], bound) for name in names
    }
    smallest = {name: int(sizes[0]) if len(sizes) else 1 for name, sizes in allowed.items()}
    taken = smallest
    if group.sizes:
        taken, chance = dict(zip(names, group.sizes, strict=True)), dict.fromkeys(names, 0.0)
    else:
        totals = (*options.totals, *(table.declared[1] for table in tables))
        for total in dict.fromkeys(total for total in totals if total):
            choice = find_only_choice([sizes.tolist() for sizes in allowed.values()], total)
            if choice:
                taken = dict(zip(names, choice, strict=True))
                by_total = expect_totals(tables, names, total)
                chance = {name: min(value, by_total) for name, value in chance.items()}
                break
    return ImageSet(
        tables=tuple(table.name for table in tables),
        smallest=smallest,
        taken=taken,
        chance={name: max(value, group.doubt) for name, value in chance.items()},
        origin="search",
        rivals=group.rivals,
    )


def expect_totals(tables: Sequence[Accuracies], names: Sequence[str], total: int) -> float:
    """Return an upper bound on how many choices of class sizes are expected to fit values with random digits.

    The result is 1 if the bound is above 1. The sizes of all classes have the sum `total`, so there are
    C(total - 1, classes - 1) choices. Each choice fits with probability prod min(1, (n + 1) unit), which is
    largest for equal sizes n.
    """
    if total < len(names):
        return 1.0
    logarithm = log_choices(total, len(names))
    for table in tables:
        cells = [table.cells[name] for name in names if len(table.fits[name])]
        telling = [cell for cell in cells if cell.share not in (0, 1)]
        units = sum(math.log(float(cell.unit)) for cell in telling)
        logarithm += min(0.0, units + len(telling) * math.log(total / max(1, len(telling)) + 1))
    return math.exp(min(0.0, logarithm))


def find_only_choice(options: Sequence[Sequence[int]], total: int, steps: int = STEPS) -> tuple[int, ...] | None:
    """Return the sizes, one from each list, if only one choice of sizes has the sum `total`.

    Return None if no choice or several choices have this sum, or if the search would take too long.
    """
    if not all(options) or sum(map(len, options)) * total > steps:
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


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A published data set: its classes, class sizes and expected accuracies."""

    name: str
    classes: tuple[str, ...]
    sizes: Mapping[str, tuple[int, ...]]  # by part, in the order of the classes
    ceilings: Mapping[str, Fraction]  # accuracies, by what they are, above which a result is odd


# Accuracies on the scenes. The first is an assumption, above what the winner of the public competition reports on its
# 7,301 other images: 0.9466 by one network and 0.9589 by a vote of some 20 submissions (A. Sayed, 2019, "1st Place
# Solution for Intel Scene Classification Challenge"). The second is 2813 of 3000: reports/photographs.
SCENES = DataSet(
    name="scenes",
    classes=("buildings", "forest", "glacier", "mountain", "sea", "street"),
    sizes={"test": (463, 483, 521, 535, 490, 508), "validation": (309, 322, 347, 357, 327, 338)},
    ceilings={
        "our assumption, chosen above the 0.9589 that A. Sayed, 2019, reports for a vote": Fraction("0.9635"),
        "reached by our EfficientNet-Lite0": Fraction("0.9377"),
    },
)


def known_sizes(classes: int) -> list[tuple[int, ...]]:
    """Return the class sizes of each split of the six-class scene photographs; empty if `classes` is not six."""
    return [sizes for sizes in SCENES.sizes.values() if len(sizes) == classes]


def is_scenes(names: tuple[str, ...], sizes: tuple[int, ...]) -> bool:
    """Return whether the class names or class sizes are those of the scene photographs."""
    return tuple(sorted(name.casefold() for name in names)) == SCENES.classes or sizes in SCENES.sizes.values()


def find_image_sets(sheets: Sequence[Sheet], options: Options) -> tuple[ImageSet, ...]:
    """Return the image sets whose class sizes are reported, given by the caller, or inferred from the decimals."""
    return (*_group_known(sheets), *search(sheets, options))


def _group_known(sheets: Sequence[Sheet]) -> Iterator[ImageSet]:
    groups: dict[tuple[tuple[str, int], ...], list[Sheet]] = {}
    for sheet in sheets:
        if sheet.sizes:
            groups.setdefault(tuple(sheet.sizes.items()), []).append(sheet)
    for group in groups.values():
        sizes = group[0].sizes
        yield ImageSet(
            tables=tuple(sheet.name for sheet in group),
            smallest=sizes,
            taken=sizes,
            chance=dict.fromkeys(sizes, 0.0),
            origin=group[0].origin,
        )


def count_images(sheets: Sequence[Sheet], sets: Sequence[ImageSet]) -> Iterator[Counted]:
    """Yield the possible numbers of correctly classified images, for each table of accuracies or recalls.

    Tables without an image set in `sets` and tables of means over folds or runs are left out. A class has
    None in place of the numbers if its size is unknown, or if no number can be found that fits.
    """
    set_of = {name: group for group in sets for name in group.tables}
    for sheet in sheets:
        column = next(list_counted_columns(sheet), {})
        group = set_of.get(sheet.name)
        if not column or group is None or sheet.averaged:
            continue
        known = set(group.identified)
        sizes = {name: group.taken[name] for name in column if name in group.taken}
        cells = restore_zeros(column) if group.origin == "search" else column
        correct = {name: _count(cells[name], size if name in known else None, column) for name, size in sizes.items()}
        if sizes:
            yield Counted(name=sheet.name, sizes=sizes, correct=correct)


def _count(cell: Cell, size: int | None, column: Mapping[str, Cell]) -> range | None:
    """Return the possible numbers of correctly classified images.

    Return None if no number fits, if the size is unknown, or if it is unclear whether the value is a
    percentage.
    """
    if size is None or cell.ambiguous:
        return None
    if cell.value.count and cell.value.count[1] == size:
        return range(cell.value.count[0], cell.value.count[0] + 1)
    half = is_half([each.value.printed for each in column.values()])
    return next((fitting for way in Rounding if (fitting := counts(cell, size, way, half))), None)


def check_unsized(sheets: Sequence[Sheet], options: Options) -> Iterator[Finding]:
    """Yield a finding for each accuracy or recall that equals no rounded fraction k/n with n up to a bound.

    Only classes of unknown size are checked. The bound is the largest class size to search (see `search_bound`).
    """
    for sheet in sheets:
        if sheet.averaged:
            continue
        for column in list_counted_columns(sheet):
            # A negative number is not a share for any class size.
            cells = {name: cell for name, cell in column.items() if name not in sheet.sizes and cell.share >= 0}
            if cells and not is_half([cell.value.printed for cell in cells.values()]):
                yield from _find_large(sheet, cells, search_bound(list(cells.values()), options))


def _find_large(sheet: Sheet, cells: dict[str, Cell], bound: int) -> Iterator[Finding]:
    for name, cell in cells.items():
        size = min(smallest_size(interval_of(cell, way)) for way in Rounding)
        if size <= bound or cell.value.measure not in (Measure.ACCURACY, Measure.RECALL):
            continue
        yield Finding(
            kind="no fraction",
            rank=Rank.UNLESS,
            tables=(sheet.name,),
            message=f"{cell.value.measure} of {name} is printed as {cell.value.printed.text}, and no k/n with n up to "
            f"{bound} is printed so",
            conditions=(f"the class has {size} images or more", "the value is a mean over batches, folds or runs"),
            values=(cell.value,),
            readings=("as the share of images of the class that are right",),
            excluded=(f"every k/n with n up to {bound}, rounded or truncated, in float64 and float32",),
        )
