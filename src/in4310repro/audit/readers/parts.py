"""Read consecutive lines with all readers in turn; each takes the lines that it understands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from in4310repro.audit.document import Measure, Unread
from in4310repro.audit.readers.bare_blocks import read_bare_blocks
from in4310repro.audit.readers.grid import Grid
from in4310repro.audit.readers.grids import is_unrelated, read_grid
from in4310repro.audit.readers.joining import join
from in4310repro.audit.readers.json_files import read_embedded
from in4310repro.audit.readers.labels import LineValue, read_labels
from in4310repro.audit.readers.latex_html import html_grids, latex_grids
from in4310repro.audit.readers.lines import LINE, blank_comment_marks, find_running
from in4310repro.audit.readers.lists import measures_of_lists, read_listed, read_train_as_class, section_grids
from in4310repro.audit.readers.markup import delimited_grids, markdown_grids, markup_grids
from in4310repro.audit.readers.matrices import read_matrices
from in4310repro.audit.readers.passes import tables_of_lines
from in4310repro.audit.readers.pieces import Piece, Result
from in4310repro.audit.readers.programs import add_averages, program_values, read_conll
from in4310repro.audit.readers.text_tables import CARET as CARET
from in4310repro.audit.readers.text_tables import aligned_grids, caret_grids, ruled_grids

Reader = Callable[[Sequence[str], frozenset[int]], Result]
# Each finds the tables of one format; the most certain formats come first.
GRIDS: tuple[Callable[[Sequence[str], frozenset[int]], Iterator[Grid]], ...] = (
    caret_grids,
    html_grids,
    latex_grids,
    markup_grids,
    markdown_grids,
    ruled_grids,
    aligned_grids,
    delimited_grids,
    section_grids,
)
# Readers of output that no log prints while it runs.
READERS: tuple[Reader, ...] = (read_conll, read_matrices, read_listed, read_bare_blocks)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Tables and unread lines that were found in some consecutive lines."""

    pieces: tuple[Piece, ...]
    unread: tuple[Unread, ...] = ()
    left_out: Mapping[int, str] = field(default_factory=dict)  # why the readers left a line out on purpose


def read_part(lines: Sequence[str]) -> Part:
    """Return the tables and unread lines that the readers find in some consecutive lines."""
    lines = blank_comment_marks(lines)
    in_log = find_running(lines)
    objects = read_embedded(lines, frozenset())
    grids, others = _read_grids(lines, objects.lines)
    pieces = [*objects.pieces, *grids.pieces]
    taken = objects.lines | grids.lines
    tables = frozenset(line for piece in grids.pieces if piece.table.values for line in piece.lines)
    for reader in READERS:
        result = reader(lines, taken | in_log)
        pieces += result.pieces
        taken |= result.lines
    values, unread = _label_values(lines, taken, in_log)
    pieces += tables_of_lines(values, lines, in_log, tables)
    left_out = {**others, **_explain_left_out(values, in_log)}
    return Part(pieces=tuple(join(pieces, lines)), unread=(*grids.unread, *unread), left_out=left_out)


def _read_grids(lines: Sequence[str], taken: frozenset[int]) -> tuple[Result, dict[int, str]]:
    """Return the contents of the tables, and by line number the reason why a table gave no values."""
    others: dict[int, str] = {}
    pieces: list[Piece] = []
    unread: list[Unread] = []
    lines_of = frozenset[int]()
    for grids in GRIDS:
        for table in list(grids(lines, taken | lines_of)):
            try:
                result = read_grid(table)
            except ValueError as error:
                first = table.rows[0].lines[0]
                result = Result(unread=(Unread(line=first, text=lines[first - 1].strip()[:LINE], why=str(error)),))
            pieces += result.pieces
            unread += result.unread
            lines_of |= result.lines
            if table.reader == CARET and result.pieces:
                # A statistic that is printed under two names is read once.
                lines_of |= frozenset(range(min(result.lines), max(result.lines) + 2))
            if result.running or (not result.pieces and not result.unread and is_unrelated(table)):
                why = "running value" if result.running else "table without a measure"
                others |= {line: why for row in table.rows for line in row.lines}
    return Result(pieces=tuple(pieces), unread=tuple(unread), lines=lines_of), others


def _label_values(
    lines: Sequence[str], taken: frozenset[int], in_log: frozenset[int]
) -> tuple[list[LineValue], list[Unread]]:
    """Return the values of lines with a label, and the lines that look like results of unknown form."""
    of_programs = program_values(lines, taken)
    taken |= {value.line for value in of_programs} | in_log
    labelled, unread = read_labels(lines, taken, measures_of_lists(lines, taken))
    values = sorted([*of_programs, *read_train_as_class(labelled)], key=lambda value: value.line)
    return add_averages(values, lines), unread


def _explain_left_out(values: Sequence[LineValue], running: frozenset[int]) -> dict[int, str]:
    """Return by line number the reason why a value is not used: unchecked metric, repetition or training log."""
    times = Counter(value.label for value in values)
    printed = Counter((value.label, value.cell.printed and value.cell.printed.text) for value in values)
    again = [v for v in values if printed[v.label, v.cell.printed and v.cell.printed.text] > 1]
    repeated = {value.line: "value that is printed again" for value in again}
    repeated |= {value.line: "running value" for value in values if running and times[value.label] > 1}
    other = {value.line: "measure that no check uses" for value in values if value.subject.measure is Measure.OTHER}
    return repeated | dict.fromkeys(running, "running value") | other
