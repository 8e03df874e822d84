"""What must hold between printed numbers: proofs of inconsistency, each with the bound it rests on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from in4310repro.audit.counts import FULL_FLOAT64, Explanation, considered
from in4310repro.audit.reading import ACCURACY, METRICS, PRECISION, Printed, Table

# A float sum of shares that are one may end this far above one.
FLOAT_EXCESS = Fraction(1, 2**50)
# A full float ends in a zero, which is not printed, one time in ten; three are allowed for.
ALMOST_FULL = FULL_FLOAT64 - 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, where it stands, and why."""

    kind: str
    where: str
    says: str


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A printed mean beside the mean of its printed parts."""

    table: str
    metric: str
    printed: Printed
    apart: Fraction  # printed mean less the mean of the printed parts
    allowed: Fraction
    last_bit: bool  # the parts, summed from left to right as doubles and divided, give the printed double

    @property
    def agrees(self) -> bool:
        """Whether some rounding of the parts and the mean can have led to the digits."""
        return abs(self.apart) <= self.allowed


def in_range(printed: Printed) -> bool:
    """Whether a value can be a share."""
    return 0 <= printed.value <= 1 + FLOAT_EXCESS


def out_of_range(tables: Sequence[Table]) -> Iterator[Finding]:
    """Accuracies, average precisions and means outside [0, 1]."""
    for table in tables:
        for metric, column in table.columns.items():
            for name, printed in [*column.values.items(), *([("", column.mean)] if column.mean else [])]:
                if not in_range(printed):
                    hint = "; a percentage needs its sign" if 1 < printed.value <= 100 else ""
                    what = f"{metric} of class {name}" if name else f"mean {metric}"
                    says = f"{what} is printed as {printed.text}, outside [0, 1]{hint}"
                    yield Finding(kind="out of range", where=f"{table.name}, {printed.where}", says=says)


def no_fraction(tables: Sequence[Table], explanation: Explanation, bound: int) -> Iterator[Finding]:
    """Accuracies that are no k/n with n up to the bound, in any way of printing that was considered."""
    printings = ", ".join(considered([value for table in tables for value in table.columns[ACCURACY].values.values()]))
    for table in tables:
        for label, printed in table.columns[ACCURACY].values.items():
            if in_range(printed) and not explanation.readings[table.name][label].sizes:
                says = (
                    f"accuracy of class {label} is printed as {printed.text}, and no k/n with n <= {bound} is printed "
                    f"so ({printings})"
                )
                yield Finding(kind="no fraction", where=f"{table.name}, {printed.where}", says=says)


def means(tables: Sequence[Table]) -> Iterator[Mean]:
    """Each printed mean that has its parts printed too, all of them in range."""
    for metric in METRICS:
        for table in tables:
            column = table.columns[metric]
            if column.mean and column.values and all(map(in_range, [column.mean, *column.values.values()])):
                yield _mean(table.name, metric, list(column.values.values()), column.mean)


def _mean(table: str, metric: str, parts: Sequence[Printed], printed: Printed) -> Mean:
    """Holds a mean against its parts.

    Rounded to units u_i and u, printed mean and mean of the printed parts differ by at most (mean u_i + u) / 2; both
    truncated, by less than the larger of mean u_i and u, which therefore covers either. Arithmetic adds at most
    m 2^-53 for m doubles in [0, 1] summed in any order (Higham, Accuracy and Stability of Numerical Algorithms, 4.2),
    m 2^-24 in single precision.
    """
    doubles = _is_double(printed) and any(map(_is_double, parts))
    *units, own = _units([*parts, printed])
    rounding = max(sum(units, Fraction(0)) / len(units), own)
    floats = [float(part.shown) for part in parts]
    return Mean(
        table=table,
        metric=metric,
        printed=printed,
        apart=printed.value - sum((part.value for part in parts), Fraction(0)) / len(parts),
        allowed=rounding + Fraction(len(parts), 2**53 if doubles else 2**24),
        last_bit=doubles and sum(floats) / len(floats) == float(printed.shown),
    )


def _units(values: Sequence[Printed]) -> list[Fraction]:
    """What one in the last place is worth; among full floats a short number has lost zeros, and a 1.0 is exact."""
    least = min(value.unit for value in values)
    if least > Fraction(1, 10**FULL_FLOAT64):
        return [value.unit for value in values]
    return [least if value.decimals >= ALMOST_FULL or value.value in (0, 1) else value.unit for value in values]


def _is_double(printed: Printed) -> bool:
    """Whether a number was computed in double precision, as far as its digits show: no float32 has the same."""
    shown = float(printed.shown)
    return printed.decimals >= ALMOST_FULL and float(np.float32(shown)) != shown


def wrong_means(compared: Sequence[Mean]) -> Iterator[Finding]:
    """Printed means that no rounding of their printed parts explains."""
    for mean in compared:
        if not mean.agrees:
            says = (
                f"mean {mean.metric} is printed as {mean.printed.text}; the mean of its parts is "
                f"{float(mean.printed.value - mean.apart):.16g}, {float(abs(mean.apart)):.1e} apart where rounding "
                f"explains {float(mean.allowed):.1e}"
            )
            yield Finding(kind="mean", where=f"{mean.table}, {mean.printed.where}", says=says)


def least_average_precision(positives: int, negatives: int) -> Fraction:
    """The lowest average precision that any ranking of so many images can have, ties included.

    AP is the mean over the positives of the precision where each is found. At most all negatives stand before the
    i-th positive, so that precision is at least i / (i + negatives), and
    AP >= (1/p) sum_{i=1..p} i / (i + negatives), reached by the worst ranking. Boyd, Santos Costa, Davis and Page,
    Unachievable Region in Precision-Recall Space, ICML 2012.
    """
    mean = math.fsum(i / (i + negatives) for i in range(1, positives + 1)) / positives
    # Moved down by more than the error of doubles, for exact sums of 500 fractions have a thousand digits.
    return Fraction(mean) * (1 - Fraction(1, 2**40))


def below_floor(tables: Sequence[Table], sizes: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    """Average precisions that no ranking can have, given the class sizes of their table."""
    for table, label, printed, positives, negatives in ranked(tables, sizes):
        least = least_average_precision(positives, negatives)
        if printed.value + printed.unit < least:
            says = (
                f"average precision of class {label} is printed as {printed.text}; the worst ranking of {positives} "
                f"images among {positives + negatives} has {float(least):.4f}"
            )
            yield Finding(kind="below floor", where=f"{table}, {printed.where}", says=says)


def ranked(
    tables: Sequence[Table], sizes: Mapping[str, Mapping[str, int]]
) -> Iterator[tuple[str, str, Printed, int, int]]:
    """Table, class, average precision, images of the class and other images, where class sizes are known."""
    for table in tables:
        known = sizes.get(table.name, {})
        for label, printed in table.columns[PRECISION].values.items():
            if known and in_range(printed):
                yield table.name, label, printed, known[label], sum(known.values()) - known[label]
