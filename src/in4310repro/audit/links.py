"""Links between nearby results of the same predictions: a report, its confusion matrix, accuracy lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from in4310repro.audit.document import SCORES_OF_ALL, Average, Document, Measure, Table, TableKind, Value
from in4310repro.audit.readers.words import BEST, heading

NEAR = 12  # lines between a line and the table that it is of
BELOW = 5  # lines below the last class in which the averages of a report are
BESIDE = 30  # lines between a matrix and its report
OF_ALL = (*SCORES_OF_ALL, Measure.SPECIFICITY, Measure.NEGATIVE_PREDICTIVE_VALUE)
# A text between two results that merely announces the second.
ANNOUNCES = re.compile(
    r"classification|reports?|matrix|confusion|results?|metrics?|evaluation|scores?|performance|summary|statistics|overall"
    r"|predict\w*|actual|true|labels?|precision|recall|f1|support|accuracy|per|class|classes|test|reference|kappa|mcc"
    r"|error|loss|detailed|model|set|data|json|text",
    re.IGNORECASE,
)
SMALL = re.compile(r"the|of|for|on|and|an?|by|in|is|with|our|all", re.IGNORECASE)
WORD = re.compile(r"[^\W\d_]{2,}")
TOP = "the values"  # the name of a JSON text's outermost object
WORDS = 6  # of a text that announces
# Numbers of other predictions than those of the table beside them.
ELSEWHERE = re.compile(
    r"\b(?:train\w*|cross|cv|folds?|oob|out[- ]of[- ]bag|baseline|previous|random|chance|majority|human|target|expected"
    r"|required|threshold|top|mean|average|no information|null|dummy|before|after|old|new|gain|improvement)\b",
    re.IGNORECASE,
)
AVERAGED = re.compile(r"\b(?:mean|average|avg)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Link:
    """A value or matrix printed near a table and assumed to describe the same predictions as the table."""

    text: str  # what was found beside what, with line numbers
    lines: frozenset[int]  # of what was found
    matrix: bool = False  # whether a matrix was found, and not a value
    conditions: tuple[str, ...] = ()  # why it may be of other predictions


Joined = tuple[Table, tuple[Link, ...]]


def link_lines(document: Document) -> list[Joined]:
    """Return the tables with what is near them and of the same predictions; adjacent lines are one table."""
    return with_adjacent_lines(link_tables(document), document)


def link_tables(document: Document) -> list[Joined]:
    """Return the tables in the report's order, with matrices and overall values merged into matching class tables."""
    joined: list[Joined] = [(table, ()) for table in document.tables]
    return _merge_lines(_merge_matrices(joined, document), document)


def line_range(table: Table) -> tuple[int, int]:
    """Return the numbers of the first and last line from which a table was read."""
    lines = [each.line for each in table.printed] or [0]
    return table.first or min(lines), table.last or max(lines)


def _merge_matrices(tables: Sequence[Joined], document: Document) -> list[Joined]:
    """Merge each confusion matrix into the classification report near it; return the remaining tables.

    A matrix stays separate if it comes with class values, or if no report or more than one fits.
    """
    left = list(tables)
    for joined in tables:
        matrix = joined[0]
        if matrix.matrix is None or matrix.of_classes:
            continue
        places = [place for place, (table, _) in enumerate(left) if _is_report_of(matrix, table, document)]
        if len(places) != 1:
            continue
        table, links = left[places[0]]
        first, last = line_range(matrix)
        link = Link(
            text=f"the confusion matrix in lines {first} to {last} is beside the classes in lines "
            f"{' to '.join(map(str, line_range(table)))}",
            lines=frozenset(value.printed.line for value in matrix.values),
            matrix=True,
        )
        values = (*table.values, *matrix.values)
        left[places[0]] = (replace(table, values=values, matrix=matrix.matrix), (*links, link))
        left = [each for each in left if each[0] is not matrix]
    return left


def _is_report_of(matrix: Table, table: Table, document: Document) -> bool:
    """Return whether a table near a matrix can have the same classes, judged by their names, number and sizes."""
    names = table.classes
    if table.matrix is not None or matrix.matrix is None or len(names) != len(matrix.matrix.classes):
        return False
    called = {name.strip().casefold() for name in matrix.matrix.classes}
    numbered = called == {str(place) for place in range(len(called))}
    same = called == {name.strip().casefold() for name in names}
    sets = matrix.image_set in (None, table.image_set) or table.image_set is None
    return (same or numbered or bool(table.sizes)) and sets and _is_beside(matrix, table, document, BESIDE)


