"""Read lines with label and value: `Accuracy of plane : 83 %`, `AP for bus = 0.79<br />`, `plane 0.91`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType

from in4310repro.audit.document import Measure, Unread
from in4310repro.audit.readers.contexts import LINE, OPTION
from in4310repro.audit.readers.numbers import ALIKE, COUNT, NUMBER, SPREAD, Measured, parse_measured
from in4310repro.audit.readers.subjects import Subject, parse_pure, parse_subject
from in4310repro.audit.readers.words import CLASS, SPREADS, heading, strip_marks

BULLET = re.compile(r"^(?:(?:[-*+•>]|#{1,6}|//|\d{1,3}[.)]) )+")
# 2024-05-11 10:53:25,019 - mmseg - INFO - ...
STAMP = re.compile(
    r"^\[?(?:\d{4}-\d\d-\d\d|\d\d/\d\d/\d{4})[T ]\d\d:\d\d:\d\d[^\] ]{0,12}\]?"
    r"(?: ?[-|:]? ?[\w.]{0,40} ?[-|:]? ?\[?(?:INFO|DEBUG|WARNING)\]?)?(?: - (?:__\w+__|[\w.]+\.\w+)(?= - ))?[ :|-]*"
    r"|^\[?(?:INFO|DEBUG)\]?[ :][^ ]{0,40}:? ?"
)
# A label, a separator, a value; spaces have been made single, and wider gaps two.
SEPARATOR = r"(?: ?(?::=|[:=]|->|→|⇒|\|) {0,2}| {1,2}(?:is|was)(?: ?[:=])? | {1,2}[-\u2013—]{1,3}>? |  )"
VALUE = (
    rf"(?:{COUNT} ?(?:/|of|out of) ?{COUNT}(?: {{0,2}}[(\[] ?{NUMBER} ?%? ?[)\]])?"
    rf"|{NUMBER}(?: ?%)?(?: ?{SPREAD} ?{NUMBER}(?: ?%)?)?(?: {{0,2}}[(\[][^()\[\]]{{1,60}}[)\]])?)"
)
PAIR = re.compile(rf"{SEPARATOR}(?P<value>{VALUE})(?![\w%/]|[.,]\d)")
# `Accuracy of plane 83%`, `plane 0.912`: one space alone, where nothing follows.
SPACED = re.compile(rf"(?P<label>.{{1,100}}?) (?P<value>(?:{NUMBER} ?%|\d?[.,]\d{{1,60}}|\d{{2}}[.,]\d{{1,60}}))")
BARS = str.maketrans("│┃║", "|||")
REVERSED = re.compile(rf"(?P<value>{NUMBER} ?%) = (?P<name>.{{1,60}}?) AP(?:  ?\|\|.*|  .*)?")
LEFT_OUT = re.compile(r".{1,60} (?:nan|n/a|-+)", re.IGNORECASE)  # `precision nan`: a score that is undefined
NAMED = re.compile(r"(?:class|name|category|label)(?:[ _](?:name|id))? ?[=:] ?(.{1,60})", re.IGNORECASE)
# Minimum of a line to be reported as a measurement that was not understood.
MEASURING = re.compile(
    r"\b(?:(?:for|of) class\b|accurac|precision|recall|sensitivity|f1\b|f1-|\bap\b|map\b|kappa)", re.IGNORECASE
)
GIVEN = re.compile(
    r"(?:[:=|]|\bis\b| [-\u2013] |  ) ?[^\w\s]{0,3}\d|\b(?:accuracy|precision|recall|f1(?:[- ]score)?|ap) \d?[.,]\d",
    re.IGNORECASE,
)
CODE = re.compile(
    r"[{}]|==|\bdef |\bimport |print\(|\w\(\w*[\"']|f\"|%\.?\d?[df]|https?://|!\[|\w=\w+,|\bfrom \w+ import"
)
DIGIT = re.compile(r"\d")
COCO = re.compile(r"@ ?\[ ?IoU")  # Average Precision (AP) @[ IoU=0.50:0.95 | area= all | maxDets=100 ] = 0.503
PARAMETER = re.compile(
    r"(?:@|\b(?:at|when|where|if|using))\s*\w*\s*$|\b(?:with|for) (?:k|n|c|lr)\s*$"
    r"|\b(?:epochs?|iterations?|thresh(?:old)?)\s*$",
    re.IGNORECASE,
)
# `max f1 @ threshold = 0.287: 0.81`, `F1 0.81 @ 0.287`; the overlap of boxes in `mAP @ IoU=0.5` belongs to its name.
AT = re.compile(
    rf" ?@ ?(?!iou|top)(?:[a-z_]{{1,20}} ?[=:]? ?){NUMBER}(?![\w%])|(?<=[\d%]) ?@ ?{NUMBER}(?![\w%])", re.IGNORECASE
)
CALL = re.compile(
    r"\w\([^()]*\b\w+ ?= ?[^()]*,|\([^()]*, ?[a-z]\w* ?= ?[^()]*\)$|\bmap: \d+ |_map\b"
)  # Dropout(p=0.25, inplace=False)
WORDS = 12  # of a measurement; more are a sentence
SENTENCE = 16  # words of a line with one or two values: more are a sentence
CLASSWISE = re.compile(
    r"\b(?:per|each|every|by|individual|single|different)[ -]?(?:the )?(?:class|categor|label)"
    r"|\bper[ -](?!epoch|batch|image|pixel|sample|step|frame|run|fold|seed)\w+"
    r" (?:accuracy|acc\b|ap\b|f1|recall|precision)"
    r"|class[ -]?wise|categor(?:y|ies)"
    r"|\bclass(?:es|'s|s')?[ -](?:accurac|acc\b|aps?\b|average prec|f1|recall|precision)|\bclasses\b",
    re.IGNORECASE,
)
AVERAGED = re.compile(r"-averaged\b|# of classes", re.IGNORECASE)  # speaks of means and heads no list of classes
LATEX_ROW = re.compile(r"(?<!\\)&.*\\\\")  # of a table, which is read as such or not at all
CAPTION = re.compile(r"\\(?:caption|textbf|emph|item|section|subsection)\*?(?:\[[^\]]*\])?\{?([^{}]*)\}?")
RULE = re.compile(r"[\s=\-_*~`#+|:.]*")


@dataclass(frozen=True, kw_only=True)
class LineValue:
    """A value after its label in a line of the report, with the line number."""

    subject: Subject
    cell: Measured
    line: int
    label: str


@dataclass(kw_only=True)
class Context:
    """Metric that applies to lines with only a name and a number, taken from a heading or nearby values."""

    measure: Measure | None = None
    heading: bool = False  # False: inferred from the class values above, for `Mean: 0.9`
    values: int = 0
    misses: int = field(default=0)


def read_labels(
    lines: Sequence[str], skipped: frozenset[int], told: Mapping[int, Measure] = MappingProxyType({})
) -> tuple[list[LineValue], list[Unread]]:
    """Return values of lines such as `accuracy: 0.93`, and the lines that look like results of unknown form.

    Args:
        lines: all lines of the text.
        skipped: numbers of the lines that a different reader has taken.
        told: dict from line number to metric, for the values of lists that have no heading.
    """
    values: list[LineValue] = []
    unread: list[Unread] = []
    context = Context()
    for number, raw in enumerate(lines, start=1):
        if number in skipped or len(raw) > LINE:
            context = Context()
            continue
        line = clean(raw)
        if (
            not line
            or line.startswith("{")
            or RULE.fullmatch(line)
            or COCO.search(line)
            or OPTION.match(raw)
            or CALL.search(line)
        ):
            continue
        if number in told and not context.heading:
            context = Context(measure=told[number], heading=True)
        found = list(_read_reversed(line, number)) or list(_values(line, number, context))
        values += found
        if not found and is_heading(line):
            context = Context(measure=heading(line).measure or Measure.OTHER, heading=True)
        elif found:
            classes = [value.subject for value in found if value.subject.class_name is not None]
            measure = context.measure if context.heading or not classes else classes[-1].measure
            context = replace(context, measure=measure, values=context.values + len(found))
        else:
            context = replace(context, misses=context.misses + 1)
            context = Context() if context.values or context.misses > 2 else context
            unread += _unread(line, raw, number)
    return values, unread


def clean(raw: str) -> str:
    """Return the line without bullets, time stamps, markup and trailing breaks; wide gaps become two spaces."""
    if LATEX_ROW.search(raw):
        return ""
    raw = CAPTION.sub(lambda found: found[1], raw)
    line = re.sub(r" {2,}", "  ", raw.translate(ALIKE).replace("\t", "  ")).strip()
    line = AT.sub("", line.translate(BARS).strip("| "))
    line = BULLET.sub("", re.sub(r"<br ?/?>|\\\\$|\\$", "", line)).strip()
    line = BULLET.sub("", STAMP.sub("", line))
    return re.sub(r"\*\*|__(?=\W|$)|`", "", line).strip().rstrip(",;").strip()


def _read_reversed(line: str, number: int) -> Iterator[LineValue]:
    """Yield the value of a line such as `93.12% = plane AP`, possibly with more text after it."""
    match = REVERSED.fullmatch(line)
    cell = parse_measured(match["value"], number) if match else None
    of = parse_subject(f"AP for class {match['name']}") if match else None
    if match and cell and of:
        yield LineValue(subject=of, cell=cell, line=number, label=f"AP of {match['name']}")


def is_heading(line: str) -> bool:
    """Return whether a line is a heading over class values, such as `Accuracy of each class:`."""
    if len(line) > 90 or not CLASSWISE.search(line) or AVERAGED.search(line):
        return False
    return line.rstrip("- ").endswith(":") or heading(line).measure is not None


def _values(line: str, number: int, context: Context) -> Iterator[LineValue]:
    """Yield the values of a line; a class name at the line's start applies to all values of the line."""
    pairs = _pairs(line)
    spaced = SPACED.fullmatch(line) if not pairs and not PAIR.search(line) and DIGIT.search(line) else None
    if spaced and (context.heading or parse_subject(spaced["label"])) and "," not in spaced["label"]:
        yield from _value(spaced["label"], spaced["value"], number, context, None)
    if not pairs:
        yield from _spaced_list(line, number)
    alone = len(pairs) == 1 and not re.search(r"\w", line[pairs[0].end() :])
    start, name, measure = 0, _first_name(line, pairs), context.measure
    for pair in pairs:
        # The number after `@ threshold =` is a setting, not a value.
        if PARAMETER.search(line[start : pair.start()]):
            continue
        *before, label = re.split(r"[,;|]", line[start : pair.start()].strip(" |,;"))
        start = pair.end()
        name = next((given[1] for part in before if (given := NAMED.fullmatch(part.strip()))), name)
        if CLASS.fullmatch(label.strip().lower()) and re.fullmatch(r"\w+", pair["value"].strip()):
            name = pair["value"].strip()
            continue
        label, name, measure = _prefix(label.strip(), name, measure)
        # A name alone is read with the measure of the heading above, or of its own line.
        below = alone or not context.heading or measure is not context.measure
        yield from _value(label, pair["value"], number, replace(context, measure=measure if below else None), name)


