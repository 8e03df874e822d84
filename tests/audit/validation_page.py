"""The validation's result as Markdown, and its insertion into docs/audit-rules.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.docs.marks import replaced

COLUMNS = ("impossible_of_compared", "as_read_of_compared", "mlscorecheck")
NAME = "validation"  # in the marks of the page


def table(result: Mapping[str, Any]) -> str:
    good = result["consistent"]
    lines = [
        f"{good['reports']:,} consistent reports in {result['habits']} printing habits, audited {good['audits']:,} "
        f"times, with and without sizes: **{good['false_accusations']} false accusations**, {good['refused']} refused, "
        f"{good['impossible_as_read']} impossible as read, {good['impossible_unless']} with a finding under a "
        f"condition, {good['odd']} odd; "
        f"{good['class_values_read']:,} of {good['class_values']:,} class values read, "
        f"{good['lines_not_understood']} lines not understood.{_rate_of_none(good)}",
        "",
        f"mlscorecheck applies to {good['compared_with_mlscorecheck']:,} of these, where sizes are known, and accuses "
        f"{good['false_accusations_by_mlscorecheck']}; the audit accuses {good['false_accusations_there']} of them. "
        "Planted errors called impossible, where sizes are known and mlscorecheck can see them at all:",
        "",
        *_compared(result["detection"]),
    ]
    return "\n".join(lines)


def _rate_of_none(good: Mapping[str, Any]) -> str:
    """State the 95 % upper limit of the rate of false accusations, or nothing if there was one."""
    if good["false_accusations"]:
        return ""
    limit = 100 * (1 - 0.05 ** (1 / good["reports"]))
    return f" So in these habits the rate is below {limit:.2g} % (95 % limit)."


def _compared(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| error | tried | impossible | as read | mlscorecheck |"
    yield "|---|---:|---:|---:|---:|"
    totals: dict[str, Counter[str]] = {}
    for row in rows:
        if row["compared"]:
            totals.setdefault(row["kind"], Counter()).update({key: row[key] for key in ("compared", *COLUMNS)})
    for kind, counts in totals.items():
        shares = " | ".join(f"{100 * counts[key] / counts['compared']:.0f} %" for key in COLUMNS)
        yield f"| {kind} | {counts['compared']} | {shares} |"


def update(page: Path, result: Mapping[str, Any]) -> None:
    """Write the current table of results into the page."""
    text = page.read_text(encoding="utf-8")
    page.write_text(replaced(text, NAME, table(result)), encoding="utf-8")
