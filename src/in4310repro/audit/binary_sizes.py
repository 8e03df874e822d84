"""Find the numbers of images, positives and negatives in the text near the scores of a binary test."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from in4310repro.audit.binary_counts import Split
from in4310repro.audit.document import Document, Measure, Table
from in4310repro.audit.said import CONDITION, OTHER, TESTED, THINGS, replace_number_words

NEAR = 8  # lines between the numbers of images and the scores
TOUCHING = 2  # lines: so near, they are of the scores
LONGEST = 500  # letters of a line that are looked at
COUNT = r"(\d{1,3}(?:,\d{3})+|\d{1,7})(?![\d.%/])"
WRONG = r"(?<!true )(?<!false )(?<!predicted )"
SIDES = {
    name: re.compile(
        rf"(?<![\w.]){COUNT} (?:[^\W\d]\w* )?{WRONG}{word}s?\b(?! predict)"
        rf"|{WRONG}(?<!\w){word}s?(?: (?:{THINGS}|class))? ?[:=]? ?{COUNT}",
        re.IGNORECASE,
    )
    for name, word in (("positives", "positive"), ("negatives", "negative"))
}
TOTAL = re.compile(
    rf"(?<!\w)n ?= ?{COUNT}|(?<![\w.]){COUNT} (?:[^\W\d_]{{2,}} ){{0,2}}?(?:{THINGS}|patients|cases)\b", re.I
)
LETTERS = re.compile(r"(?<!\w)P ?= ?(\d{1,7})(?![\d.])\W{1,4}(?:and )?N ?= ?(\d{1,7})(?![\d.])")
# A part of the images, or other images.
PART = re.compile(r"%|\bsplit|\bpercent|\bof which\b|\bdata ?sets?\b|\bcorpus\b|\bcollect|\bpredicted\b", re.IGNORECASE)
BINARY = re.compile(r"\bbinary\b|\b(?:two|2)[- ]class|\bdiseased\b|\bhealthy\b|\bbenign\b|\bmalignant\b", re.IGNORECASE)
AVERAGED = re.compile(
    r"\b(?:means?|averag\w+|medians?|folds?|cross[- ]?validat\w+|cv|bootstrap\w*|seeds?|runs?|repeat\w*|macro|micro"
    r"|weighted|ensemble)\b|\u00b1",
    re.IGNORECASE,
)
THRESHOLDS = re.compile(r"\bthresholds?\b|\bcut-?offs?\b|\boperating points?\b|\byouden\b|\bbest\b|@", re.IGNORECASE)
SIDED = (Measure.RECALL, Measure.SPECIFICITY, Measure.PRECISION, Measure.NEGATIVE_PREDICTIVE_VALUE)


@dataclass(frozen=True, kw_only=True)
class NamedSplit:
    """Numbers of images that a line of text states, with reasons why they may be of a different image set."""

    split: Split
    line: int
    binary: bool  # whether the text says that there are two classes
    conditions: tuple[str, ...] = ()  # why that may be of other images


def named_split(table: Table, document: Document) -> NamedSplit | None:
    """Return the numbers of images stated near the scores; None if there are none or they contradict each other."""
    lines = [value.printed.line for value in table.values if value.class_name is None]
    if not lines or len(lines) < len(table.values):
        return None
    found = list(_named(document, min(lines), max(lines)))
    sided = [each for each in found if each.split.positives is not None] or found
    return sided[0] if sided and all(each.split == sided[0].split for each in sided) else None


def _named(document: Document, first: int, last: int) -> Iterator[NamedSplit]:
    for number in range(max(1, first - NEAR), min(len(document.lines), last + NEAR) + 1):
        pair = (*document.lines[number - 1 : number + 1], "")[:2]
        text, below = (replace_number_words(line[:LONGEST]) for line in pair)
        split = _split(text) or (_split(f"{text}\n{below}") if _sides(text) and _sides(below) else None)
        if split is None or OTHER.search(text):
            continue
        apart = max(first - number, number - last, 0)
        tested = TESTED.search(text) is not None or apart <= TOUCHING
        certain = tested and not PART.search(text)
        conditions = () if certain else (CONDITION.format(number).replace("class sizes", "numbers of images"),)
        near = document.lines[max(0, first - 1 - NEAR) : last + NEAR]
        binary = split.positives is not None or any(BINARY.search(line[:LONGEST]) for line in near)
        yield NamedSplit(split=split, line=number, binary=binary, conditions=conditions)


def _sides(text: str) -> dict[str, set[int]]:
    """Return the numbers that a text names as "positives" and "negatives"; a key without numbers is omitted."""
    found = {name: {_number(match) for match in pattern.finditer(text)} for name, pattern in SIDES.items()}
    return {name: numbers for name, numbers in found.items() if numbers}


def _split(text: str) -> Split | None:
    letters = LETTERS.search(text)
    sides = {"positives": {int(letters[1])}, "negatives": {int(letters[2])}} if letters else _sides(text)
    if len(sides) == len(SIDES) and all(len(numbers) == 1 for numbers in sides.values()):
        (positives,), (negatives,) = sides["positives"], sides["negatives"]
        return Split(total=positives + negatives, positives=positives) if positives and negatives else None
    totals = {_number(match) for match in TOTAL.finditer(text)}
    return Split(total=totals.pop()) if len(totals) == 1 and not sides else None


def _number(match: re.Match[str]) -> int:
    return int((match[1] or match[2]).replace(",", ""))


def other_results(table: Table, document: Document) -> Iterator[str]:
    """Yield reasons why the scores over all classes may not be from a single test at a single threshold."""
    lines = [value.printed.line for value in table.values] or [1]
    near = document.lines[max(0, min(lines) - 1 - NEAR) : max(lines) + NEAR]
    if any(AVERAGED.search(line[:LONGEST]) for line in near):
        yield "the scores are averages"
    if any(THRESHOLDS.search(line[:LONGEST]) for line in near):
        yield "the scores are at different thresholds"
    measures = Counter(v.measure for each in document.tables for v in each.values if v.class_name is None)
    if max((number for measure, number in measures.items() if measure in SIDED), default=0) > 1:
        yield "the scores are of several tests or networks"
