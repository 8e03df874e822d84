"""Read JSON files, and JSON and Python dictionaries within a text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from in4310repro.audit.document import Measure, Table, Value
from in4310repro.audit.readers.certainty import is_certain, is_closed
from in4310repro.audit.readers.contexts import LINE, find_title
from in4310repro.audit.readers.grid import Grid, Row
from in4310repro.audit.readers.grids import read_grid
from in4310repro.audit.readers.joining import match_matrix
from in4310repro.audit.readers.matrices import READER as MATRIX, matrix_of_lists
from in4310repro.audit.readers.numbers import count, parse_measured
from in4310repro.audit.readers.pieces import Piece, Result, make_value, move, scale_values
from in4310repro.audit.readers.subjects import Subject, parse_subject
from in4310repro.audit.readers.words import NETWORK_NAME, SIZE, heading

READER = "JSON"
# Skips strings and counts numbers, because json gives no line numbers.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|(?P<number>-?\d[\d.eE+-]*|NaN|-?Infinity)', re.DOTALL)
NAMES = re.compile(r"(?:class|label|categor|target)\w*")
NUMPY = re.compile(r"np\.\w{1,10}\(([^()]{1,60})\)")
MATRICES = re.compile(r"confusion|\bmatrix\b|^(?:cm|conf_?mat(?:rix)?)$", re.IGNORECASE)
CONSTANTS = {"True": "true", "False": "false", "None": "null", "nan": "NaN"}
SIZES = re.compile(
    rf"{SIZE.pattern}|class (?:counts?|sizes?|distribution|supports?|totals?)|(?:samples|images|counts?|n) per class"
)
WIDE = 3  # keys such as acc_sea that make a table
NESTED = 30  # objects within objects
OPENS = re.compile(r"(?P<label>[^{\[]{0,80}?)(?:\s?[:=]\s?|\s|^)(?:\w{1,20}\()?(?P<text>\{.*|\[\s*(?:\{.*|\[\s*)?)$")
LONGEST = 5000  # lines
PAIRS = {"{": 1, "[": 1, "}": -1, "]": -1}
QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
FENCE = re.compile(r"\s*```|\s*~~~")
TITLE = re.compile(r"[\w)]")


@dataclass(frozen=True, kw_only=True)
class Numeral:
    """A number as it is written in the file, with its line."""

    text: str
    line: int


@dataclass(kw_only=True)
class Gathered:
    """Values of one JSON object and of those inner objects whose keys name a metric."""

    values: list[Value] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    matrix: list[Any] = field(default_factory=list)


def read_json(text: str, name: str) -> list[Piece]:
    """Return the tables of a JSON text or of a printed Python dictionary; an empty list if it is neither.

    Args:
        text: the whole text.
        name: the name of the file, or the title of the object. A name such as `recall.json` tells the
            metric of {"sea": 0.9, "bay": 0.8}, and `confusion.json` that a list is a confusion matrix.
    """
    content = _load(text)
    # A dictionary as Python prints it.
    content = _load(_as_json(text)) if content is None else content
    if isinstance(content, list) and MATRICES.search(name) and all(map(_numbers, content)):
        content = {"confusion": content}
    pieces: list[Piece] = []
    _walk(content, (), pieces, heading(re.sub(r"\.\w+$", "", name.rpartition("/")[2])).measure)
    return pieces


def _as_json(text: str) -> str:
    """Return a printed Python dictionary as JSON: convert quotes, constants, numpy's numbers and integer keys."""
    plain = NUMPY.sub(r"\1", text).replace("'", '"')
    plain = re.sub(r"\b(?:True|False|None|nan)\b(?=\s*[,}\]])", lambda found: CONSTANTS[found[0]], plain)
    plain = re.sub(r"(?<=[{,\n])(\s*)(\d+)(?=\s*:)", r'\1"\2"', plain)
    return re.sub(r",(?=\s*[}\]])", "", plain)


def read_object(content: Any) -> list[Piece]:
    """Return the tables of nested objects, in which each number is a Numeral."""
    pieces: list[Piece] = []
    _walk(content, (), pieces, None)
    return pieces


def _load(text: str) -> Any:
    """Return the content of a JSON text, with each number as a Numeral; None if the text is not valid JSON."""
    lines = _Lines(text)
    try:
        return json.loads(text.lstrip("\ufeff"), parse_float=lines, parse_int=lines, parse_constant=lines)
    except (json.JSONDecodeError, RecursionError):
        return None


