"""Read tables with a network in each row, and classes in the headings (Acc_sea) or overall values only."""

from __future__ import annotations

from collections.abc import Iterator

from in4310repro.audit.document import Average, Measure
from in4310repro.audit.readers.drafts import Draft, collect_group_names, default_average
from in4310repro.audit.readers.grid import Grid, Row, strip_signs
from in4310repro.audit.readers.no_classes import SOME, SPREADS
from in4310repro.audit.readers.numbers import Measured, parse_measured
from in4310repro.audit.readers.pieces import make_value
from in4310repro.audit.readers.roles import Columns
from in4310repro.audit.readers.words import BEST, Heading, heading

# The name of a column of values in a table of metrics; it names no network.
NO_NETWORK = ("value", "values", "score", "result", "our result")


def wide_tables(table: Grid, columns: Columns) -> Iterator[Draft]:
    """Yield a draft table for each row; the column headings name the classes."""
    groups = collect_group_names(table, columns)
    for index, row in enumerate(table.body):
        names = [name for name in (*groups[index], row.cells[columns.label]) if name]
        sets = {name: of.image_set for name in names if not (of := heading(name)).rest and of.image_set}
        draft = Draft(
            network=" ".join(name for name in names if name not in sets), image_set=next(iter(sets.values()), None)
        )
        for column, of in columns.values:
            cell = parse_measured(strip_signs(row.cells[column]), row.lines[column])
            if cell is None or of.measure is None or _is_count(cell) or SPREADS.fullmatch(of.rest.lower()):
                continue
            if of.average and of.rest and SOME.fullmatch(of.text.lower().replace("_", " ")):
                continue
            average = None if of.rest else of.average or default_average(of.measure)
            value = make_value(of.measure, cell, of.text, class_name=of.rest or None, average=average)
            draft.values += filter(None, [value])
        yield draft


def summary_tables(table: Grid, columns: Columns) -> Iterator[Draft]:
    """Yield draft tables for each row of a table of networks; best-epoch values are a separate table."""
    title_set = heading(table.title).image_set
    groups = collect_group_names(table, columns)
    for index, row in enumerate(table.body):
        name = " ".join(filter(None, (*groups[index], row.cells[columns.label])))
        network = "" if name.lower() in NO_NETWORK else name
        drafts: dict[tuple[str | None, bool, str], Draft] = {}
        for column, of in columns.values:
            best = BEST.search(of.text.lower()) is not None
            rest = " ".join(filter(None, (BEST.sub("", of.rest.lower()).strip(), _find_other_threshold(of))))
            image_set = of.image_set or heading(name).image_set or title_set
            draft = drafts.setdefault(
                (image_set, best, rest), Draft(network=f"{network} {rest}".strip(), image_set=image_set, best=best)
            )
            _add(draft, row, column, of, columns)
        yield from drafts.values()


def _add(draft: Draft, row: Row, column: int, of: Heading, columns: Columns) -> None:
    cell = parse_measured(strip_signs(row.cells[column]), row.lines[column])
    if cell is None or of.measure is None or _is_count(cell):
        return
    # AP beside AP50 without classes is a detector's mean AP.
    thresholds = {each.threshold for _, each in columns.values if each.measure is Measure.AVERAGE_PRECISION}
    coco = of.measure is Measure.AVERAGE_PRECISION and len(thresholds) > 1
    average = of.average or (Average.MACRO if coco else default_average(of.measure))
    value = make_value(of.measure, cell, of.text, average=average)
    draft.values += filter(None, [value])


def _is_count(cell: Measured) -> bool:
    """Return whether a number is above 100 and has no percent sign, so that it cannot be a score."""
    return cell.printed is not None and not cell.printed.percent and cell.printed.value > 100


def _find_other_threshold(of: Heading) -> str:
    """Return the heading's text if it is an AP at a named IoU threshold, else an empty string."""
    return of.text if of.measure is Measure.AVERAGE_PRECISION and of.threshold else ""
