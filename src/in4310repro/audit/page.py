"""Format an audit as text: verdict, findings by rank, image counts, means, detection power, unread lines."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence

from in4310repro.audit.verdicts import Audit, Counted, Finding, Rank
from in4310repro.system.text import visible

WIDTH = 120
# Class columns that fit on a screen; only totals are printed of wider tables.
COLUMNS = 12
# Lines of a finding's values to print before "and N more".
VALUES = 14
# Lines that were not understood to print before "and N more".
UNREAD = 5
LABEL = 60  # characters of a row's label
HEADINGS = {
    Rank.IMPOSSIBLE: "Impossible",
    Rank.UNLESS: "Impossible unless",
    Rank.ODD: "Odd",
}


def render(audit: Audit) -> str:
    """Return the whole audit as text; lines other than table rows have at most 120 characters."""
    sections = [
        list(_verdict(audit)),
        *(
            [*format_finding(place + 1, each, _exclude(audit.findings[:place]))]
            for place, each in enumerate(audit.findings)
        ),
        list(format_counts(audit)),
        list(format_means(audit)),
        list(format_power(audit)),
        list(_unread(audit)),
        [f"Remark: {remark}." for remark in audit.remarks],
    ]
    return "\n\n".join("\n".join(map(wrap, section)) for section in sections if section)


def summary(audit: Audit) -> str:
    """Return one line that summarises the audit, for a list of several files."""
    numbers = [f"{len(audit.of_rank(rank))} {rank.value}" for rank in Rank]
    tables = audit.document.tables
    values = sum(value.class_name is not None for table in tables for value in table.values)
    counts = {"table": len(tables), "class value": values, "value": len(audit.compared)}
    read = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for word, count in counts.items()) + " compared"
    return visible(f"{audit.document.source}: {', '.join(numbers)}; {read}")


def wrap(line: str) -> str:
    """Wrap a line, unless it is a table row, at 120 characters and make control characters visible."""
    # A name of a JSON or TOML file may contain line breaks.
    line = visible(line)
    # Columns of a row are separated by two spaces; a sentence has none.
    indent = line[: len(line) - len(line.lstrip())]
    return line if "  " in line.strip() else textwrap.fill(line, WIDTH, subsequent_indent=f"{indent}    ")


def _verdict(audit: Audit) -> Iterator[str]:
    yield summary(audit)
    yield f"{audit.outcome}."


def format_finding(number: int, finding: Finding, said: Collection[str] = ()) -> Iterator[str]:
    """Yield the text lines of a finding, without the excluded explanations that are already in `said`."""
    yield f"{number}. {HEADINGS[finding.rank]} ({finding.kind}): {', '.join(finding.tables)}: {finding.message}."
    yield from (f"   unless {condition}." for condition in finding.conditions)
    for value in finding.values[:VALUES]:
        of = shorten(value.class_name if value.class_name is not None else value.label or "all")
        yield f"   line {value.printed.line}: {value.measure} of {of}: {value.printed.text}"
    if len(finding.values) > VALUES:
        yield f"   and {len(finding.values) - VALUES} more values on lines {finding.lines[0]} to {finding.lines[-1]}"
    if finding.rank is not Rank.ODD:
        yield from (f"   Also used: {text}." for text in finding.inputs[:VALUES])
        yield from (f"   Read {text}." if text.startswith("as ") else f"   Read: {text}." for text in finding.readings)
        yield from (f"   Excluded: {text}." for text in dict.fromkeys(finding.excluded) if text not in said)
    if finding.probability:
        yield f"   Probability {finding.probability}."
    yield from (f"   {line}." for line in finding.evidence)
    if finding.assumptions:
        yield f"   Assumed: {finding.assumptions}."


def shorten(text: str) -> str:
    """Return a label cut to at most 60 characters."""
    return text if len(text) <= LABEL else f"{text[: LABEL - 3].rstrip()}..."


def _exclude(findings: Sequence[Finding]) -> set[str]:
    return {text for finding in findings for text in finding.excluded}


def format_counts(audit: Audit) -> Iterator[str]:
    """Yield lines with the class sizes and the numbers of correct images of each table."""
    origins = {"printed": "as printed", "given": "as given", "search": "from the decimals"}
    for group in audit.sizes:
        known = set(group.identified)
        if known and len(group.taken) <= COLUMNS:
            listed = " ".join(str(size) if name in known else "?" for name, size in group.taken.items())
            yield f"Images of each class, {origins[group.origin]}, in {', '.join(group.tables)}: {listed}."
    wide = [table for table in audit.counted if any(table.correct.values())]
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
    cells = [shorten(table.name), *(_span(table.correct[label]) for label in labels), _span(totals)]
    return [*cells, str(table.images) if totals else "?"]


def _span(counts: range | None) -> str:
    if not counts:
        return "?"
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"


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


def _unread(audit: Audit) -> Iterator[str]:
    """Yield the number of lines that were not understood, then the first few, likely results before others."""
    unread = sorted(audit.document.unread, key=lambda each: not each.measuring)
    if unread:
        yield f"Not understood: {len(unread)} {'line' if len(unread) == 1 else 'lines'} with unused numbers."
    yield from (f"   line {each.line}: {each.text.strip()[:80]}" for each in unread[:UNREAD])
    if len(unread) > UNREAD:
        yield f"   and {len(unread) - UNREAD} more; --out lists all of them"


def format_power(audit: Audit) -> Iterator[str]:
    """Yield the lines of a table with the share of planted errors of each type that were detected."""
    if not audit.power:
        return
    if not any(each.impossible or each.unless for each in audit.power.detections):
        yield "Power: no error that was planted in this report would be noticed."
        return
    yield f"Power, by errors planted in this report one at a time (seed {audit.power.seed}):"
    rows = [["error", "tried", "impossible", "impossible unless"]]
    for each in audit.power.detections:
        shares = [
            f"{100 * count / each.tried:.0f} %" if each.tried else "-" for count in (each.impossible, each.unless)
        ]
        rows.append([each.kind, str(each.tried), *shares])
    yield from _align(rows)
    if audit.power.remark:
        yield f"{audit.power.remark}."
