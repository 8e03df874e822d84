"""Prepare a table for the checks: values as shares, class sizes with their source, conditions of verdicts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations

import numpy as np

from in4310repro.audit.document import SCORES, Document, Measure, Printed, Table, Value
from in4310repro.audit.doubts import (
    LONGEST,
    Gap,
    doubt_accuracy,
    doubt_labels,
    doubts_of_averages,
    find_gaps,
    find_missing_classes,
    find_missing_lines,
)
from in4310repro.audit.intervals import (
    ALMOST_FULL,
    EPSILON,
    ROUNDOFF16,
    ROUNDOFF32,
    ROUNDOFF64,
    ROUNDOFFS,
    Cell,
    Interval,
    Rounding,
    count_decimals,
    find_units,
    fits_grid,
    is_half,
)
from in4310repro.audit.links import Link, link_lines
from in4310repro.audit.stated_sizes import StatedSizes, find_stated_sizes
from in4310repro.audit.verdicts import Options

# With fewer decimals the error of float32 is small beside the printed unit, and is allowed for without a test.
VISIBLE_FLOAT32 = 7
# Decimals of a share from which a number in half precision can be told from others: its steps are 5e-4.
VISIBLE_FLOAT16 = 4
# Float sums of shares that are one may end this far above one.
EXCESS = Fraction(1, 2**20)
# Words of a text about training: its accuracy may be a mean over batches.
BATCHES = re.compile(
    r"\b(?:mini-?)?batch(?:es|[_ -]?size)?\b|\bepochs?\b|\bloss(?:es)?\b|\b(?:data)?_?loaders?\b|\d ?m?s/step"
    r"|\bval_acc\w*|\b(?:keras|torch|pytorch|tensorflow|lightning)\b|\.evaluate\(",
    re.IGNORECASE,
)
LOOP = re.compile(r"\b(?:test\w*|eval\w*|val\w*|acc)(?![^\W_])", re.IGNORECASE)
RATE = re.compile(r"\brate\b|misclass|incorrect|\btop ?-?1\b", re.IGNORECASE)
OVER_ALL = (Measure.ACCURACY, *SCORES)  # what one program prints over all classes in one way


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table prepared for the checks: values as fractions, class sizes, and conditions to attach to findings."""

    table: Table
    classes: Mapping[Measure, Mapping[str, Cell]]  # by measure and class
    summaries: tuple[Cell, ...]
    asides: Mapping[Measure, Mapping[str, Cell]]  # of rows that were not taken for classes
    sizes: Mapping[str, int]  # images of each class; empty where not known
    origin: str  # of the sizes: "printed" or "given"
    total: int | None  # images of the whole set
    folds: int | None
    gaps: tuple[str, ...]  # why the printed classes may not be all: conditions of every verdict that needs them all
    beside: tuple[Gap, ...] = ()  # lines that may hold a class: conditions of verdicts on the measures that they name
    tokens: tuple[str, ...] = ()  # why an accuracy may be of other things than the classes
    said: tuple[str, ...] = ()  # why sizes that a sentence states may be of other images
    several: tuple[str, ...] = ()  # why an image may have several labels
    mixed: tuple[str, ...] = ()  # why precision, recall and F1 over all classes may be of different averages
    certain: bool = False  # whether it was read with certainty
    alone: bool = True  # whether no other table of classes and no other matrix is in the document
    in_batches: bool = True  # whether an accuracy over all may be a mean over batches
    links: tuple[Link, ...] = ()  # lines beside the table that were taken to be of the same predictions

    @property
    def name(self) -> str:
        """Name of the table."""
        return self.table.name

    @property
    def ways(self) -> tuple[Sheet, ...]:
        """The sheet with its ambiguous numbers read as shares or as percentages, in every combination.

        The class values of a measure are read in one way. There are two combinations if more than two groups of
        numbers are ambiguous: all are shares, or all are percentages.
        """
        cells = [*self.summaries, *(cell for column in self.classes.values() for cell in column.values())]
        groups = {_unit_group(cell) for cell in cells if cell.ambiguous}
        numbers = range(len(groups) + 1) if len(groups) <= 2 else (0, len(groups))
        chosen = [{*each} for n in numbers for each in combinations(sorted(groups), n)]
        return tuple(self._with_percentages(each) for each in chosen)

    def _with_percentages(self, groups: set[tuple[str, int]]) -> Sheet:
        def choose(cell: Cell) -> Cell:
            return cell.other if _unit_group(cell) in groups else cell

        classes = {measure: {n: choose(c) for n, c in column.items()} for measure, column in self.classes.items()}
        return replace(self, classes=classes, summaries=tuple(map(choose, self.summaries))) if groups else self

    @property
    def sized(self) -> bool:
        """True if the size of every class in the table is known."""
        names = {name for cells in self.classes.values() for name in cells}
        return bool(names) and names <= set(self.sizes)

    def is_in_batches(self, cell: Cell) -> bool:
        """Return whether an overall accuracy may be a mean over batches, as training code often computes it."""
        return self.in_batches or LOOP.search(cell.value.label) is not None

    @property
    def of_program(self) -> bool:
        """True if recalls and class sizes are printed, as in a classification report that a program generated."""
        return bool(self.table.sizes) and Measure.RECALL in self.classes

    @property
    def averaged(self) -> tuple[str, ...]:
        """Tuple with one sentence, which says that the values are means over folds or runs.

        The tuple is empty if no number of folds is known and no value has a standard deviation.
        """
        spread = any(value.spread for value in self.table.values)
        if self.folds or spread:
            return (f"the values are means over {self.folds or 'several'} folds or runs",)
        return ()


