"""Recognise lines by content: titles of tables, output of a training log, comments, mentions of folds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from in4310repro.audit.readers.words import strip_marks

ABOVE = 6  # lines in which a title is looked for
CAPTION = re.compile(r"(?:figure|fig\.|table|tab\.)\s+[\dIVXLA-Z.]{1,6}\s*[.:]", re.IGNORECASE)
# Signs of a title, in contrast to a sentence: `### ...`, `**...**`, a colon at its end, `Table 3: ...`.
TITLE = re.compile(r"\s*(?:#{1,6}\s.*|\*\*.*\*\*:?|__.*__:?|.*:\s*-?|=+ .* =+|[-*] .*:|<h\d>.*|`[^`]*`)\s*")
VALUE = re.compile(r"[:=] ?\**[\d.,]+ ?%?(?: \(.*\))?\**\W*$")  # a line with a value is a result and no title
# A row of another table: `[1, 2],`, `sea  0.83`, `sea,0.83,100`, `sea 0.83 100`.
ROW = re.compile(r"^\[[^a-zA-Z]*$|^\d+\.\d{2,} [A-Z]|(?:(?:\s{2,}|\t|[,;]\s?)[\d.,]+|\s[\d.,]+ ?%?\s+[\d.,]+) ?%?$")
# Words above the columns of a confusion matrix.
AXIS = re.compile(
    r"(?:reference|actual|truth|true|predicted|prediction|observed)(?: (?:class|label|value)s?)?", re.IGNORECASE
)
LONGEST = 160
# `Epoch 3`, `Epoch=0`, `[3, 2000]`, `782/782 [01:18<00:00, 9.99it/s]`, `63/63 - 2s 31ms/step`.
RUNNING = re.compile(
    r"\b(?:epochs?|iter(?:ation)?s?|steps?|batch(?:es|_id|_idx)?) ?[:=\[(#]{0,2} ?\d|\d/\d{1,9} ?\[|\dit/s"
    r"|s/it\b|\d ?m?s/step"
    r"|\beta ?[:=]|\blr ?[:=]|^\[ ?\d{1,5}, ? {0,8}\d{1,9}\]|\bval_(?:loss|acc(?:uracy)?) ?:"
    r"|\bepoch ?\(|\b(?:improved|increased|decreased|not improve)\b",
    re.IGNORECASE,
)
LOSS = re.compile(r"\bloss\b", re.IGNORECASE)
DIGIT = re.compile(r"\d")
REPEATED = 3  # so many lines with a loss are a log, fewer a final evaluation
LINE = 2000  # characters: what is longer is data and no line that somebody reads
MARK = re.compile(r"(\s{0,12})(#+>?|//+|%+|--|\[[a-z]{2,12}\](?=\s|$))(?=\s|$|\w|\[)")
FEWEST = 3  # lines in a row with one mark: headings of Markdown stand alone
SHARE = 2  # of so many lines at least one has a number: comments in prose stay as they are
WORDS = {
    word: n for n, word in enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=2)
}
NUMBER = rf"(?P<n>\d{{1,3}}|{'|'.join(WORDS)})"
FOLDS = re.compile(
    rf"\b{NUMBER}[- ]?folds?\b|\bk ?= ?(?P<k>\d{{1,3}}) ?folds?"
    rf"|\b(?:mean|averaged?|std|median)\b.{{0,30}} (?:over|of|across|from) (?:the |all )?"
    rf"(?P<m>\d{{1,3}}|{'|'.join(WORDS)}) (?:\w+ )?(?:folds|runs|seeds|trials|repetitions|splits)",
    re.IGNORECASE,
)
NUMBERED_FOLD = re.compile(r"[\W_]*fold[ _#:-]{0,2}(\d{1,3})\b", re.IGNORECASE)  # one line for each fold
LINE = 2000  # characters that are looked at


def find_title(lines: Sequence[str], first: int, end: int) -> str:
    """Return the title above or below the lines from index `first` to `end` (exclusive); "" if there is none."""
    for line in lines[end : end + 2]:
        if CAPTION.match(strip_marks(line)[:LONGEST]):
            return strip_marks(line)[:LONGEST]
    blanks = 0
    for line in reversed(lines[max(0, first - ABOVE) : first]):
        text = line.strip()[:LINE]
        if not re.search(r"\w", text) or AXIS.fullmatch(text):
            blanks += 1
            continue
        if "|" in text or "&" in text or VALUE.search(text) or ROW.search(text):
            return ""
        plain = strip_marks(re.sub(r"^[#>\s*-]+(?=\s)", "", text)).strip("=:- #*")
        if len(text) <= LONGEST and (TITLE.fullmatch(text) or CAPTION.match(plain) or (blanks < 2 and len(text) < 70)):
            return plain
        return plain[:LONGEST] if CAPTION.match(plain) else ""
    return ""


def find_running(lines: Sequence[str]) -> frozenset[int]:
    """Return the numbers, from 1, of the lines that a training log or a progress bar prints."""
    short = [line[:LINE] for line in lines]
    found = {number for number, line in enumerate(short, start=1) if RUNNING.search(line) and DIGIT.search(line)}
    losses = {number for number, line in enumerate(short, start=1) if LOSS.search(line) and DIGIT.search(line)}
    return frozenset(found | (losses if len(losses) >= REPEATED else set()))


def blank_comment_marks(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the lines with comment marks replaced by spaces, so that all text keeps its line and column."""
    plain: list[str] = []
    for mark, run in groupby(lines, _mark):
        block = list(run)
        numbers = sum(any(map(str.isdigit, line)) for line in block)
        if mark and len(block) >= FEWEST and SHARE * numbers >= len(block) - 2:
            block = [MARK.sub(lambda found: " " * len(found[0]), line, count=1) for line in block]
        plain += block
    return tuple(plain)


def _mark(line: str) -> str:
    found = MARK.match(line[:40])
    return found[2] if found else ""


def find_folds(lines: Sequence[str]) -> int | None:
    """Return the number of folds, runs or seeds that the text mentions; None if it mentions none."""
    for line in lines:
        match = FOLDS.search(line[:LINE])
        if match:
            given = (match["n"] or match["k"] or match["m"]).lower()
            return WORDS.get(given) or int(given)
    numbered = [int(match[1]) for line in lines if (match := NUMBERED_FOLD.match(line[:LINE]))]
    return max(numbered) + (min(numbered) == 0) if len(set(numbered)) > 1 else None
