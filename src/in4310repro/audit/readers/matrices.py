"""Read confusion matrices: as numpy prints them, with class names at top and side, or as bare rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import takewhile

from in4310repro.audit.document import ConfusionMatrix, Printed, Table
from in4310repro.audit.readers.contexts import LINE, find_title
from in4310repro.audit.readers.grid import Grid
from in4310repro.audit.readers.numbers import ALIKE, NUMBER, parse
from in4310repro.audit.readers.pieces import Piece, Result

READER = "confusion matrix"
LONGEST = 100 * LINE  # characters of a row in brackets
OPEN = re.compile(r"\[ {0,4}\[")
CONFUSION = re.compile(r"confusion|\bmatrix\b", re.IGNORECASE)
OF_MATRIX = re.compile(
    r"^(?:pred\w*|true|actual|labell?ed)(?: as)?[ _:.]*|[ _:.]*\(?(?:pred\w*|true|actual|real)\)?$", re.IGNORECASE
)
OF_ROW = re.compile(r"\[class: ([^\]]{1,60})\]")
CORNER = ("prediction", "reference", "predicted", "pred", "actual", "true")
TOTALS = ("all", "total", "sum")
OF_CLASS = ("class.error",)  # R's randomForest prints the error of each class behind its row
# `12  3 | a = sea`, and Mahout's with the sum of the row: `12  3 | 15  a = sea`.
NAMED_ROW = re.compile(r"\s*(\d[\d\s]*?)\s*\|\s*(?:\d+\s+)?\w+\s*=\s*(\S.*?)\s*")
# Older versions of DL4J print one cell a line.
LABELLED = re.compile(r"\s*Examples labeled as (\S.*?) classified by model as (\S.*?): (\d+) times\s*")
# Names of the cells of two classes, beside their numbers: 2,976 (TN).
OUTCOME = re.compile(r"\s*[(\[]?\b(?:[TF][PN]|(?:true|false) (?:positives?|negatives?))\b[)\]]?[ :=]*", re.IGNORECASE)
THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
OUTCOMES = re.compile(
    r"(?<!\w)(?P<name>[TF][PN]|(?:true|false)[ _](?:positives?|negatives?))(?: ?\([TF][PN]\))?"
    r"(?:\W{0,4}[:=]\W{0,4}|\s{1,4})(?P<count>\d[\d,]*)(?![\d.%])",
    re.IGNORECASE,
)
MOST_WORDS = 6  # of a class name above a column
WINDOW = 6  # lines in which all four are
LETTERS = 4  # of the short name of a column
VALUE = re.compile(rf"{NUMBER} ?%?")
# `Predicted \ Actual`: what comes first names the rows, unless an arrow says otherwise.
PREDICTED_ROWS = re.compile(r"pred\w*\s*[\\/|]+\s*(?:actual|true|gt|ground|label|real)", re.IGNORECASE)


def read_matrices(lines: Sequence[str], skipped: frozenset[int]) -> Result:
    """Return the confusion matrices in all lines outside `skipped`."""
    pieces: list[Piece] = []
    lines = [line[:LONGEST] for line in lines]
    start = 0
    while start < len(lines):
        found = None
        if start + 1 not in skipped:
            found = next((made for reader in FORMS if (made := reader(lines, start)) is not None), None)
        if found:
            matrix, end = found
            pieces.append(_piece(matrix, start + 1, end, find_title(lines, start, end)))
            start = end
        else:
            start += 1
    taken = frozenset(line for piece in pieces for line in range(piece.first, piece.last + 1))
    return Result(pieces=tuple(pieces), lines=taken)


def matrix_of_grid(table: Grid) -> Piece | None:
    """Return the confusion matrix if a grid's rows and columns have the same names, apart from totals; else None."""
    names = [name.strip().lower() for name in table.names[1:]]
    labels = [row.cells[0].strip().lower() for row in table.body]
    sizes = range(min(len(names), len(labels)), 1, -1)
    size = next((n for n in sizes if _are_same(names[:n], labels[:n]) and labels[n - 1] not in TOTALS), 0)
    if not size or size < len(labels) - 1 or size < len(names) - 2:
        return None
    rows = [parse_numbers(list(row.cells[1 : size + 1]), row.lines[0]) for row in table.body[:size]]
    made = make_matrix(rows, [_bare_name(row.cells[0].strip()) for row in table.body[:size]])
    if made is None:
        return None
    if PREDICTED_ROWS.search(table.names[0]):
        made = transpose(made)
    lines = [line for row in table.rows for line in row.lines]
    return _piece(made, min(lines), max(lines), table.title)