def _unit_group(cell: Cell) -> tuple[str, int]:
    """Return a key for the numbers that are read in the same unit: the class values of a measure, or one average."""
    return cell.value.measure.value, cell.value.printed.line if cell.value.class_name is None else 0


def make_sheets(document: Document, options: Options) -> tuple[Sheet, ...]:
    """Return the report's tables, prepared for the checks. Tables of the same predictions are joined."""
    joined = [(table, ()) for table in document.tables] if document.is_sheet else link_lines(document)
    alone = sum(table.has_classes for table, _ in joined) <= 1
    return tuple(replace(sheet(table, document, options), links=links, alone=alone) for table, links in joined)


def make_certain_sheets(document: Document, options: Options) -> tuple[Sheet, ...]:
    """Return the tables that were read with certainty, without anything that only stands near them."""
    alone = sum(table.has_classes for table in document.tables) <= 1
    made = (sheet(table, document, options, certain=True) for table in document.certain)
    return tuple(replace(each, alone=alone) for each in made)


def sheet(table: Table, document: Document, options: Options, certain: bool = False) -> Sheet:
    """Return a table prepared for the checks: fractions, class sizes and possible explanations of contradictions.

    If `certain` is True, sentences near the table are not searched for numbers of images.
    """
    cells = {id(value): cell for value, cell in zip(table.values, make_cells(table.values), strict=True)}
    classes: dict[Measure, dict[str, Cell]] = {}
    for value in table.values:
        if value.class_name is not None and not _is_no_score(value):
            classes.setdefault(value.measure, {}).setdefault(value.class_name, cells[id(value)])
    asides: dict[Measure, dict[str, Cell]] = {}
    for cell in make_cells([*table.values, *table.asides])[len(table.values) :]:
        asides.setdefault(cell.value.measure, {})[cell.value.class_name or cell.value.label] = cell
    sizes, origin = _sizes(table, options)
    said = StatedSizes() if sizes or certain else find_stated_sizes(table, document)
    sizes, origin = (said.sizes, "printed") if said.sizes else (sizes, origin)
    counted = table.matrix is not None or (bool(table.sizes) and Measure.RECALL in classes)
    return Sheet(
        table=table,
        classes=classes,
        in_batches=not counted or any(BATCHES.search(line[:LONGEST]) for line in document.lines),
        asides=asides,
        summaries=tuple(cells[id(v)] for v in table.values if v.class_name is None and not _is_no_score(v)),
        sizes=sizes,
        origin=origin,
        total=table.total or (sum(sizes.values()) if sizes and set(table.classes) <= set(sizes) else None),
        folds=options.folds or document.folds,
        gaps=tuple(find_gaps(table, sizes)),
        # Every row of a certain table was read.
        beside=(*find_missing_classes(table, document), *(() if certain else find_missing_lines(table, document))),
        tokens=tuple(doubt_accuracy(table, document)),
        said=said.conditions,
        several=tuple(doubt_labels(table, document)),
        mixed=tuple(doubts_of_averages(table, document)),
        certain=certain,
    )