def _is_beside(one: Table, other: Table, document: Document, near: int) -> bool:
    """Return whether two tables are near each other, without a new result beginning between them.

    The tables may be at most `near` lines apart. In a JSON text, it is required instead of the second
    condition that the object of one table contains that of the other.
    """
    first, second = sorted((line_range(one), line_range(other)))
    if second[0] - first[1] > near:
        return False
    if document.formats and set(document.formats) <= {"JSON", "confusion matrix"} and document.lines[0][:1] in "{[":
        return _is_within(one, other)
    used = {printed.line for table in document.tables for printed in table.printed}
    between = range(first[1] + 1, second[0])
    return all(line in used or _announces(document.lines[line - 1]) for line in between if line <= len(document.lines))


def _is_within(one: Table, other: Table) -> bool:
    """Return whether the JSON object of `one` contains, or is inside, the JSON object of `other`."""
    paths = [[] if table.name == TOP else table.name.replace(" · ", " ").split() for table in (one, other)]
    shorter, longer = sorted(paths, key=len)
    return longer[: len(shorter)] == shorter


def _announces(text: str) -> bool:
    """Return whether a line only introduces a result, judged by the number of words typical of introductions."""
    words = [word for word in WORD.findall(text[:500]) if not SMALL.fullmatch(word)]
    known = sum(ANNOUNCES.fullmatch(word) is not None for word in words)
    if text.lstrip().startswith(("#", "=", "**")):
        return known == len(words)
    return len(words) < 2 or (len(words) <= WORDS and 2 * known >= len(words))


def _merge_lines(tables: Sequence[Joined], document: Document) -> list[Joined]:
    """Add each line that states an overall value to the only table to which it can belong."""
    joined = list(tables)
    anchors = [place for place, (table, _) in enumerate(joined) if table.has_classes]
    owners: dict[int, int] = {}
    for place, (table, _) in enumerate(joined):
        if (
            place not in anchors
            and (own := _find_owner(place, joined, anchors, document)) is not None
            and _is_plain(table)
        ):
            owners[place] = own
    for place, owner in owners.items():
        loose, (table, links) = joined[place][0], joined[owner]
        rivals = [joined[other][0] for other, same in owners.items() if same == owner and other != place]
        rivals.append(_keep_outer_values(tables[owner][0]))
        joined[owner] = (
            replace(table, values=(*table.values, *loose.values), total=table.total or loose.total),
            (*links, _link(loose, tables[owner][0], rivals)),
        )
    return [each for place, each in enumerate(joined) if place not in owners]


def _find_owner(place: int, tables: Sequence[Joined], anchors: Sequence[int], document: Document) -> int | None:
    """Return the index of the table to which the line `tables[place]` belongs.

    Candidates are the nearest tables before and after the line, among the indices `anchors`. The result is None
    if neither table can own the line, or if both can and the document does not show which one does.
    """
    loose = tables[place][0]
    before = max((each for each in anchors if each < place), default=None)
    after = min((each for each in anchors if each > place), default=None)
    near = [each for each in (before, after) if each is not None and _can_own(tables[each][0], loose, document)]
    if len(near) < 2:
        return near[0] if near else None
    # If the first table follows a line, every line precedes its table; if a line ends the text, every line follows it.
    leads = min(anchors) > 0 or _follows_a_line(tables[min(anchors)][0])
    ends = max(anchors) < len(tables) - 1
    return None if leads == ends else near[1] if leads else near[0]


def _follows_a_line(table: Table) -> bool:
    """Return whether a table has an overall value above its class rows or matrix."""
    block = _block(table)
    return any(value.printed.line < min(block) for value in table.values if value.class_name is None)


def _block(table: Table) -> list[int]:
    """Return the line numbers of a table's class values or, if it has none, of its matrix."""
    rows = table.matrix.rows if table.matrix else ()
    lines = [value.printed.line for value in table.of_classes]
    return lines or [cell.line for row in rows for cell in row]


def _keep_outer_values(table: Table) -> Table:
    """Return the table with only the overall values that are printed outside its class rows."""
    block = _block(table)
    apart = [v for v in table.values if v.class_name is None and not min(block) <= v.printed.line <= max(block) + BELOW]
    return replace(table, values=tuple(apart))


def _can_own(table: Table, loose: Table, document: Document) -> bool:
    """Return whether the overall value in a line may belong to a table.

    `loose` is the line, read as a table. It must be near `table`, and both must be about the same image set.
    """
    of, own = loose.image_set, table.image_set
    sets = of == own or (of in (None, "test") and own in (None, "test"))
    models = TableKind.MODELS in (loose.kind, table.kind)
    return sets and not models and table.whole_images and _is_beside(loose, table, document, NEAR)


