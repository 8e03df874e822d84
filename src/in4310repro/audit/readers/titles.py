"""Find the title of a table: the caption, heading or bold line right above it, or the caption below."""

from __future__ import annotations

import re
from collections.abc import Sequence

from in4310repro.audit.readers.logs import LINE
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
