"""Numbers of images behind accuracies, and accuracies that only a very large class could give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from in4310repro.audit.document import Measure
from in4310repro.audit.intervals import Cell, Rounding, is_half, smallest_size
from in4310repro.audit.search import restore_zeros, search, search_bound
from in4310repro.audit.shares import counts, list_counted_columns
from in4310repro.audit.sheets import Sheet, interval_of
from in4310repro.audit.verdicts import Counted, Finding, ImageSet, Options, Rank


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
    """Yield the numbers of correct images of each table with accuracies or recalls of classes of known size."""
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
    """Return the numbers of correct images that fit a value; None if there are none or the size is unknown."""
    if size is None or cell.ambiguous:
        return None
    if cell.value.count and cell.value.count[1] == size:
        return range(cell.value.count[0], cell.value.count[0] + 1)
    half = is_half([each.value.printed for each in column.values()])
    return next((fitting for way in Rounding if (fitting := counts(cell, size, way, half))), None)


def check_unsized(sheets: Sequence[Sheet], options: Options) -> Iterator[Finding]:
    """Yield a finding for each accuracy that equals no k/n with n up to the largest class size searched."""
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