class _Lines:
    """Callback for json that finds the line of each number; json calls it in the order of the text."""

    def __init__(self, text: str) -> None:
        self.tokens = TOKEN.finditer(text)
        self.text, self.position, self.line = text, 0, 1

    def __call__(self, number: str) -> Numeral:
        for token in self.tokens:
            if token["number"]:
                self.line += self.text.count("\n", self.position, token.start())
                self.position = token.start()
                break
        return Numeral(text=number, line=self.line)


def _walk(node: Any, path: tuple[str, ...], pieces: list[Piece], measure: Measure | None) -> None:
    """Append the tables of an object to `pieces`, then the tables of its inner objects.

    Inner objects that were already read as part of a table are left out. `path` has the keys that lead to the
    object. `measure` is the metric that an outer key or the file name gives.
    """
    if len(path) > NESTED:
        return
    table = _as_grid(node, " ".join(path))
    if table is not None:
        certain = is_closed(node) or (isinstance(node, list) and is_certain(table, ()))
        found = [replace(piece, reader=READER, certain=certain) for piece in read_grid(table).pieces]
        if any(piece.table.has_classes for piece in found):
            pieces += found
            return
    if isinstance(node, Mapping):
        gathered = Gathered()
        rest = [left for key, value in node.items() for left in _gather(key, value, gathered, measure)]
        rest = _take_outcomes(node, rest, gathered)
        told = measure or heading(" ".join(path)).measure or (Measure.OTHER if not path else None)
        if (measure or not gathered.values) and not gathered.matrix and _is_flat(node) and told:
            _by_class({key: node[key] for key in rest}, told, gathered)
        joined = _join_report(node, gathered, rest, path)
        if joined:
            pieces.append(joined)
            return
        _finish(gathered, path, pieces)
        for key in rest:
            _walk(node[key], (*path, key), pieces, heading(key).measure or measure)
    elif isinstance(node, list):
        for index, each in enumerate(node, start=1):
            _walk(each, (*path, str(index)), pieces, measure)


def _take_outcomes(node: Mapping[str, Any], rest: list[str], gathered: Gathered) -> list[str]:
    """Take the counts TP, TN, FP and FN of an object as its matrix of two classes; return the other keys."""
    names = {
        re.sub(r"(?<=[tf])(?:rue|alse)[ _-]?(?=[pn])|(?<=[pn])(?:ositive|egative)s?$", "", k.lower()): k for k in rest
    }
    keys = [names.get(name) for name in ("tn", "fp", "fn", "tp")]
    cells = [node[key] for key in keys if key and isinstance(node[key], Numeral)]
    if gathered.matrix or len(cells) < len(keys):
        return rest
    gathered.matrix, gathered.names = [cells[:2], cells[2:]], gathered.names or ["negative", "positive"]
    return [key for key in rest if key not in keys]


def _join_report(
    node: Mapping[str, Any], gathered: Gathered, rest: Sequence[str], path: tuple[str, ...]
) -> Piece | None:
    """Return the report within an object with the scores and the matrix beside it; None if the object holds more."""
    inner = [key for key in rest if is_closed(node[key])]
    others = [node[key] for key in rest if key not in inner]
    told = gathered.matrix or gathered.values
    of_all = all(value.class_name is None and value.measure is not Measure.OTHER for value in gathered.values)
    if len(inner) != 1 or not told or not of_all or any(isinstance(each, Numeral | Mapping | list) for each in others):
        return None
    pieces: list[Piece] = []
    _walk(node[inner[0]], (*path, inner[0]), pieces, None)
    matrix = matrix_of_lists(_texts(gathered.matrix), gathered.names)
    table = pieces[0].table
    fitting = matrix and match_matrix(matrix, table)
    if matrix and not fitting:
        return None
    table = replace(table, values=(*table.values, *scale_values(gathered.values)), matrix=fitting)
    lines = [printed.line for printed in table.printed]
    return replace(pieces[0], table=table, first=min(lines), last=max(lines))