def matrix_of_lists(rows: Sequence[Sequence[tuple[str, int]]], names: Sequence[str]) -> ConfusionMatrix | None:
    """Return a matrix from rows of (text, line number) pairs; None if the rows are not a confusion matrix."""
    if not all(rows):
        return None
    parsed = [tuple(cell for text, line in row for cell in parse_numbers([text], line) or ()) for row in rows]
    return make_matrix(parsed, names if len(names) == len(rows) else [])


def transpose(matrix: ConfusionMatrix) -> ConfusionMatrix:
    """Exchange the rows and columns of a matrix, for example if its columns are the true classes."""
    return replace(matrix, rows=tuple(zip(*matrix.rows, strict=True)))


def _are_same(names: Sequence[str], labels: Sequence[str]) -> bool:
    return all(_bare_name(a) == _bare_name(b) != "" for a, b in zip(names, labels, strict=True))


def _bare_name(name: str) -> str:
    """Return `sea` for names such as `Predicted as sea` or `sea (true)`."""
    return OF_MATRIX.sub("", name)


def _read_bracketed(lines: Sequence[str], start: int) -> tuple[ConfusionMatrix, int] | None:
    """Return a matrix printed by numpy, Python or PyTorch, and the index after its last line."""
    opening = OPEN.search(lines[start][:LINE])
    if not opening:
        return None
    rows: list[tuple[Printed, ...] | None] = []
    names: list[str] = []
    for index in range(start, len(lines)):
        text = lines[index][opening.start() :] if index == start else lines[index]
        # Torch7 writes the accuracy and [class: name] behind each row.
        names += OF_ROW.findall(text[:LINE])
        parts = [part for part in re.findall(r"\[([^\[\]]*)\]?", OF_ROW.sub("", text)) if part.strip()]
        rows += [parse_numbers(part.replace(",", " ").split(), index + 1) for part in parts]
        if re.search(r"\] {0,4}\]", text):
            called = any(CONFUSION.search(line[:LINE]) for line in lines[max(0, start - 3) : start + 1])
            shown = called or lines[start].strip().startswith(("array(", "tensor("))
            if not shown and any("," in line for line in lines[start : index + 1]):
                return None
            matrix = make_matrix(rows, names if len(names) == len(rows) else [])
            return (matrix, index + 1) if matrix else None
        if not parts or None in rows or len(rows) > len(rows[0] or ()):
            return None
    return None


def _read_labelled(lines: Sequence[str], start: int) -> tuple[ConfusionMatrix, int] | None:
    """Return a matrix with class names as header and row names, and the index after its last line."""
    names = [name for name in lines[start][:LINE].split() if name.lower() not in CORNER]
    corner = len(names) < len(lines[start][:LINE].split())
    if len(names) < 2 or (all(map(VALUE.fullmatch, names)) and not _are_numbered(names, corner)):
        return None
    totals = names[-1].lower() in (*TOTALS, *OF_CLASS)
    end = start + 1
    names = names[:-1] if totals else names
    if end < len(lines) and [word.lower() for word in lines[end].split()] in (["actual"], ["true"]):
        end += 1
    # Names of one word, or, where those are not the rows' ones, of several: `dune  blue bay`.
    for most in (1, MOST_WORDS):
        rows = _read_named_rows(lines, end, names, most)
        if rows and all(len(numbers) == len(rows) + totals for _, numbers in rows):
            numbers = [parse_numbers(each[: len(rows)], index + 1) for index, (_, each) in enumerate(rows, start=end)]
            matrix = make_matrix(numbers, [name for name, _ in rows])
            if matrix and lines[start].split()[0].lower() == "prediction":
                matrix = transpose(matrix)  # R prints predictions in rows
            return (matrix, end + len(rows) + totals) if matrix else None
    return None


