"""Check reported averages against the class values, and against other choices of rows as classes."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from in4310repro.audit.averages import (
    AS_ZEROS,
    WEIGHTED,
    Reading,
    Summary,
    list_readings,
    list_summaries,
    make_reading,
    read_plain_means,
    sum_error,
)
from in4310repro.audit.claims import FORMATS, Claim, describe_sizes, find_conditions
from in4310repro.audit.document import Average, Measure
from in4310repro.audit.intervals import ALMOST_FULL, Cell, Interval, Rounding, join_intervals, mean_interval
from in4310repro.audit.sheets import Sheet, interval_of
from in4310repro.audit.verdicts import MeanCheck

FEWEST = 2  # classes that a mean is of
BLOCKS = 200  # classes; of more, no row is looked at as the mean of its neighbours
# Classes that are often left out of a mean.
LEFT_OUT = re.compile(
    r"(?:_{0,2}background_{0,2}|bg|others?|unknown|unk|void|unlabell?ed|none|clutter|null|noise|o|n/?a|rest"
    r"|no[- _]?(?:object|class|finding|event)|misc(?:ellaneous)?|ignore|undefined|neutral|normal)(?:[ _-].{0,20})?"
)


def check_means(sheet: Sheet) -> Iterator[tuple[Claim | None, MeanCheck]]:
    """Yield a pair (claim, comparison) for each average of the table.

    The claim is a contradiction between the average and the class values; it is None if there is no
    contradiction.
    """
    for summary in list_summaries(sheet):
        readings = list(list_readings(summary, sheet))
        if summary.cell.share < 0:
            continue
        if readings:
            yield _claim(summary, readings, sheet), _mean_check(summary, readings, sheet)
        elif summary.measure is not Measure.AVERAGE_PRECISION or summary.average is Average.UNNAMED:
            yield None, _mean_check(summary, [*read_plain_means(summary, sheet), *_read_any_weights(summary)], sheet)


def _read_any_weights(summary: Summary) -> Iterator[Reading]:
    """Yield a Reading that allows any mean from the smallest to the largest class value, whatever the weights."""
    parts = summary.parts.values()

    yield make_reading("some weights", lambda way: join_intervals([interval_of(part, way) for part in parts]))


def _claim(summary: Summary, readings: Sequence[Reading], sheet: Sheet) -> Claim | None:
    def fits(parts: Rounding, whole: Rounding) -> bool:
        printed = interval_of(summary.cell, whole)
        return any(reading.means[parts].meets(printed) for reading in readings if not reading.condition)

    conditions = find_conditions(fits, summary.parts.values(), summary.cell)
    if conditions is None:
        return None
    conditions += (*_find_excuses(summary, readings), *_explain_by_other_classes(summary, sheet))
    first = readings[0]
    value = summary.cell.value
    weighted = first.name == WEIGHTED
    return Claim(
        kind="weighted mean" if weighted else "mean",
        message=f"{value.label or value.measure} is printed as {value.printed.text}; the {_name(first)} of its "
        f"{len(summary.parts)} parts is {_shown(first.means[Rounding.ROUNDED], value.printed.percent)}",
        cells=(summary.cell, *summary.parts.values()),
        conditions=conditions,
        inputs=describe_sizes(sheet, summary.parts) if weighted else (),
        readings=(f"{value.label or value.measure}: {summary.average} average of {summary.measure}",),
        excluded=(
            *(
                f"{reading.name}: {_shown(reading.means[Rounding.ROUNDED], value.printed.percent)}"
                for reading in readings
            ),
            FORMATS,
        ),
        needs_all=True,
        needs_counts=weighted,
    )


def _name(reading: Reading) -> str:
    return "mean weighted by images" if reading.name == WEIGHTED else reading.name


def _find_excuses(summary: Summary, readings: Sequence[Reading]) -> Iterator[str]:
    """Yield the condition of each formula in `readings` that gives the reported average.

    Formulas that hold without a condition are skipped.
    """
    cells = [summary.cell, *summary.parts.values()]
    whole = any(cell.value.printed.percent and cell.value.printed.decimals <= 2 for cell in cells)
    for reading in readings:
        ways = [Rounding.TWICE, *([Rounding.TRUNCATED] if whole else [])]
        printed = [interval_of(summary.cell, way) for way in ways]
        if reading.condition and any(reading.means[way].meets(each) for way in ways for each in printed):
            yield reading.condition


def _explain_by_other_classes(summary: Summary, sheet: Sheet) -> Iterator[str]:
    """Yield a sentence for each other choice of rows as classes that explains the reported average.

    An example is "total is not a class, or left out of the mean".
    """
    printed = [interval_of(summary.cell, way) for way in (Rounding.ROUNDED, Rounding.TRUNCATED)]
    ways = (Rounding.ROUNDED, Rounding.TRUNCATED)
    for variant in list_variants(summary.parts, summary.measure, sheet):
        readings = list_readings(replace(summary, parts=variant.parts), sheet)
        means = [each.means for each in readings if not each.condition and each.name != AS_ZEROS]
        if any(mean[way].meets(each) for mean in means for way, each in zip(ways, printed, strict=True)):
            yield variant.condition


def _shown(interval: Interval, percent: bool) -> str:
    scale, sign = (100, " %") if percent else (1, "")
    low, high = f"{float(interval.low * scale):.6g}", f"{float(interval.high * scale):.6g}"
    return f"{low}{sign}" if low == high else f"{low} to {high}{sign}"


def _mean_check(summary: Summary, readings: Sequence[Reading], sheet: Sheet) -> MeanCheck:
    """Return a MeanCheck: how far the average is from the plain mean, and which formula gives the average."""
    parts = list(summary.parts.values())
    printed = summary.cell.value.printed
    agreeing = next(
        (
            r
            for r in readings
            if not r.condition and r.means[Rounding.ROUNDED].meets(interval_of(summary.cell, Rounding.ROUNDED))
        ),
        None,
    )
    floats = [float(part.value.printed.shown) for part in parts]
    # From Python 3.12 on, sum() corrects its rounding.
    total = functools.reduce(operator.add, floats)
    return MeanCheck(
        table=sheet.name,
        measure=summary.cell.value.measure,
        value=summary.cell.value,
        parts=tuple(part.value for part in parts),
        difference=summary.cell.share - sum((part.share for part in parts), Fraction(0)) / len(parts),
        allowed=(sum((part.unit for part in parts), Fraction(0)) / len(parts) + summary.cell.unit) / 2
        + sum_error(summary),
        agrees=agreeing is not None,
        reading=agreeing.name if agreeing else readings[0].name,
        last_bit=printed.decimals >= ALMOST_FULL and total / len(floats) == float(printed.shown),
    )


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A different set of rows to take as classes, and a text that states when this is correct."""

    parts: Mapping[str, Cell]
    condition: str


