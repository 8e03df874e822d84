"""Read a whole source (a text, a table, an object or a notebook) into one Document, and list its content."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from in4310repro.audit.document import SCORES, Average, Document, Item, Measure, Table, TableKind, Unread, Value
from in4310repro.audit.readers.certainty import find_certain, is_certain, join_blocks
from in4310repro.audit.readers.contexts import LINE, blank_comment_marks, find_folds, find_running
from in4310repro.audit.readers.files import Cell, cells_of, load_text
from in4310repro.audit.readers.grid import Grid
from in4310repro.audit.readers.grids import is_unrelated, read_grid
from in4310repro.audit.readers.joining import join
from in4310repro.audit.readers.json_files import read_embedded, read_json
from in4310repro.audit.readers.labels import LineValue, read_labels
from in4310repro.audit.readers.latex_html import html_grids, latex_grids
from in4310repro.audit.readers.lists import measures_of_lists, read_listed, read_train_as_class, section_grids
from in4310repro.audit.readers.markup import delimited_grids, markdown_grids, markup_grids
from in4310repro.audit.readers.matrices import read_matrices
from in4310repro.audit.readers.passes import find_negative, find_repeated, tables_of_lines
from in4310repro.audit.readers.pieces import Piece, Result, move, name_tables
from in4310repro.audit.readers.programs import add_averages, program_values, read_conll
from in4310repro.audit.readers.sheet_files import format_value, read_toml
from in4310repro.audit.readers.text_tables import CARET as CARET, aligned_grids, caret_grids, ruled_grids
from in4310repro.audit.readers.unused import Repeats, find_leftovers, find_unused
from in4310repro.audit.readers.words import strip_marks
from in4310repro.system.text import visible

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
READERS: tuple[Reader, ...] = (read_conll, read_matrices, read_listed)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Tables found in some consecutive lines, and the lines that were not understood."""

    pieces: tuple[Piece, ...]
    certain: tuple[Piece, ...] = ()  # those that were read with certainty, before anything was joined by distance
    unread: tuple[Unread, ...] = ()
    left_out: Mapping[int, str] = field(default_factory=dict)  # why the readers left a line out on purpose


def read_part(lines: Sequence[str]) -> Part:
    """Return the tables that the readers find in some consecutive lines, and the lines not understood."""
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
    made, rest = join_blocks(pieces, lines)
    return Part(
        pieces=tuple(join([*made, *rest], lines)),
        certain=(*made, *find_certain(rest)),
        unread=(*grids.unread, *unread),
        left_out=left_out,
    )


def _read_grids(lines: Sequence[str], taken: frozenset[int]) -> tuple[Result, dict[int, str]]:
    """Return the results read from tables, and a dict from line number to the reason why a table gave no values."""
    others: dict[int, str] = {}
    pieces: list[Piece] = []
    unread: list[Unread] = []
    lines_of = frozenset[int]()
    for grids in GRIDS:
        for table in list(grids(lines, taken | lines_of)):
            try:
                result = read_grid(table)
                if is_certain(table, lines):
                    result = replace(result, pieces=tuple(replace(piece, certain=True) for piece in result.pieces))
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
    """Return a dict from line number to the reason why the value in that line is not used."""
    times = Counter(value.label for value in values)
    printed = Counter((value.label, value.cell.printed and value.cell.printed.text) for value in values)
    again = [v for v in values if printed[v.label, v.cell.printed and v.cell.printed.text] > 1]
    repeated = {value.line: "value that is printed again" for value in again}
    repeated |= {value.line: "running value" for value in values if running and times[value.label] > 1}
    other = {value.line: "measure that no check uses" for value in values if value.subject.measure is Measure.OTHER}
    return repeated | dict.fromkeys(running, "running value") | other


