"""Sort unused numbers and lines: possible results, repetitions, and numbers that are not results."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from in4310repro.audit.document import Context, Measure, Printed, Table, Unread
from in4310repro.audit.readers.contexts import LINE, classify_context, is_setting, remove_context
from in4310repro.audit.readers.numbers import ALIKE
from in4310repro.audit.readers.pieces import Piece
from in4310repro.audit.readers.words import heading

NUMBER = re.compile(r"(?<![\w.,])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:[.,]\d+)?(?:[eE][-+]?\d{1,2})?(?: ?%)?(?![\w%])")
CELLS = re.compile(r" *[|&\t;] *| {2,}")
USED = "·"  # in place of what was used: no letter, no digit and no space
MARKUP = re.compile(
    r"\\(?:multi(?:row|column)|cmidrule|cline|vspace|cite\w*|ref)\*?(?:\[[^\]]*\]|\{[^{}]*\})|\\[a-z]+\b|\\\\|[{}$]"
)
COMMAS = 3  # in a row of a table that has no other sign between its cells
HEADER = 4  # lines of a table in which its header is
SHOWN = 5  # numbers that are listed of one column
BETWEEN = re.compile(r"[,;|{}\[\]()/\t]| {2,}| and ")  # what parts a label from the one before it
WHY = "it has a number that no rule used"
VALUE = re.compile(r"(?<![\w.,])(\d{1,3}(?:[.,]\d{1,20})?) ?(%?)(?![\w]|[.,]\d)")
FEWEST = 2  # least decimals with which a share is recognised as a value already read
DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class Left:
    """A number that was not used, with its line, its column and the column's heading."""

    line: int
    text: str
    column: int  # counted from the end of the row
    name: str  # the heading of its column, or the words before it


def find_unused(
    lines: Sequence[str], pieces: Sequence[Piece], passed: Collection[int], repeats: Callable[[str], bool]
) -> Iterator[Unread]:
    """Find lines with numbers of unknown meaning beside a value that was read; yield an `Unread` for each line.

    Unknown numbers in the same column of a table are reported once, at the first of their lines.

    Args:
        lines: all lines of the text.
        pieces: everything that was read.
        passed: numbers of the lines that a reader reported as unread or left out on purpose.
        repeats: function that returns whether all numbers of a text repeat values read from other lines.
    """
    known = _counts([piece.table for piece in pieces])
    names = sorted({name for piece in pieces for name in _names(piece.table) if re.search(r"\d", name)}, key=len)
    by_line: dict[int, list[Piece]] = {}
    for piece in pieces:
        for line in {printed.line for printed in piece.table.printed} - set(passed):
            by_line.setdefault(line, []).append(piece)
    rows = Counter(found[0].first for found in by_line.values())
    groups: dict[tuple[int, int, str], list[Left]] = {}
    for line, found in sorted(by_line.items()):
        if len(lines[line - 1]) > LINE:
            why = f"a line of more than {LINE} characters is not searched for numbers that no rule used"
            yield Unread(line=line, text=lines[line - 1].strip()[:LINE], why=why, measuring=False)
            continue
        heads = _heads(found[0], line, lines) if rows[found[0].first] > 1 else None
        for each in _list_left(line, _plain(lines[line - 1]), found, names[::-1], heads):
            if not _is_known(each.text, known) and not repeats(each.text) and not _is_of_no_use(each.name):
                key = (found[0].first, each.column, each.name)
                groups.setdefault(key if each.column or each.name else (line, 0, ""), []).append(each)
    told: dict[int, list[str]] = {}
    for group in groups.values():
        if not _is_numbering([each.text for each in group]):
            told.setdefault(group[0].line, []).append(_describe(group))
    for line, texts in told.items():
        text = lines[line - 1].strip()[:LINE]
        yield Unread(line=line, text=text, why=f"no rule used {'; '.join(texts)}", measuring=False)


def _describe(group: Sequence[Left]) -> str:
    texts = [each.text for each in group]
    shown = ", ".join(texts[:SHOWN]) + (f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else "")
    return f"{shown} below {group[0].name!r}" if group[0].column and group[0].name else shown


def _list_left(
    line: int, text: str, pieces: Sequence[Piece], names: Sequence[str], heads: Sequence[Sequence[str]] | None
) -> Iterator[Left]:
    rest, place = _remove_used(text, line, pieces, names), 0
    for match in NUMBER.finditer(remove_context(rest)):
        number = match[0].strip()
        place = max(place, rest.find(number, place))
        column = _column(text, place) if heads is not None else 0
        name = _heading(heads or (), column, text) if column else _label(rest[:place])
        place += len(number)
        yield Left(line, number, column, name)


def _plain(text: str) -> str:
    """Return a line prepared for splitting into cells.

    LaTeX markup is replaced by dots, and unusual spaces, minus signs and percent signs by the usual ones. If
    commas separate the cells, they are replaced by bars.
    """
    text = MARKUP.sub(lambda match: USED * len(match[0]), text.translate(ALIKE))
    return text.replace(",", "|") if text.count(",") >= COMMAS and ", " not in text and ";" not in text else text


def _is_known(number: str, known: Collection[int]) -> bool:
    """Return whether a number, such as 40 or 40.0, is a known number of images or predictions."""
    plain = re.sub(r"\.0+$", "", number.replace(",", ""))
    return plain.isdigit() and int(plain) in known


