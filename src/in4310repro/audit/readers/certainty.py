"""Decide which readings are certain: the text itself says what each number is. All others are guesses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from in4310repro.audit.document import SCORES, ConfusionMatrix, Measure, Table
from in4310repro.audit.readers.contexts import LINE
from in4310repro.audit.readers.grid import Grid, Row, is_numeric, strip_signs
from in4310repro.audit.readers.joining import MATRIX_NEAR, join, match_matrix
from in4310repro.audit.readers.numbers import is_missing
from in4310repro.audit.readers.pieces import Piece
from in4310repro.audit.readers.roles import are_subgroups, is_summary
from in4310repro.audit.readers.words import FOLD, NETWORK_NAME, heading

CLASS = re.compile(
    r"(?:class(?:es)?|labels?)(?: ?(?:names?|ids?|labels?|index|no\.?|numbers?|#))?"
    r"|clases?|etiquetas?|klassen?|klasse|класс|类别|類別|クラス|클래스"
)
# These head classes only beside a support or an average; elsewhere they may head groups of anything.
CATEGORY = re.compile(
    r"categor(?:y|ies)|categor[ií]as?|kategorien?|카테고리|분류|分类|entit(?:y|ies)(?: type)?|intents?|tags?"
)
SUPPORT = re.compile(r"(?:# ?|n |no\.? of |number of )?(?:supports?|soporte|suporte)(?: ?\((?:n|images)\))?")
REPORT = re.compile(
    r"(?:precision|recall|f1-score|support)"
)  # columns of scikit-learn's report, whose rows have no heading
SCIKIT = re.compile(r"[#>*\s]*precision\s+recall\s+f1-score\s+support\s*")
SPACY = re.compile(r"\s+P\s+R\s+F\s*")
# First line of a program's output, the lines that may be its last, and how many lines there are at most.
PROGRAMS = (
    (
        re.compile(r"[\s#>]*Confusion Matrix and Statistics\s*"),
        re.compile(
            r"[\s#>]*(?:Sensitivity|Specificity|(?:Pos|Neg) Pred Value|Precision|Recall|F1|Prevalence"
            r"|Detection (?:Rate|Prevalence)|Balanced Accuracy|'Positive' Class)\b.*"
        ),
        150,
    ),
    (
        re.compile(r"\W*Correctly Classified Instances\s.*"),
        re.compile(r"[\s\d|]+\w{1,2} = \S.*|Weighted Avg\..*"),
        120,
    ),
)
# eval_f1 = 0.9765 and 'eval_f1': 0.9765, as transformers' Trainer prints them, perhaps after a time and a module.
TRAINER = re.compile(
    r"(?:\[?\d[\d/:., T-]{9,30}\]?[ -]+[A-Z]+[ -]+[\w.]+[ -]+)?(?:eval|test|predict)_[a-z0-9_]+ {0,30}= {0,3}[-\d.e]+"
    r"|\{?(?:'(?:eval|test)_\w+': ?[-\d.e]+, ?){2,}.*\}"
)
# Share and number of the class values of a report that follow from a matrix which is surely of it.
AGREEING, FEWEST = Fraction(2, 3), 3


def is_certain(table: Grid, lines: Sequence[str]) -> bool:
    """Return whether the rows of a table are classes and its columns are measures by what its headings say.

    The first heading must be class or label, and each other heading a measure or a support. Several networks may
    stand side by side, each with the same measures. The header of scikit-learn's reports has no first heading.
    """
    if table.flipped or not table.header or len(table.names) < 2:
        return False
    first, *names = (name.strip(" :#*") for name in table.names)
    labels = [row.cells[0] for row in table.body]
    if not all(labels) or len(set(labels)) < len(labels) or not all(map(_has_values, table.body)):
        return False
    line = lines[table.rows[0].lines[0] - 1] if lines else first
    of_program = SCIKIT.fullmatch(line) or (SPACY.fullmatch(line) and set(names) == {"P", "R", "F"})
    of_report = not first and all(map(REPORT.fullmatch, names))
    written = first.lower() in line.lower() and CLASS.fullmatch(first.lower())
    told = any(map(_is_support, names)) or any(is_summary(labels, place) for place in range(len(labels)))
    category = told and CATEGORY.fullmatch(first.lower())
    headed = bool(of_program or of_report or written or category)
    return headed and _are_measures(names) and (bool(of_program) or not _are_others(labels))


def _has_values(row: Row) -> bool:
    """Return whether a row has a number, and nothing else behind its name, so that no class is left out."""
    cells = [strip_signs(cell) for cell in row.cells[1:] if not is_missing(cell)]
    return bool(cells) and all(map(is_numeric, cells))


def _is_support(name: str) -> bool:
    return SUPPORT.fullmatch(name.lower()) is not None


def _are_measures(names: Sequence[str]) -> bool:
    """Return whether all headings are supports or different measures, or the same measures of several networks."""
    headings = [heading(name) for name in names if not _is_support(name)]
    if not headings or any(of.measure is None or of.image_set or of.samples for of in headings):
        return False
    named = [(of.measure, of.average, of.threshold) for of in headings]
    if not any(of.rest for of in headings):
        return len(set(named)) == len(named)
    groups: dict[str, list[Any]] = {}
    for of, key in zip(headings, named, strict=True):
        groups.setdefault(of.rest, []).append(key)
    first = next(iter(groups.values()))
    alike = all(group == first for group in groups.values())
    return "" not in groups and alike and len(set(first)) == len(first) > 1 and len(groups) > 1


def _are_others(labels: Sequence[str]) -> bool:
    """Return whether the rows are networks, folds or subgroups, whatever their heading is."""
    networks = sum(NETWORK_NAME.fullmatch(label) is not None for label in labels)
    return (
        2 * networks > len(labels) or any(FOLD.fullmatch(each.lower()) for each in labels) or are_subgroups("", labels)
    )


def is_closed(node: Any) -> bool:
    """Return whether a JSON object holds measures of classes, supports and averages under their names alone.

    It has an object for each class and each average, with the same keys, and besides at most an accuracy.
    """
    inner = [value for value in node.values() if isinstance(value, Mapping)] if isinstance(node, Mapping) else []
    if len(inner) < 2:
        return False
    others = [key for key, value in node.items() if not isinstance(value, Mapping)]
    keys = list(dict.fromkeys(key for each in inner for key in each))
    told = any(map(_is_support, keys)) or any(heading(name).summary for name in node)
    pure = all(heading(key).measure is Measure.ACCURACY and not heading(key).rest for key in others)
    return told and pure and _are_measures(keys) and not _are_others(list(map(str, node)))


def join_blocks(pieces: Sequence[Piece], lines: Sequence[str]) -> tuple[list[Piece], list[Piece]]:
    """Return the tables within the outputs of programs, joined from the first to the last line, and all others."""
    blocks = list(find_blocks(lines))
    made = [piece for block in blocks for piece in _join_block([p for p in pieces if _is_in(p, block)], lines)]
    return made, [piece for piece in pieces if not any(_is_in(piece, block) for block in blocks)]


def find_certain(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the certain tables, each with the confusion matrix from which most of its values follow."""
    matrices = [p for p in pieces if p.table.matrix is not None and not p.table.values]
    return [_add_matrix(piece, matrices) for piece in pieces if piece.certain]