def _is_no_score(value: Value) -> bool:
    """Return whether a number is negative, and not of a correlation: a difference, or COCO's -1 for no objects."""
    return value.printed.value < 0 and value.measure not in (Measure.KAPPA, Measure.MATTHEWS)


def _sizes(table: Table, options: Options) -> tuple[Mapping[str, int], str]:
    """Return the class sizes and their source.

    The source is "printed" if the report contains class sizes, and otherwise "given", meaning by the caller.
    """
    if table.sizes:
        return table.sizes, "printed"
    sizes = options.chosen.get(table.name, options.sizes)
    given = {name.strip().casefold(): size for name, size in sizes.items()}
    names = dict.fromkeys((*table.classes, *(table.matrix.classes if table.matrix else ())))
    return {n: given[n.strip().casefold()] for n in names if n and n.strip().casefold() in given}, "given"


def make_cells(values: Sequence[Value]) -> list[Cell]:
    """Return a Cell for each value, with its fraction, rounding unit and floating-point error."""
    large = [value for value in values if value.printed.percent or value.printed.value > 1]
    percentages = {value.measure for value in large}
    # No mean exceeds all classes: where each of them is at most one beside a mean of 82 %, they are shares.
    of_classes = {value.measure for value in large if value.class_name is not None}
    units = _units(values)
    double = {value.measure for value in values if _is_double(value.printed)}
    cells = [
        replace(
            _cell(value, value.measure in (percentages if value.class_name is None else of_classes), unit),
            error=_error(value.printed, value.measure in double),
        )
        for value, unit in zip(values, units, strict=True)
    ]
    return [replace(c, error=max(c.error, 2 * EPSILON)) for c in cells] if _have_epsilon(cells) else cells


def _have_epsilon(cells: Sequence[Cell]) -> bool:
    """Return whether most F1 scores show that a small number was added to denominators: tp / (tp + fn + 1e-7)."""
    rows: dict[str, dict[Measure, Cell]] = {}
    for cell in cells:
        if cell.value.class_name is not None and cell.value.printed.decimals >= VISIBLE_FLOAT32:
            rows.setdefault(cell.value.class_name, {}).setdefault(cell.value.measure, cell)
    scores = [tuple(row[each] for each in SCORES) for row in rows.values() if set(SCORES) <= set(row)]
    right = [(p.share, r.share, f1) for p, r, f1 in scores if p.share + r.share > 0]
    shown = sum(2 * f1.unit < 2 * p * r / (p + r) - f1.share <= 2 * EPSILON for p, r, f1 in right)
    return shown > 0 and 2 * shown >= len(scores)


def _cell(value: Value, among_percentages: bool, unit: Fraction) -> Cell:
    printed = value.printed
    # A percentage of at most one may be a share. A share among percentages, or a number above one, may be a percentage.
    small = 0 < printed.shown <= 1 and (printed.percent or among_percentages)
    ambiguous = small or (not printed.percent and 1 + EXCESS < printed.value <= 100)
    if ambiguous:
        scale = 100 if printed.percent else 1
        return Cell(value=value, share=printed.value * scale, unit=unit * scale, ambiguous=True)
    return Cell(value=value, share=printed.value, unit=unit)