def _gather(key: str, value: Any, gathered: Gathered, measure: Measure | None) -> list[str]:
    """Store `value` in `gathered` if it is a metric value, class sizes, class names or a matrix.

    Return an empty list, or a list with `key` if nothing was stored.
    """
    of = heading(key)
    if isinstance(value, list) and NAMES.fullmatch(key.lower()) and all(isinstance(each, str) for each in value):
        gathered.names = value
    elif MATRICES.search(key) and isinstance(value, list):
        gathered.matrix = value
    elif isinstance(value, Numeral):
        return _summary(key, value, gathered, measure)
    elif SIZES.fullmatch(of.text.lower().replace("_", " ")) and _is_flat(value):
        sizes = {name: count(number.text) for name, number in value.items() if isinstance(number, Numeral)}
        gathered.sizes.update({name: size for name, size in sizes.items() if size is not None})
    elif len(key) > 1 and of.measure and not of.rest and of.average is None and (_is_flat(value) or _numbers(value)):
        names = value if isinstance(value, Mapping) else dict(zip(_names(gathered, len(value)), value, strict=True))
        _by_class(names, of.measure, gathered)
    else:
        return [key]
    return []


def _names(gathered: Gathered, length: int) -> Sequence[str]:
    return gathered.names if len(gathered.names) == length else [str(index) for index in range(length)]


def _is_flat(node: Any) -> bool:
    """Return whether an object has two or more entries, all of them numbers or null."""
    return (
        isinstance(node, Mapping) and len(node) > 1 and all(isinstance(v, Numeral) or v is None for v in node.values())
    )


def _numbers(node: Any) -> bool:
    return isinstance(node, list) and len(node) > 1 and all(isinstance(each, Numeral) for each in node)


def _by_class(node: Mapping[str, Any], measure: Measure, gathered: Gathered) -> None:
    for name, number in node.items():
        if not isinstance(number, Numeral):
            continue
        if not name.strip():
            raise ValueError(f"line {number.line}: {measure} has an empty class name; expected a name")
        of = parse_subject(name, measure)
        cell = parse_measured(number.text, number.line)
        if of is None or of.class_name is not None:
            of = Subject(measure=measure, class_name=name)
        value = make_value(of.measure, cell, name, class_name=of.class_name, average=of.average) if cell else None
        gathered.values += filter(None, [value])


def _summary(key: str, number: Numeral, gathered: Gathered, measure: Measure | None) -> list[str]:
    of, cell = parse_subject(key, measure if heading(key).summary else None), parse_measured(number.text, number.line)
    if of is None or cell is None or of.network or not of.clear:
        return [key]
    value = make_value(of.measure, cell, key, class_name=of.class_name, average=of.average)
    gathered.values += filter(None, [value])
    return []


def _finish(gathered: Gathered, path: tuple[str, ...], pieces: list[Piece]) -> None:
    matrix = matrix_of_lists(_texts(gathered.matrix), gathered.names)
    cells = [value.printed for value in gathered.values] + [
        cell for row in (matrix.rows if matrix else ()) for cell in row
    ]
    if not cells:
        return
    lines = [cell.line for cell in cells]
    table = Table(
        name=" · ".join(path) or "the values",
        values=scale_values(gathered.values),
        sizes=gathered.sizes,
        image_set=next((found for part in path if (found := heading(part).image_set)), None),
        matrix=matrix,
    )
    reader = READER if gathered.values else MATRIX
    pieces.append(Piece(table=table, first=min(lines), last=max(lines), reader=reader))


def _texts(node: Any) -> list[list[tuple[str, int]]]:
    rows = [row for row in node if isinstance(row, list)]
    return [[(cell.text, cell.line) for cell in row if isinstance(cell, Numeral)] for row in rows]


def _as_grid(node: Any, title: str) -> Grid | None:
    """Return nested objects (one per class), a flat object or a list of records as a grid; None for anything else."""
    if isinstance(node, Mapping):
        if _is_flat(node) and len([key for key in node if (of := heading(key)).measure and of.rest]) >= WIDE:
            keys = list(node)
            row = Row(cells=tuple(_text(node[key]) for key in keys), lines=_lines(node, keys))
            header = Row(cells=tuple(keys), lines=row.lines)
            return Grid(rows=(header, row), header=1, reader=READER, title=title)
        inner = [value for value in node.values() if isinstance(value, Mapping)]
        if len(inner) < 2 or not all(_is_flat(each) and _measures(each) for each in inner):
            return None
        keys = list(dict.fromkeys(key for each in inner for key in each))
        rows = [_row(name, each, keys) for name, each in node.items() if isinstance(each, Mapping | Numeral)]
        networks = sum(NETWORK_NAME.fullmatch(name) is not None for name in node)
        sized = any(SIZE.fullmatch(key.lower()) for key in keys)
        names = ["model" if 2 * networks > len(node) and not sized else "class", *keys]
    elif isinstance(node, list) and node and all(isinstance(each, Mapping) and each for each in node):
        keys = list(dict.fromkeys(key for each in node for key in each))
        rows = [Row(cells=tuple(_text(each.get(k)) for k in keys), lines=_lines(each, keys)) for each in node]
        names = keys
    else:
        return None
    return Grid(
        rows=(Row(cells=tuple(names), lines=(rows[0].lines[0],) * len(names)), *rows),
        header=1,
        reader=READER,
        title=title,
    )


