"""The audit: reads printed numbers, recovers counts, and says what is proven, what is odd, and what was not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from in4310repro.audit import checks, oddities
from in4310repro.audit.checks import Finding, Mean
from in4310repro.audit.counts import Explanation, explain
from in4310repro.audit.oddities import CEILINGS, Oddity
from in4310repro.audit.power import Power, power
from in4310repro.audit.reading import ACCURACY, METRICS, Table, read
from in4310repro.audit.sizes import Counted, Sizes, class_sizes, in_whole_images

BOUND = 2000  # images of a class
IMAGES = 3000  # images of the course's test set
SHOWN = 5  # sizes of each accuracy that the JSON lists


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All that an audit found; the report is proven inconsistent if `inconsistencies` has something in it."""

    tables: tuple[Table, ...]
    bound: int
    images: int
    explanation: Explanation
    sizes: tuple[Sizes, ...]
    counted: tuple[Counted, ...]
    means: tuple[Mean, ...]
    power: Power | None  # None without accuracies
    inconsistencies: tuple[Finding, ...]
    oddities: tuple[Oddity, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The audit as JSON; numbers that a float cannot hold are strings."""
        return {
            "bound": self.bound,
            "images": self.images,
            "conventions": [self.explanation.convention, *self.explanation.equals],
            "sizes": [{**vars(sizes), "identified": sizes.identified} for sizes in self.sizes],
            "counts": [_counts_json(table) for table in self.counted],
            "fractions": _fractions_json(self.tables, self.explanation),
            "means": [_mean_json(mean) for mean in self.means],
            "power": self.power and vars(self.power),
            "inconsistencies": [vars(finding) for finding in self.inconsistencies],
            "oddities": [vars(oddity) for oddity in self.oddities],
            "remarks": list(self.remarks),
        }


def audit(
    source: str | Path, *, bound: int = BOUND, images: int = IMAGES, ceilings: Mapping[str, Fraction] = CEILINGS
) -> Audit:
    """Audits the printed numbers of a report.

    Args:
        source: the report's text, or a file: Markdown or text, or TOML with the values as strings.
        bound: largest class size that is considered.
        images: images of a table. Decimals cannot tell 486/490 from 243/245: of the sizes that fit, those that sum to
            this are taken if there is one such choice, and the smallest otherwise. Nothing is proven by it.
        ceilings: accuracies, by what they are, above which a result is odd.

    Raises:
        ValueError: the source cannot be read as a report, or an argument is out of range.
    """
    _check(bound, images, ceilings)
    tables = read(source)
    accuracies = {table.name: row for table in tables if (row := table.columns[ACCURACY].values)}
    explanation = explain(accuracies, bound)
    sizes = class_sizes(accuracies, explanation, bound, images)
    known = {name: group.taken for group in sizes if group.complete for name in group.tables}
    counted = tuple(in_whole_images(accuracies, explanation, sizes))
    means = tuple(checks.means(tables))
    proven = (
        *checks.out_of_range(tables),
        *checks.no_fraction(tables, explanation, bound),
        *checks.wrong_means(means),
        *checks.below_floor(tables, known),
    )
    return Audit(
        tables=tables,
        bound=bound,
        images=images,
        explanation=explanation,
        sizes=sizes,
        counted=counted,
        means=means,
        power=power([value for row in accuracies.values() for value in row.values()], bound) if accuracies else None,
        inconsistencies=proven,
        oddities=(
            *oddities.equal_counts(counted),
            *oddities.high_level(counted, ceilings),
            *oddities.low_precision(tables, known),
        ),
        remarks=tuple(_remarks(tables, sizes, bound, images)),
    )


def _check(bound: int, images: int, ceilings: Mapping[str, Fraction]) -> None:
    for name, value, most in (("bound", bound, 20_000), ("images", images, 200_000)):
        if not 1 <= value <= most:
            raise ValueError(f"{name} {value}; 1 to {most} is valid")
    for name, level in ceilings.items():
        if not 0 < level < 1:
            raise ValueError(f"ceiling {float(level)} ({name}); more than 0 and less than 1 is valid")


def _remarks(tables: Sequence[Table], sizes: Sequence[Sizes], bound: int, images: int) -> Iterator[str]:
    """What could not be checked, and what the counts rest on."""
    for table in tables:
        for metric in METRICS:
            column = table.columns[metric]
            if column.values and not column.mean:
                yield f"{table.name}: no mean {metric} is printed, so none was checked"
            if column.mean and not column.values:
                yield f"{table.name}: mean {metric} was not checked: no value of a class is printed"
    if not sizes:
        yield "no class accuracy is printed: no counts, and average precision was held to [0, 1] alone"
    if len(sizes) > 1:
        yield (
            f"class sizes differ between {' and '.join(', '.join(group.tables) for group in sizes)}: no sizes up to "
            f"{bound} fit all; the tables are of different images, or a digit is wrong"
        )
    for group in sizes:
        yield from _remarks_on_sizes(group, bound, images)


def _remarks_on_sizes(group: Sizes, bound: int, images: int) -> Iterator[str]:
    names = ", ".join(group.tables)
    unknown = [label for label in group.taken if label not in group.identified]
    if unknown:
        yield (
            f"{names}: size of class {', '.join(unknown)} not known: digits drawn at random would allow up to "
            f"{max(group.chance.values()):.2g} of the sizes to {bound}; their counts, all totals, and oddities that "
            "need these are left out"
        )
    elif sum(group.taken.values()) != images:
        yield (
            f"{names}: among the class sizes that fit there is not exactly one choice that sums to {images}; the "
            "smallest are taken, and each may be a multiple"
        )


def _counts_json(table: Counted) -> dict[str, Any]:
    totals = table.totals
    return {
        "table": table.name,
        "sizes": dict(table.sizes),
        "correct": {label: _ends(count) for label, count in table.correct.items()},
        "images": table.images if totals else None,
        "correct_images": _ends(totals),
        "errors": totals and _ends(range(table.images - totals[-1], table.images - totals[0] + 1)),
        "accuracy": totals and [totals[0] / table.images, totals[-1] / table.images],
    }


def _ends(counts: range | None) -> int | list[int] | None:
    """One count as itself, several as the first and the last."""
    if not counts:
        return None
    return counts[0] if len(counts) == 1 else [counts[0], counts[-1]]


def _fractions_json(tables: Sequence[Table], explanation: Explanation) -> list[dict[str, Any]]:
    """For each accuracy how many class sizes allow it, and the smallest of them with their counts."""
    return [
        {
            "table": table.name,
            "class": label,
            "printed": printed.text,
            "convention": reading.convention if reading.sizes else None,
            "sizes": len(reading.sizes),
            "smallest": [
                {"of": size, "correct": _ends(reading.counts(printed, size))} for size in reading.sizes[:SHOWN]
            ],
        }
        for table in tables
        for label, printed in table.columns[ACCURACY].values.items()
        for reading in [explanation.readings[table.name][label]]
    ]


def _mean_json(mean: Mean) -> dict[str, Any]:
    return {
        "table": mean.table,
        "metric": mean.metric,
        "printed": mean.printed.text,
        "apart": float(mean.apart),
        "allowed": float(mean.allowed),
        "agrees": mean.agrees,
        "last_bit": mean.last_bit,
    }
