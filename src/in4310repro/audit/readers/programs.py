"""Read lines in the format of one program: conlleval, Weka, Mahout, darknet, fastText and others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

from in4310repro.audit.document import SCORES, Average, Item, Measure, Table, Value
from in4310repro.audit.readers.contexts import LINE
from in4310repro.audit.readers.labels import LineValue
from in4310repro.audit.readers.numbers import Measured, count, parse, parse_measured
from in4310repro.audit.readers.pieces import Piece, Result, scale_values
from in4310repro.audit.readers.subjects import Subject, parse_subject
from in4310repro.audit.readers.words import heading

# Correctly Classified Instances         964               60.25   %
INSTANCES = re.compile(r"\W*((?:In)?correctly Classified Instances)\s*:?\s+(\d[\d,]*)\s+(\d[\d.,]*)\s*%", re.IGNORECASE)
TOTAL = re.compile(r"\W*Total (?:Number of|Classified) Instances\s*:?\s+(\d[\d,]*)", re.IGNORECASE)
BELOW = 12  # lines after which Weka prints the total at most
# class_id = 0, name = person, ap = 61.28%   (TP = 100, FP = 23)
DARKNET = re.compile(r".{0,40}\bname = (\S.*?),\s+(?:\d+\s+)?ap = ([\d.]+ ?%)", re.IGNORECASE)
# 27530 instances of class person with average precision: 0.7
RETINANET = re.compile(r"\W*(?:\d+ instances of class )(\S.*?) with average precision: ([\d.]+)", re.IGNORECASE)
# PascalBoxes_PerformanceByCategory/AP@0.5IOU/person: 0.51
BY_CATEGORY = re.compile(r".{0,80}PerformanceByCategory/m?AP[^/]{0,20}/(.{1,60}?)['\"]?\s*[:=]\s*([\d.]+)")
# Test set: Average loss: 0.2038, Accuracy: 9403/10000 (94%)
COUNTED = re.compile(
    r"(?P<label>\b(?:\w+ )?acc(?:uracy)?\b[^:,;]{0,20}): *"
    r"(?P<right>\d+) ?/ ?(?P<images>\d+) ?\(?(?P<share>\d[\d.]*) ?%",
    re.IGNORECASE,
)
CARD = re.compile(r"\s*-?\s*value: (\d[\d.]*%?)\s*")
TYPE = re.compile(r"\s*-?\s*(?:name|type): (.{1,40}?)\s*")
ABOVE = 4  # lines above a value of a card
# F1-Score : 0.94  Precision : 0.95  Recall : 0.93   __label__positive
FASTTEXT = re.compile(r"\s*(?P<scores>(?:[A-Z][\w-]+ : [\d.]+\s+){2,})__label__(?P<name>\S+)")
LABELLED_SCORE = re.compile(r"([A-Z][\w-]+) : ([\d.]+)")
# - Total Precision: 0.9500, and - Total Number: 61
ENTITY = re.compile(r"\s*(?:[-*] )?(?P<name>\S.{0,60}?) (?P<measure>Precision|Recall|F1): (?P<value>\d[\d.]*)\s*")
ENTITIES = re.compile(r"\s*(?:[-*] )?(?P<name>\S.{0,60}?) Number: \d+\s*")
BEFORE = re.compile(
    r"(?P<value>\d{1,3}\.\d{2,20}) (?P<label>[A-Z][A-Za-z]{1,12}(?: [A-Za-z]{2,12}){0,3}) ?(?P<percent>\(%\))?"
)
# DL4J prints below its scores how they were averaged.
MACRO = re.compile(r"precision, recall (?:&|and) F1: macro-averaged", re.IGNORECASE)
MEAN = re.compile(r"(?:average|avg\.?|mean) (?:recall|f1.*|f-?(?:score|measure))", re.IGNORECASE)
MEAN_PRECISION = re.compile(r"(?:average|avg\.?|mean) precision", re.IGNORECASE)
RELIABILITY = re.compile(r"\W*Reliability \(standard deviation\)")
NOTE = 6  # lines below the scores in which that is
READER = "conlleval"
SCORE = re.compile(r"(accuracy|precision|recall|FB1|F1|F-?score): {0,4}(\d[\d.]*%?)", re.IGNORECASE)
MEASURES = {"accuracy": Measure.ACCURACY, "precision": Measure.PRECISION, "recall": Measure.RECALL}
# processed 46435 tokens with 5648 phrases; found: 5640 phrases; correct: 5031.
COUNTS = re.compile(r"(\d+) tokens with (\d+) phrases; found: (\d+) phrases; correct: (\d+)")
NAMED = re.compile(r"\W*(\S.{0,40}?): +precision: ")
PREDICTED = re.compile(r"(?:FB1|F1|F-?score): {0,4}[\d.]+%?\s+(\d+)\W*$", re.IGNORECASE)
NON_O = re.compile(r"\(non-O\)")
SCALED = 3  # scores on a line that make it one of these


def program_values(lines: Sequence[str], skipped: frozenset[int]) -> list[LineValue]:
    """Return the values of all lines that have the format of a known program."""
    return [
        value
        for number, line in enumerate(lines, start=1)
        if number not in skipped and len(line) <= LINE
        for form in FORMS
        for value in form(lines, number)
    ]


def _instances(lines: Sequence[str], number: int) -> Iterator[LineValue]:
    found = INSTANCES.match(lines[number - 1])
    if not found:
        return
    total = next((match for line in lines[number : number + BELOW] if (match := TOTAL.match(line))), None)
    of, images = count(found[2]), count(total[1]) if total else None
    wrong = found[1].lower().startswith("in")
    measure, average = (Measure.ERROR, Average.OVERALL) if wrong else (Measure.ACCURACY, Average.OVERALL)
    cell = Measured(printed=parse(f"{found[3]} %", number), count=(of, images) if of is not None and images else None)
    cell = replace(cell, printed=replace(parse(f"{found[3]} %", number), text=found[3]))
    subject = Subject(measure=measure, average=average, images=images)
    yield LineValue(subject=subject, cell=cell, line=number, label=found[1])


def _read_counted(lines: Sequence[str], number: int) -> Iterator[LineValue]:
    """Yield the accuracy that PyTorch's example programs print in a line, together with the counts in the line.

    An example is `Accuracy: 9912/10000 (99%)`, where 9912 images of 10000 are classified correctly.
    """
    line = lines[number - 1]
    found = COUNTED.search(line)
    of = parse_subject(found["label"]) if found else None
    if found and of and of.class_name is None:
        right, images = count(found["right"]), count(found["images"])
        pair = (right, images) if right is not None and images else None
        cell = Measured(printed=parse(f"{found['share']} %", number), count=pair)
        cell = replace(cell, printed=replace(parse(f"{found['share']} %", number), text=found["share"]))
        told = replace(of, image_set=of.image_set or heading(line[: found.start()]).image_set, images=images)
        yield LineValue(subject=told, cell=cell, line=number, label=found["label"].strip())


def _read_card(lines: Sequence[str], number: int) -> Iterator[LineValue]:
    """Yield the value in a line of a model card, such as `value: 0.93` below a line `type: accuracy`."""
    found = CARD.fullmatch(lines[number - 1])
    near = takewhile(lambda line: not CARD.fullmatch(line), reversed(lines[max(0, number - 1 - ABOVE) : number - 1]))
    above = [match[1] for line in near if (match := TYPE.fullmatch(line))] if found else []
    measure = next((of for name in above if (of := parse_subject(name.strip("\"'"))) and of.class_name is None), None)
    cell = parse_measured(found[1], number) if found else None
    if cell and above:
        # No check uses these: a correlation, a word error rate.
        told = measure or Subject(measure=Measure.OTHER)
        yield LineValue(subject=told, cell=cell, line=number, label=f"value of {above[0]}")


def _classes(form: re.Pattern[str]) -> Callable[[Sequence[str], int], Iterator[LineValue]]:
    def read(lines: Sequence[str], number: int) -> Iterator[LineValue]:
        found = form.match(lines[number - 1])
        if found:
            cell = Measured(printed=parse(found[2], number))
            subject = Subject(measure=Measure.AVERAGE_PRECISION, class_name=found[1])
            yield LineValue(subject=subject, cell=cell, line=number, label=f"AP of {found[1]}")

    return read


def _read_entity(lines: Sequence[str], number: int) -> Iterator[LineValue]:
    """Yield an entity type's precision, recall or F1 from a line of a model card.

    For a line such as `LOC Precision: 0.92`, a nearby line such as `LOC Number: 1668` must show that `LOC` is an
    entity type.
    """
    found = ENTITY.fullmatch(lines[number - 1])
    near = lines[max(0, number - 1 - ABOVE) : number + ABOVE] if found else []
    counted = {kind["name"] for line in near if (kind := ENTITIES.fullmatch(line))}
    if found and found["name"] in counted:
        measure = {"Precision": Measure.PRECISION, "Recall": Measure.RECALL, "F1": Measure.F1}[found["measure"]]
        of = Subject(measure=measure, class_name=found["name"])
        label = f"{found['name']} {found['measure']}"
        yield LineValue(subject=of, cell=Measured(printed=parse(found["value"], number)), line=number, label=label)


def _read_before(lines: Sequence[str], number: int) -> Iterator[LineValue]:
    """Yield the value of a line such as `98.40 Overall accuracy (%)`, where the number comes first."""
    found = BEFORE.fullmatch(lines[number - 1].strip())
    of = parse_subject(found["label"]) if found else None
    cell = parse_measured(f"{found['value']} %" if found["percent"] else found["value"], number) if found else None
    if found and of and cell and of.class_name is None and not of.network:
        yield LineValue(subject=of, cell=cell, line=number, label=found["label"])


def _read_labelled(lines: Sequence[str], number: int) -> Iterator[LineValue]:
    """Yield the scores of a class in a line of fastText, which prints the class name after the scores."""
    found = FASTTEXT.fullmatch(lines[number - 1].rstrip())
    for label, text in LABELLED_SCORE.findall(found["scores"]) if found else ():
        of = parse_subject(label)
        if of and found:
            told = replace(of, class_name=found["name"], average=None)
            yield LineValue(subject=told, cell=Measured(printed=parse(text, number)), line=number, label=label)


FORMS = (
    _instances,
    _read_entity,
    _read_before,
    _read_labelled,
    _read_counted,
    _read_card,
    *map(_classes, (DARKNET, RETINANET, BY_CATEGORY)),
)


def add_averages(values: Sequence[LineValue], lines: Sequence[str]) -> list[LineValue]:
    """Return the values after replacing the metric or the average of a value where nearby lines require it.

    For example, a precision above a note on macro averages becomes a macro-averaged precision.
    """
    notes = [number for number, line in enumerate(lines, start=1) if MACRO.search(line[:LINE])]
    told = []
    means = [value.line for value in values if MEAN.fullmatch(value.label)]
    reliable = [number for number, line in enumerate(lines, start=1) if RELIABILITY.match(line)]
    for value in values:
        of = value.subject
        # Mahout's kappa is not that of the matrix that it prints: 0.5728 where the matrix gives 0.5729.
        if of.measure is Measure.KAPPA and any(0 < line - value.line <= BELOW for line in reliable):
            of = replace(of, measure=Measure.OTHER)
        # Beside an average recall, the average precision is the mean of precisions.
        if MEAN_PRECISION.fullmatch(value.label) and any(abs(line - value.line) <= NOTE for line in means):
            of = replace(of, measure=Measure.PRECISION, average=Average.UNNAMED)
        if of.measure in SCORES and of.class_name is None and any(0 < note - value.line <= NOTE for note in notes):
            of = replace(of, average=of.average or Average.MACRO)
        told.append(replace(value, subject=of))
    return told


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
