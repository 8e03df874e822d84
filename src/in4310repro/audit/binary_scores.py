"""Check if any whole image counts give all reported scores of one binary test."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from in4310repro.audit.binary_counts import Split, has_counts
from in4310repro.audit.claims import FORMATS, Claim, find_conditions
from in4310repro.audit.document import Average, Measure
from in4310repro.audit.intervals import Cell, Rounding
from in4310repro.audit.links import has_parts
from in4310repro.audit.sheets import Sheet, half_error, interval_of

SCORES = (
    Measure.RECALL,
    Measure.SPECIFICITY,
    Measure.PRECISION,
    Measure.NEGATIVE_PREDICTIVE_VALUE,
    Measure.ACCURACY,
    Measure.BALANCED_ACCURACY,
    Measure.F1,
)
# Names that are used of a binary test; precision, recall and F1 are averages over classes as often.
OF_TESTS = re.compile(
    r"sensitivity|specificity|\bppv\b|\bnpv\b|predictive value|\btpr\b|\btnr\b|true[ _](?:pos|neg)", re.IGNORECASE
)
READ = "sensitivity TP / P, specificity TN / N, PPV TP / (TP + FP), NPV TN / (TN + FN), F1 2 TP / (2 TP + FP + FN)"
OF_CLASSES = "the scores are averages over several classes"


def check_binary_scores(sheet: Sheet) -> Iterator[Claim]:
    """Yield a claim if no integers TP and TN give all scores of a binary test at once."""
    named = sheet.named_split
    row = scores_of_test(sheet)
    if named is None or not row:
        return
    cells = list(row.values())

    def fits(way: Rounding, _: Rounding) -> bool:
        error = half_error(cells)
        return has_counts({m: interval_of(cell, way).widened(error) for m, cell in row.items()}, named.split)

    conditions = find_conditions(fits, cells)
    if conditions is None:
        return
    texts = ", ".join(f"{cell.value.label} {cell.value.printed.text}" for cell in cells)
    yield Claim(
        kind="binary scores",
        message=f"no whole numbers of right positives and right negatives give {texts} of {_shown(named.split)}",
        cells=tuple(cells),
        conditions=(*conditions, *named.conditions, *sheet.elsewhere, *(() if named.binary else [OF_CLASSES])),
        inputs=(f"{_shown(named.split)}, as line {named.line} says",),
        readings=(READ,),
        excluded=(
            "every number of right positives with every number of right negatives"
            + ("" if named.split.positives else ", for every number of positives"),
            FORMATS,
        ),
        needs_counts=True,
    )


def scores_of_test(sheet: Sheet) -> Mapping[Measure, Cell]:
    """Return the scores if a table reports one binary test; empty if it has classes, a matrix or averages."""
    cells = [cell for cell in sheet.summaries if cell.value.measure in SCORES]
    row = {cell.value.measure: cell for cell in cells}
    averaged = any(cell.value.average not in (None, Average.OVERALL) or cell.value.spread for cell in cells)
    if has_parts(sheet.table) or len(row) != len(cells) or averaged:
        return {}
    of_tests = sum(OF_TESTS.search(cell.value.label) is not None for cell in cells)
    return row if of_tests >= 2 else {}


def _shown(split: Split) -> str:
    if split.positives is None:
        return f"{split.total} images"
    return f"{split.positives} positives and {split.total - split.positives} negatives"