def _units(values: Sequence[Value]) -> list[Fraction]:
    """Return the rounding unit of each value, such as 1/100.

    If most values show all digits of a double, all class values except zeros get the finest unit. An overall
    value then keeps its own unit, since an overall value with few decimals was rounded by hand. In other
    tables, zeros at the end of a value usually mean a coarser unit (see `find_units`), as 0.9300 may be a
    rounded 0.93. The zeros of an overall value count as digits if at least two other overall values have as
    many decimals and do not end in zeros.
    """
    units = find_units([value.printed for value in values], [value.measure for value in values])
    units = [
        value.printed.unit if value.class_name is None and _is_among_full(value, values) else unit
        for value, unit in zip(values, units, strict=True)
    ]
    full = [unit for unit in units if unit <= Fraction(1, 10**ALMOST_FULL)]
    if 2 * len(full) <= len(values):
        return units
    least = min(units)
    # A mean that somebody wrote beside such numbers has been rounded: twelve zeros at its end are not chance.
    return [least if v.printed.value and v.class_name is not None else v.printed.unit for v in values]


def _is_among_full(value: Value, values: Sequence[Value]) -> bool:
    """Return whether two or more other overall values have as many decimals as `value` and do not end in zeros."""
    printed = value.printed
    others = [v.printed for v in values if v.class_name is None and v.printed is not printed and v.measure in OVER_ALL]
    full = [p for p in others if p.decimals == printed.decimals < ALMOST_FULL and p.percent == printed.percent]
    return value.measure in OVER_ALL and sum(count_decimals(p) == p.decimals for p in full) >= 2


def _is_double(printed: Printed) -> bool:
    """Return whether a number has digits that no float32 would print."""
    return printed.decimals >= VISIBLE_FLOAT32 and not fits_grid(printed, np.float32)


def _error(printed: Printed, among_doubles: bool) -> Fraction:
    """Return the error of the float arithmetic behind a printed value.

    It is the error of float64 if the digits exclude float32, and that of float32 otherwise. Short numbers such as
    0.5 or 1.0 fit both types; they count as float64 if `among_doubles` is true.
    """
    short = count_decimals(printed) < VISIBLE_FLOAT32
    double = among_doubles if short else _is_double(printed)
    return ROUNDOFFS * (ROUNDOFF64 if double else ROUNDOFF32)


def is_rate(cell: Cell) -> bool:
    """Return whether a score over all classes is surely a share: a number called only "error" may be a loss."""
    value = cell.value
    return value.measure is not Measure.ERROR or value.printed.percent or RATE.search(value.label) is not None


def half_error(cells: Iterable[Cell]) -> Fraction:
    """Return the error of half precision if all numbers may have been computed in half precision; else zero."""
    printed = [cell.value.printed for cell in cells]
    seen = printed and min(each.decimals for each in printed) >= VISIBLE_FLOAT16
    return 2 * ROUNDOFF16 if seen and is_half(printed) else Fraction(0)


def interval_of(cell: Cell, rounding: Rounding) -> Interval:
    """Return the interval of fractions that give the cell's printed value if rounded or truncated by `rounding`."""
    return cell.interval(rounding, cell.error)


SHOWN = 3  # names of classes in the description of a reading


def describe_reading(tables: Sequence[Sheet]) -> str:
    """Return a clause that says what the rows, numbers and lines of some tables were taken for."""
    return "; ".join(text for sheet in tables for text in _describe(sheet))


def _describe(sheet: Sheet) -> Iterator[str]:
    table = sheet.table
    if table.classes:
        measures = dict.fromkeys(value.measure for value in table.of_classes)
        lines = [value.printed.line for value in table.of_classes]
        yield f"{_name_some(table.classes)} in {_name_lines(lines)} as classes, with their {', '.join(measures)}"
    if sheet.sizes and sheet.origin == "printed":
        yield f"{_name_some([str(size) for size in sheet.sizes.values()])} as their images"
    if table.matrix:
        lines = [cell.line for row in table.matrix.rows for cell in row]
        yield f"the square of numbers in {_name_lines(lines)} as their confusion matrix"
    of_all = [cell.value for cell in sheet.summaries]
    if of_all:
        named = _name_some(list(dict.fromkeys(value.label or value.measure for value in of_all)))
        where = _name_lines([value.printed.line for value in of_all])
        yield f"{named} in {where} as of the same images{' and predictions' if len(of_all) > 1 else ''}"


def _name_some(names: Sequence[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _name_lines(lines: Sequence[int]) -> str:
    first, last = min(lines), max(lines)
    return f"line {first}" if first == last else f"lines {first} to {last}"