def _is_plain(table: Table) -> bool:
    """Return whether a line names a metric and no network, best epoch, training set or standard deviation."""
    return bool(table.values) and not table.partial and all(_says_nothing_else(value) for value in table.values)


def _says_nothing_else(value: Value) -> bool:
    of, label = heading(value.label), value.label
    other = BEST.search(label.lower()) or ELSEWHERE.search(label.replace("_", " "))
    named = value.average in (None, Average.OVERALL, Average.MACRO, Average.WEIGHTED, Average.MICRO)
    return value.measure in OF_ALL and named and not of.rest and not other and not value.spread


def _link(loose: Table, table: Table, rivals: Sequence[Table]) -> Link:
    lines = sorted({value.printed.line for value in loose.values})
    first, last = line_range(table)
    what = ", ".join(dict.fromkeys(value.label.strip() or str(value.measure) for value in loose.values))
    where = f"line {first}" if first == last else f"lines {first} to {last}"
    return Link(
        text=f"{what} in line {', '.join(map(str, lines))} is beside {where}",
        lines=frozenset(lines),
        conditions=tuple(_doubt_rivals(loose, rivals)),
    )


def _doubt_rivals(loose: Table, rivals: Sequence[Table]) -> Iterator[str]:
    """Yield a doubt for each value in `rivals` that differs from the value of the same metric in `loose`.

    `rivals` are other results that may belong to the same class table as `loose`.
    """
    for rival in rivals:
        for value in rival.values:
            same = [v for v in loose.values if (v.measure, v.average) == (value.measure, value.average)]
            if any(v.printed.text != value.printed.text for v in same):
                yield f"{value.label.strip() or value.measure} in line {value.printed.line} is the one of this table"


def with_adjacent_lines(tables: Sequence[Joined], document: Document) -> list[Joined]:
    """Return the tables, with consecutive one-line tables of the same result joined into one table.

    A metric that occurs a second time starts the next result. If the results then list different metrics, it is
    unclear which line belongs to which result, and no lines are joined.
    """
    made: list[Joined] = []
    for run in _runs(tables, document):
        results = list(_results([table for table, _ in run])) if len(run) > 1 else []
        alike = len({tuple(map(_measure, each)) for each in results}) == 1
        made += [(_joined(each), ()) for each in results] if alike else run
    return made


def _runs(tables: Sequence[Joined], document: Document) -> Iterator[list[Joined]]:
    """Yield lists of consecutive one-line tables; a table that cannot be joined is a list by itself."""
    run: list[Joined] = []
    for joined in tables:
        if run and not _continues(run[-1], joined, document):
            yield run
            run = []
        run.append(joined)
    if run:
        yield run


def _continues(before: Joined, after: Joined, document: Document) -> bool:
    (one, own), (other, others) = before, after
    if own or others or not (_is_line(one) and _is_line(other)):
        return False
    between = document.lines[line_range(one)[1] : line_range(other)[0] - 1]
    same = (one.image_set, one.section) == (other.image_set, other.section)
    return same and len(between) <= 1 and not any(line.strip() for line in between)


def _is_line(table: Table) -> bool:
    """Return whether a table is a single line that names only a metric over all classes."""
    single = len(table.values) == 1 and table.kind is TableKind.SUMMARY and not table.asides
    return single and not table.has_classes and not table.partial and _names_only_metric(table.values[0])


def _names_only_metric(value: Value) -> bool:
    label = value.label.replace("_", " ")
    other = BEST.search(label.lower()) or ELSEWHERE.search(AVERAGED.sub("", label))
    return value.measure in OF_ALL and not heading(value.label).rest and not other


def _results(tables: Sequence[Table]) -> Iterator[list[Table]]:
    """Yield the lines of each result as a list; a metric that occurs again starts the next list."""
    result: list[Table] = []
    for table in tables:
        if _measure(table) in map(_measure, result):
            yield result
            result = []
        result.append(table)
    yield result


def _measure(table: Table) -> tuple[object, object]:
    return table.values[0].measure, table.values[0].average


def _joined(tables: Sequence[Table]) -> Table:
    if len(tables) == 1:
        return tables[0]
    first, last = line_range(tables[0])[0], line_range(tables[-1])[1]
    return replace(
        tables[0],
        name=f"lines {first} to {last}",
        values=tuple(value for table in tables for value in table.values),
        total=next((table.total for table in tables if table.total), None),
        doubts=tuple(dict.fromkeys(doubt for table in tables for doubt in table.doubts)),
    )
