"""Read table rows, each with the values of a class, of a network by class, or of a network over all classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from in4310repro.audit.document import Average, Measure, Unread, Value
from in4310repro.audit.readers.grid import Grid, Row, is_numeric, strip_signs
from in4310repro.audit.readers.numbers import Measured, count, is_missing, parse_measured, parse_ratio
from in4310repro.audit.readers.pieces import make_value
from in4310repro.audit.readers.roles import Columns, average_of, is_aside, is_other, is_summary
from in4310repro.audit.readers.words import BEST, SOME, SPREADS, Heading, heading

DOTS = frozenset(("...", "…", "..", "⋮", "\\vdots", "etc."))  # a row in place of further classes
# The name of a column of values in a table of metrics; it names no network.
NO_NETWORK = ("value", "values", "score", "result", "our result")
# No class is called macro avg.
SURE = (Average.MACRO, Average.WEIGHTED, Average.MICRO)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A table row with the text of its label column."""

    row: Row
    label: str
    summary: bool
    aside: bool  # no class, as far as its words and its place tell
    size: int | None  # images
    correct: int | None  # images
    plain: bool = False  # its average is the plain mean of the classes: the row `all` of YOLO
    outcomes: Mapping[Measure, tuple[int, int]] = field(default_factory=dict)  # from columns TP, FP and FN


def class_tables(table: Grid, columns: Columns) -> tuple[list[Draft], list[Unread]]:
    """Return a draft table for each network, image set and section, and a list of the cells not understood.

    Raises:
        ValueError: a row with values has an empty class name.
    """
    elsewhere = find_measure(table, columns) or Measure.OTHER
    any_measure = any(of.measure for _, of in columns.values)
    used = [(i, of) for i, of in columns.values if of.measure or not any_measure]
    keys = _keys(table, used)
    drafts: dict[tuple[str, ...], Draft] = {}
    unread: list[Unread] = []
    for section, line in _lines(table, columns, used):
        for column, of in used:
            network, image_set = keys[column]
            name = " ".join(filter(None, (*section[:-1], network)))
            draft = drafts.setdefault((*section, network, image_set or ""), Draft(network=name, image_set=image_set))
            unread += _add(draft, line, column, of, of.measure or elsewhere)
    return list(drafts.values()), unread


def find_measure(table: Grid, columns: Columns) -> Measure | None:
    """Return the metric named in the corner cell, the title or a summary row such as mAP; None if none is named."""
    for text in (table.names[columns.label], table.title):
        if heading(text).measure:
            return heading(text).measure
    labels = [row.cells[columns.label] for row in table.body]
    named = [heading(label).measure for index, label in enumerate(labels) if is_summary(labels, index)]
    return next((measure for measure in named if measure), None)


def _lines(
    table: Grid, columns: Columns, used: Sequence[tuple[int, Heading]]
) -> Iterator[tuple[tuple[str, ...], Line]]:
    """Yield pairs (section, row).

    A new section starts after a row without values, and where the first class of a section is repeated.
    """
    labels = [row.cells[columns.label] for row in table.body]
    groups = collect_group_names(table, columns)
    section, first, repeats, start = "", "", 0, 0
    told: dict[int, bool] | None = None
    sized = sum(_size(row, columns) is not None for row in table.body) > 1
    filled = [any(row.cells[c] for c in (*columns.sizes, *[c for c, _ in columns.values])) for row in table.body]
    for index, row in enumerate(table.body):
        label = labels[index]
        if label in DOTS:
            continue
        if not filled[index]:
            section, first, repeats, start = label or section, "", 0, index + 1
            told = None
            continue
        end = next((i for i in range(index, len(labels)) if not filled[i]), len(labels))
        near, place = labels[start:end], index - start
        if told is None:
            told = judge_summaries(near, [_size(row, columns) for row in table.body[start:end]])
        if not label and any(is_numeric(strip_signs(row.cells[column])) for column, _ in used):
            raise ValueError(f"line {row.lines[0]}: a row with values has an empty class name; expected a name")
        repeats += bool(first) and label == first and not any(groups[index])
        first = first or label
        size = _size(row, columns)
        summary = told.get(place, is_summary(near, place))
        if not is_other(label) or told.get(place) is False:
            yield (
                (section, *groups[index], str(repeats)),
                Line(
                    row=row,
                    label=label,
                    summary=summary,
                    aside=not summary and place not in told and (size is None or not sized) and is_aside(near, place),
                    size=size,
                    correct=_correct(row, columns),
                    plain={"class", "images", "instances"} <= {name.lower() for name in table.names},
                    outcomes=_outcomes(table, row),
                ),
            )


def _outcomes(table: Grid, row: Row) -> dict[Measure, tuple[int, int]]:
    """Return the counts k/n of a row's precision, recall and F1 from its columns TP, FP and FN; empty without them."""
    cells = {name.lower(): count(cell) for name, cell in zip(table.names, row.cells, strict=True)}
    right, false, missed = (cells.get(name) for name in ("tp", "fp", "fn"))
    if right is None or false is None or missed is None or not right:
        return {}
    return {
        Measure.PRECISION: (right, right + false),
        Measure.RECALL: (right, right + missed),
        Measure.F1: (2 * right, 2 * right + false + missed),
    }


