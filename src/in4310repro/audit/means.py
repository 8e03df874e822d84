"""Check reported averages against the class values: plain, weighted and micro averages, overall accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
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
from in4310repro.audit.intervals import Interval, Rounding, join_intervals
from in4310repro.audit.sheets import Sheet, interval_of
from in4310repro.audit.units import ALMOST_FULL
from in4310repro.audit.variants import list_variants
from in4310repro.audit.verdicts import MeanCheck


def check_means(sheet: Sheet) -> Iterator[tuple[Claim | None, MeanCheck]]:
    """Yield a pair for each average: a claim if the class values contradict it, else None; and the comparison."""
    for summary in list_summaries(sheet):
        readings = list(list_readings(summary, sheet))
        if summary.cell.share < 0:
            continue
        if readings:
            yield _claim(summary, readings, sheet), _mean_check(summary, readings, sheet)
        elif summary.measure is not Measure.AVERAGE_PRECISION or summary.average is Average.UNNAMED:
            yield None, _mean_check(summary, [*read_plain_means(summary, sheet), *_read_any_weights(summary)], sheet)


def _read_any_weights(summary: Summary) -> Iterator[Reading]:
    """Yield the range of the class values, in which a mean with any weights lies."""
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
    """Yield the condition of each conditional way to average that explains the reported average."""
    cells = [summary.cell, *summary.parts.values()]
    whole = any(cell.value.printed.percent and cell.value.printed.decimals <= 2 for cell in cells)
    for reading in readings:
        ways = [Rounding.TWICE, *([Rounding.TRUNCATED] if whole else [])]
        printed = [interval_of(summary.cell, way) for way in ways]
        if reading.condition and any(reading.means[way].meets(each) for way in ways for each in printed):
            yield reading.condition


def _explain_by_other_classes(summary: Summary, sheet: Sheet) -> Iterator[str]:
    """Yield a condition for each other choice of rows as classes that explains the reported average."""
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
    """Compare an average with the plain mean, and name the first way to average that agrees."""
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
        last_bit=printed.decimals >= ALMOST_FULL and sum(floats) / len(floats) == float(printed.shown),
    )