def _join_block(pieces: Sequence[Piece], lines: Sequence[str]) -> list[Piece]:
    """Return the tables of one output of a program; scores over all classes alone are one table."""
    made = join(pieces, lines, len(lines))
    if len(made) < 2 or any(piece.table.has_classes for piece in made):
        return made
    values = tuple(value for piece in made for value in piece.table.values)
    return [replace(made[0], table=replace(made[0].table, values=values), last=max(piece.last for piece in made))]


def _is_in(piece: Piece, block: range) -> bool:
    return piece.first in block and piece.last in block


def find_blocks(lines: Sequence[str]) -> Iterator[range]:
    """Yield the line numbers of each output of caret, of Weka, and of a Trainer."""
    for first, last, most in PROGRAMS:
        starts = [number for number, line in enumerate(lines, start=1) if first.fullmatch(line[:LINE])]
        for start, following in zip(starts, [*starts[1:], len(lines) + 1], strict=False):
            within = range(start, min(start + most, following))
            ends = [number for number in within if last.fullmatch(lines[number - 1][:LINE])]
            if ends:
                yield range(start, ends[-1] + 1)
    run: list[int] = []
    for number, line in enumerate([*lines, ""], start=1):
        if TRAINER.fullmatch(line[:LINE].strip()):
            run.append(number)
        elif run:
            yield range(run[0], run[-1] + 1)
            run = []


def _add_matrix(piece: Piece, matrices: Sequence[Piece]) -> Piece:
    """Return a table with the only confusion matrix near it from which most of its class values follow."""
    near = [each for each in matrices if max(each.first - piece.last, piece.first - each.last) <= MATRIX_NEAR]
    fitting = [(p, made) for p in near if (m := p.table.matrix) and (made := match_matrix(m, piece.table))]
    fitting = [(each, made) for each, made in fitting if _follows(piece.table, made)]
    if len(fitting) != 1:
        return piece
    (of_matrix, matrix) = fitting[0]
    first, last = min(piece.first, of_matrix.first), max(piece.last, of_matrix.last)
    return replace(piece, table=replace(piece.table, matrix=matrix), first=first, last=last)


def _follows(table: Table, matrix: ConfusionMatrix) -> bool:
    """Return whether most precisions, recalls and F1 scores of the classes are those that a matrix of counts gives."""
    rows = [[cell.value for cell in row] for row in matrix.rows]
    right = dict(zip(matrix.classes, (row[place] for place, row in enumerate(rows)), strict=True))
    size, found = (dict(zip(matrix.classes, map(sum, each), strict=True)) for each in (rows, zip(*rows, strict=True)))
    values = [value for value in table.of_classes if value.measure in SCORES and value.class_name in right]
    agreeing = 0
    for value in values:
        name = str(value.class_name)
        below = {Measure.RECALL: size[name], Measure.PRECISION: found[name]}.get(
            value.measure, (size[name] + found[name]) / Fraction(2)
        )
        agreeing += bool(below) and abs(right[name] / Fraction(below) - value.printed.value) <= value.printed.unit
    return not matrix.shares and agreeing >= FEWEST and agreeing >= AGREEING * len(values)