def _first_name(line: str, pairs: Sequence[re.Match[str]]) -> str | None:
    """Return the name that precedes several scores, as in `LOC f1=0.91 p=0.92 r=0.90`; None if there is none."""
    labels = [line[before.end() : pair.start()] for before, pair in pairwise(pairs)]
    of = parse_subject(line[: pairs[0].start()]) if len(pairs) > 2 else None
    alone = sum(re.fullmatch(r" +\w+", label) is not None and parse_pure(label) is not None for label in labels)
    return of.class_name if of and alone >= 2 else None


def _spaced_list(line: str, number: int) -> Iterator[LineValue]:
    """Yield the values of a line such as `Sea: precision 0.91, recall 0.88`."""
    name, _, rest = line.rpartition(":")
    parts = [part.strip() for part in rest.split(",")] if "," in rest else []
    items = [SPACED.fullmatch(part) for part in parts if not LEFT_OUT.fullmatch(part)]
    # One letter before several scores is the name of a class: f is not F1 there.
    named = len(name.strip()) == 1 or not parse_pure(name)
    known = [item for item in items if item and parse_pure(item["label"])]
    if len(known) == len(items) and named:
        for item in known:
            yield from _value(item["label"], item["value"], number, Context(), name.strip() or None)


def _pairs(line: str) -> list[re.Match[str]]:
    """Return a match for each pair of label and value in a line.

    The list is empty if the line is a sentence or has a label with two values.
    """
    pairs = (
        [pair for pair in PAIR.finditer(line) if not _in_brackets(line[: pair.start()])] if DIGIT.search(line) else []
    )
    touching = [before for before, after in pairwise(pairs) if before.end() == after.start()]
    sentence = len(line.split()) > SENTENCE and len(pairs) < 3
    if sentence or any(not before["value"].strip().isdigit() for before in touching):
        return []
    # `Accuracy of    0 : 0.91`: the first number is the name of a class.
    return [pair for pair in pairs if pair not in touching]


