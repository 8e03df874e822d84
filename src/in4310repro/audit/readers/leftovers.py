"""Sort the lines that no reader used: possible results, and lines whose numbers are not results."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from in4310repro.audit.document import Context, Unread
from in4310repro.audit.readers.contexts import classify_context
from in4310repro.audit.readers.logs import LINE

WHY = "it has a number that no rule used"
DIGIT = re.compile(r"\d")


def find_leftovers(
    lines: Sequence[str],
    used: Collection[int],
    known: Sequence[Unread],
    told: Mapping[int, str],
    repeats: Callable[[str], bool],
) -> tuple[list[Unread], list[Context]]:
    """Return the unused lines in two lists: possible results, and lines of dates, settings and the like.

    Args:
        lines: all lines of the text.
        used: numbers, from 1, of the lines from which a reader took values or headings.
        known: lines that a reader reported as unread.
        told: by line number, the kind of context of the lines that the readers left out on purpose.
        repeats: function that returns whether all numbers of a line repeat values read from other lines.
    """
    unread = [each for each in known if each.line in used or not repeats(lines[each.line - 1])]
    named = {each.line for each in unread}
    context: list[Context] = []
    for number, line in enumerate(lines, start=1):
        if number in used or number in named or not DIGIT.search(line):
            continue
        kind = told.get(number) or classify_context(line) or ("value that is printed again" if repeats(line) else "")
        if kind:
            context.append(Context(line=number, kind=kind))
        else:
            unread.append(Unread(line=number, text=line.strip()[:LINE], why=WHY, measuring=False))
    return sorted(unread, key=lambda each: each.line), context
