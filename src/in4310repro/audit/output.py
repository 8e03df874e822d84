"""Formats of an audit for the terminal: text and JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from in4310repro.audit.document import Value
from in4310repro.audit.verdicts import Audit, Counted, Finding, ImageSet, MeanCheck, Rank, format_number
from in4310repro.audit.view import ShownFinding, View, format_range, format_share, shorten
from in4310repro.system.text import visible

WIDTH = 120
# Class columns that fit on a screen; only totals are printed of wider tables.
COLUMNS = 12
# Lines of a finding's values to print before "and N more".
VALUES = 14
# Lines that were not understood to print before "and N more".
UNREAD = 5


def render(audit: Audit) -> str:
    """Return the whole audit as text; lines other than table rows have at most 120 characters."""
    view = View(audit)
    sections = [
        [summary(audit), f"{audit.outcome}."],
        *map(format_finding, view.findings),
        format_counts(view),
        format_means(audit),
        format_power(view),
        _unread(view),
        [f"Remark: {remark}." for remark in audit.remarks],
    ]
    texts = ("\n".join(map(wrap, section)) for section in sections)
    return "\n\n".join(filter(None, texts))


def summary(audit: Audit) -> str:
    """Return one line that summarises the audit, for a list of several files."""
    view = View(audit)
    ranks = ", ".join(f"{number} {rank.value}" for rank, number in view.ranks.items())
    read = ", ".join(format_number(view.numbers[noun], noun) for noun in ("table", "class value", "value"))
    return visible(f"{audit.document.source}: {ranks}; {read} compared")


def wrap(line: str) -> str:
    """Make control characters visible, and wrap the line at 120 characters unless it is a table row."""
    # A name of a JSON or TOML file may contain line breaks.
    line = visible(line)
    # Columns of a row are separated by two spaces; a sentence has none.
    indent = line[: len(line) - len(line.lstrip())]
    return line if "  " in line.strip() else textwrap.fill(line, WIDTH, subsequent_indent=f"{indent}    ")


def format_finding(shown: ShownFinding) -> Iterator[str]:
    """Yield the text lines of a finding.

    They name the explanations that the finding rules out, except those that an earlier finding has named already.
    """
    finding = shown.finding
    yield f"{shown.number}. {shown.heading} ({finding.kind}): {', '.join(finding.tables)}: {finding.message}."
    yield from [f"   As read: {finding.reading}."] * bool(finding.reading)
    yield from (f"   unless {condition}." for condition in finding.conditions)
    for value in finding.values[:VALUES]:
        of = shorten(value.class_name if value.class_name is not None else value.label or "all")
        yield f"   line {value.printed.line}: {value.measure} of {of}: {value.printed.text}"
    if len(finding.values) > VALUES:
        yield f"   and {len(finding.values) - VALUES} more values on lines {finding.lines[0]} to {finding.lines[-1]}"
    if finding.rank is not Rank.ODD:
        yield from (f"   Also used: {text}." for text in finding.inputs[:VALUES])
        yield from (f"   Read {text}." if text.startswith("as ") else f"   Read: {text}." for text in finding.readings)
        yield from (f"   Excluded: {text}." for text in shown.excluded if text not in shown.told)
    if finding.probability:
        yield f"   Probability {finding.probability}."
    yield from (f"   {line}." for line in finding.evidence)
    if finding.assumptions:
        yield f"   Assumed: {finding.assumptions}."


def format_counts(view: View) -> Iterator[str]:
    """Yield lines with the class sizes and the numbers of correctly classified images of each table."""
    origins = {"printed": "as printed", "given": "as given", "search": "from the decimals"}
    for group in view.sizes:
        known = set(group.identified)
        if known and len(group.taken) <= COLUMNS:
            listed = " ".join(str(size) if name in known else "?" for name, size in group.taken.items())
            yield f"Images of each class, {origins[group.origin]}, in {', '.join(group.tables)}: {listed}."
    wide = [table for table in view.counts if any(table.correct.values())]
    for names in dict.fromkeys(tuple(table.sizes) for table in wide):
        tables = [table for table in wide if tuple(table.sizes) == names]
        labels = names if len(names) <= COLUMNS else ()
        if not labels:
            rows = [_row(table, ()) for table in tables]
            yield from (f"Correct images in {name}: {right} of {images}." for name, right, images in rows)
            continue
        yield from _align([["correct images of", *labels, "all", "of"], *(_row(table, labels) for table in tables)])


def _row(table: Counted, labels: Sequence[str]) -> list[str]:
    totals = table.totals
    spans = (format_range(each, "-") for each in (*(table.correct[label] for label in labels), totals))
    cells = [shorten(table.name), *spans]
    return [*cells, str(table.images) if totals else "?"]


def _align(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        yield "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))])


def format_means(audit: Audit) -> Iterator[str]:
    """Yield a line that says how many reported means agree with their class values."""
    if audit.means:
        agreeing, bitwise = sum(mean.agrees for mean in audit.means), sum(mean.last_bit for mean in audit.means)
        exact = f", {bitwise} of them to the last bit when the parts are summed from left to right as doubles"
        yield f"Means: {agreeing} of {len(audit.means)} agree with their printed parts{exact if bitwise else ''}."


def _unread(view: View) -> Iterator[str]:
    """Yield the number of lines that were not understood, then the first few of these lines."""
    unread = view.unread
    if unread:
        yield f"Not understood: {format_number(len(unread), 'line')} with unused numbers."
    yield from (f"   line {each.line}: {each.text.strip()[:80]}" for each in unread[:UNREAD])
    if len(unread) > UNREAD:
        yield f"   and {len(unread) - UNREAD} more; --out lists all of them"


def format_power(view: View) -> Iterator[str]:
    """Yield the lines of a table with the proportion of artificially inserted errors detected, by error type."""
    if view.blind:
        yield "Power: no error that was planted in this report would be noticed."
    if not view.power:
        return
    yield f"Power, by errors planted in this report one at a time (seed {view.power.seed}):"
    rows = [["error", "tried", "impossible", "impossible as read", "impossible unless"]]
    for each in view.power.detections:
        counts = (each.impossible, each.as_read, each.unless)
        shares = [format_share(count, each.tried, "-") for count in counts]
        rows.append([each.kind, str(each.tried), *shares])
    yield from _align(rows)
    if view.power.remark:
        yield f"{view.power.remark}."


Json = dict[str, Any]  # an object of JSON

VERSION = 1


def audit_json(audit: Audit) -> Json:
    """Return the whole audit as a dictionary of JSON values."""
    view, document = View(audit), audit.document
    return {
        "schema": VERSION,
        "source": view.source,
        "exit_code": audit.exit_code,
        "outcome": audit.outcome,
        "values_compared": view.numbers["value"],
        "formats": list(document.formats),
        "options": {
            "images": audit.options.images,
            "sizes": dict(audit.options.sizes),
            "more_images": list(audit.options.more_images),
            "more_sizes": [dict(sizes) for sizes in audit.options.more_sizes],
            "bound": audit.options.bound,
            "folds": audit.options.folds,
            "ceilings": {name: float(level) for name, level in audit.options.ceilings.items()},
        },
        "tables": [
            {
                "name": table.name,
                "kind": table.kind.value,
                "section": table.section,
                "lines": [table.first, table.last],
                "image_set": table.image_set,
                "total": table.total,
                "sizes": dict(table.sizes),
                "predictions": dict(table.predictions),
                "partial": table.partial,
                "certain": document.is_certain(table),
                "matrix": [[printed.text for printed in row] for row in table.matrix.rows] if table.matrix else None,
                "values": [_value(value) for value in table.values],
            }
            for table in document.tables
        ],
        "unread": [vars(unread) for unread in document.unread],
        "context": [vars(context) for context in document.context],
        "folds": document.folds,
        "findings": [_finding(shown.finding) for shown in view.findings],
        "sizes": [_sizes(group) for group in view.sizes],
        "counts": [_counts(table) for table in view.counts],
        "means": [_mean(mean) for mean in audit.means],
        "power": audit.power
        and {
            "seed": audit.power.seed,
            "remark": audit.power.remark,
            "detections": [vars(detection) for detection in audit.power.detections],
        },
        "remarks": list(audit.remarks),
    }


def _value(value: Value) -> Json:
    return {
        "measure": value.measure.value,
        "class": value.class_name,
        "average": value.average and value.average.value,
        "label": value.label,
        "item": value.item.value,
        "printed": value.printed.text,
        "line": value.printed.line,
        "value": float(value.printed.value),
        "count": list(value.count) if value.count else None,
        "spread": value.spread and value.spread.text,
    }


def _finding(finding: Finding) -> Json:
    return {
        "kind": finding.kind,
        "rank": finding.rank.value,
        "tables": list(finding.tables),
        "message": finding.message,
        "conditions": list(finding.conditions),
        "lines": list(finding.lines),
        "values": [_value(value) for value in finding.values],
        "inputs": list(finding.inputs),
        "reading": finding.reading,
        "readings": list(finding.readings),
        "excluded": list(finding.excluded),
        "probability": finding.probability,
        "assumptions": finding.assumptions,
        "evidence": list(finding.evidence),
    }


def _sizes(group: ImageSet) -> Json:
    return {
        "tables": list(group.tables),
        "origin": group.origin,
        "taken": dict(group.taken),
        "smallest": dict(group.smallest),
        "chance": dict(group.chance),
        "identified": list(group.identified),
        "rivals": list(group.rivals),
    }


def _counts(table: Counted) -> Json:
    totals = table.totals
    return {
        "table": table.name,
        "sizes": dict(table.sizes),
        "correct": {name: _ends(count) for name, count in table.correct.items()},
        "images": table.images if totals else None,
        "correct_images": _ends(totals),
        "errors": _ends(range(table.images - totals[-1], table.images - totals[0] + 1)) if totals else None,
        "accuracy": [totals[0] / table.images, totals[-1] / table.images] if totals and table.images else None,
    }


def _ends(counts: range | None) -> list[int] | None:
    return [counts[0], counts[-1]] if counts else None


def _mean(mean: MeanCheck) -> Json:
    return {
        "table": mean.table,
        "measure": mean.measure.value,
        "printed": mean.value.printed.text,
        "line": mean.value.printed.line,
        "parts": len(mean.parts),
        "difference": float(mean.difference),
        "allowed": float(mean.allowed),
        "agrees": mean.agrees,
        "reading": mean.reading,
        "last_bit": mean.last_bit,
    }
