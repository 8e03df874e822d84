"""Find the roles of a grid's rows and columns: classes, networks, metrics or numbers of images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from in4310repro.audit.document import SCORES, Average, Measure
from in4310repro.audit.readers.grid import Grid, is_numeric, strip_signs
from in4310repro.audit.readers.labels import CLASSWISE
from in4310repro.audit.readers.numbers import count, is_missing, parse_measured, parse_ratio
from in4310repro.audit.readers.words import (
    AT_END,
    CLASS,
    CORRECT,
    FOLD,
    NETWORK,
    NETWORK_NAME,
    SIZE,
    SOME,
    SPREADS,
    Heading,
    heading,
)

LOSS = re.compile(r"\bloss\b")
EPOCH = re.compile(r"(?:#? ?)?(?:epochs?|iter(?:ation)?s?|steps?)(?: ?(?:no\.?|number|#))?")
INDEX = re.compile(r"#|no\.?|idx|index|s\.?no\.?|id|nr\.?|rank")
GOAL = re.compile(r"target|goal|threshold|status|required|expected")
# Headings of classes where a support or an average row says so, and of models elsewhere.
WEAK = re.compile(
    r"(?:teams?|stages?|phases?|systems?|authors?|works?|features?|entit(?:y|ies)|intents?|sentiments?|topics?|domains?"
    r"|tags?|slots?|relations?|targets?|outcomes?|grades?|ratings?|stars?|polarity|parameters?|#|)"
)
# Headings and rows of parts of the images, each of which holds all classes.
SUBGROUP = re.compile(
    r"(?:.{0,20}\b)?(?:sub-?groups?|sex|genders?|ages?(?: (?:groups?|range|band))?|ethnicit(?:y|ies)|race|hospitals?"
    r"|sites?|cent(?:er|re)s?|skin (?:types?|tones?)|fitzpatrick|cohorts?|regions?|countr(?:y|ies)|scanners?|devices?"
    r"|languages?|\w+_wave|sources?|cameras?|demographics?|strat(?:um|a))\b.{0,12}"
)
PART = re.compile(
    r"(?:(?:sex|gender|age|race|hospital|site|cent(?:er|re)|skin(?: type)?|cohort|region|country)[ :=_-]{0,3}.{0,20}"
    r"|(?:fe)?males?|(?:wo)?m[ea]n|boys?|girls?"
    r"|(?:[<>≤≥] ?)?\d{1,3}(?: ?[-\u2013] ?\d{1,3}|\+)?(?<=[-<>≤≥\u2013+ ]\d\d|.\d\+)(?: ?(?:years?|y|yrs?))?"
    r"|(?:fitzpatrick |type )?(?:i{1,3}|iv|vi?)(?: ?[-\u2013] ?(?:i{1,3}|iv|vi?))?"
    r"|(?:light|medium|dark)(?:er)? skin(?: tones?)?"
    r"|(?:young|old|middle[- ]aged)(?:er)?|adults?|children|white|black|asian|hispanic|caucasian|latino)"
)
MODELS = re.compile(r"(?:models?|networks?|methods?|classifiers?|algorithms?)(?: names?)?")
DIFFERENCE = re.compile(r"(?P<one>\S.{0,30}?) (?:[-\u2013\u2212]|vs\.?|minus) (?P<other>\S.{0,30})")
CODES = 2  # letters of a class code such as AA; a longer word that means a mean is not a class
AT_THE_END = 5  # rows in which summaries are
BELOW = 3  # rows below the first summary that are not classes; where there are more, classes go on


class Kind(StrEnum):
    """Content of a table's rows: classes, networks, metrics or epochs."""

    CLASSES = "classes"
    NETWORKS = "networks"
    METRICS = "metrics"
    EPOCHS = "epochs"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Indices of a grid's columns by content: names, values, class sizes and correct images."""

    label: int  # the names of classes or networks
    groups: tuple[int, ...]  # further names before it: a network, a data set, an image set
    values: tuple[tuple[int, Heading], ...]  # of measures, or of networks where the measure is elsewhere
    sizes: tuple[int, ...] = ()
    correct: int | None = None