def _correct(row: Row, columns: Columns) -> int | None:
    """Return the number of correctly classified images of a row, from its own column or a cell such as 13/200."""
    if columns.correct is not None:
        return count(row.cells[columns.correct])
    return next((pair[0] for column in columns.sizes if (pair := parse_ratio(row.cells[column]))), None)


def _size(row: Row, columns: Columns) -> int | None:
    """Return the number of samples of a row, from the last size column. In YOLO tables, this column counts objects."""
    cells = [row.cells[column] for column in reversed(columns.sizes)]
    counted = [pair[1] for cell in cells if (pair := parse_ratio(cell))]
    return next((size for size in [*map(count, cells), *counted] if size is not None), None)


def _add(draft: Draft, line: Line, column: int, of: Heading, measure: Measure) -> Iterator[Unread]:
    """Add a cell's value, class size and count to a draft table.

    If the cell has digits but cannot be read as a value, yield an `Unread`, which gives the reason.
    """
    if line.summary:
        draft.total = draft.total or line.size
    elif line.size is not None and not line.aside:
        draft.sizes[line.label] = line.size
    text = strip_signs(line.row.cells[column])
    cell = parse_measured(text, line.row.lines[column])
    if cell is None:
        if not is_missing(text) and any(character.isdigit() for character in text):
            why = f"no value in the row {line.label!r}"
            yield Unread(line=line.row.lines[column], text=line.row.cells[column], why=why)
        return
    value = _value(line, cell, of, measure)
    if value is not None and line.aside:
        draft.asides.append(value)
        return
    if value is not None and not _belongs_to_other_set(line, draft) and not _belongs_to_other_overlap(line, of):
        draft.add(value)
        if line.summary and heading(line.label).threshold and not of.threshold:
            draft.doubts.append(f"the APs of the classes are at another overlap than {value.label}")
    if cell.images and not line.summary:
        draft.sizes.setdefault(line.label, cell.images)


def _belongs_to_other_set(line: Line, draft: Draft) -> bool:
    """Return whether a summary row names the training or validation set and `draft` is not about that set."""
    image_set = heading(line.label).image_set if line.summary else None
    return image_set in ("train", "val") and draft.image_set != image_set


def _belongs_to_other_overlap(line: Line, of: Heading) -> bool:
    """Return whether a row such as mAP75 names a different IoU threshold than its column."""
    threshold = heading(line.label).threshold if line.summary else ""
    return bool(threshold and of.threshold) and threshold != of.threshold


def _value(line: Line, cell: Measured, of: Heading, measure: Measure) -> Value | None:
    label = f"{line.label} {of.text}".strip()
    if line.summary:
        read, average = average_of(line.label, measure, of.average)
        average = Average.MACRO if line.plain and average is Average.UNNAMED else average
        return make_value(read, cell, label, average=average)
    value = make_value(measure, cell, label, class_name=line.label)
    if value and not value.count and measure in line.outcomes:
        return replace(value, count=line.outcomes[measure])
    if value and line.correct is not None and line.size and measure in (Measure.ACCURACY, Measure.RECALL):
        return replace(value, count=value.count or (line.correct, line.size))
    return value


def _keys(table: Grid, used: Sequence[tuple[int, Heading]]) -> dict[int, tuple[str, str | None]]:
    """Return a dict from column index to (network, image set).

    If an earlier column has the same metric, network and image set, the whole heading of the later column serves
    as its network.
    """
    title_set = heading(table.title).image_set
    keys: dict[int, tuple[str, str | None]] = {}
    measures: set[tuple[Measure | None, str, str | None]] = set()
    for column, of in used:
        network, image_set = of.rest, of.image_set or title_set
        if (of.measure, network, image_set) in measures:
            network = of.text
        measures.add((of.measure, network, image_set))
        keys[column] = (network, image_set)
    return keys


def wide_tables(table: Grid, columns: Columns) -> Iterator[Draft]:
    """Yield a draft table for each row; the column headings name the classes."""
    groups = collect_group_names(table, columns)
    for index, row in enumerate(table.body):
        names = [name for name in (*groups[index], row.cells[columns.label]) if name]
        sets = {name: of.image_set for name in names if not (of := heading(name)).rest and of.image_set}
        draft = Draft(
            network=" ".join(name for name in names if name not in sets), image_set=next(iter(sets.values()), None)
        )
        for column, of in columns.values:
            cell = parse_measured(strip_signs(row.cells[column]), row.lines[column])
            if cell is None or of.measure is None or _is_count(cell) or SPREADS.fullmatch(of.rest.lower()):
                continue
            if of.average and of.rest and SOME.fullmatch(of.text.lower().replace("_", " ")):
                continue
            average = None if of.rest else of.average or default_average(of.measure)
            value = make_value(of.measure, cell, of.text, class_name=of.rest or None, average=average)
            draft.values += filter(None, [value])
        yield draft


