"""Reasons in the text to doubt a verdict: missing classes, several labels per image, mixed averages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from in4310repro.audit.document import SCORES, Average, Document, Measure, Table, Value
from in4310repro.audit.readers.words import heading

# Distance from a table within which an unread line may belong to it.
NEAR_ROWS = 12
LONGEST = 500  # letters of a line that are looked at
TABLES = 4  # tables before and after that are looked at
# Recall of a class is its accuracy.
ALIKE = {Measure.ACCURACY, Measure.RECALL, Measure.BALANCED_ACCURACY}
NEAR_CLASSES = 6  # lines around the values of a table that say what its classes are
OF_TOKENS = "the accuracy is that of tokens or of all labels, and the classes are entities or some of the labels"
SEVERAL = "an image can have several labels, or none"
ENTITY_WORDS = re.compile(
    r"\b(?:FB1|tokens?|phrases?|entit(?:y|ies)|chunks?|chunking|spans?|mentions?|slots?|NER|BIO(?:ES)?|IOB\d?|seqeval"
    r"|conll\w*|named[- ]entity)\b",
    re.IGNORECASE,
)
ENTITY = re.compile(
    r"(?i:PERS?|PERSON|LOC|LOCATION|ORG|ORGANI[SZ]ATION|MISC|GPE|[NVPADJS]{1,4}P|SBAR|PRT)"
    r"|FAC|FACILITY|DATE|TIME|MONEY|PERCENT|CARDINAL|ORDINAL|NORP|PRODUCT|EVENT|WORK_OF_ART|LAW|LANGUAGE|QUANTITY"
)
TAGGED = re.compile(r"[BIESLU][-_]\w.*")
OUTSIDE = "O"
NEAR_SCORES = 10  # lines around the scores in which a text names their averages
NEAR_LOOP = (
    3  # lines around the scores in which Keras prints: precision and recall of all images, and often F1 by batches
)
SCORE_NAMES = {
    Measure.PRECISION: re.compile(r"\bprecisions?\b|\bprec\b|\bPPV\b", re.IGNORECASE),
    Measure.RECALL: re.compile(r"\brecalls?\b|\bsensitivity\b|\bTPR\b", re.IGNORECASE),
    Measure.F1: re.compile(r"\bf[ -]?1|\bf[ -]?(?:score|measure)", re.IGNORECASE),
}
AVERAGE = re.compile(r"(?<![^\W_])(macro|micro|weighted|samples avg)(?![^\W_])", re.IGNORECASE)
IN_CODE = re.compile(r"average ?= ?['\"](\w+)")
KERAS = re.compile(r"\bval_\w|\bkeras\b|\btensorflow\b|\d ?m?s/step|\.evaluate\(", re.IGNORECASE)
LEFT_OUT = re.compile(r"\bna\.rm\b|nanmean|\bNaNs?\b|\bundefined\b|\bcaret\b|\bnever predicted\b", re.IGNORECASE)
TEXTS = re.compile(
    r"rouge|bleu|meteor|bert-?score|exact match|squad|retriev|\bmrr\b|ndcg|\bhits?@|@ ?k\b", re.IGNORECASE
)
MEDIAN = re.compile(r"\bmedians?\b", re.IGNORECASE)
THRESHOLDS = re.compile(r"\bthresholds?\b|\bcut-?offs?\b|\boperating points?\b", re.IGNORECASE)

DIFFERENT = "precision, recall and F1 are averaged in different ways"
BATCHES = "F1 is a mean over batches, and precision and recall are of all images"
NEVER_PREDICTED = "classes without predictions are left out of some of the averages"
NO_MEANS = "the scores are medians"
APART = "precision, recall and F1 are at different thresholds"


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A reason why a class may be missing from a table, such as an unread line near it."""

    condition: str
    measures: frozenset[Measure] = frozenset()  # that the line names; none: it may be of any

    def is_of(self, measures: Set[Measure]) -> bool:
        """Return whether the missing class may have a value for one of these metrics."""
        return not self.measures or bool(self.measures & measures) or bool(self.measures & ALIKE and measures & ALIKE)


def find_gaps(table: Table, sizes: Mapping[str, int]) -> Iterator[str]:
    """Yield reasons, found in the table itself, to suspect that its list of classes is incomplete."""
    if table.partial:
        yield "classes are left out of the table"
    yield from table.doubts
    images = sum(sizes.values())
    if table.total is not None and sizes and table.total != images:
        yield f"a class is not printed: {table.total} images are printed in all, and the classes have {images}"
    names = Counter((value.measure, value.class_name) for value in table.of_classes)
    twice = sorted({str(name) for (_, name), times in names.items() if times > 1})
    if twice:
        yield f"a class is printed twice: {', '.join(twice[:5])}"
    for value in table.values:
        # A number far above one may be a count where a share is expected.
        if value.class_name is not None and value.printed.value > 2 and "%" not in value.printed.text:
            yield f"{value.printed.text} of {value.class_name} is not a share"


def find_missing_classes(table: Table, document: Document) -> Iterator[Gap]:
    """Yield a Gap (a reason for doubt) for each nearby table that may list further classes of `table`.

    This is suspected if the nearby table has class values of a metric, but fewer averages of it than
    `table`. Tables that share a class with `table` are ignored, as are those that only repeat numbers of
    `table`, such as a sentence about it.
    """
    names, place = (
        set(table.classes),
        next((i for i, each in enumerate(document.tables) if each.name == table.name), None),
    )
    if not names or place is None:
        return
    given = {value.printed.value for value in table.values}
    for other in document.tables[max(0, place - TABLES) : place + TABLES + 1]:
        theirs = other.of_classes
        repeated = all(value.printed.value in given for value in theirs)
        if repeated or names & set(other.classes) or _distance(table, other) > NEAR_ROWS:
            continue
        more = _summaries(table) - _summaries(other)
        measures = frozenset(value.measure for value in theirs) & set(more)
        if measures:
            yield Gap(condition=f"the classes of {other.name} belong to it, too", measures=measures)


