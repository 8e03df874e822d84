"""Audit a report: find numbers that are impossible, impossible unless a condition holds, or odd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from in4310repro.audit.averages import PARTS
from in4310repro.audit.claims import Claim, make_finding
from in4310repro.audit.confusion import OF_CLASSES, check_matrix
from in4310repro.audit.document import SCORES, Document, Measure, Value
from in4310repro.audit.joint_counts import check_joint_counts, make_problem
from in4310repro.audit.joint_scores import check_joint_shares, check_report_scores, is_bound
from in4310repro.audit.means import check_means
from in4310repro.audit.oddities import find_oddities
from in4310repro.audit.power import measure_power
from in4310repro.audit.readers import read
from in4310repro.audit.scores import check_error, check_mean_f1, check_scores
from in4310repro.audit.search import check_unsized, count_images, find_image_sets
from in4310repro.audit.shares import (
    check_counts,
    check_floor,
    check_printed_counts,
    check_range,
    check_supports,
    check_totals,
)
from in4310repro.audit.sheets import Sheet, describe_reading, make_certain_sheets, make_sheets, sheet
from in4310repro.audit.verdicts import Audit, Finding, ImageSet, MeanCheck, Options, Rank
from in4310repro.audit.weights import check_weights, group_tables

LARGEST = {"images": 1_000_000_000, "bound": 200_000, "folds": 1000}
CHECKS = (
    check_range,
    check_printed_counts,
    check_counts,
    check_totals,
    check_supports,
    check_scores,
    check_mean_f1,
    check_error,
    check_matrix,
    check_floor,
    check_joint_counts,
    check_report_scores,
    check_joint_shares,
)


def audit(
    source: str | Path,
    *,
    images: int | Sequence[int] | None = None,
    sizes: Mapping[str, int] | Sequence[Mapping[str, int]] | None = None,
    bound: int | None = None,
    folds: int | None = None,
    ceilings: Mapping[str, Fraction] | None = None,
    power: bool = True,
) -> Audit:
    """Audit the printed numbers of a report.

    Args:
        source: the report's text, or the path of a file.
        images: number of images of the image set, or a sequence of such numbers for several image sets. The
            number helps to infer class sizes. Printed decimals often allow several sizes, as 486/490 = 243/245.
            If only one choice of class sizes adds up to `images`, that choice is used. Findings that depend on
            `images` are never ranked as "impossible".
        sizes: number of images of each class, for tables that do not print it; or a sequence with one mapping
            for each of several image sets. Each table then uses the mapping that fits its values.
        bound: largest class size that is searched; None: as large as the decimals can resolve.
        folds: number of folds or runs that the values are means over.
        ceilings: dict from a name to an accuracy above which a result is odd. If None, the known ceilings
            of the scene photographs are used, and only for tables of that data set.
        power: whether to insert errors into copies of the report, to measure how many of them are detected.

    Raises:
        ValueError: the source cannot be read as a report, or an argument is out of range.
    """
    totals = [images] if isinstance(images, int) else list(images or [])
    given = [sizes] if isinstance(sizes, Mapping) else list(sizes or [])
    options = Options.of_sets(totals, given, bound=bound, folds=folds, ceilings=ceilings or {})
    _check(options)
    document = read(source)
    if options.more_sizes:
        options = replace(options, chosen=dict(choose_sizes(document, options)))
    result = conclude(document, options)
    if not power:
        return result
    return replace(result, power=measure_power(document, options, lambda sheets: accuse(settle(sheets))))


def conclude(document: Document, options: Options) -> Audit:
    """Return the audit of a parsed document.

    The field `power` of the result is None. It can be filled later, by inserting errors and counting those found.
    """
    all_sheets = settle(make_sheets(document, options))
    accusations, means = accuse(all_sheets)
    sets = find_image_sets(all_sheets, options)
    counted = tuple(count_images(all_sheets, sets))
    certain = settle(make_certain_sheets(document, options))
    accusations = accept_certain(accusations, accuse(certain)[0] if certain else (), all_sheets)
    concluded = (*accusations, *check_unsized(all_sheets, options), *find_oddities(all_sheets, counted, options))
    return Audit(
        document=document,
        options=options,
        findings=tuple(sorted(concluded, key=lambda each: list(Rank).index(each.rank))),
        sizes=sets,
        counted=counted,
        means=means,
        power=None,
        remarks=tuple(list_remarks(all_sheets, sets, options)),
        compared=find_compared(all_sheets, means, concluded),
    )


def accept_certain(
    findings: Sequence[Finding], certain: Sequence[Finding], all_sheets: Sequence[Sheet]
) -> tuple[Finding, ...]:
    """Return the findings, in which those are impossible that were also found among what was read with certainty.

    Any other contradiction is one "as read", and says what the rows, columns and lines were taken for.

    Args:
        findings: contradictions between all numbers.
        certain: contradictions between the numbers that were read with certainty.
        all_sheets: the tables of `findings`.
    """
    surely = {_key(finding): finding for finding in certain if finding.rank is Rank.IMPOSSIBLE}
    named = {sheet.name: sheet for sheet in all_sheets}

    def guess(finding: Finding) -> Finding:
        return replace(finding, rank=Rank.AS_READ, reading=describe_reading([named[name] for name in finding.tables]))

    made = [surely.get(_key(f)) or (guess(f) if f.rank is Rank.IMPOSSIBLE else f) for f in findings]
    # What stands near a table can hide its contradiction, such as a second mean that agrees.
    return (*made, *(finding for key, finding in surely.items() if key not in set(map(_key, findings))))


def _key(finding: Finding) -> tuple[object, ...]:
    return finding.kind, finding.message, finding.lines


def settle(all_sheets: Sequence[Sheet]) -> tuple[Sheet, ...]:
    """Return the tables with each number that may be a share or a percentage read as that which fits best."""

    def count(sheet: Sheet) -> int:
        return sum(1 + (finding.rank is Rank.IMPOSSIBLE) for finding in accuse([sheet])[0])

    ways = [sheet.ways for sheet in all_sheets]
    # The first without a contradiction is taken; only where each has one are all compared.
    fitting = (next((way for way in each if len(each) == 1 or not count(way)), None) for each in ways)
    return tuple(way or min(each, key=count) for way, each in zip(fitting, ways, strict=True))


def accuse(all_sheets: Sequence[Sheet]) -> tuple[tuple[Finding, ...], tuple[MeanCheck, ...]]:
    """Return the contradictions that are found without inferring class sizes, and the checks of all averages.

    The checks compare each reported average with the class values.
    """
    findings: list[Finding] = []
    means: list[MeanCheck] = []
    for each in all_sheets:
        claims: list[Claim | None] = [claim for check in CHECKS for claim in check(each)]
        for claim, mean in check_means(each):
            claims.append(claim)
            means.append(mean)
        findings += [make_finding(claim, each) for claim in claims if claim]
    for group in group_tables(all_sheets):
        findings += [make_finding(claim, of) for claim, of in check_weights(group)]
    return tuple(findings), tuple(means)


def choose_sizes(document: Document, options: Options) -> Iterator[tuple[str, Mapping[str, int]]]:
    """Yield each table's name with the class sizes that fit the table best, out of those given in `options`.

    Class sizes fit a table if they lead to no finding. If different class sizes fit, {} is yielded, as the
    sizes are unknown. If none fit, those with the fewest findings are used.
    """
    given = (options.sizes, *options.more_sizes)
    for table in document.tables:
        ways = [sheet(table, document, replace(options, sizes=sizes)) for sizes in given]
        wrong = [len(accuse([way])[0]) for way in ways]
        fitting = [way.sizes for way, number in zip(ways, wrong, strict=True) if number == min(wrong)]
        same = all(sizes == fitting[0] for sizes in fitting)
        yield table.name, fitting[0] if same or min(wrong) else {}


def _check(options: Options) -> None:
    for name, largest in LARGEST.items():
        values = options.totals if name == "images" else [getattr(options, name)]
        for value in values:
            if value is not None and not 1 <= value <= largest:
                raise ValueError(f"{name} {value}; expected 1 to {largest}")
    for name, size in [pair for sizes in (options.sizes, *options.more_sizes) for pair in sizes.items()]:
        if not 0 <= size <= LARGEST["images"]:
            raise ValueError(f"size {size} of class {name}; expected 0 to {LARGEST['images']} images")
    for name, level in options.ceilings.items():
        if not 0 < level < 1:
            raise ValueError(f"ceiling {float(level)} ({name}); expected more than 0 and less than 1")


def list_remarks(all_sheets: Sequence[Sheet], sets: Sequence[ImageSet], options: Options) -> Iterator[str]:
    """Yield remarks on what could not be checked and on assumptions behind the counts."""
    lonely: dict[str, list[str]] = {}
    for measure in PARTS:
        tables = [
            sheet for sheet in all_sheets if len(sheet.classes.get(measure, {})) > 1 and _is_lonely(sheet, measure)
        ]
        if tables:
            lonely.setdefault(_join_names(tables), []).append(measure)
    for names, measures in lonely.items():
        yield f"{names}: no mean {' or '.join(measures)} is printed, so no mean was checked"
    searched = {name for group in sets if group.origin == "search" for name in group.tables}
    unsized = [s for s in all_sheets if Measure.ACCURACY in s.classes and not s.sized and s.name not in searched]
    if unsized:
        yield f"{_join_names(unsized)}: class sizes are neither printed nor given by the decimals: no counts"
    for group in sets:
        known = set(group.identified)
        unknown = [name for name in group.taken if name not in known]
        names = ", ".join(group.tables)
        if unknown:
            yield (
                f"{names}: the size of {len(unknown)} of {len(group.taken)} classes is unknown, as random digits would "
                "fit as well; counts of these classes, totals, and oddities that need them are left out"
            )
        elif group.origin == "search" and not options.totals and group.taken == group.smallest:
            yield f"{names}: the smallest class sizes that fit are used; the true ones may be multiples of them"
        elif group.origin == "search" and options.totals and sum(group.taken.values()) not in options.totals:
            yield (
                f"{names}: no choice, or more than one, of the class sizes that fit adds up to "
                f"{' or '.join(map(str, options.totals))}; the smallest are used, and the true ones may be multiples"
            )
    for rivals in dict.fromkeys(group.rivals for group in sets if group.rivals):
        groups = " | ".join(", ".join(group.tables) for group in sets if group.rivals == rivals)
        yield (
            f"the decimals do not show which tables share an image set: {groups} is the most probable grouping, and "
            f"{'; '.join(rivals)} {'is' if len(rivals) == 1 else 'are'} possible, too; --sizes or --images, once for "
            "each image set, decides it"
        )


def _is_lonely(sheet: Sheet, measure: Measure) -> bool:
    return measure not in {cell.value.measure for cell in sheet.summaries}


def _join_names(tables: Sequence[Sheet]) -> str:
    """Return the table names joined by commas. If there are more than four, name three and count the others."""
    names = [sheet.name for sheet in tables]
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more tables"


def _find_counted(sheet: Sheet) -> Iterator[Value]:
    """Yield values printed with a count k/n, and accuracies and recalls of classes of known size."""
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
RULES: tuple[Callable[[Sheet], Iterator[Value]], ...] = (_find_counted, _find_triples, _find_in_matrix, _find_bounded)


def find_compared(
    all_sheets: Sequence[Sheet], means: Sequence[MeanCheck], findings: Sequence[Finding]
) -> tuple[Value, ...]:
    """Return the reported values that a check compared with another number, in the order of the report."""
    used = {id(value) for each in all_sheets for rule in RULES for value in rule(each)}
    used |= {id(value) for mean in means for value in (mean.value, *mean.parts)}
    used |= {id(value) for finding in findings for value in finding.values}
    return tuple(value for each in all_sheets for value in each.table.values if id(value) in used)