def kind_of(table: Grid, columns: Columns) -> Kind:
    """Return what the rows are, such as classes, networks or epochs.

    This is judged by the column headings, the row names and the title.
    """
    name = table.names[columns.label].lower().strip(" :#")
    labels = [row.cells[columns.label] for row in table.body]
    # Beside a loss, a column of epochs or steps is a log, too.
    losses = any(LOSS.search(each.lower()) for each in table.names)
    if EPOCH.fullmatch(name) or (losses and any(EPOCH.fullmatch(each.lower()) for each in table.names)):
        return Kind.EPOCHS
    every = all(heading(label).measure for label in labels if label)
    pure = {of.measure for label in labels if not (of := heading(label)).rest}
    if pure >= {*SCORES} or (_mostly_measures(labels, columns) and (every or not CLASS.fullmatch(name))):
        return Kind.METRICS
    if any(FOLD.fullmatch(label.lower()) for label in labels):
        return Kind.NETWORKS
    # A column of models behind the names: `| Type | Sensitivity | Model |`.
    if any(MODELS.fullmatch(each.lower()) for each in table.names[columns.label + 1 :]):
        return Kind.NETWORKS
    if are_subgroups(name, [] if CLASS.fullmatch(name) else labels):
        return Kind.NETWORKS
    if CLASS.fullmatch(name) and not re.search(r"\b(?:model|network|data ?set)", name):
        return Kind.CLASSES
    if all(labels) and WEAK.fullmatch(name) and evidence_of_classes(table, columns) and not _mostly_networks(labels):
        return Kind.CLASSES
    beside = any(NETWORK.fullmatch(table.names[column].lower()) for column in columns.groups)
    if beside or NETWORK.fullmatch(name) or _mostly_networks(labels):
        return Kind.NETWORKS
    return Kind.UNKNOWN


def are_subgroups(name: str, labels: Sequence[str]) -> bool:
    """Return whether a column's heading or its rows name parts of the images, such as the patients of one sex."""
    rows = [label for label in labels if not heading(label).summary]
    parts = sum(PART.fullmatch(label.lower()) is not None for label in rows)
    return bool(name and SUBGROUP.fullmatch(name)) or (2 * parts > len(rows) and parts > 1)


def _mostly_networks(labels: Sequence[str]) -> bool:
    return sum(NETWORK_NAME.fullmatch(label) is not None for label in labels) * 2 > len(labels)


def _mostly_measures(labels: Sequence[str], columns: Columns) -> bool:
    named = [heading(label) for label in labels if label]
    # Averages such as accuracy are among the columns where classes are.
    of_columns = [
        of for _, of in columns.values if of.measure and not of.average and of.measure is not Measure.ACCURACY
    ]
    measures = sum(each.measure is not None for each in named)
    return 2 * measures > len(named) and 2 * len(of_columns) <= len(columns.values)


def evidence_of_classes(table: Grid, columns: Columns) -> bool:
    """Return whether class sizes, an average row or the title show that the rows are classes."""
    labels = [row.cells[columns.label] for row in table.body]
    summaries = any(is_summary(labels, index) for index in range(len(labels)))
    return bool(columns.sizes) or summaries or CLASSWISE.search(table.title) is not None


def is_summary(labels: Sequence[str], index: int) -> bool:
    """Return whether a row is a mean or total of the other rows instead of a class."""
    of = heading(labels[index])
    short = len(of.text) <= CODES and of.text.isalpha()
    at_end = index >= len(labels) - AT_THE_END or index == 0
    if short:
        return (of.summary or of.measure in (Measure.KAPPA, Measure.MATTHEWS)) and at_end and not _are_codes(labels)
    pure = of.measure in (Measure.ACCURACY, Measure.KAPPA, Measure.MATTHEWS, Measure.BALANCED_ACCURACY) and not of.rest
    # One of three grades may be called average.
    graded = of.average is Average.UNNAMED and not of.measure and not at_end and not _restarts_below(labels, index)
    return (of.summary and not graded) or (pure and (at_end or of.text.lower() == "accuracy"))


def _restarts_below(labels: Sequence[str], index: int) -> bool:
    """Return whether the name of the first row occurs again in one of the two rows after the row `index`."""
    return labels[0] in labels[index + 1 : index + 3]


def is_aside(labels: Sequence[str], index: int) -> bool:
    """Return whether a row is neither a class nor a mean of all classes, such as a standard deviation.

    This is judged by the row's name and position. Since the judgement may be wrong, checks of means also try the
    row as a class.
    """
    label = labels[index]
    of = heading(label)
    if SPREADS.fullmatch(label.lower()) or (of.average and of.rest and SOME.fullmatch(of.text.lower())):
        return True
    # `AP_base` among names of classes.
    named = sum(heading(each).measure is not None for each in labels)
    if of.measure not in (None, Measure.OTHER, Measure.ERROR) and of.rest and 2 * named < len(labels):
        return True
    below = index - next((i for i in range(2, index) if is_summary(labels, i)), index)
    short = below and len(labels) - (index - below) <= BELOW + 1
    near_end = index >= len(labels) - AT_THE_END and AT_END.fullmatch(label.lower()) is not None
    return bool(short or near_end) and label not in labels[:index]


