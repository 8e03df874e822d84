"""Find accuracies with so many decimals that only a very large class could give them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from in4310repro.audit.document import Measure
from in4310repro.audit.intervals import Cell, Rounding, is_half, smallest_size
from in4310repro.audit.search import search_bound
from in4310repro.audit.shares import list_counted_columns
from in4310repro.audit.sheets import Sheet, interval_of
from in4310repro.audit.verdicts import Finding, Options, Rank


def check_unsized(sheets: Sequence[Sheet], options: Options) -> Iterator[Finding]:
    """Yield a finding for each accuracy that no fraction k/n with n up to the bound gives."""
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
            conditions=(
                f"the class has {size} images or more",
                "the value is a mean over batches, folds or runs",
            ),
            values=(cell.value,),
            readings=("as the share of images of the class that are right",),
            excluded=(f"every k/n with n up to {bound}, rounded or truncated, in float64 and float32",),
        )
