"""Alternative choices of rows as classes: without a doubtful row or subtotals, or with further rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from in4310repro.audit.document import Measure
from in4310repro.audit.intervals import Cell, Interval, Rounding, mean_interval
from in4310repro.audit.sheets import Sheet, interval_of

FEWEST = 2  # classes that a mean is of
BLOCKS = 200  # classes; of more, no row is looked at as the mean of its neighbours
# Classes that are often left out of a mean.
LEFT_OUT = re.compile(
    r"(?:_{0,2}background_{0,2}|bg|others?|unknown|unk|void|unlabell?ed|none|clutter|null|noise|o|n/?a|rest"
    r"|no[- _]?(?:object|class|finding|event)|misc(?:ellaneous)?|ignore|undefined|neutral|normal)(?:[ _-].{0,20})?"
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """An alternative choice of rows as classes, and the condition under which it is right."""

    parts: Mapping[str, Cell]
    condition: str


def list_variants(parts: Mapping[str, Cell], measure: Measure, sheet: Sheet) -> Iterator[Variant]:
    """Yield alternative choices of classes: without a doubtful row or subtotals, or with further rows."""
    names = list(parts)
    for name in names if len(names) > FEWEST else []:
        # A summary that was taken for a class is the first or last row, and lies between the classes.
        others = [each for each in names if each != name]
        edge = name in (names[0], names[-1]) and _is_between(parts[name], [parts[other] for other in others])
        edge = edge and not _has_images_of_its_own(name, others, sheet.sizes)
        if edge or LEFT_OUT.fullmatch(name.lower()):
            yield Variant(parts=_remove(parts, [name]), condition=f"{name} is no class, or left out of the mean")
    subtotals = _find_subtotals(parts)
    if subtotals and len(names) - len(subtotals) >= FEWEST:
        listed = ", ".join(subtotals[:5])
        yield Variant(parts=_remove(parts, subtotals), condition=f"{listed}: the mean of the rows beside it, no class")
    beside = sheet.asides.get(measure, {})
    for added in [*([cell] for cell in beside.values()), list(beside.values())]:
        given = {_name(cell): cell for cell in added if _name(cell) not in parts}
        if given:
            yield Variant(parts={**parts, **given}, condition=f"{', '.join(given)}: a class, too")


def _has_images_of_its_own(name: str, others: Sequence[str], sizes: Mapping[str, int]) -> bool:
    """Return whether a row has a known size that differs from the sum of all other rows' sizes."""
    return sizes.get(name, 0) > 0 and sizes[name] != sum(sizes.get(other, 0) for other in others)


def _is_between(cell: Cell, others: Sequence[Cell]) -> bool:
    shares = [other.share for other in others]
    return min(shares) <= cell.share <= max(shares)


def _name(cell: Cell) -> str:
    return cell.value.class_name or cell.value.label


def _remove(parts: Mapping[str, Cell], names: Sequence[str]) -> dict[str, Cell]:
    return {name: cell for name, cell in parts.items() if name not in names}


def _find_subtotals(parts: Mapping[str, Cell]) -> list[str]:
    """Return the names of subtotal rows, each the mean of the rows up to the next; empty unless they cover all."""
    names = list(parts)
    if len(names) > BLOCKS:
        return []
    intervals = [interval_of(cell, Rounding.TWICE) for cell in parts.values()]
    below, above = _find_headings(intervals), _find_headings(intervals[::-1])
    return [names[place] for place in below] or [names[len(names) - 1 - place] for place in above]


def _find_headings(intervals: Sequence[Interval]) -> list[int]:
    """Return the fewest row indices that start at 0 and are each the mean of the rows up to the next index."""
    best: dict[int, list[int]] = {len(intervals): []}
    for place in range(len(intervals) - 3, -1, -1):
        ends = [end for end in range(place + 3, len(intervals) + 1) if end in best]
        fitting = [end for end in ends if _mean(intervals[place + 1 : end]).meets(intervals[place])]
        if fitting:
            best[place] = [place, *min((best[end] for end in fitting), key=len)]
    return best.get(0, [])


def _mean(intervals: Sequence[Interval]) -> Interval:
    return mean_interval(intervals, len(intervals))