def _measures(node: Mapping[str, Any]) -> bool:
    return any(heading(key).measure and not heading(key).rest for key in node)


def _row(name: str, node: Any, keys: Sequence[str]) -> Row:
    """Return a row with the values of `keys`. If `node` is a number, it becomes the value of the first key."""
    if isinstance(node, Numeral):
        texts = [node.text if key == keys[0] else "" for key in keys]
        return Row(cells=(name, *texts), lines=(node.line, *[node.line for _ in keys]))
    lines = _lines(node, keys)
    return Row(cells=(name, *[_text(node.get(key)) for key in keys]), lines=(lines[0], *lines))


def _lines(node: Mapping[str, Any], keys: Sequence[str]) -> tuple[int, ...]:
    known = [value.line for value in node.values() if isinstance(value, Numeral)] or [1]
    return tuple(value.line if isinstance(value := node.get(key), Numeral) else known[0] for key in keys)


def _text(value: Any) -> str:
    return value.text if isinstance(value, Numeral) else value if isinstance(value, str) else ""


def read_embedded(lines: Sequence[str], skipped: frozenset[int]) -> Result:
    """Return the tables in all JSON or Python objects that occupy whole lines.

    An object is not read if the number of its first line, counted from 1, is in `skipped`.
    """
    pieces: list[Piece] = []
    taken: set[int] = set()
    start = 0
    while start < len(lines):
        found = OPENS.fullmatch(lines[start].rstrip()) if start + 1 not in skipped and _short(lines[start]) else None
        end = _end(lines, start, found["text"]) if found else None
        if found is None or end is None:
            start += 1
            continue
        text = "\n".join([found["text"], *lines[start + 1 : end]]).rstrip(" ,;)`")
        title = found["label"].strip(" \"'`*#>-") or _title(lines, start, end)
        made = [piece for piece in read_json(text, title if TITLE.search(title) else "") if _is_result(piece, text)]
        pieces += [_move_piece(piece, start, title) for piece in made]
        # Objects without results are left to the other readers.
        taken |= set(range(start + 1, end + 1)) if made else set()
        start = end if made else start + 1
    return Result(pieces=tuple(pieces), lines=frozenset(taken))


def _is_result(piece: Piece, text: str) -> bool:
    """Return whether an object holds results.

    Return False for class values in an object on a single line with no inner objects or lists, which
    `read_listed` reads.
    """
    table = piece.table
    known = table.matrix is not None or any(value.measure is not Measure.OTHER for value in table.values)
    nested = "\n" in text or len(re.findall(r"[{\[]", text)) > 1
    return known and (nested or not table.has_classes)


def _short(line: str) -> bool:
    return len(line) <= 10 * LINE


def _title(lines: Sequence[str], start: int, end: int) -> str:
    """Return the heading above an object; if the object begins a code block, the heading above the block."""
    above = start - 1 if start and FENCE.match(lines[start - 1]) else start
    return find_title(lines, above, end)


def _end(lines: Sequence[str], start: int, text: str) -> int | None:
    """Find the line that closes all brackets opened from index `start` on; return the index of the line after it.

    Return None if no line closes them, or if other text follows the last bracket on its line. `text` is read in
    place of the line at index `start`.
    """
    depth = 0
    for index in range(start, min(len(lines), start + LONGEST)):
        plain = QUOTED.sub("", text if index == start else lines[index])
        for place, character in enumerate(plain):
            depth += PAIRS.get(character, 0)
            if depth == 0 and character in PAIRS:
                return index + 1 if not plain[place + 1 :].strip(" ,;)`") else None
        if not depth:
            return None
    return None


def _move_piece(piece: Piece, by: int, title: str) -> Piece:
    """Return the piece with `by` added to its line numbers and the title in front of its table's name."""
    moved, name = move(piece, by), piece.table.name
    own = "" if name == "the values" or name.startswith("the table from") else name
    return replace(moved, table=replace(moved.table, name=" · ".join(filter(None, (title, own))) or name))