def _are_codes(labels: Sequence[str]) -> bool:
    """Return whether most names have at most two letters, so that AA and OA may be class codes."""
    return 2 * sum(len(label) <= CODES and label.isalpha() for label in labels) > len(labels)


def is_skipped(label: str) -> bool:
    """Return whether a column is not checked: a standard deviation, a difference or an unused metric."""
    return SPREADS.fullmatch(label.lower()) is not None or is_other(label)


def is_other(label: str) -> bool:
    """Return whether a row or column label is a metric that no check uses."""
    of = heading(label)
    return of.measure is Measure.OTHER and not of.rest and not of.average


def columns_of(table: Grid) -> Columns | None:
    """Return the indices of the columns with row names, values, class sizes and counts of correct predictions.

    The result is None if no column has row names.
    """
    names, filled = table.names, [[c for c in table.column(i) if not is_missing(c)] for i in range(table.width)]
    shares = [sum(map(is_numeric, cells)) / len(cells) if cells else 0.0 for cells in filled]
    numbers = [i for i in range(table.width) if shares[i] > 0.5 or (shares[i] == 0.5 and heading(names[i]).measure)]
    texts = [index for index in range(table.width) if index not in numbers]
    leading = [
        index
        for index in texts
        if not GOAL.search(names[index].lower())
        and all(
            index < number or names[number] == "" or INDEX.fullmatch(names[number].lower()) for number in numbers[:1]
        )
    ]
    whole = [i for i in numbers if all(count(cell) is not None or not is_numeric(cell) for cell in filled[i])]
    label = _label_column(names, leading, numbers, whole)
    if label is None:
        return None
    groups = tuple(index for index in leading if index != label)
    rest = [i for i in numbers if i != label and not (INDEX.fullmatch(names[i].lower()) and i < max(label, 1))]
    named = [i for i in rest if _are_sizes(names[i], filled[i])]
    sizes = [i for i in named if _are_integers(table, label, i) and heading(names[i]).image_set != "train"]
    correct = next((index for index in rest if CORRECT.fullmatch(_plain(names[index]))), None)
    numbers = [i for i in rest if i not in named and i != correct and not any(c.startswith("+") for c in filled[i])]
    numbers = [i for i in numbers if not _is_mostly_above_percent(filled[i])]
    numbers = [i for i in numbers if not _is_difference(names[i], names, filled[i])]
    # Without a measure among the headings they are networks or classes, whatever they are called.
    some = any(heading(names[i]).measure for i in numbers)
    numbers = [i for i in numbers if heading(names[i]).measure or not _is_above_percent(filled[i])]
    values = [
        (i, heading(names[i]))
        for i in numbers
        if not (some and _is_unused(names[i])) and not _is_no_value(names[i], some)
    ]
    return Columns(label=label, groups=groups, values=tuple(values), sizes=tuple(sizes), correct=correct)


def _is_difference(name: str, names: Sequence[str], cells: Sequence[str]) -> bool:
    """Return whether a column holds differences: `M1 - B0` beside `M1` or `B0`, or negative numbers."""
    found = DIFFERENCE.fullmatch(name)
    others = [each.lower() for each in names if each != name]
    of_two = found and any(found[end].lower() in other for end in ("one", "other") for other in others)
    below = any(re.match(r"[-\u2212]0?[.,\d]*[1-9]", each) and not re.match(r"-1(?:\.0*)?$", each) for each in cells)
    return bool(of_two) or (below and heading(name).measure not in (Measure.KAPPA, Measure.MATTHEWS, Measure.OTHER))


def _are_sizes(name: str, cells: Sequence[str]) -> bool:
    """Return whether a column holds class sizes, judged by its heading or by counts such as 13/200."""
    return SIZE.fullmatch(_plain(name)) is not None or _images_of_set(name, cells) or _are_counts(name, cells)


def _are_counts(name: str, cells: Sequence[str]) -> bool:
    """Return whether each cell of a column is a count such as 13/200 and the heading names no metric."""
    return bool(cells) and not heading(name).measure and all(parse_ratio(cell) is not None for cell in cells)


