"""All rows of bad input, and their table in docs/bad-input.md: python -m tests.bad_input.table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.bad_input import (
    checkpoints,
    command_line,
    doubts,
    environment,
    exports,
    images,
    run_folders,
    settings,
    signals,
    splits,
    traces,
)
from tests.bad_input import weights as weight_files
from tests.bad_input.row import Row

PAGE = Path(__file__).parents[2] / "docs/bad-input.md"
BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"
SHOWN = 70  # characters of a command

MODULES = (
    images,
    splits,
    settings,
    command_line,
    weight_files,
    doubts,
    checkpoints,
    run_folders,
    environment,
    signals,
    traces,
    exports,
)
ROWS: list[Row] = [row for module in MODULES for row in module.ROWS]


def table(rows: list[Row]) -> str:
    """Return the number of test cases by exit code, then a table of the test cases by group."""
    counts = Counter(row.group for row in rows)
    codes = Counter(row.code for row in rows)
    listed = ", ".join(f"{number} end with {code}" for code, number in sorted(codes.items()))
    return "\n".join([f"{len(rows)} rows; {listed}.", *(line for g in counts for line in _group(g, rows))])


def _group(group: str, rows: list[Row]) -> Iterator[str]:
    yield from ("", f"### {group[0].upper()}{group[1:]}", "")
    yield "| bad input | command | exit code | the sentence names | unchanged afterwards |"
    yield "|---|---|---:|---|---|"
    for row in rows:
        if row.group == group:
            words = ", ".join(f"`{_cell(word)}`" for word in row.words)
            yield f"| {_cell(row.name)} | `{_cell(row.command)}` | {row.code} | {words} | {_cell(row.intact)} |"


def _cell(text: str) -> str:
    """Return a text as a table cell, with unprintable characters escaped and long text truncated."""
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text).replace("|", "\\|")
    return printable if len(printable) <= SHOWN else f"{printable[: SHOWN - 3]}..."


def replaced(page: str, name: str, content: str) -> str:
    """Return the page with `content` between the HTML comments that mark the section `name`.

    Raises:
        ValueError: the page has no such marks.
    """
    begin, end = BEGIN.format(name), END.format(name)
    before, mark, rest = page.partition(begin)
    _, closing, after = rest.partition(end)
    if not mark or not closing:
        raise ValueError(f"no {begin} and {end} in the page")
    return f"{before}{begin}\n{content}\n{end}{after}"


def update(name: str, content: str) -> None:
    page = replaced(PAGE.read_text(encoding="utf-8"), name, content)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    update("table", table(ROWS))