def _summaries(table: Table) -> Counter[Measure]:
    return Counter(value.measure for value in table.values if value.class_name is None)


def _distance(one: Table, other: Table) -> int:
    ends = [[each.line for each in table.printed] or [0] for table in (one, other)]
    return max(min(ends[0]) - max(ends[1]), min(ends[1]) - max(ends[0]))


def find_missing_lines(table: Table, document: Document) -> Iterator[Gap]:
    """Yield a `Gap` for each line in or near the table that looks like a measurement and was not understood."""
    lines = [value.printed.line for value in table.values] or [0]
    for unread in document.unread:
        if unread.measuring and min(lines) - NEAR_ROWS <= unread.line <= max(lines) + NEAR_ROWS:
            text = f"line {unread.line}, which was not understood, changes it: {unread.text.strip()[:80]!r}"
            yield Gap(condition=text)


def doubt_accuracy(table: Table, document: Document) -> Iterator[str]:
    """Yield a doubt if accuracy and class values may count different things.

    For example, the accuracy may count tokens (words), while the class values count entities.
    """
    if len({value.item for value in table.values}) > 1 or _is_of_entities(table, document) or _has_micro_average(table):
        yield OF_TOKENS


def doubt_labels(table: Table, document: Document) -> Iterator[str]:
    """Yield a doubt if the accuracy may count tokens (words), or if images may have several labels or none.

    A confusion matrix or an accuracy in the table shows that each image has one label. If images had several
    labels, or if some labels were not counted, scikit-learn would print a micro average instead of an accuracy.
    """
    if any(doubt_accuracy(table, document)):
        yield OF_TOKENS
        return
    accuracy = any(v.measure is Measure.ACCURACY and v.average is Average.OVERALL for v in table.values)
    if not accuracy and table.matrix is None:
        yield SEVERAL


def _is_of_entities(table: Table, document: Document) -> bool:
    names = table.classes
    if OUTSIDE in names:
        return False
    known = sum((ENTITY.fullmatch(name) or TAGGED.fullmatch(name)) is not None for name in names)
    if known >= 2 and 2 * known >= len(names):
        return True
    lines = [value.printed.line for value in table.values]
    near = document.lines[max(0, min(lines, default=1) - 1 - NEAR_CLASSES) : max(lines, default=0) + NEAR_CLASSES]
    return any(ENTITY_WORDS.search(line[:500]) for line in near)


def _has_micro_average(table: Table) -> bool:
    """Return whether an average in the table suggests that images have several labels.

    This is so if there is a samples average, or if there are micro averages and none of them is equal to an
    accuracy in the table.
    """
    accuracies = [v for v in table.values if v.measure is Measure.ACCURACY and v.average is Average.OVERALL]
    micro = [v for v in table.values if v.average is Average.MICRO and v.measure in SCORES]
    overall = [v for v in table.values if v.average is Average.OVERALL and v.measure in SCORES]
    # As seqeval prints them: overall precision, recall and F1 of entities, and an accuracy of tokens.
    micro += overall if {v.measure for v in overall} == set(SCORES) else []
    samples = any("samples avg" in value.label.casefold() for value in table.values)
    return samples or bool(micro and not any(_are_equal(one, other) for one in micro for other in accuracies))


def _are_equal(one: Value, other: Value) -> bool:
    return abs(one.printed.value - other.printed.value) <= max(one.printed.unit, other.printed.unit)


def doubts_of_averages(table: Table, document: Document) -> Iterator[str]:
    """Yield reasons why the F1 over all classes may lie outside its usual bounds.

    The bounds P + R - 1 <= F1 <= (P + R) / 2 hold if precision P, recall R and F1 are averaged in the same
    way. This is assumed unless the text suggests otherwise.
    """
    values = [v for v in table.values if v.class_name is None and v.measure in SCORE_NAMES]
    if {value.measure for value in values} != set(SCORE_NAMES):
        return
    lines = [value.printed.line for value in values]
    near = _around(document, min(lines), max(lines), NEAR_SCORES)
    whole = [line[:LONGEST] for line in document.lines]
    named = len({heading(value.label).rest for value in values}) > 1
    if named or _differ(near, whole) or any(map(TEXTS.search, near)):
        yield DIFFERENT
    if any(map(KERAS.search, _around(document, min(lines), max(lines), NEAR_LOOP))):
        yield BATCHES
    if any(map(LEFT_OUT.search, whole)):
        yield NEVER_PREDICTED
    if any(map(MEDIAN.search, near)):
        yield NO_MEANS
    if not table.whole_images or any(map(THRESHOLDS.search, near)):
        yield APART


def _around(document: Document, first: int, last: int, reach: int) -> list[str]:
    return [line[:LONGEST] for line in document.lines[max(0, first - 1 - reach) : last + reach]]


def _differ(near: Sequence[str], whole: Sequence[str]) -> bool:
    """Return whether precision, recall and F1 may be averages of different types.

    This is so if the text names two types, or if a line names a type together with only one or two of the three
    scores.
    """
    named = {match.casefold() for line in near for match in AVERAGE.findall(line)}
    in_code = {match.casefold() for line in whole for match in IN_CODE.findall(line)}
    some = (
        0 < sum(score.search(line) is not None for score in SCORE_NAMES.values()) < len(SCORE_NAMES)
        for line in near
        if AVERAGE.search(line)
    )
    return len(named) > 1 or len(in_code) > 1 or any(some)
