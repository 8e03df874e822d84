"""Reads a whole source: every reader takes its lines, what is left goes to the next, the pieces are put together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from in4310repro.audit.document import Document, Measure, Table, TableKind, Unread
from in4310repro.audit.readers.aligned import aligned_grids
from in4310repro.audit.readers.caret import caret_grids
from in4310repro.audit.readers.comments import uncommented
from in4310repro.audit.readers.conll import read_conll
from in4310repro.audit.readers.delimited import delimited_grids
from in4310repro.audit.readers.embedded import read_embedded
from in4310repro.audit.readers.files import text_of
from in4310repro.audit.readers.grid import Grid
from in4310repro.audit.readers.grids import read_grid
from in4310repro.audit.readers.items import with_items
from in4310repro.audit.readers.joining import join
from in4310repro.audit.readers.json_files import read_json
from in4310repro.audit.readers.labels import LineValue, read_labels
from in4310repro.audit.readers.latex import latex_grids
from in4310repro.audit.readers.leftovers import leftovers
from in4310repro.audit.readers.listed import read_listed
from in4310repro.audit.readers.logs import running
from in4310repro.audit.readers.markdown import markdown_grids
from in4310repro.audit.readers.matrices import read_matrices
from in4310repro.audit.readers.passes import repeated, tables_of_lines
from in4310repro.audit.readers.pieces import Piece, has_classes, named
from in4310repro.audit.readers.programs import program_values, with_averages
from in4310repro.audit.readers.prose import folds
from in4310repro.audit.readers.runs import measures_of_lists, with_train_as_a_class
from in4310repro.audit.readers.toml_files import read_toml
from in4310repro.audit.readers.web import html_grids
from in4310repro.audit.readers.words import strip_marks

VALID = (
    "lines such as 'Accuracy of sea: 83 %', Markdown, LaTeX and CSV tables with classes, classification reports, "
    "confusion matrices, and JSON or TOML files are valid"
)
HEADING = re.compile(r"#{1,6} \S|=+ .{1,80} =+$|\\(?:sub)*section\b|\*\*[^*]{1,80}\*\*:?$")
COLORS = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")  # of a terminal
# Each finds the tables of one format; the order is that of certainty.
GRIDS: tuple[Callable[[Sequence[str], frozenset[int]], Iterator[Grid]], ...] = (
    caret_grids,
    html_grids,
    latex_grids,
    markdown_grids,
    aligned_grids,
    delimited_grids,
)


def read(source: str | Path) -> Document:
    """All that is recognised in a report's text, or in a file.

    Raises:
        ValueError: an unreadable file, broken TOML, a class without a name or with two values in one table, or
            nothing at all that was understood.
    """
    name = "the text" if isinstance(source, str) else str(source)
    text = source if isinstance(source, str) else text_of(source)
    try:
        if isinstance(source, Path) and source.suffix.lower() == ".toml":
            return _document(name, lines_of(text), read_toml(text), [])
        return read_text(text, name)
    except ValueError as error:
        raise ValueError(str(error) if isinstance(source, str) else f"{source}: {error}") from error


def read_text(text: str, name: str) -> Document:
    """The document of a text."""
    lines = lines_of(text)
    of_json = read_json(text, name)
    if of_json:
        return _document(name, lines, of_json, [])
    printed, lines = lines, uncommented(lines)
    pieces: list[Piece] = []
    unread: list[Unread] = []
    taken: frozenset[int] = frozenset()
    tables: frozenset[int] = frozenset()
    in_log = running(lines)
    objects = read_embedded(lines, taken)
    pieces += objects.pieces
    taken |= objects.lines
    for grids in GRIDS:
        for table in list(grids(lines, taken)):
            result = read_grid(table)
            pieces += result.pieces
            unread += result.unread
            taken |= result.lines
            tables |= result.lines if any(piece.table.values for piece in result.pieces) else frozenset()
    for reader in (read_conll, read_matrices, read_listed):
        result = reader(lines, taken | in_log)
        pieces += result.pieces
        taken |= result.lines
    values = program_values(lines, taken)
    taken |= {value.line for value in values}
    labelled, more = read_labels(lines, taken | in_log, measures_of_lists(lines, taken | in_log))
    values = sorted([*values, *with_train_as_a_class(labelled)], key=lambda value: value.line)
    values = with_averages(values, lines)
    pieces += tables_of_lines(values, lines, in_log, tables)
    return _document(name, printed, join(pieces, lines), [*unread, *more], _left_out(values, in_log))


def _left_out(values: Sequence[LineValue], running: frozenset[int]) -> dict[int, str]:
    """Why a line of a label and a value gives none: nothing that a check uses, or one of many of a log."""
    times = Counter(value.label for value in values)
    printed = Counter((value.label, value.cell.printed and value.cell.printed.text) for value in values)
    again = [v for v in values if printed[v.label, v.cell.printed and v.cell.printed.text] > 1]
    repeated = {value.line: "value that is printed again" for value in again}
    repeated |= {value.line: "running value" for value in values if running and times[value.label] > 1}
    other = {value.line: "measure that no check uses" for value in values if value.subject.measure is Measure.OTHER}
    return repeated | dict.fromkeys(running, "running value") | other


def lines_of(text: str) -> tuple[str, ...]:
    """The lines as an editor counts them; of what a progress bar wrote over itself, what is seen at the end."""
    text = COLORS.sub("", text)
    if "\n" not in text:
        return tuple(text.split("\r"))
    return tuple(line.rstrip("\r").rpartition("\r")[2] for line in text.removeprefix("\ufeff").split("\n"))


def _document(
    name: str,
    lines: tuple[str, ...],
    pieces: Sequence[Piece],
    unread: Sequence[Unread],
    left_out: Mapping[int, str] = MappingProxyType({}),
) -> Document:
    pieces = sorted(pieces, key=lambda piece: piece.first)
    unread = [*unread, *[each for piece in pieces for each in repeated(piece.table.values)]]
    if not any(piece.table.values or piece.table.matrix for piece in pieces):
        reason = f"; line {unread[0].line}, {unread[0].text[:80]!r}: {unread[0].why}" if unread else ""
        raise ValueError(f"no printed result was understood{reason}; {VALID}")
    used = {printed.line for piece in pieces for printed in piece.table.printed}
    used |= {line for piece in pieces for line in piece.lines}
    more, context = leftovers(lines, used, unread, left_out)
    return Document(
        source=name,
        lines=lines,
        tables=tuple(named([_placed(piece, lines) for piece in pieces])),
        unread=tuple(sorted([*unread, *more], key=lambda each: each.line)),
        context=tuple(context),
        formats=tuple(dict.fromkeys(piece.reader for piece in pieces)),
        folds=folds(lines),
    )


def _placed(piece: Piece, lines: Sequence[str]) -> Table:
    """The table with its kind, its lines and the heading above it."""
    table = piece.table
    kind = table.kind
    if table.matrix is not None and not table.values:
        kind = TableKind.MATRIX
    elif kind is TableKind.CLASSES and not has_classes(table):
        kind = TableKind.SUMMARY
    heading_above = next((line for line in reversed(lines[: piece.first]) if HEADING.match(line)), "")
    section = strip_marks(heading_above).strip("#= *")
    placed = replace(table, kind=kind, first=piece.first, last=piece.last, section=section)
    return with_items(placed, lines)