def _read_named_rows(lines: Sequence[str], start: int, names: Sequence[str], most: int) -> list[tuple[str, list[str]]]:
    """Return each row's name and numbers; an empty list if the row names do not repeat the header's names.

    `names` are the words of the header. The name of a row has at most `most` words.
    """
    rows: list[tuple[str, list[str]]] = []
    while names:
        index = start + len(rows)
        words = lines[index][:LINE].split() if index < len(lines) else []
        words = words[bool(words) and words[0].lower() in CORNER and words[0] != names[0] :]
        length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(words, names[:most], strict=False)))
        if not length:
            return []
        rows.append((" ".join(words[:length]), words[length:]))
        names = names[length:]
    return rows


def _are_numbered(names: Sequence[str], corner: bool) -> bool:
    """Return whether names are consecutive integers.

    They may start at any integer if the corner cell has a word (`corner` is True), otherwise only at 0 or 1.
    """
    whole = [int(name) for name in names if name.isdigit()]
    in_order = len(whole) == len(names) and whole == list(range(whole[0], whole[0] + len(whole)))
    return in_order and (corner or whole[0] in (0, 1))


def _read_classified_as(lines: Sequence[str], start: int) -> tuple[ConfusionMatrix, int] | None:
    """Return a matrix of Weka, Mahout or DL4J (rows end in `| a = name`), and the index after its last line."""
    below = next((index for index in range(start, min(start + 3, len(lines))) if _is_row(lines[index])), None)
    if below is None or (below > start and not _is_heading(lines[start], lines[below])):
        return None
    named: list[re.Match[str]] = []
    start = below
    while start + len(named) < len(lines) and (match := NAMED_ROW.fullmatch(lines[start + len(named)][:LINE])):
        named.append(match)
    rows = [parse_numbers(match[1].split(), line) for line, match in enumerate(named, start=start + 1)]
    matrix = make_matrix(rows, [match[2].strip("\"'") for match in named])
    return (matrix, start + len(named)) if matrix else None


def _is_row(line: str) -> bool:
    return NAMED_ROW.fullmatch(line[:LINE]) is not None


def _is_heading(line: str, row: str) -> bool:
    """Return whether `line` is the header of a confusion matrix printed by Weka.

    Such a header has one name of at most four letters for each column of `row`, the first row of the matrix.
    """
    columns = len(row.split("|")[0].split())
    names = line[:LINE].lower().partition("<--")[0].split()
    return len(names) == columns and all(len(name) <= LETTERS for name in names)


def _read_outcomes(lines: Sequence[str], start: int) -> tuple[ConfusionMatrix, int] | None:
    """Return the matrix of two classes from counts named TN, FP, FN, TP, and the index after its last line."""
    found: dict[str, Printed] = {}
    for index in range(start, min(start + WINDOW, len(lines))):
        for match in OUTCOMES.finditer(lines[index][:LINE]):
            initials = "".join(word[0] for word in re.split("[ _]", match["name"].upper()))
            key = match["name"].upper() if len(match["name"]) == 2 else initials
            text = match["count"]
            number = replace(parse(text.replace(",", ""), index + 1), text=text)
            if key in found:
                return None
            found[key] = number
        if not found:
            return None
        if len(found) == 4:
            rows = ((found["TN"], found["FP"]), (found["FN"], found["TP"]))
            return ConfusionMatrix(classes=("negative", "positive"), rows=rows), index + 1
    return None