def summary_tables(table: Grid, columns: Columns) -> Iterator[Draft]:
    """Yield draft tables for each row of a table of networks, with a separate draft for best-epoch values."""
    title_set = heading(table.title).image_set
    groups = collect_group_names(table, columns)
    for index, row in enumerate(table.body):
        name = " ".join(filter(None, (*groups[index], row.cells[columns.label])))
        network = "" if name.lower() in NO_NETWORK else name
        drafts: dict[tuple[str | None, bool, str], Draft] = {}
        for column, of in columns.values:
            best = BEST.search(of.text.lower()) is not None
            rest = " ".join(filter(None, (BEST.sub("", of.rest.lower()).strip(), _find_other_threshold(of))))
            image_set = of.image_set or heading(name).image_set or title_set
            draft = drafts.setdefault(
                (image_set, best, rest), Draft(network=f"{network} {rest}".strip(), image_set=image_set, best=best)
            )
            _add_overall(draft, row, column, of, columns)
        yield from drafts.values()


def _add_overall(draft: Draft, row: Row, column: int, of: Heading, columns: Columns) -> None:
    cell = parse_measured(strip_signs(row.cells[column]), row.lines[column])
    if cell is None or of.measure is None or _is_count(cell):
        return
    # AP beside AP50 without classes is a detector's mean AP.
    thresholds = {each.threshold for _, each in columns.values if each.measure is Measure.AVERAGE_PRECISION}
    coco = of.measure is Measure.AVERAGE_PRECISION and len(thresholds) > 1
    average = of.average or (Average.MACRO if coco else default_average(of.measure))
    value = make_value(of.measure, cell, of.text, average=average)
    draft.values += filter(None, [value])


def _is_count(cell: Measured) -> bool:
    """Return whether a number is above 100 and has no percent sign, so that it cannot be a score."""
    return cell.printed is not None and not cell.printed.percent and cell.printed.value > 100


def _find_other_threshold(of: Heading) -> str:
    """Return the text of a heading that names an AP at an IoU threshold; an empty string for other headings."""
    return of.text if of.measure is Measure.AVERAGE_PRECISION and of.threshold else ""


@dataclass(kw_only=True)
class Draft:
    """A table that is still being read: the values, sizes and names collected so far."""

    network: str
    image_set: str | None
    values: list[Value] = field(default_factory=list)
    asides: list[Value] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    total: int | None = None
    best: bool = False

    def add(self, value: Value) -> None:
        """Add a value, unless it is an average that pandas repeated in several columns of its row."""
        same = (value.measure, value.average, value.printed.text)
        given = ((each.measure, each.average, each.printed.text) for each in self.values if each.class_name is None)
        if value.class_name is not None or same not in given:
            self.values.append(value)


def collect_group_names(table: Grid, columns: Columns) -> list[tuple[str, ...]]:
    """Return the cells left of each row's label; a blank cell takes the name from the row above."""
    filled = ("",) * len(columns.groups)
    names = []
    for row in table.body:
        cells = [row.cells[column] for column in columns.groups]
        filled = tuple(cell or above for cell, above in zip(cells, filled, strict=True))
        names.append(filled)
    return names


def default_average(measure: Measure) -> Average | None:
    """Return the type of average of a value that names none: OVERALL for accuracy and error.

    For other metrics return None, since such a value may be of a single class.
    """
    return Average.OVERALL if measure in (Measure.ACCURACY, Measure.ERROR) else None


def judge_summaries(labels: Sequence[str], sizes: Sequence[int | None]) -> dict[int, bool]:
    """Decide by support whether rows with the name of a summary, such as `all`, are summaries or classes.

    If the classes have 519 samples, a row `acc` with support 118 is a class and a row `all` with support 519 is
    a mean. The support of a mean may also be the mean of the class supports. Scikit-learn's own averages are
    never classes.

    Args:
        labels: labels of all rows of one section.
        sizes: support of each row, None if none is printed.

    Returns:
        True for a summary, False for a class, by row index. Rows that the support does not decide are left out.
    """
    words = [heading(label) for label in labels]
    sure = [_is_average(label) for label in labels]
    open_words = [
        bool(not ok and (of.average or of.measure) and not of.rest) for ok, of in zip(sure, words, strict=True)
    ]
    classes = [size for size, ok, maybe in zip(sizes, sure, open_words, strict=True) if size and not ok and not maybe]
    totals = [size for size, ok in zip(sizes, sure, strict=True) if size and ok]
    of_all = max(totals, default=sum(classes))
    told = {}
    for index, (size, maybe) in enumerate(zip(sizes, open_words, strict=True)):
        mean = size is not None and len(classes) > 1 and size * len(classes) == sum(classes)
        if maybe and size is not None and of_all:
            told[index] = size >= of_all or (mean and words[index].average is not None)
    return told


def _is_average(label: str) -> bool:
    """Return whether a label can only be the name of an average, such as `macro avg`.

    The result is False for `mAP`, because a class may have this name.
    """
    of = heading(label)
    return of.samples or (of.average in SURE and of.measure is None)
