"""Contradictions found by the checks; a contradiction that a condition explains is not called impossible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from in4310repro.audit.document import Measure, Value
from in4310repro.audit.intervals import Cell, Rounding
from in4310repro.audit.links import Link
from in4310repro.audit.sheets import Sheet
from in4310repro.audit.verdicts import Finding, Rank

CONDITIONS = {
    Rounding.TWICE: "the numbers were rounded twice",
    Rounding.TRUNCATED: "the numbers are truncated, cut off instead of rounded",
}
SMALL = "a small number such as 1e-7 was added to the denominators"
FORMATS = "rounded half to even, rounded half up, rounded twice, and truncated"
ROUNDED = "rounded half to even or half up"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A contradiction between numbers of one table; `conditions` lists assumptions that would resolve it."""

    kind: str
    message: str
    cells: tuple[Cell, ...]
    conditions: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    needs_all: bool = False  # it holds for all classes together, so that one more could change it
    needs_counts: bool = False  # it holds for whole images, so that a mean over folds could change it


# Tests whether numbers fit if the parts are rounded the first way and the summary the second way.
Fit = Callable[[Rounding, Rounding], bool]


def find_conditions(fits: Fit, parts: Iterable[Cell] = (), summary: Cell | None = None) -> tuple[str, ...] | None:
    """Return a text for each unusual rounding with which the numbers fit together.

    The result is None if the numbers fit with normal rounding, and empty if they fit with no rounding. Unusual
    roundings are truncation and double rounding. A report is assumed to round in one way. However, an average
    and its class values may be rounded differently if their numbers of decimals differ, or if the average is a
    percentage without decimals.

    Args:
        fits: tells whether the numbers fit together, given the rounding of the class values and that of their
            average.
        parts: the class values.
        summary: their average; None if there is none.
    """
    ways = [(Rounding.ROUNDED, Rounding.ROUNDED)]
    if fits(*ways[0]):
        return None
    others = [(way, way) for way in CONDITIONS]
    if summary is not None and _may_round_differently(list(parts), summary):
        others += [(Rounding.TRUNCATED, Rounding.TWICE), (Rounding.TWICE, Rounding.TRUNCATED)]
    explaining = [way for way in others if fits(*way)]
    reasons = (Rounding.TRUNCATED if Rounding.TRUNCATED in way else Rounding.TWICE for way in explaining)
    return tuple(dict.fromkeys(CONDITIONS[reason] for reason in reasons))


def _may_round_differently(parts: Sequence[Cell], summary: Cell) -> bool:
    whole_percent = summary.value.printed.percent and summary.value.printed.decimals <= 2
    return whole_percent or any(part.unit != summary.unit for part in parts)


def make_finding(claim: Claim, sheet: Sheet) -> Finding:
    """Convert a contradiction (Claim) to a Finding with a severity (rank).

    The finding lists the assumptions that would resolve the contradiction: those of the claim and of its table.
    """
    conditions = [*claim.conditions]
    # A rounding that a condition names as an explanation must not be listed as excluded.
    excused = any(text in CONDITIONS.values() for text in conditions)
    measures = {cell.value.measure for cell in claim.cells}
    if claim.needs_all:
        conditions += [*sheet.gaps, *[gap.condition for gap in sheet.beside if gap.is_of(measures)]]
    if _accuracy_and_classes(claim.cells):
        conditions += sheet.tokens
    if claim.inputs:
        conditions += sheet.said
    links = [link for link in sheet.links if _rests_on(claim, link)]
    conditions += [condition for link in links for condition in link.conditions]
    if claim.needs_counts:
        conditions += sheet.averaged
    values: list[Value] = [cell.value for cell in claim.cells]
    return Finding(
        kind=claim.kind,
        rank=Rank.UNLESS if conditions else Rank.IMPOSSIBLE,
        tables=(sheet.name,),
        message=claim.message,
        conditions=tuple(dict.fromkeys(conditions)),
        values=tuple(values),
        inputs=(*claim.inputs, *[link.text for link in links]),
        readings=claim.readings or (_describe_readings(claim.cells),),
        excluded=tuple(ROUNDED if text == FORMATS and excused else text for text in claim.excluded or (FORMATS,)),
    )


def _rests_on(claim: Claim, link: Link) -> bool:
    """Return whether a claim uses both a table's own values and values that `link` added to the table."""
    lines = {cell.value.printed.line for cell in claim.cells}
    of_matrix = claim.kind == "confusion matrix"
    added = bool(lines & link.lines) or (of_matrix and link.matrix)
    return added and (bool(lines - link.lines) or (of_matrix and not link.matrix))


def _accuracy_and_classes(cells: Sequence[Cell]) -> bool:
    """Return whether the cells include both an overall accuracy and class values."""
    values = [cell.value for cell in cells]
    accuracy = any(value.measure is Measure.ACCURACY and value.class_name is None for value in values)
    return accuracy and any(value.class_name is not None for value in values)


def _describe_readings(cells: Sequence[Cell]) -> str:
    """Return a text that says whether the numbers were read as fractions of one, percentages or both."""
    if any(cell.ambiguous for cell in cells):
        return "as percentages; those of at most one also as shares"
    if all(cell.value.printed.percent for cell in cells):
        return "as percentages"
    return "as percentages and shares" if any(cell.value.printed.percent for cell in cells) else "as shares of one"


def describe_sizes(sheet: Sheet, names: Iterable[str]) -> tuple[str, ...]:
    """Return a text for each class in `names` whose size is known. It gives the size and its source."""
    return tuple(f"{sheet.sizes[name]} images of {name}, {sheet.origin}" for name in names if name in sheet.sizes)