def list_variants(parts: Mapping[str, Cell], measure: Measure, sheet: Sheet, most: int = BLOCKS) -> Iterator[Variant]:
    """Yield other choices of the table rows that count as classes.

    A choice omits a row that may be a summary, omits a row such as background that is often left out of a
    mean, omits all subtotals, or adds rows that were not read as classes. Subtotals are only looked for if
    there are at most `most` classes.
    """
    names = list(parts)
    for name in names if len(names) > FEWEST else []:
        # A summary that was taken for a class is the first or last row, and lies between the classes.
        others = [each for each in names if each != name]
        edge = name in (names[0], names[-1]) and _is_between(parts[name], [parts[other] for other in others])
        edge = edge and not _has_images_of_its_own(name, others, sheet.sizes)
        if edge or LEFT_OUT.fullmatch(name.lower()):
            yield Variant(parts=_remove(parts, [name]), condition=f"{name} is not a class, or left out of the mean")
    subtotals = _find_subtotals(parts) if len(parts) <= most else []
    if subtotals and len(names) - len(subtotals) >= FEWEST:
        listed = ", ".join(subtotals[:5])
        yield Variant(parts=_remove(parts, subtotals), condition=f"{listed}: the mean of the rows beside it, no class")
    beside = sheet.asides.get(measure, {})
    for added in [*([cell] for cell in beside.values()), list(beside.values())]:
        given = {_name_of_cell(cell): cell for cell in added if _name_of_cell(cell) not in parts}
        if given:
            yield Variant(parts={**parts, **given}, condition=f"{', '.join(given)}: a class, too")


def _has_images_of_its_own(name: str, others: Sequence[str], sizes: Mapping[str, int]) -> bool:
    """Return whether a row has a known size that differs from the sum of all other rows' sizes."""
    return sizes.get(name, 0) > 0 and sizes[name] != sum(sizes.get(other, 0) for other in others)


def _is_between(cell: Cell, others: Sequence[Cell]) -> bool:
    shares = [other.share for other in others]
    return min(shares) <= cell.share <= max(shares)


def _name_of_cell(cell: Cell) -> str:
    return cell.value.class_name or cell.value.label


def _remove(parts: Mapping[str, Cell], names: Sequence[str]) -> dict[str, Cell]:
    return {name: cell for name, cell in parts.items() if name not in names}


def _find_subtotals(parts: Mapping[str, Cell]) -> list[str]:
    """Return the names of rows that are each the mean of a group of rows, if these groups cover the whole table."""
    names = list(parts)
    intervals = [interval_of(cell, Rounding.TWICE) for cell in parts.values()]
    below, above = _find_headings(intervals), _find_headings(intervals[::-1])
    return [names[place] for place in below] or [names[len(names) - 1 - place] for place in above]


def _find_headings(intervals: Sequence[Interval]) -> list[int]:
    """Return the indices of subtotal rows, each the mean of all rows between it and the next subtotal."""
    best: dict[int, list[int]] = {len(intervals): []}
    for place in reversed(range(len(intervals))):
        ends = [end for end in sorted(best) if end >= place + 3]
        fitting = [end for end in ends if _mean(intervals[place + 1 : end]).meets(intervals[place])]
        if fitting:
            best[place] = [place, *min((best[end] for end in fitting), key=len)]
    return best.get(0, [])


def _mean(intervals: Sequence[Interval]) -> Interval:
    return mean_interval(intervals, len(intervals))