def _is_no_value(name: str, some: bool) -> bool:
    """Return whether to ignore the column with the heading `name`, such as a column of standard deviations.

    `some` tells whether any heading of the table names a metric. If none does, a column is kept if its heading
    may be a network's name.
    """
    return is_skipped(name) and (some or not NETWORK_NAME.fullmatch(name))


def _images_of_set(name: str, cells: Sequence[str]) -> bool:
    """Return whether a column named Train or Test holds image counts: integers, at least one of them above 100."""
    of = heading(name)
    whole = all(count(cell) is not None for cell in cells)
    return of.image_set is not None and not of.measure and not of.rest and whole and _is_above_percent(cells)


def _is_above_percent(cells: Sequence[str]) -> bool:
    """Return whether some cell is a number above 100, so that the column holds no accuracies."""
    found = [parse_measured(strip_signs(cell), 0) for cell in cells]
    return any(each is not None and each.printed is not None and each.printed.value > 100 for each in found)


def _is_mostly_above_percent(cells: Sequence[str]) -> bool:
    """Return whether most numbers are above 100, so that they cannot be fractions or percentages."""
    found = [parse_measured(strip_signs(cell), 0) for cell in cells]
    values = [each.printed for each in found if each is not None and each.printed is not None]
    return 2 * sum(not each.percent and each.value > 100 for each in values) > len(values)


def _are_integers(table: Grid, label: int, column: int) -> bool:
    """Return whether a column holds integers; rows named after a metric, such as accuracy, are ignored."""
    rows = [row for row in table.body if not heading(row.cells[label]).measure and not is_missing(row.cells[column])]
    return bool(rows) and all(count(row.cells[column]) is not None or parse_ratio(row.cells[column]) for row in rows)


def _label_column(
    names: Sequence[str], leading: Sequence[int], numbers: Sequence[int], whole: Sequence[int]
) -> int | None:
    """Return the index of the column of row names; None if there is none.

    It is the last text column headed "class" or the like. Without one, it is such a column among the first
    two columns of numbers. Without this, it is the last text column before the numbers. If there is no such
    text column, it is the first of several columns of numbers, provided that they are integers and its
    heading names no metric.
    """
    named = [index for index in [*leading, *numbers[:2]] if CLASS.fullmatch(_plain(names[index]))]
    texts = [index for index in named if index in leading] or named
    if texts:
        return texts[-1]
    if leading:
        return leading[-1]
    plain = [index for index in numbers[:1] if not heading(names[index]).measure]
    plain = [index for index in plain if index in whole or names[index].lower() in ("threshold", "cutoff", "cut-off")]
    return plain[0] if plain and len(numbers) > 1 else None


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[_-]", " ", name.lower()).split()).strip(" :")


def _is_unused(name: str) -> bool:
    """Return whether a column heading names something that no check uses, such as parameters or times."""
    return re.fullmatch(
        r"(?:.{0,20}\b(?:params?|parameters|flops|gflops|fps|time|size|memory|epochs?|dets|detections|tp|fp|fn|tn|images"
        r"|labels|train\w*|lr|depth|layers|threshold|latency|ms|seconds|loss|target|goal|expected|required|weight|share)\b.{0,20}|#.{0,20})",
        _plain(name),
    ) is not None and heading(name).measure in (None, Measure.OTHER)


def average_of(label: str, measure: Measure, column: Average | None) -> tuple[Measure, Average | None]:
    """Return the metric and type of average of a value in a summary row.

    They follow from the row's label and from the metric and type of average that the column names.
    """
    of = heading(label)
    if of.samples or (of.measure is Measure.OTHER and measure is not Measure.OTHER):
        return Measure.OTHER, of.average
    if of.measure in (Measure.KAPPA, Measure.MATTHEWS, Measure.BALANCED_ACCURACY):
        return of.measure, None
    if of.measure is Measure.ACCURACY and of.average in (Average.MACRO, Average.WEIGHTED, Average.MICRO):
        # `Overall accuracy / macro avg`: one row for both.
        return (measure, of.average) if measure in (Measure.ACCURACY, Measure.RECALL) else (measure, Average.UNNAMED)
    if of.measure is Measure.ACCURACY:
        return Measure.ACCURACY, of.average or Average.OVERALL
    if of.average is Average.OVERALL and measure not in (Measure.ACCURACY, Measure.RECALL):
        return measure, Average.UNNAMED
    # The row `all` below mAP50 is the mean that the heading names.
    return measure, column if column and of.average is Average.UNNAMED else of.average
