"""Compare counts of correct images over all classes with the sums of the class counts."""

from __future__ import annotations

from collections.abc import Iterator

from in4310repro.audit.claims import Claim
from in4310repro.audit.sheets import Sheet


def check_totals(sheet: Sheet) -> Iterator[Claim]:
    """Yield a claim for each overall count of correct images that differs from the sum over the classes."""
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