def _in_brackets(before: str) -> bool:
    """Return whether a square bracket is still open at the end of `before`, as in `mAP@[.5`."""
    return before.count("[") > before.count("]")


def _prefix(label: str, name: str | None, measure: Measure | None) -> tuple[str, str | None, Measure | None]:
    """Split a label in two parts if it has them; return the label that remains, the class name and the metric.

    `plane: accuracy` gives the label `accuracy` and the class name `plane`. `Per-class accuracy: plane` gives the
    label `plane` and the metric accuracy. A `name` or `measure` that no part replaces is returned unchanged.
    """
    parts = re.split(r" ?: | - | ?-{1,2}> ?| ?=> ?", label, maxsplit=1)
    if len(parts) == 2 and parts[0]:
        if parse_pure(parts[1]) and not heading(parts[0]).summary and not parse_pure(parts[0]):
            if not heading(parts[0]).rest:
                return f"{parts[0]} {parts[1]}", name, measure
            given = re.sub(r"^(?:class|category|label) ", "", parts[0], flags=re.IGNORECASE)
            return parts[1], given, measure
        if parse_pure(parts[0]) and CLASSWISE.search(parts[0]) and not parse_pure(parts[1]):
            return parts[1], name, parse_pure(parts[0])
    return label, name, measure


