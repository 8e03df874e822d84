"""Measure how many errors the audit would detect in this report, by planting errors one at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from time import process_time

import numpy as np

from in4310repro.audit.document import Document, Measure, Printed, Table, Value
from in4310repro.audit.search import check_unsized
from in4310repro.audit.sheets import Sheet, make_certain_sheets, make_sheets, sheet
from in4310repro.audit.verdicts import Detection, Finding, MeanCheck, Options, Power, Rank
from in4310repro.audit.weights import group_tables

SEED = 0
# Number of errors of each kind to plant, and most values to audit again for all of one kind.
PLANTED, AUDITED = 40, 4000
SECONDS = 2.0  # of processor time for the planted errors of all kinds
Accuse = Callable[[Sequence[Sheet]], tuple[tuple[Finding, ...], tuple[MeanCheck, ...]]]
# Takes the value to change and the others of its column; returns None if the error cannot be planted there.
Plant = Callable[[Value, Sequence[Value], np.random.Generator], Printed | None]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reported value that can be changed to plant an error."""

    group: Sequence[Sheet]  # tables that are audited together
    place: int  # of its table in the group
    value: Value
    column: Sequence[Value]  # class values of its measure in its table

    @property
    def cells(self) -> int:
        """Number of values in the tables that must be audited again after an error is planted."""
        return sum(len(each.table.values) for each in self.group)


def measure_power(
    document: Document, options: Options, accuse: Accuse, planted: int = PLANTED, most: int = AUDITED
) -> Power | None:
    """Replace values of the report by wrong ones; return how many of these planted errors are detected.

    The errors are counted by type, such as swapped digits. The result is None if no value can be changed.

    Args:
        document: the report.
        options: options of the audit.
        accuse: function that returns the contradictions (findings) in some tables, and their MeanChecks.
        planted: number of errors of each type.
        most: once this many values were audited again, no further error of the same type is planted.
    """
    certain = make_certain_sheets(document, options)
    guessed = [sheet for sheet in make_sheets(document, options) if not document.is_certain(sheet.table)]
    groups = [*group_tables(certain), *group_tables(guessed)]
    all_targets = [target for group in groups for target in _list_targets(group)]
    if not all_targets:
        return None
    audited = Audited(document=document, options=options, accuse=accuse)
    wrong = {id(value) for group in groups for finding in audited.findings(group) for value in finding.values}
    remark = _remark(all_targets)
    all_targets = [target for target in all_targets if id(target.value) not in wrong]
    detections = []
    for number, (kind, plant) in enumerate(KINDS.items()):
        of_means = plant in OF_MEANS
        targets = [target for target in all_targets if (target.value.class_name is None) == of_means]
        detections.append(_detect(kind, plant, targets, audited, number, planted, most))
    tried = tuple(each for each in detections if each.tried)
    return Power(detections=tried, seed=SEED, remark=remark) if tried else None


@dataclass(frozen=True, kw_only=True)
class Audited:
    """Document and options that are needed to audit changed tables again."""

    document: Document
    options: Options
    accuse: Accuse

    def findings(self, group: Sequence[Sheet]) -> tuple[Finding, ...]:
        """Return the findings for the tables `group` with severity "impossible" or "impossible unless"."""
        return (*self.accuse(group)[0], *check_unsized(group, self.options))

    def rank(self, group: Sequence[Sheet], value: Value) -> Rank | None:
        """Return the worst severity (rank) of the findings that use `value`; None if no finding uses it."""
        findings = self.findings(group)
        ranks = [finding.rank for finding in findings if any(used is value for used in finding.values)]
        return min(ranks, key=list(Rank).index, default=None)

    def changed(self, target: Target, value: Value) -> list[Sheet]:
        """Return the target's tables, with the value of the target replaced by `value`."""
        tables = list(target.group)
        table = tables[target.place].table
        values = tuple(value if each is target.value else each for each in table.values)
        before = tables[target.place]
        made = sheet(replace(table, values=values), self.document, self.options, before.certain)
        tables[target.place] = replace(made, links=before.links, alone=before.alone)
        return tables


def _list_targets(group: Sequence[Sheet]) -> list[Target]:
    return [
        Target(group=group, place=place, value=value, column=list_column(value, each.table))
        for place, each in enumerate(group)
        for value in each.table.values
        if value.measure is not Measure.OTHER and value.printed.decimals
    ]


def list_column(value: Value, table: Table) -> list[Value]:
    """Return the class values in the table that have the metric of `value`."""
    return [other for other in table.of_classes if other.measure is value.measure]


