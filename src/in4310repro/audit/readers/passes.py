"""Group the values of lines with a label into tables, one for each pass of a program over the classes."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from in4310repro.audit.document import Average, Measure, Table, TableKind, Unread, Value
from in4310repro.audit.readers.labels import LineValue
from in4310repro.audit.readers.pieces import Piece, collect_sizes, make_value, scale_with_asides
from in4310repro.audit.readers.roles import BELOW
from in4310repro.audit.readers.words import NO_CLASS, SOME, SPREADS, heading, strip_marks

READER = "label lines"
# `Figure 3`, `Table 2: as drawn`: a caption closes the values above it and names them.
CAPTION = re.compile(r"[#*\s]*((?:figure|fig\.|table|tab\.)\s+\d{1,4})\s*(?:[.:].*)?[*\s]*", re.IGNORECASE)
NEAR = 12  # lines between a summary and the class values that it is of
FOLLOWING = 4  # lines between values and their caption
FORMS = 3  # lines of the form `plane accuracy` that make a list of classes; fewer may be anything
# Names of classifiers, which are no classes, and nor are the names in lines of the same form.
CLASSIFIER = re.compile(
    r"dummy|baseline|sv[mc]|k-?nn|logistic|naive bayes|[gm]?nb|xgb(?:oost)?|lgbm|mlp|decision tree|random forest"
)
ALIKE = 3  # lines of one form that make another form stand out


@dataclass(kw_only=True)
class Pass:
    """Values that a program printed in one pass (loop) over the classes."""

    values: list[LineValue] = field(default_factory=list)  # of classes in order, then summaries
    by_class: dict[tuple[Measure, str | None, str], LineValue] = field(default_factory=dict)
    image_set: str | None = None
    name: str = ""

    def add(self, value: LineValue) -> None:
        """Add a value to the pass.

        If it is the first of its class, metric and IoU threshold, also store it in `by_class`.
        """
        self.values.append(value)
        self.by_class.setdefault(_key(value), value)
        self.image_set = self.image_set or value.subject.image_set

    @property
    def lines(self) -> list[int]:
        """Line numbers of the class values, in order."""
        return [value.line for value in self.values if value.subject.class_name is not None]

    @property
    def first(self) -> int:
        """Number of the line with the first class value."""
        return self.values[0].line

    @property
    def last(self) -> int:
        """Number of the line with the last class value."""
        return max(self.lines)

    def nearest(self, line: int) -> int:
        """Return the line number of the class value that is closest to the given line.

        If two lines are equally close, return the upper one.
        """
        return min(self.lines, key=lambda each: abs(each - line))


def tables_of_lines(
    values: Sequence[LineValue], lines: Sequence[str], running: frozenset[int], tables: frozenset[int]
) -> list[Piece]:
    """Return a table for each pass, then a table for each average that belongs to no pass.

    A pass is the output of one loop over the classes, with its averages.

    Args:
        values: the values of label lines.
        lines: all lines of the text.
        running: numbers of the lines printed during training, for each epoch or batch or as a progress bar.
        tables: numbers of the lines of printed tables; values above and below a table are not joined.
    """
    values = [
        value for value in _settle(values) if value.subject.measure is not Measure.OTHER or value.subject.class_name
    ]
    classes = [value for value in values if value.subject.class_name is not None]
    passes = _drop_earlier_epochs(_split_passes(classes, lines, tables), running)
    loose: list[LineValue] = []
    for value in values:
        if value.subject.class_name is None:
            if value.line in running:
                loose.append(value)
                continue
            found = _find_pass(value, passes, lines, tables)
            (found.add if found else loose.append)(value)
    pieces = [_piece(each.values, each.name, each.image_set) for each in passes]
    # Values that a log prints after each epoch belong to none of the tables near it.
    apart = [value for value in loose if value.line in running]
    alone = [replace(_make_loose(value), joins=False) for value in _drop_logged(apart, running)]
    return (
        pieces + alone + [_make_loose(value) for value in _drop_logged([v for v in loose if v not in apart], running)]
    )


def _settle(values: Sequence[LineValue]) -> list[LineValue]:
    """Return the values, with each unclear name read as a class, an image set or a network."""
    known = {value.subject.class_name for value in values if value.subject.clear}
    lists = {measure: _places(values, measure) for measure in {value.subject.measure for value in values}}
    of_classifiers = {v.subject.measure for v in values if CLASSIFIER.fullmatch((v.subject.class_name or "").lower())}
    settled = []
    for value in values:
        of, places = value.subject, lists[value.subject.measure]
        near = bisect_right(places, value.line + NEAR) - bisect_left(places, value.line - NEAR)
        if of.clear or of.class_name in known or (near >= FORMS and of.measure not in of_classifiers):
            settled.append(value)
        else:
            image_set = heading(of.class_name or "").image_set
            network = "" if image_set else of.class_name or ""
            of = replace(of, class_name=None, network=network, image_set=image_set or of.image_set)
            settled.append(replace(value, subject=replace(of, average=Average.UNNAMED)))
    return settled


def _places(values: Sequence[LineValue], measure: Measure) -> list[int]:
    """Return the sorted line numbers of the class values of a metric."""
    return sorted(v.line for v in values if v.subject.measure is measure and v.subject.class_name is not None)


def _split_passes(values: Sequence[LineValue], lines: Sequence[str], tables: frozenset[int]) -> list[Pass]:
    """Split the values into passes. A repeated class, a caption, a table or a new image set begins a new pass."""
    passes: list[Pass] = []
    for value in values:
        current = passes[-1] if passes else None
        if current is None or _begins_next(current, value, lines, tables):
            current = Pass()
            passes.append(current)
        if _key(value) not in current.by_class:
            current.add(value)
    for each in passes:
        each.name = each.name or _caption(each, lines)
    return _merge(passes)


def _key(value: LineValue) -> tuple[Measure, str | None, str]:
    return value.subject.measure, value.subject.class_name, value.subject.threshold


def _begins_next(current: Pass, value: LineValue, lines: Sequence[str], tables: frozenset[int]) -> bool:
    last = current.values[-1].line
    captioned = any(CAPTION.fullmatch(line) for line in lines[last : value.line])
    if captioned or not tables.isdisjoint(range(last, value.line)):
        return True
    if value.subject.image_set and current.image_set not in (None, value.subject.image_set):
        return True
    earlier = current.by_class.get(_key(value))
    return earlier is not None and (_text(earlier) != _text(value) or value.line - last > 1)


def _text(value: LineValue) -> str:
    return value.cell.printed.text if value.cell.printed else ""


def _caption(current: Pass, lines: Sequence[str]) -> str:
    """Return the caption below the values or, without one, the caption above; an empty string if neither exists."""
    above = reversed(lines[max(0, current.first - FOLLOWING - 1) : current.first])
    near = [*lines[current.last : current.last + FOLLOWING], *above]
    return next((match[1] for line in near if (match := CAPTION.fullmatch(line))), "")


def _merge(passes: Sequence[Pass]) -> list[Pass]:
    """Join passes that are separated only because a class is printed twice."""
    merged: list[Pass] = []
    for each in passes:
        if merged and _is_cut(merged[-1], each):
            for value in each.values:
                merged[-1].add(value)
        else:
            merged.append(each)
    return merged


def _is_cut(before: Pass, after: Pass) -> bool:
    """Return whether two adjacent passes are one pass, split where a class name was repeated by mistake."""
    names = [{value.subject.class_name for value in each.values} for each in (before, after)]
    beside = after.first - before.last <= 1 and not (before.name or after.name)
    return beside and before.image_set == after.image_set and not names[0] <= names[1] and len(names[0] & names[1]) <= 1


def find_repeated(values: Sequence[Value]) -> Iterator[Unread]:
    """Yield each class value that differs from an earlier value of the same class and metric.

    Each is yielded as an `Unread`, with the line, the text and the reason why the value is not used.
    """
    given: dict[tuple[Measure, str], Value] = {}
    for value in values:
        if value.class_name is None:
            continue
        other = given.setdefault((value.measure, value.class_name), value)
        if other.printed.text != value.printed.text:
            why = f"{value.measure} of class {value.class_name} is in line {other.printed.line}, too"
            yield Unread(line=value.printed.line, text=value.printed.text, why=why)


def find_negative(values: Sequence[Value]) -> Iterator[Unread]:
    """Yield each negative score that can only be a difference, with its line and text."""
    for value in values:
        if value.printed.value < 0 and value.measure not in (Measure.KAPPA, Measure.MATTHEWS, Measure.OTHER):
            why = f"a negative {value.measure} is a difference, or stands for no value"
            yield Unread(line=value.printed.line, text=value.printed.text, why=why, measuring=False)


def _drop_earlier_epochs(passes: list[Pass], running: frozenset[int]) -> list[Pass]:
    """Return only the passes of the last epoch if the passes were printed during training.

    This is assumed if lines of a training log (`running`) split the passes into three or more groups. With fewer
    groups, all passes are returned.
    """
    groups: list[list[Pass]] = []
    for before, each in zip([None, *passes], passes, strict=False):
        apart = before is None or not running.isdisjoint(range(before.last, each.first))
        groups.append([each]) if apart else groups[-1].append(each)
    return passes if len(groups) < FORMS else groups[-1]


def _find_pass(value: LineValue, passes: Sequence[Pass], lines: Sequence[str], tables: frozenset[int]) -> Pass | None:
    """Return the nearest pass to which the average `value` may belong; None if there is none.

    If two passes are equally close, return the upper one.
    """
    if value.subject.best or value.subject.network:
        return None
    start = bisect_left(passes, value.line - NEAR, key=lambda each: each.last)
    near = passes[start : bisect_right(passes, value.line + NEAR, key=lambda each: each.first)]
    fitting = [each for each in near if _fits(value, each, lines, tables)]
    return min(fitting, key=lambda each: (abs(each.nearest(value.line) - value.line), each.first), default=None)


def _fits(value: LineValue, current: Pass, lines: Sequence[str], tables: frozenset[int]) -> bool:
    of, nearest = value.subject, current.nearest(value.line)
    first, last = min(nearest, value.line), max(nearest, value.line)
    same_set = of.image_set in (None, current.image_set) or (of.image_set == "test" and not current.image_set)
    headings = any(CAPTION.fullmatch(line) or line.startswith("#") for line in lines[first : last - 1])
    others = [each.subject for each in current.values]
    given = [(each.measure, each.average, each.threshold) for each in others if each.class_name is None]
    return (
        last - first <= NEAR
        and same_set
        and any(each.measure is of.measure for each in others)
        and not headings
        and tables.isdisjoint(range(first, last))
        and (of.measure, of.average, of.threshold) not in given
        and _has_same_threshold(value, current)
    )


def _has_same_threshold(value: LineValue, current: Pass) -> bool:
    """Return whether the values of the same metric in the pass have the IoU threshold of `value`.

    Values in the pass that have no threshold are accepted.
    """
    of = [each.subject.threshold for each in current.values if each.subject.measure is value.subject.measure]
    return all(threshold in ("", value.subject.threshold) for threshold in of)


def _drop_logged(loose: Sequence[LineValue], running: frozenset[int]) -> Iterator[LineValue]:
    """Yield the values, except those that a training log repeats.

    If there is a training log, a value is left out if its label occurs three or more times and the value is
    printed without a count such as 48/50.
    """
    repeated = Counter(value.label for value in loose)
    for value in loose:
        if value.cell.count or not (running and repeated[value.label] >= FORMS):
            yield value


def _piece(values: Sequence[LineValue], name: str, image_set: str | None) -> Piece:
    values = sorted(values, key=lambda value: value.line)
    aside = set(map(id, find_asides(values)))
    of_classes = filter(None, [_make_value(value) for value in values if id(value) not in aside])
    others = filter(None, [_make_value(value) for value in values if id(value) in aside])
    read, beside = scale_with_asides(list(of_classes), list(others))
    sizes = {of: n for v in values if (of := v.subject.class_name) and (n := v.cell.images)}
    of_all = [v for v in values if v.subject.class_name is None]
    totals = [
        v.subject.images or v.cell.images or (_is_of_images(v) and v.cell.count and v.cell.count[1]) for v in of_all
    ]
    first, last = min(value.line for value in values), max(value.line for value in values)
    table = Table(
        name=name or f"the table from line {first}",
        values=read,
        asides=beside,
        sizes=collect_sizes(read, sizes),
        total=next(filter(None, totals), None),
        image_set=image_set,
        doubts=tuple(_doubt_thresholds(values)),
    )
    return Piece(table=table, first=first, last=last, reader=READER)


def _is_of_images(value: LineValue) -> bool:
    """Return whether a count beside a value is of all images, and not of the positives or of the predicted ones."""
    return value.subject.measure in (Measure.ACCURACY, Measure.ERROR)


def _doubt_thresholds(values: Sequence[LineValue]) -> Iterator[str]:
    """Yield a sentence for each mean AP with an IoU threshold if a class AP has no threshold.

    AP is the average precision, and the sentence says that the class APs have a different threshold than the
    mean.
    """
    for value in values:
        of = value.subject
        if of.class_name is not None or not of.threshold:
            continue
        same = [v.subject for v in values if v.subject.measure is of.measure and v.subject.class_name is not None]
        if "" in [each.threshold for each in same]:
            yield f"the APs of the classes are at another overlap than {value.label}"


def _make_loose(value: LineValue) -> Piece:
    piece = _piece(
        [value], value.subject.network or f"line {value.line}: {strip_marks(value.label)}", value.subject.image_set
    )
    if value.subject.network:
        piece = replace(piece, table=replace(piece.table, kind=TableKind.MODELS))
    return replace(piece, joins=not (value.subject.best or value.subject.network))


def _make_value(value: LineValue) -> Value | None:
    of = value.subject
    return make_value(of.measure, value.cell, value.label, class_name=of.class_name, average=of.average)


def find_asides(values: Sequence[LineValue]) -> Iterator[LineValue]:
    """Yield values that were read as class values but probably belong to no class, judged by label or position."""
    of_classes = [value for value in values if value.subject.class_name is not None]
    for measure in dict.fromkeys(value.subject.measure for value in of_classes):
        column = [value for value in of_classes if value.subject.measure is measure]
        forms = Counter(map(label_form, column))
        common = max(forms, key=forms.__getitem__)
        below = _find_below_mean(column, values)
        for value in column:
            other_form = forms[common] >= ALIKE and label_form(value) != common and forms[label_form(value)] == 1
            if other_form or value in below or _is_of_no_class(value):
                yield value


def label_form(value: LineValue) -> str:
    """Return the label with a placeholder for its class name: `accuracy of {}`."""
    name, label = value.subject.class_name or "", value.label.lower()
    # As a word: a class may be called c, a letter of precision.
    return " ".join(re.sub(rf"(?<!\w){re.escape(name.lower())}(?!\w)", "{}", label).split())


def _is_of_no_class(value: LineValue) -> bool:
    of, name = heading(value.label), (value.subject.class_name or "").lower()
    some = of.average and of.rest and SOME.fullmatch(of.text.lower())
    return bool(some) or SPREADS.fullmatch(name) is not None or NO_CLASS.fullmatch(name) is not None


def _find_below_mean(column: Sequence[LineValue], values: Sequence[LineValue]) -> list[LineValue]:
    """Return the values in `column` that follow the mean over classes and so probably belong to no class.

    `column` has the values of one metric that were read as class values. A mean is used only if at least two
    values of `column` precede it. If more than three values follow the first such mean, they are assumed to
    belong to classes, and the list is empty.
    """
    means = [v.line for v in values if v.subject.class_name is None and v.subject.measure is column[0].subject.measure]
    after = [line for line in means if sum(value.line < line for value in column) >= 2]
    below = [value for value in column if after and value.line > min(after)]
    return below if len(below) <= BELOW else []
