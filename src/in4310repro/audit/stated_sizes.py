"""Find the numbers of images of each class that a sentence states, such as "50 of each class"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from in4310repro.audit.document import Document, Measure, Table

NEAR_TABLE = 40  # lines between a sentence and the table
LINE = 1000  # letters of a line that are looked at
NUMBER = r"(?P<{}>\d{{1,3}}(?:,\d{{3}})+|\d{{1,7}})"
CLASSES = r"(?:class(?:es)?|categor(?:y|ies)|labels?|types?)\b"
THINGS = r"(?:images?|samples?|pictures?|photos?|photographs?|examples?|instances?|test cases|items?|files?)"
EACH = NUMBER.format("each")
PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # 50 of each class, 50 test images per class, 50 images for each of the 6 classes
        rf"\b{EACH} (?:[^\W\d]\w* ){{0,3}}?(?:per|(?:(?:of|in|from|for|to) )?(?:each|every|a)) "
        rf"(?:of (?:the |our )?(?:\w+ )?)?(?:\w+ )?{CLASSES}",
        # each class has 50 images, every one of the 6 classes contains 50
        rf"\b(?:each|every)(?: one)?(?: of the)?(?: \w+)? {CLASSES} (?:\w+ ){{0,2}}?(?:has|have|contains?|with|holds?"
        rf"|of|by|comprises|consists of)(?: exactly)? {EACH}\b",
        # 6 classes with 50 images each, 6 x 50 images
        rf"\b\d{{1,4}} (?:\w+ )?{CLASSES}[,:]? (?:of|with|[x\u00d7*]|at|having)? ?{EACH} (?:\w+ )?{THINGS}(?: each)?",
        rf"\b\d{{1,4}} ?[x\u00d7*] ?{EACH} (?:\w+ )?{THINGS}",
        # 50 images each
        rf"\b{EACH} (?:\w+ )?{THINGS} (?:each|apiece)\b",
        # 50 each
        rf"\b{EACH} (?:each|apiece)\b",
    )
)
TOTAL_OF_CLASSES = re.compile(
    rf"\b{NUMBER.format('total')} (?:[^\W\d_]{{2,}} ){{0,2}}?{THINGS}|\b{NUMBER.format('all')} in (?:total|all)\b", re.I
)
EVEN = re.compile(r"\b(?:evenly|equally|balanced|uniformly|same number)\b", re.IGNORECASE)
TESTED = re.compile(r"\b(?:test\w*|evaluat\w*|validat\w*|held[- ]out|hold[- ]?out)\b", re.IGNORECASE)
OTHER = re.compile(
    r"\b(?:train\w*|fit(?:ted)?|augment\w*|epochs?|batch\w*|shots?|fine[- ]?tun\w*|up to|at least|about)\b", re.I
)
# 437 images of buildings, 474 (of) forest
OF_CLASS = rf"(?<![\w.,])(\d{{{{1,3}}}}(?:,\d{{{{3}}}})+|\d{{{{1,7}}}}) (?:{THINGS} )?(?:(?:of|in|from) )?{{}}\b"
CONDITION = "the class sizes in line {} are those of other images"
SPLITS = re.compile(r"\b(?:train\w*|splits?|folds?)\b", re.IGNORECASE)
TRIVIAL = Fraction(1, 4)  # of all printed numbers that are a k/n: where more are, fitting says nothing


@dataclass(frozen=True, kw_only=True)
class StatedSizes:
    """Class sizes that a sentence states, with reasons why they may be of a different image set."""

    sizes: Mapping[str, int] = field(default_factory=dict)
    conditions: tuple[str, ...] = ()


def find_stated_sizes(table: Table, document: Document) -> StatedSizes:
    """Return the class sizes that sentences near the table state.

    If some of the sentences are about a test or validation set, only these count. No sizes are returned if
    the sentences contradict each other, or if most class values cannot be a fraction k / size.

    The sizes hold without a condition in three cases. In the first, at least two values are such fractions,
    and the values have too many decimals for this to happen by chance. In the second, the sentence is about
    a test or validation set. In the third, the sentence also states the total, and the document mentions no
    training set, split or fold. In all other cases the result has a condition, which says that the sizes may
    be those of other images.
    """
    names = table.classes
    named = _find_named(table, document)
    if named:
        return named
    values = [v for v in table.of_classes if v.measure in (Measure.ACCURACY, Measure.RECALL)]
    if len(names) < 2 or len(values) < len(names) or table.sizes or not table.whole_images or table.partial:
        return StatedSizes()
    found = list(_find_sentences(table, document, len(names)))
    tested = [each for each in found if TESTED.search(each[2])]
    sizes = {size for size, _, _ in tested or found}
    if len(sizes) != 1:
        return StatedSizes()
    size, line, text = (tested or found)[0]
    fits = [_is_share(v.printed.value, v.printed.unit, size) for v in values]
    if 2 * sum(fits) < len(fits):
        return StatedSizes()
    told = max((v.printed.unit for v in values), default=Fraction(1)) * size <= TRIVIAL and sum(fits) >= 2
    whole = _find_total(text) == size * len(names) and not any(SPLITS.search(each[:LINE]) for each in document.lines)
    certain = told or whole or bool(tested)
    return StatedSizes(sizes=dict.fromkeys(names, size), conditions=() if certain else (CONDITION.format(line),))


def _find_named(table: Table, document: Document) -> StatedSizes | None:
    """Return the sizes that one line near the table gives by class: 437 images of buildings, 474 of forest."""
    lines = [value.printed.line for value in table.of_classes]
    near = range(max(1, min(lines, default=1) - NEAR_TABLE), max(lines, default=0) + NEAR_TABLE + 1)
    for number in near if len(table.classes) > 1 and not table.sizes and not table.partial else ():
        text = document.lines[number - 1][:LINE] if number <= len(document.lines) else ""
        given = {name: re.search(OF_CLASS.format(re.escape(name)), text, re.IGNORECASE) for name in table.classes}
        if all(given.values()) and not OTHER.search(text):
            sizes = {name: int((found[1]).replace(",", "")) for name, found in given.items() if found}
            return StatedSizes(sizes=sizes, conditions=() if TESTED.search(text) else (CONDITION.format(number),))
    return None


def _find_sentences(table: Table, document: Document, classes: int) -> Iterator[tuple[int, int, str]]:
    """Yield class size, line number and text of each sentence near a table that states one size for all classes."""
    lines = [value.printed.line for value in table.values]
    for number in range(max(1, min(lines) - NEAR_TABLE), min(len(document.lines), max(lines) + NEAR_TABLE) + 1):
        for text in _split_sentences(document.lines[number - 1][:LINE]):
            if OTHER.search(text):
                continue
            total = _find_total(text)
            for size in _find_each(text, total, classes):
                if size >= 2 and total in (None, size, size * classes):
                    yield size, number, text


def _split_sentences(line: str) -> Sequence[str]:
    return [part for part in re.split(r"(?<=[.;!?])\s+", line) if part.strip()]


def _find_each(text: str, total: int | None, classes: int) -> Iterator[int]:
    for pattern in PATTERNS:
        match = pattern.search(text)
        if match:
            yield int(match["each"].replace(",", ""))
            return
    if EVEN.search(text) and total and total % classes == 0:
        yield total // classes


def _find_total(text: str) -> int | None:
    """Return the largest number of images that a sentence names; None if it names none."""
    found = [int((match["total"] or match["all"]).replace(",", "")) for match in TOTAL_OF_CLASSES.finditer(text)]
    return max(found, default=None)


def _is_share(value: Fraction, unit: Fraction, size: int) -> bool:
    nearest = round(value * size)
    return abs(Fraction(nearest, size) - value) <= unit