def _read_cell_a_line(lines: Sequence[str], start: int) -> tuple[ConfusionMatrix, int] | None:
    """Return a matrix that is printed with one cell per line, and the index after its last line.

    Cells that are not printed are 0.
    """
    cells: dict[tuple[str, str], Printed] = {}
    end = start
    while end < len(lines) and (match := LABELLED.fullmatch(lines[end][:LINE])):
        cells[match[1], match[2]] = parse(match[3], end + 1)
        end += 1
    names = sorted({name for pair in cells for name in pair})
    if len(names) < 2 or len(cells) < 2:
        return None
    zero = parse("0", start + 1)
    rows = [tuple(cells.get((true, predicted), zero) for predicted in names) for true in names]
    return ConfusionMatrix(classes=tuple(names), rows=tuple(rows)), end


def _read_bare(lines: Sequence[str], start: int) -> tuple[ConfusionMatrix, int] | None:
    """Return a matrix whose rows have no names, and the index after its last line.

    The preceding line of text must contain the word "confusion" or "matrix".
    """
    words = lines[start][:LINE].split()
    above = [line for line in lines[max(0, start - 3) : start] if line.strip()]
    if len(words) < 2 or not above or not CONFUSION.search(above[-1][:LINE]):
        return None
    rows = [parse_numbers(lines[i][:LINE].split(), i + 1) for i in range(start, min(len(lines), start + len(words)))]
    matrix = make_matrix(rows, [])
    return (matrix, start + len(words)) if matrix else None


def parse_numbers(words: Sequence[str], line: int) -> tuple[Printed, ...] | None:
    """Return the words of a row as numbers; None if one of them is not a number."""
    plain = [THOUSANDS.sub("", OUTCOME.sub("", word.translate(ALIKE)).strip()) for word in words]
    return tuple(parse(word, line) for word in plain) if all(VALUE.fullmatch(word) for word in plain) else None


def make_matrix(rows: Sequence[tuple[Printed, ...] | None], names: Sequence[str]) -> ConfusionMatrix | None:
    """Return a confusion matrix if the rows form a square of counts or of fractions; else None.

    Two thirds of the rows or of the columns of fractions must sum to about one, or to about 100 as percentages do.
    """
    full = tuple(row for row in rows if row is not None and len(row) == len(rows))
    if len(full) < max(2, len(rows)):
        return None
    values = [[printed.value for printed in row] for row in full]
    whole = all(value.denominator == 1 and value >= 0 for row in values for value in row)
    if not whole and not _are_shares(values):
        return None
    classes = tuple(names) or tuple(str(index) for index in range(len(full)))
    return ConfusionMatrix(classes=classes, rows=full, shares=not whole)


def _are_shares(values: Sequence[Sequence[Fraction]]) -> bool:
    allowed = Fraction(len(values), 50)
    ways = ([sum(line, Fraction(0)) for line in way] for way in (values, list(zip(*values, strict=True))))
    good = (sum(abs(s - 1) <= allowed or abs(s - 100) <= 100 * allowed or not s for s in sums) for sums in ways)
    whole = sum((sum(row, Fraction(0)) for row in values), Fraction(0))
    sound = (
        any(3 * number >= 2 * len(values) for number in good)
        or abs(whole - 1) <= allowed
        or abs(whole - 100) <= 100 * allowed
    )
    return sound and all(0 <= value <= 100 for row in values for value in row)


FORMS = (_read_bracketed, _read_classified_as, _read_cell_a_line, _read_outcomes, _read_labelled, _read_bare)


def _piece(matrix: ConfusionMatrix, first: int, last: int, title: str) -> Piece:
    name = title or f"the confusion matrix from line {first}"
    table = Table(name=name, values=(), matrix=matrix)
    return Piece(table=table, first=first, last=last, reader=READER, lines=frozenset(range(first, last + 1)))
