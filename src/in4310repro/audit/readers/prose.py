"""Find the number of folds, runs or seeds over which the reported numbers are means."""

from __future__ import annotations

import re
from collections.abc import Sequence

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
NUMBERED = re.compile(r"[\W_]*fold[ _#:-]{0,2}(\d{1,3})\b", re.IGNORECASE)  # one line for each fold
LINE = 2000  # characters that are looked at


def find_folds(lines: Sequence[str]) -> int | None:
    """Return the number of folds, runs or seeds that the text mentions; None if it mentions none."""
    for line in lines:
        match = FOLDS.search(line[:LINE])
        if match:
            given = (match["n"] or match["k"] or match["m"]).lower()
            return WORDS.get(given) or int(given)
    numbered = [int(match[1]) for line in lines if (match := NUMBERED.match(line[:LINE]))]
    return max(numbered) + (min(numbered) == 0) if len(set(numbered)) > 1 else None
