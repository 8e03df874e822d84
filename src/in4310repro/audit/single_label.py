"""Conditions for images with several labels: then the accuracy does not follow from the class values."""

from __future__ import annotations

import re
from collections.abc import Iterator

from in4310repro.audit.document import Average, Document, Measure, Table, Value

NEAR = 6  # lines around the values of a table that say what its classes are
SCORES = (Measure.PRECISION, Measure.RECALL, Measure.F1)
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


def doubt_accuracy(table: Table, document: Document) -> Iterator[str]:
    """Yield conditions under which the overall accuracy is of other items than the class values."""
    if len({value.item for value in table.values}) > 1 or _is_of_entities(table, document) or _has_micro_average(table):
        yield OF_TOKENS


def doubt_labels(table: Table, document: Document) -> Iterator[str]:
    """Yield conditions under which images have not exactly one label and one prediction each.

    An accuracy among the averages of precision, recall and F1 shows single labels, as scikit-learn prints a micro
    average instead if images have several labels or some labels are not counted. A confusion matrix shows single
    labels, too.
    """
    if any(doubt_accuracy(table, document)):
        yield OF_TOKENS
        return
    accuracy = any(v.measure is Measure.ACCURACY and v.average is Average.OVERALL for v in table.values)
    if not accuracy and table.matrix is None:
        yield SEVERAL


def _is_of_entities(table: Table, document: Document) -> bool:
    names = {value.class_name for value in table.values if value.class_name is not None}
    if OUTSIDE in names:
        return False
    known = sum((ENTITY.fullmatch(name) or TAGGED.fullmatch(name)) is not None for name in names)
    if known >= 2 and 2 * known >= len(names):
        return True
    lines = [value.printed.line for value in table.values]
    near = document.lines[max(0, min(lines, default=1) - 1 - NEAR) : max(lines, default=0) + NEAR]
    return any(ENTITY_WORDS.search(line[:500]) for line in near)


def _has_micro_average(table: Table) -> bool:
    """Return whether a samples average, or a micro average unlike the accuracy, shows multiple labels."""
    accuracies = [v for v in table.values if v.measure is Measure.ACCURACY and v.average is Average.OVERALL]
    micro = [v for v in table.values if v.average is Average.MICRO and v.measure in SCORES]
    overall = [v for v in table.values if v.average is Average.OVERALL and v.measure in SCORES]
    # As seqeval prints them: overall precision, recall and F1 of entities, and an accuracy of tokens.
    micro += overall if {v.measure for v in overall} == set(SCORES) else []
    samples = any("samples avg" in value.label.casefold() for value in table.values)
    return samples or bool(micro and not any(_are_equal(one, other) for one in micro for other in accuracies))


def _are_equal(one: Value, other: Value) -> bool:
    return abs(one.printed.value - other.printed.value) <= max(one.printed.unit, other.printed.unit)