def _remove_used(text: str, line: int, pieces: Sequence[Piece], names: Sequence[str]) -> str:
    used = [printed.text for piece in pieces for printed in piece.table.printed if printed.line == line]
    for piece in pieces:
        for value in piece.table.values:
            if value.printed.line == line:
                used += [value.spread.text] if value.spread else []
                used += map(str, value.count or ())
    # A name may be on both sides of a row: `3 11 | 1 = 1`.
    for each, times in [
        *[(name, 2) for name in names],
        *[(number, 1) for number in sorted(used, key=len, reverse=True)],
    ]:
        pattern = rf"(?<![\w.]){re.escape(each)}(?!\w|\.\d)"
        text = re.sub(pattern, lambda match: USED * len(match[0]), text, count=times)
    return text


def _counts(tables: Sequence[Table]) -> set[int]:
    """Return all numbers of images and predictions that were read, and the sums in confusion matrices."""
    found = {size for table in tables for size in (*table.sizes.values(), *table.predictions.values())}
    found |= {table.total for table in tables if table.total is not None}
    for table in tables:
        cells = [[cell.value for cell in row] for row in table.matrix.rows] if table.matrix else []
        sums = [*map(sum, cells), *(map(sum, zip(*cells, strict=False))), sum(map(sum, cells))]
        found |= {int(each) for each in sums if each == int(each)}
    return found | {number for table in tables for value in table.values for number in value.count or ()}


def _names(table: Table) -> Iterator[str]:
    yield from (value.class_name for value in (*table.values, *table.asides) if value.class_name)
    yield from table.matrix.classes if table.matrix else ()


def _cells(text: str) -> list[str]:
    return [cell.strip(f" *`\"'{USED}") for cell in CELLS.split(text.strip().strip("|").strip())]


def _column(text: str, place: int) -> int:
    """Return the column at a character position, counted from the row's end; 0 if the line is not a table row."""
    cells = len(_cells(text))
    return len(_cells(text[place:])) if cells > 2 else 0


def _heads(piece: Piece, line: int, lines: Sequence[str]) -> list[list[str]]:
    """Return the cells of each possible header line of a table, above the row at line number `line`."""
    above = [
        _cells(_plain(lines[number - 1])) for number in range(max(1, piece.first), min(line, piece.first + HEADER))
    ]
    return [cells for cells in above if not any(NUMBER.fullmatch(cell) for cell in cells)]


def _heading(heads: Sequence[Sequence[str]], column: int, text: str) -> str:
    """Return the heading of column `column`, counted from the right. The header may have one cell less than the row."""
    width = len(_cells(text))
    return next((cells[-column] for cells in heads if len(cells) in (width, width - 1) and column <= len(cells)), "")


def _label(before: str) -> str:
    """Return the label of a number: the words in `before`, the text in front of it, after the last separator."""
    return BETWEEN.split(before.rstrip(" :=\"'({["))[-1].strip(" *`\"'.-")


def _is_of_no_use(name: str) -> bool:
    """Return whether a heading or label names an unused metric, a program option or a number of objects."""
    of = heading(name)
    return (of.measure is Measure.OTHER and not of.rest) or is_setting(name) or bool(classify_context(f"{name}: 5"))


def _is_numbering(texts: Sequence[str]) -> bool:
    """Return whether the numbers of a column are consecutive, so that they number the rows."""
    whole = [int(text) for text in texts if text.isdigit()]
    return len(whole) == len(texts) > 1 and whole == list(range(whole[0], whole[0] + len(whole)))


def find_leftovers(
    lines: Sequence[str],
    used: Collection[int],
    known: Sequence[Unread],
    told: Mapping[int, str],
    repeats: Callable[[str], bool],
) -> tuple[list[Unread], list[Context]]:
    """Return two lists of unused lines: possible results, and lines with dates, program options and the like.

    Args:
        lines: all lines of the text.
        used: numbers, from 1, of the lines from which a reader took values or headings.
        known: lines that a reader reported as unread.
        told: dict from line number to the reason why the readers left the line out on purpose.
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


class Repeats:
    """Set of all values that were read, to recognise lines that only repeat some of them."""

    def __init__(self, printed: Iterable[Printed]) -> None:
        self.values = {each.value for each in printed}
        self.rounded: dict[int, set[Fraction]] = {}

    def repeats(self, line: str) -> bool:
        """Return whether all results in a line are known values, possibly rounded to fewer decimals."""
        if len(line) > LINE or not self.values:
            return False
        values = VALUE.findall(remove_context(line))
        left = VALUE.sub(" ", remove_context(line))
        return bool(values) and not DIGIT.search(left) and all(self._known(text, bool(sign)) for text, sign in values)

    def _known(self, text: str, percent: bool) -> bool:
        plain = text.replace(",", ".")
        decimals = len(plain.partition(".")[2])
        value = Fraction(plain)
        if percent or value > 1:
            return value > 1 and value / 100 in (self._to(decimals + 2) if decimals else self.values)
        return decimals >= FEWEST and value in self._to(decimals)

    def _to(self, decimals: int) -> set[Fraction]:
        """Return a set of all values that were read, together with these values rounded to `decimals` decimals."""
        if decimals not in self.rounded:
            self.rounded[decimals] = {round(value, decimals) for value in self.values} | self.values
        return self.rounded[decimals]