def _detect(
    kind: str, plant: Plant, targets: Sequence[Target], audited: Audited, number: int, planted: int, most: int
) -> Detection:
    generator = np.random.default_rng([SEED, number])
    tried, ranks = 0, Counter[Rank | None]()
    order: list[int] = generator.permutation(len(targets)).tolist()
    work, stop = 0, process_time() + SECONDS / len(KINDS)
    for place in order * max(1, planted // max(1, len(targets))):
        if tried >= planted or work >= most or process_time() > stop:
            break
        target = targets[place]
        printed = plant(target.value, target.column, generator)
        if printed is None or printed.value == target.value.printed.value:
            continue
        value = replace(target.value, printed=printed)
        work += target.cells
        tried += 1
        rank = audited.rank(audited.changed(target, value), value)
        guess = rank is Rank.IMPOSSIBLE and not target.group[target.place].certain
        ranks[Rank.AS_READ if guess else rank] += 1
    impossible, as_read, unless = (ranks[rank] for rank in (Rank.IMPOSSIBLE, Rank.AS_READ, Rank.UNLESS))
    return Detection(kind=kind, tried=tried, impossible=impossible, as_read=as_read, unless=unless)


def _remark(targets: Sequence[Target]) -> str:
    """Return a remark if most errors cannot be detected, since decimals are few and class sizes are unknown.

    Otherwise the result is an empty string.
    """
    decimals = max(target.value.printed.decimals for target in targets)
    if decimals <= 3 and not any(each.sizes for target in targets for each in target.group):
        return (
            f"without class sizes, values with {decimals} decimals of a share can be contradicted only by their mean, "
            "as nearly every such value is some k/n; give the sizes with --sizes"
        )
    return ""


def set_digits(printed: Printed, digits: int) -> Printed | None:
    """Return the number `digits` / 10**decimals in the format of `printed`; None if it is not within 0 to 1."""
    if not 0 <= digits <= 10**printed.decimals:
        return None
    places = printed.decimals - 2 * printed.percent
    whole, rest = divmod(digits, 10 ** max(0, places))
    text = f"{whole}.{rest:0{places}}" if places > 0 else str(whole)
    return replace(printed, digits=digits, text=text + ("%" if "%" in printed.text else ""))


def replace_decimal(position: int) -> Plant:
    """Return a function that plants an error in one decimal: position 1 is the first, -1 the last."""

    def plant(value: Value, _: Sequence[Value], generator: np.random.Generator) -> Printed | None:
        printed = value.printed
        if printed.decimals < abs(position):
            return None
        weight = int(10 ** (printed.decimals - position if position > 0 else -position - 1))
        old = printed.digits // weight % 10
        new = int(generator.choice([digit for digit in range(10) if digit != old]))
        return set_digits(printed, printed.digits + (new - old) * weight)

    return plant


def swap_digits(value: Value, _: Sequence[Value], generator: np.random.Generator) -> Printed | None:
    """Return the number with two unequal adjacent digits swapped; None if it has no such digits."""
    digits = str(value.printed.digits).zfill(value.printed.decimals)
    places = [place for place in range(len(digits) - 1) if "-" != digits[place] != digits[place + 1]]
    if not places:
        return None
    place = int(generator.choice(places))
    return set_digits(value.printed, int(digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :]))


def take_other_row(value: Value, column: Sequence[Value], generator: np.random.Generator) -> Printed | None:
    """Return a randomly chosen other value of `column` with as many decimals as `value`; None if there is none."""
    others = [
        other.printed for other in column if other.printed.decimals == value.printed.decimals and other is not value
    ]
    if not others:
        return None
    return set_digits(value.printed, others[int(generator.integers(len(others)))].digits)


def drop_class(value: Value, column: Sequence[Value], generator: np.random.Generator) -> Printed | None:
    """Return the mean of the class values in `column` after leaving out one random class.

    The mean has the format and the decimals of `value`. The result is None if `value` is not close to the mean of
    all class values, if there are fewer than three of them, or if only `value` or only they are percentages.
    """
    values = [other.printed.value for other in column]
    if len(values) < 3 or value.printed.percent != column[0].printed.percent:
        return None
    mean = sum(values, Fraction(0)) / len(values)
    if abs(mean - value.printed.value) > max(2 * value.printed.unit, Fraction(1, 500)):
        return None
    values.pop(int(generator.integers(len(values))))
    return set_digits(value.printed, round(sum(values, Fraction(0)) / len(values) * 10**value.printed.decimals))


KINDS: dict[str, Plant] = {
    "first decimal replaced": replace_decimal(1),
    "second decimal replaced": replace_decimal(2),
    "third decimal replaced": replace_decimal(3),
    "last decimal replaced": replace_decimal(-1),
    "two digits swapped": swap_digits,
    "value copied to the wrong row": take_other_row,
    "wrong class dropped from a mean": drop_class,
}
OF_MEANS = (drop_class,)