VALID = (
    "expected lines such as 'Accuracy of sea: 83 %', Markdown, LaTeX and CSV tables with classes, classification "
    "reports, confusion matrices, notebooks, and JSON or TOML files"
)
HEADING = re.compile(r"#{1,6} \S|=+ .{1,80} =+$|\\(?:sub)*section\b|\*\*[^*]{1,80}\*\*:?$")
COLORS = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")  # of a terminal
NEAR = 6  # lines around a table in which words say what is counted
# conlleval and its relatives count phrases that are right only as a whole.
ENTITIES = re.compile(
    r"\bFB1\b|\btokens with \d+ phrases\b|\bconll ?eval\b|\bseqeval\b|\bnamed[- ]entit|\bentity[- ]level\b"
    r"|\bspan[- ]level\b|\bchunk(?:s|ing)?\b.{0,20}\bF1\b|\bNER\b",
    re.IGNORECASE,
)
TAGS = re.compile(r"(?:[BIESLUO][-_]\w.{0,30}|O)")  # B-PER, I-LOC, O: of tokens
NAMES = re.compile(
    r"PER(?:S(?:ON)?)?|LOC(?:ATION)?|ORG(?:ANI[SZ]ATION)?|MISC|GPE|NORP|FAC(?:ILITY)?|DATE|TIME|MONEY|PERCENT|QUANTITY|ORDINAL"
    r"|CARDINAL|LANGUAGE|LAW|EVENT|PRODUCT|WORK_OF_ART|NP|VP|PP|SBAR|ADVP|ADJP|DISEASE|CHEMICAL|GENE|PROTEIN|DNA|RNA",
    re.IGNORECASE,
)
SHOWN = 12  # class values of a measure that are printed; of more, the first and the last
UNREAD = 20  # lines that were not understood


def read(source: str | Path) -> Document:
    """Read a report, given as its text or as the Path of a file; return its tables and other lines as a Document.

    Raises:
        ValueError: the file is unreadable or invalid TOML, a class has no name, or no printed result was understood.
    """
    name = "the text" if isinstance(source, str) else str(source)
    text = source if isinstance(source, str) else load_text(source)
    try:
        if isinstance(source, Path) and source.suffix.lower() == ".toml":
            return _document(name, lines_of(text), _part(read_toml(text)))
        return read_text(text, name)
    except ValueError as error:
        raise ValueError(str(error) if isinstance(source, str) else f"{source}: {error}") from error


def read_text(text: str, name: str) -> Document:
    """Detect the format of a text and return its tables and other lines as a Document."""
    cells = cells_of(text)
    if cells is not None:
        return _read_notebook(cells, name)
    lines = lines_of(text)
    of_json = read_json(text, name)
    return _document(name, lines, _part(of_json) if of_json else read_part(lines))


def _part(pieces: Sequence[Piece]) -> Part:
    return Part(pieces=tuple(pieces), certain=tuple(piece for piece in pieces if piece.certain))


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
    certain: list[Piece] = []
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
        certain += [_place_in_cell(piece, cell.name, by) for piece in part.certain]
        unread += [replace(each, line=each.line + by) for each in part.unread]
        left_out |= {line + by: why for line, why in part.left_out.items()}
        left_out |= dict.fromkeys(range(by + 1, len(lines) + 1), "code") if cell.code else {}
    part = Part(pieces=tuple(pieces), certain=tuple(certain), unread=tuple(unread), left_out=left_out)
    return _document(name, tuple(lines), part)


def _place_in_cell(piece: Piece, name: str, by: int) -> Piece:
    moved, own = move(piece, by), piece.table.name
    own = "" if re.fullmatch(r"(?:the .{1,30} from )?line \d+.*|the \w+ from line \d+", own) else own
    return replace(moved, table=replace(moved.table, name=" · ".join(filter(None, (name, own))), section=name))


def _document(name: str, lines: tuple[str, ...], part: Part) -> Document:
    pieces = sorted(part.pieces, key=lambda piece: piece.first)
    unread = [*part.unread, *[each for piece in pieces for each in find_repeated(piece.table.values)]]
    unread += [each for piece in pieces for each in find_negative(piece.table.values)]
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
        certain=tuple(name_tables([_place(piece, lines) for piece in part.certain])),
    )


def _place(piece: Piece, lines: Sequence[str]) -> Table:
    """Return the table that a reader found, with its kind, line numbers and section heading filled in."""
    table = piece.table
    kind = table.kind
    if table.matrix is not None and not table.values:
        kind = TableKind.MATRIX
    elif kind is TableKind.CLASSES and not table.has_classes:
        kind = TableKind.SUMMARY
    heading_above = "" if table.section else next(filter(HEADING.match, reversed(lines[: piece.first])), "")
    section = table.section or strip_marks(heading_above).strip("#= *")
    placed = replace(table, kind=kind, first=piece.first, last=piece.last, section=section)
    return assign_items(placed, lines)