def _value(label: str, text: str, number: int, context: Context, name: str | None) -> Iterator[LineValue]:
    cell = parse_measured(text, number)
    of = parse_subject(label)
    # A maximum is one over classes below a heading, and elsewhere that of epochs or thresholds.
    best = of is not None and of.best and not context.heading and not context.values
    spread = SPREADS.fullmatch(label.lower()) is not None and not context.heading and not best
    # `The cat class is the weakest (F1=0.805)`: a remark in a sentence.
    remark = label.count("(") > label.count(")")
    if cell is None or not label or spread or remark or len(label) > 110:
        return
    if of is None and context.measure and (context.heading or (heading(label).summary and context.values > 1)):
        of = parse_subject(label, context.measure)
    if of is None:
        return
    if name is not None and of.class_name is None and parse_pure(label):
        of = replace(of, class_name=name.strip(" :\"'"), average=None)
    yield LineValue(subject=of, cell=cell, line=number, label=strip_marks(label))


def _unread(line: str, raw: str, number: int) -> Iterator[Unread]:
    """Yield the line if it looks like a result in an unknown form: few words, a metric, a number and no code."""
    looks = MEASURING.search(line) and GIVEN.search(line)
    if looks and len(line.split()) <= WORDS and not CODE.search(line) and not re.search(r"\bloss|iou\b", line, re.I):
        yield Unread(line=number, text=raw.strip()[:LINE], why="looks like a measurement in a form that is not known")
