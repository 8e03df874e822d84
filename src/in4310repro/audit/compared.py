"""Reported values that some check compares with another number; only these could be contradicted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from in4310repro.audit.confusion import OF_CLASSES
from in4310repro.audit.document import Measure, Value
from in4310repro.audit.joint_counts import make_problem
from in4310repro.audit.report_scores import is_bound
from in4310repro.audit.sheets import SCORES, Sheet
from in4310repro.audit.verdicts import Finding, MeanCheck


def _find_counted(sheet: Sheet) -> Iterator[Value]:
    """Yield values with a count beside them, and accuracies and recalls of classes of known size."""
    for value in sheet.table.values:
        sized = value.class_name in sheet.sizes and value.measure in (Measure.ACCURACY, Measure.RECALL)
        if value.count or sized:
            yield value


def _find_triples(sheet: Sheet) -> Iterator[Value]:
    """Yield precision, recall and F1 of each class or average for which all three are reported."""
    groups: dict[tuple[object, object], dict[Measure, Value]] = {}
    for value in sheet.table.values:
        if value.measure in SCORES:
            groups.setdefault((value.class_name, value.average), {}).setdefault(value.measure, value)
    for group in groups.values():
        if len(group) == len(SCORES):
            yield from group.values()


def _find_in_matrix(sheet: Sheet) -> Iterator[Value]:
    if sheet.table.matrix is not None:
        classes = (None, *sheet.table.matrix.classes)
        measures = (*OF_CLASSES, Measure.KAPPA, Measure.ERROR)
        yield from (v for v in sheet.table.values if v.class_name in classes and v.measure in measures)


def _find_bounded(sheet: Sheet) -> Iterator[Value]:
    """Yield the averages whose range follows from precision, recall and F1 of all classes."""
    if make_problem(sheet) is not None:
        yield from (cell.value for cell in sheet.summaries if is_bound(cell))


# Each rule gives the values of a sheet that a check compares with something; a new check needs its own rule.
RULES: tuple[Callable[[Sheet], Iterator[Value]], ...] = (
    _find_counted,
    _find_triples,
    _find_in_matrix,
    _find_bounded,
)


def find_compared(
    all_sheets: Sequence[Sheet], means: Sequence[MeanCheck], findings: Sequence[Finding]
) -> tuple[Value, ...]:
    """Return the reported values that some check compared with another number, in reading order."""
    used = {id(value) for each in all_sheets for rule in RULES for value in rule(each)}
    used |= {id(value) for mean in means for value in (mean.value, *mean.parts)}
    used |= {id(value) for finding in findings for value in finding.values}
    return tuple(value for each in all_sheets for value in each.table.values if id(value) in used)
