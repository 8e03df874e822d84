"""Reasons why precision, recall and F1 in a report may be averages of different types."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from in4310repro.audit.document import Document, Measure, Table
from in4310repro.audit.readers.words import heading

NEAR = 10  # lines around the scores in which a text names their averages
LOOP = 3  # lines around the scores in which Keras prints: precision and recall of all images, and often F1 by batches
LONGEST = 500  # letters of a line that are looked at
SCORES = {
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


def doubts_of_averages(table: Table, document: Document) -> Iterator[str]:
    """Yield reasons why an F1 over all classes may lie outside the bounds from precision and recall.

    F1 <= (P + R) / 2 holds if all three are averaged in the same way, which is assumed unless the text suggests
    otherwise.
    """
    values = [v for v in table.values if v.class_name is None and v.measure in SCORES]
    if {value.measure for value in values} != set(SCORES):
        return
    lines = [value.printed.line for value in values]
    near = _around(document, min(lines), max(lines), NEAR)
    whole = [line[:LONGEST] for line in document.lines]
    named = len({heading(value.label).rest for value in values}) > 1
    if named or _differ(near, whole) or any(map(TEXTS.search, near)):
        yield DIFFERENT
    if any(map(KERAS.search, _around(document, min(lines), max(lines), LOOP))):
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
    """Return whether the text names two or more types of average, or an average for only some of the scores."""
    named = {match.casefold() for line in near for match in AVERAGE.findall(line)}
    in_code = {match.casefold() for line in whole for match in IN_CODE.findall(line)}
    some = (
        0 < sum(score.search(line) is not None for score in SCORES.values()) < len(SCORES)
        for line in near
        if AVERAGE.search(line)
    )
    return len(named) > 1 or len(in_code) > 1 or any(some)