def assign_items(table: Table, lines: Sequence[str]) -> Table:
    """Return the table, with its values marked if they are scores of boxes, tokens or entities.

    They are scores of boxes if `whole_images` of the table is False. Otherwise, the class names or nearby
    lines tell whether they are scores of tokens or entities.
    """
    item = _find_item(table, lines)
    if item is Item.IMAGE or any(value.item is not Item.IMAGE for value in table.values):
        return table
    return replace(table, values=tuple(replace(value, item=_item_of_value(value, item)) for value in table.values))


def _find_item(table: Table, lines: Sequence[str]) -> Item:
    if not table.whole_images:
        return Item.BOX
    names = [name for value in table.values if (name := value.class_name)]
    if names and 2 * sum(TAGS.fullmatch(name) is not None for name in names) > len(names):
        return Item.TOKEN
    near = "\n".join(line[:500] for line in lines[max(0, table.first - 1 - NEAR) : table.last + NEAR])
    scored = {value.measure for value in table.values} & {*SCORES}
    known = sum(NAMES.fullmatch(name) is not None for name in names)
    micro = any(value.average is Average.MICRO for value in table.values)
    of_entities = (names and 2 * known >= len(names)) or (known and micro) or ENTITIES.search(near)
    return Item.ENTITY if scored and "O" not in names and of_entities else Item.IMAGE


def _item_of_value(value: Value, item: Item) -> Item:
    return Item.TOKEN if item is Item.ENTITY and value.measure is Measure.ACCURACY else item


def show(document: Document) -> str:
    """Return a text that lists the tables with classes, values and sizes, then the lines not understood."""
    formats = ", ".join(document.formats) or "nothing"
    lines = [f"{document.source}: {len(document.tables)} tables ({formats})"]
    for table in document.tables:
        certain = "with certainty" if document.is_certain(table) else "as a guess"
        lines += _table(table, certain)
    if document.folds:
        lines.append(f"folds or runs mentioned: {document.folds}")
    if document.unread:
        lines.append("not understood:")
        lines += [f"  line {each.line}: {each.text[:100]} ({each.why})" for each in document.unread[:UNREAD]]
        more = len(document.unread) - UNREAD
        lines += [f"  and {more} more lines"] if more > 0 else []
    # A name of a JSON or TOML file may contain line breaks.
    return "\n".join(map(visible, lines))


def _table(table: Table, certain: str) -> Iterator[str]:
    image_set = f", image set {table.image_set}" if table.image_set else ""
    yield f"{table.name}{image_set} ({certain})"
    for measure in dict.fromkeys(value.measure for value in table.values):
        values = [value for value in table.values if value.measure is measure]
        classes = [value for value in values if value.class_name is not None]
        if classes:
            yield f"  {measure} of {len(classes)} classes, {_lines(classes)}: {', '.join(_format(classes))}"
        for value in values:
            if value.class_name is None:
                average = f"{value.average} " if value.average else ""
                yield f"  {average}{measure}, line {value.printed.line}: {format_value(value)} ({value.label})"
    if table.sizes:
        yield f"  images: {', '.join(f'{name} {size}' for name, size in list(table.sizes.items())[:SHOWN])}"
    if table.total is not None:
        yield f"  images in all: {table.total}"
    if table.matrix:
        unit = "shares" if table.matrix.shares else "counts"
        yield f"  confusion matrix of {len(table.matrix.rows)} classes, {unit}, line {table.matrix.rows[0][0].line}"


def _format(values: list[Value]) -> list[str]:
    texts = [f"{value.class_name} {format_value(value)}" for value in values]
    return texts if len(texts) <= SHOWN else [*texts[: SHOWN - 2], "...", texts[-1]]


def _lines(values: list[Value]) -> str:
    first, last = min(value.printed.line for value in values), max(value.printed.line for value in values)
    return f"line {first}" if first == last else f"lines {first} to {last}"
