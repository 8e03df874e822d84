"""The validation's result as Markdown, and its insertion into docs/audit-validation.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "validation"  # in the marks of the page
FEWEST = 10  # planted errors of which a percentage is printed


def table(result: Mapping[str, Any]) -> str:
    good = result["consistent"]
    lines = [
        f"{good['reports']:,} consistent reports in {result['habits']} printing habits, {good['audits']:,} audits with "
        "the class sizes given once more where they are not printed: "
        f"**{good['false_accusations']} false accusations**, {good['refused']} refused, "
        f"{good['impossible_unless']} with a finding under a condition, {good['odd']} odd; "
        f"{good['class_values_read']:,} of {good['class_values']:,} class values read, "
        f"{good['lines_not_understood']} lines not understood.{_rate_of_none(good)}",
        "",
        f"mlscorecheck applies to {good['compared_with_mlscorecheck']:,} of these, where sizes are known, and accuses "
        f"{good['false_accusations_by_mlscorecheck']}; the audit accuses {good['false_accusations_there']} of these.",
        "",
        f"Called impossible, in percent of the planted errors, and as a count where these are fewer than {FEWEST} (in "
        "brackets: with those called impossible unless a condition holds):",
        "",
        *_detection(result["detection"]),
        "",
        "Class sizes known, errors that mlscorecheck can see at all (those in class values):",
        "",
        *_compared(result["detection"]),
    ]
    return "\n".join(lines)


def _rate_of_none(good: Mapping[str, Any]) -> str:
    """State the 95 % upper limit of the rate of false accusations, or nothing if there was one."""
    if good["false_accusations"]:
        return ""
    return (
        f" None in so many leaves less than {100 * (1 - 0.05 ** (1 / good['audits'])):.2g} % (95 %), in these habits."
    )


def _detection(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    groups = list(dict.fromkeys(row["decimals"] for row in rows))
    groups.sort(key=lambda name: int(name.split()[0]))
    yield "| error | class sizes | tried | " + " | ".join(f"{group} decimals" for group in groups) + " |"
    yield "|---|---|---:|" + "---:|" * len(groups)
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for sizes in ("unknown", "known"):
            cells = {row["decimals"]: row for row in rows if (row["kind"], row["sizes"]) == (kind, sizes)}
            if cells:
                tried = sum(row["tried"] for row in cells.values())
                yield (
                    f"| {kind} | {sizes} | {tried} | " + " | ".join(_cell(cells.get(group)) for group in groups) + " |"
                )


def _cell(row: Mapping[str, Any] | None) -> str:
    if not row:
        return ""
    tried, certain = row["tried"], row["impossible"]
    both = certain + row["impossible_unless"]
    if tried < FEWEST:
        return f"{certain} of {tried}" + (f" ({both})" if both != certain else "")
    shares = [f"{100 * number / tried:.0f}" for number in (certain, both)]
    return shares[0] + (f" ({shares[1]})" if shares[1] != shares[0] else "")


def _compared(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| error | tried | audit | mlscorecheck |"
    yield "|---|---:|---:|---:|"
    totals: dict[str, Counter[str]] = {}
    for row in rows:
        if row["compared"]:
            totals.setdefault(row["kind"], Counter()).update(
                {key: row[key] for key in ("compared", "impossible_of_compared", "mlscorecheck")}
            )
    for kind, counts in totals.items():
        audit, other = (100 * counts[key] / counts["compared"] for key in ("impossible_of_compared", "mlscorecheck"))
        yield f"| {kind} | {counts['compared']} | {audit:.0f} % | {other:.0f} % |"


def update(page: Path, result: Mapping[str, Any]) -> None:
    """Write the current table of results into the page."""
    text = page.read_text(encoding="utf-8")
    page.write_text(replaced(text, table(result)), encoding="utf-8")


def replaced(text: str, new: str, name: str = NAME) -> str:
    """Return the page with `new` between the HTML comments that mark the section `name`.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, mark, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not mark or not closed:
        raise ValueError(f"no {begin} and {end} in the page")
    return f"{before}{begin}\n{new}\n{end}{after}"
