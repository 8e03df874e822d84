"""The table of forgeries in docs/forgeries.md: nox -s evidence -- forgeries."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from in4310repro.system.numerics import activate
from tests.bad_input.table import replaced
from tests.forgeries.harness import Verdict, faults, judge
from tests.forgeries.row import Forgery
from tests.forgeries.rows import ROWS
from tests.forgeries.starts import starts

PAGE = Path(__file__).parents[2] / "docs/forgeries.md"
NAME = "table"
SHOWN = 230  # characters of a sentence
CAUGHT = {"verify": "`verify`", "replay": "`verify --replay`", "nothing": "nothing: said"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s evidence -- forgeries", description=__doc__)
    parser.add_argument(
        "--only", default="", help="forgeries whose `group: name` fits this regular expression; other lines stay"
    )
    arguments = parser.parse_args()
    wanted = [row for row in ROWS if re.search(arguments.only, f"{row.group}: {row.name}")]
    wrong, lines = 0, {}
    for number, row, verdict in judged(wanted):
        differences = faults(row, verdict)
        wrong += bool(differences)
        lines[row.group, row.name] = line(row, verdict)
        sys.stdout.write(f"{number} of {len(wanted)} {line(row, verdict)}\n")
        sys.stdout.writelines(f"    {difference}\n" for difference in differences)
        sys.stdout.flush()
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(page_with(page, written(page) | lines), encoding="utf-8")
    sys.exit(bool(wrong))


def written(page: str) -> dict[tuple[str, str], str]:
    """Return a dict from (group, name) to the table row on the page, without the column of row numbers."""
    groups, lines = {heading(row.group): row.group for row in ROWS}, {}
    names, group = {(row.group, cell(row.name)): row.name for row in ROWS}, ""
    for text in page.splitlines():
        group = groups.get(text, group)
        cells = text.split(" | ")
        if (key := (group, cells[1] if len(cells) > 1 else "")) in names:
            lines[group, names[key]] = "| " + text.split(" | ", 1)[1]
    return lines


def heading(group: str) -> str:
    return f"### {group[0].upper()}{group[1:]}"


def judged(rows: list[Forgery]) -> Iterator[tuple[int, Forgery, Verdict]]:
    """Yield each forgery, numbered from 1, with its verdict."""
    numerics = activate("auto", "cpu")
    with tempfile.TemporaryDirectory(prefix="forgeries-") as name:
        folder = Path(name)
        os.environ["IN4310REPRO_CACHE"] = str(folder / "cache")
        honest = starts(folder / "honest", numerics)
        for number, row in enumerate(rows, start=1):
            yield number, row, judge(row, folder / "work", honest, numerics)
            shutil.rmtree(folder / "work")


def line(row: Forgery, verdict: Verdict) -> str:
    """Return a table row: the forgery, the command that detects it, and its message or other evidence."""
    sentence = row.shown_by if row.by == "nothing" else f"`{cell(verdict.sentence(row.words))}`"
    return f"| {cell(row.name)} | {CAUGHT[verdict.by]} | {sentence} |"


def cell(text: str) -> str:
    """Return a text as a table cell, with unprintable characters escaped and long text truncated."""
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text).replace("|", "\\|").replace("`", "'")
    return printable if len(printable) <= SHOWN else f"{printable[: SHOWN - 3]}..."


def page_with(page: str, lines: Mapping[tuple[str, str], str]) -> str:
    """Return the page with the table of forgeries, without forgeries that have no entry in `lines`."""
    counts = Counter(row.by for row in ROWS)
    text = [
        f"{len(ROWS)} forgeries: {counts['verify']} are caught by `verify`, {counts['replay']} by `verify --replay`, "
        f"{counts['nothing']} by nothing, which is said. "
        f"A faulty twin of `verify` that compares every file with the manifest alone accepts "
        f"{sum(row.sealed for row in ROWS)} of them."
    ]
    for group in dict.fromkeys(row.group for row in ROWS):
        text += ["", heading(group), "", "| | forgery | caught by | the sentence |", "|---:|---|---|---|"]
        text += [
            f"| {number} {lines[row.group, row.name]}"
            for number, row in enumerate(ROWS, start=1)
            if row.group == group and (row.group, row.name) in lines
        ]
    return replaced(page, NAME, "\n".join(text))


if __name__ == "__main__":
    main()
