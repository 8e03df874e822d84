"""Remove comment marks before results, such as `## Accuracy : 0.99` by knitr and `[java] ` by Ant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

MARK = re.compile(r"(\s{0,12})(#+>?|//+|%+|--|\[[a-z]{2,12}\](?=\s|$))(?=\s|$|\w|\[)")
FEWEST = 3  # lines in a row with one mark: headings of Markdown stand alone
SHARE = 2  # of so many lines at least one has a number: comments in prose stay as they are


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
