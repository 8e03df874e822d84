"""Read the output of conlleval: phrase counts, accuracy of tokens, and the scores of each entity type."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from in4310repro.audit.document import Average, Item, Measure, Table, Value
from in4310repro.audit.readers.logs import LINE
from in4310repro.audit.readers.numbers import parse
from in4310repro.audit.readers.pieces import Piece, Result, scale_values

READER = "conlleval"
SCORE = re.compile(r"(accuracy|precision|recall|FB1|F1|F-?score): {0,4}(\d[\d.]*%?)", re.IGNORECASE)
MEASURES = {"accuracy": Measure.ACCURACY, "precision": Measure.PRECISION, "recall": Measure.RECALL}
# processed 46435 tokens with 5648 phrases; found: 5640 phrases; correct: 5031.
COUNTS = re.compile(r"(\d+) tokens with (\d+) phrases; found: (\d+) phrases; correct: (\d+)")
NAMED = re.compile(r"\W*(\S.{0,40}?): +precision: ")
PREDICTED = re.compile(r"(?:FB1|F1|F-?score): {0,4}[\d.]+%?\s+(\d+)\W*$", re.IGNORECASE)
NON_O = re.compile(r"\(non-O\)")
SCALED = 3  # scores on a line that make it one of these


def read_conll(lines: Sequence[str], skipped: frozenset[int]) -> Result:
    """Return one table for each evaluation in the output of conlleval."""
    pieces: list[Piece] = []
    taken: set[int] = set()
    counts: tuple[int, int, int, int] | None = None
    for number, line in enumerate(lines, start=1):
        if number in skipped or len(line) > LINE:
            continue
        found = COUNTS.search(line)
        if found:
            counts = (int(found[1]), int(found[2]), int(found[3]), int(found[4]))
            taken.add(number)
        scores = SCORE.findall(line)
        if line.strip().startswith("accuracy: ") and len(scores) > SCALED:
            end, piece = _evaluation(lines, number, counts)
            pieces.append(piece)
            taken |= set(range(number, end + 1))
            counts = None
        elif NON_O.search(line) and scores:
            taken.add(number)
    return Result(pieces=tuple(pieces), lines=frozenset(taken))


def _evaluation(lines: Sequence[str], first: int, counts: tuple[int, int, int, int] | None) -> tuple[int, Piece]:
    values = list(_values(lines[first - 1], first, None))
    if counts:
        _, phrases, found, correct = counts
        beside = {Measure.PRECISION: (correct, found), Measure.RECALL: (correct, phrases)}
        values = [replace(value, count=beside.get(value.measure)) for value in values]
    predictions: dict[str, int] = {}
    last = first
    for number, line in enumerate(lines[first:], start=first + 1):
        named = NAMED.match(line[:LINE])
        if not named:
            break
        last = number
        values += _values(line, number, named[1])
        predicted = PREDICTED.search(line[:LINE])
        if predicted:
            predictions[named[1]] = int(predicted[1])
    name = f"the entities from line {first}"
    table = Table(name=name, values=scale_values(values), total=None, predictions=predictions)
    near = {number for number in (first - 2, first - 1) if number > 0 and COUNTS.search(lines[number - 1])}
    return last, Piece(
        table=table, first=min({first, *near}), last=last, reader=READER, lines=frozenset(near | {first})
    )


def _values(line: str, number: int, name: str | None) -> Iterator[Value]:
    for label, text in SCORE.findall(line[:LINE]):
        measure = MEASURES.get(label.lower(), Measure.F1)
        token = measure is Measure.ACCURACY
        average = None if name else Average.OVERALL if token else Average.MICRO
        item = Item.TOKEN if token else Item.ENTITY
        printed = parse(text, number)
        yield Value(measure=measure, printed=printed, class_name=name, average=average, label=label, item=item)
