"""Read a whole source (a text, a table, an object or a notebook) into one Document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from in4310repro.audit.document import Document, Table, TableKind, Unread
from in4310repro.audit.readers.embedded import move
from in4310repro.audit.readers.files import load_text
from in4310repro.audit.readers.items import assign_items
from in4310repro.audit.readers.json_files import read_json
from in4310repro.audit.readers.leftovers import find_leftovers
from in4310repro.audit.readers.notebooks import Cell, cells_of
from in4310repro.audit.readers.parts import Part, read_part
from in4310repro.audit.readers.passes import find_repeated
from in4310repro.audit.readers.pieces import Piece, has_classes, name_tables
from in4310repro.audit.readers.prose import find_folds
from in4310repro.audit.readers.repeats import Repeats
from in4310repro.audit.readers.toml_files import read_toml
from in4310repro.audit.readers.unused import find_unused
from in4310repro.audit.readers.words import strip_marks

VALID = (
    "expected lines such as 'Accuracy of sea: 83 %', Markdown, LaTeX and CSV tables with classes, classification "
    "reports, confusion matrices, notebooks, and JSON or TOML files"
)
HEADING = re.compile(r"#{1,6} \S|=+ .{1,80} =+$|\\(?:sub)*section\b|\*\*[^*]{1,80}\*\*:?$")
COLORS = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")  # of a terminal


def read(source: str | Path) -> Document:
    """Return the Document that is recognised in a report's text (a string) or in a file (a Path).

    Raises:
        ValueError: the file is unreadable or invalid TOML, a class has no name, or no printed result was understood.
    """
    name = "the text" if isinstance(source, str) else str(source)
    text = source if isinstance(source, str) else load_text(source)
    try:
        if isinstance(source, Path) and source.suffix.lower() == ".toml":
            return _document(name, lines_of(text), Part(pieces=tuple(read_toml(text))))
        return read_text(text, name)
    except ValueError as error:
        raise ValueError(str(error) if isinstance(source, str) else f"{source}: {error}") from error


def read_text(text: str, name: str) -> Document:
    """Return the Document that is recognised in a text; the format is detected."""
    cells = cells_of(text)
    if cells is not None:
        return _read_notebook(cells, name)
    lines = lines_of(text)
    of_json = read_json(text, name)
    return _document(name, lines, Part(pieces=tuple(of_json)) if of_json else read_part(lines))


def lines_of(text: str) -> tuple[str, ...]:
    """Split a text into lines; if a progress bar has overwritten a line, keep only its last state."""
    text = COLORS.sub("", text)
    if "\n" not in text:
        return tuple(text.split("\r"))
    return tuple(line.rstrip("\r").rpartition("\r")[2] for line in text.removeprefix("\ufeff").split("\n"))


def _read_notebook(cells: Sequence[Cell], name: str) -> Document:
    """Return the Document of a notebook; each output is read separately from the others."""
    lines: list[str] = []
    pieces: list[Piece] = []
    unread: list[Unread] = []
    left_out: dict[int, str] = {}
    last = ""
    for cell in cells:
        if cell.name != last:
            lines.append(f"=== {cell.name} ===")
            left_out[len(lines)] = "name"
            last = cell.name
        by, own = len(lines), lines_of("\n".join(cell.lines))
        lines += own
        part = Part(pieces=()) if cell.code else read_part(own)
        pieces += [_place_in_cell(piece, cell.name, by) for piece in part.pieces]
        unread += [replace(each, line=each.line + by) for each in part.unread]
        left_out |= {line + by: why for line, why in part.left_out.items()}
        left_out |= dict.fromkeys(range(by + 1, len(lines) + 1), "code") if cell.code else {}
    return _document(name, tuple(lines), Part(pieces=tuple(pieces), unread=tuple(unread), left_out=left_out))


def _place_in_cell(piece: Piece, name: str, by: int) -> Piece:
    table = move(piece.table, by)
    own = "" if re.fullmatch(r"(?:the .{1,30} from )?line \d+.*|the \w+ from line \d+", table.name) else table.name
    table = replace(table, name=" · ".join(filter(None, (name, own))), section=name)
    lines = frozenset(line + by for line in piece.lines)
    return replace(piece, table=table, first=piece.first + by, last=piece.last + by, lines=lines)


def _document(name: str, lines: tuple[str, ...], part: Part) -> Document:
    pieces = sorted(part.pieces, key=lambda piece: piece.first)
    unread = [*part.unread, *[each for piece in pieces for each in find_repeated(piece.table.values)]]
    if not any(piece.table.values or piece.table.matrix for piece in pieces):
        reason = f"; line {unread[0].line}, {unread[0].text[:80]!r}: {unread[0].why}" if unread else ""
        raise ValueError(f"no printed result was understood{reason}; {VALID}")
    used = {printed.line for piece in pieces for printed in piece.table.printed}
    used |= {line for piece in pieces for line in piece.lines}
    values = Repeats(printed for piece in pieces for printed in piece.table.printed)
    named_lines = {each.line for each in unread} | set(part.left_out)
    unread += find_unused(lines, pieces, named_lines, values.repeats)
    unread, context = find_leftovers(lines, used, unread, part.left_out, values.repeats)
    return Document(
        source=name,
        lines=lines,
        tables=tuple(name_tables([_place(piece, lines) for piece in pieces])),
        unread=tuple(unread),
        context=tuple(context),
        formats=tuple(dict.fromkeys(piece.reader for piece in pieces)),
        folds=find_folds(lines),
    )


def _place(piece: Piece, lines: Sequence[str]) -> Table:
    """Return the table of a piece with its kind, its line numbers and the section heading above it set."""
    table = piece.table
    kind = table.kind
    if table.matrix is not None and not table.values:
        kind = TableKind.MATRIX
    elif kind is TableKind.CLASSES and not has_classes(table):
        kind = TableKind.SUMMARY
    heading_above = "" if table.section else next(filter(HEADING.match, reversed(lines[: piece.first])), "")
    section = table.section or strip_marks(heading_above).strip("#= *")
    placed = replace(table, kind=kind, first=piece.first, last=piece.last, section=section)
    return assign_items(placed, lines)
