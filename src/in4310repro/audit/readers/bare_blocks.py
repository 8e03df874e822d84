"""Read confusion matrices without a heading: rows of integers directly above or below a line with a score."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from in4310repro.audit.document import SCORES_OF_ALL, Average, ConfusionMatrix, Printed, Table
from in4310repro.audit.readers.contexts import LINE
from in4310repro.audit.readers.labels import read_labels
from in4310repro.audit.readers.numbers import parse
from in4310repro.audit.readers.pieces import Piece, Result
from in4310repro.audit.readers.words import BEST, heading

READER = "confusion matrix"
NUMERIC = re.compile(r"(?=\D{0,40}\d)[\s\d.,;|&+\-\[\]()%]+")
ROW = re.compile(r"[\s\[(|]*(\d{1,7}(?:[\s,;|&]+\d{1,7})+)[\s\])|,;]*")
FENCE = re.compile(r"[\s=\-_*~`#+|]*")
NAMED = re.compile(r"[^\W\d_]{2,}")
# Words of a line above the block that only announces results.
ANNOUNCES = re.compile(
    r"the|of|for|on|and|in|is|are|our|results?|evaluation|test|set|predict\w*|actual|true|class(?:es|ification)?|counts?"
    r"|performance|summary|scores?|metrics?|overall|final|confusion|matrix|rows?|columns?|labels?",
    re.IGNORECASE,
)
OTHER_SET = re.compile(
    r"train|cross|\bcv\b|fold|\boob\b|out[- ]of|baseline|random|chance|top[- ]?[2-9]|mean|average", re.IGNORECASE
)
CLASSES = range(2, 51)
FEWEST = 10  # images of a matrix
FEWEST_OF_TWO = 20  # of a matrix of two classes, which four numbers look like by chance
YEARS = range(1900, 2101)
NO_MATRIX = "the numbers in lines {} to {} are not a confusion matrix"


def read_bare_blocks(lines: Sequence[str], skipped: frozenset[int]) -> Result:
    """Return each square block of integers next to a score as a confusion matrix.

    If a block may well be something else, the matrix has a remark about this in `doubts`.
    """
    pieces = [
        Piece(
            table=Table(name=f"the numbers from line {first}", values=(), matrix=_matrix(rows, first)),
            first=first,
            last=first + len(rows) - 1,
            reader=READER,
            joins=False,
            lines=frozenset(range(first, first + len(rows))),
        )
        for first, rows in _blocks(lines, skipped)
        if _is_square(rows) and _can_be_counts(_values(rows)) and _is_beside_score(lines, first, len(rows))
    ]
    return Result(pieces=tuple(pieces), lines=frozenset(line for piece in pieces for line in piece.lines))


def _blocks(lines: Sequence[str], skipped: frozenset[int]) -> Iterator[tuple[int, list[list[str]]]]:
    """Yield the first line number and the rows of each block of lines that hold only integers."""
    start = None
    for number in range(1, len(lines) + 2):
        text = lines[number - 1] if number <= len(lines) else ""
        inside = len(text) <= LINE and NUMERIC.fullmatch(text) is not None
        if inside and start is None:
            start = number
        elif not inside and start is not None:
            matches = [ROW.fullmatch(line) for line in lines[start - 1 : number - 1]]
            rows = [re.findall(r"\d+", match[1]) for match in matches if match]
            if len(rows) == len(matches) and skipped.isdisjoint(range(start, number)):
                yield start, rows
            start = None


def _is_square(rows: Sequence[Sequence[str]]) -> bool:
    return len(rows) in CLASSES and all(len(row) == len(rows) for row in rows)


def _values(rows: Sequence[Sequence[str]]) -> np.ndarray:
    return np.array([[int(text) for text in row] for row in rows], dtype=np.int64)


def _can_be_counts(values: np.ndarray) -> bool:
    """Return False if integers look like a mask, years, or repeated or evenly spaced numbers; else True."""
    lines = [*values.tolist(), *values.T.tolist()]
    if values.sum() < FEWEST or values.max() <= 1 or len({tuple(sorted(row)) for row in values.tolist()}) == 1:
        return False
    if any(all(number in YEARS for number in line) for line in lines):
        return False
    # Settings, epochs and coordinates go up by equal steps; of two numbers only 0, 1 and 1, 2 tell that.
    steps = [set(np.diff(line).tolist()) for line in lines]
    if len(values) == 2:
        return [0, 1] not in lines and [1, 2] not in lines
    return not any(len(step) == 1 and 0 not in step for step in steps)


def _is_beside_score(lines: Sequence[str], first: int, rows: int) -> bool:
    """Return whether a score over all classes is next to a block and no unrelated text touches the block."""
    above = _next_line(lines, range(first - 1, 0, -1))
    below = _next_line(lines, range(first + rows, len(lines) + 1))
    touching = below if first + rows <= len(lines) and lines[first + rows - 1].strip() else ""
    scores = [bool(text) and _is_score(text) for text in (above, below)]
    other = (above and not scores[0] and not _announces(above)) or (
        touching and not scores[1] and not _announces(touching)
    )
    return any(scores) and not other


def _next_line(lines: Sequence[str], places: range) -> str:
    """Return the first line with text at the line numbers `places`; "" if there is none.

    At most one blank line and one separator are skipped.
    """
    passed: list[bool] = []
    for number in places[:3]:
        text = lines[number - 1][:LINE]
        if not FENCE.fullmatch(text):
            return text
        if bool(text.strip()) in passed:
            return ""
        passed.append(bool(text.strip()))
    return ""


def _is_score(text: str) -> bool:
    values, _ = read_labels([text], frozenset())
    return bool(values) and all(
        value.subject.measure in SCORES_OF_ALL
        and value.subject.class_name is None
        and value.subject.average is not Average.UNNAMED
        and value.subject.image_set in (None, "test")
        and not (value.subject.best or value.subject.network or value.cell.spread)
        and not heading(value.label).rest
        and not (BEST.search(value.label.lower()) or OTHER_SET.search(value.label))
        for value in values
    )


def _announces(text: str) -> bool:
    words = NAMED.findall(text)
    return bool(words) and all(ANNOUNCES.fullmatch(word) for word in words)


def _matrix(rows: Sequence[Sequence[str]], first: int) -> ConfusionMatrix:
    doubts = () if _is_clear(_values(rows)) else (NO_MATRIX.format(first, first + len(rows) - 1),)
    cells: tuple[tuple[Printed, ...], ...] = tuple(
        tuple(parse(text, line) for text in row) for line, row in enumerate(rows, start=first)
    )
    return ConfusionMatrix(classes=tuple(map(str, range(len(rows)))), rows=cells, doubts=doubts)


def _is_clear(values: np.ndarray) -> bool:
    """Return whether a block is almost certainly a confusion matrix with the same class order in rows and columns.

    All of these conditions must hold. At least half of the images are on the diagonal. For at least two thirds of
    the classes, the cell on the diagonal has the largest count of its row and of its column. No other order of
    the columns puts more images on the diagonal; if the columns are clusters, another order often does. The block
    is not symmetric, as a table of distances would be. Not all numbers are round, as they often are in lists of
    settings. A block of two classes must also have at least `FEWEST_OF_TWO` images, three quarters of them on the
    diagonal.
    """
    diagonal, total, classes = np.diagonal(values), values.sum(), len(values)
    most = (diagonal == values.max(axis=1)) & (diagonal == values.max(axis=0)) & (diagonal > 0)
    places = linear_sum_assignment(values, maximize=True)
    if values[places].sum() > diagonal.sum() or 3 * most.sum() < 2 * classes:
        return False
    if 2 * diagonal.sum() < total or (values == values.T).all() or all(map(_is_round, values.ravel().tolist())):
        return False
    return classes > 2 or bool(total >= FEWEST_OF_TWO and 4 * diagonal.sum() >= 3 * total)


def _is_round(number: int) -> bool:
    return number % 5 == 0 or number & (number - 1) == 0
