"""Read lines in the format of one program: counts of Weka and Mahout, APs of darknet and Keras-RetinaNet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

from in4310repro.audit.document import Average, Measure
from in4310repro.audit.readers.labels import LineValue
from in4310repro.audit.readers.logs import LINE
from in4310repro.audit.readers.numbers import Measured, count, parse, parse_measured
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
SCORES = re.compile(r"([A-Z][\w-]+) : ([\d.]+)")
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
NOTE = 6  # lines below the scores in which that stands


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
    """Yield accuracy and count as PyTorch's example programs print them after an epoch or at the end."""
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
    """Yield the value of a model card, whose metric is named above it: `type: accuracy`, `value: 0.93`."""
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
    """Yield the score of an entity type in a model card; a `Number` line near it shows the type."""
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
    for label, text in SCORES.findall(found["scores"]) if found else ():
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
    """Return the values with the kind of average that nearby lines imply, such as a note on macro averages."""
    notes = [number for number, line in enumerate(lines, start=1) if MACRO.search(line[:LINE])]
    scores = (Measure.PRECISION, Measure.RECALL, Measure.F1)
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
        if of.measure in scores and of.class_name is None and any(0 < note - value.line <= NOTE for note in notes):
            of = replace(of, average=of.average or Average.MACRO)
        told.append(replace(value, subject=of))
    return told
