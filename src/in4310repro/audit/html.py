"""Format an audit as one offline HTML page: the report's text with marked values, beside the findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import jinja2

from in4310repro.audit.document import Value
from in4310repro.audit.marking import make_passages, make_visible
from in4310repro.audit.page import shorten
from in4310repro.audit.verdicts import Audit, Counted, Detection, Rank
from in4310repro.system.files import write_file
from in4310repro.system.text import publishable_place

MEANINGS = {
    Rank.IMPOSSIBLE: "No arithmetic, rounding or averaging that is known here gives these numbers, whatever the sizes.",
    Rank.UNLESS: "The numbers do not fit unless the named condition holds. That is no accusation.",
    Rank.ODD: "Possible, and unlikely under the stated assumptions. That proves nothing.",
}
HEADINGS = {
    Rank.IMPOSSIBLE: "Impossible",
    Rank.UNLESS: "Impossible unless",
    Rank.ODD: "Odd",
}


@dataclass(frozen=True, kw_only=True)
class CountRow:
    """Numbers of correct images of one table, as text for the page."""

    name: str
    cells: tuple[tuple[str, str], ...]  # class, "457 of 463"
    total: str


def write(audit: Audit, path: Path) -> None:
    """Write the page to a file; an interrupted write leaves no partial file."""
    write_file(path, render(audit).encode())


def render(audit: Audit) -> str:
    """Return the page as HTML; it loads nothing, runs no script, and escapes all text from the report."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("in4310repro.audit"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = make_visible
    return environment.get_template("audit.html.jinja").render(make_context(audit))


def make_context(audit: Audit) -> dict[str, object]:
    """Return the variables of the page's template."""
    tables = audit.document.tables
    power = audit.power if audit.power and any(d.impossible or d.unless for d in audit.power.detections) else None
    return {
        "audit": audit,
        "power": power,
        "source": publishable_place(audit.document.source),
        "passages": make_passages(audit),
        "ranks": [(rank, HEADINGS[rank], MEANINGS[rank], len(audit.of_rank(rank))) for rank in Rank],
        "headings": HEADINGS,
        "described": describe_value,
        "class_values": sum(value.class_name is not None for table in tables for value in table.values),
        "matrices": sum(table.matrix is not None for table in tables),
        "counts": [format_counts(counted) for counted in audit.counted],
        "number": _number,
        "share": format_share,
        "signed": format_signed,
        "verdict": f"{audit.outcome}.",
    }


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def describe_value(value: Value) -> str:
    """Describe a value as text: the name of its metric, and its class or label."""
    if value.class_name is not None:
        return f"{value.measure} of {shorten(value.class_name)}"
    return f"{shorten(value.label or value.average or 'summary')} ({value.measure})"


def format_counts(counted: Counted) -> CountRow:
    """Return the numbers of correct images of a table as text."""
    cells = [(name, f"{_span(counted.correct.get(name))} of {size}") for name, size in counted.sizes.items()]
    return CountRow(name=counted.name, cells=tuple(cells), total=f"{_span(counted.totals)} of {counted.images}")


def _span(counts: Sequence[int] | None) -> str:
    if not counts:
        return "?"
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def format_share(detection: Detection, count: int) -> str:
    """Return a count of planted errors as a percentage of those tried, or "none tried"."""
    return f"{100 * count / detection.tried:.0f} %" if detection.tried else "none tried"


def format_signed(difference: Fraction) -> str:
    """Return a difference with its sign and two significant digits."""
    return f"{float(difference):+.2g}"
