"""The table of forgeries in docs/caught/forgeries.csv: nox -s evidence -- forgeries."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from in4310repro.system.numerics import activate
from tests.docs import caught
from tests.forgeries.harness import Verdict, faults, judge
from tests.forgeries.row import Forgery
from tests.forgeries.rows import ROWS
from tests.forgeries.starts import starts

COLUMNS = ("number", "group", "forgery", "caught by", "the sentence")
SHOWN = 230  # characters of a sentence
COMMANDS = {"verify": "verify", "replay": "verify --replay", "nothing": "nothing"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s evidence -- forgeries", description=__doc__)
    parser.add_argument(
        "--only", default="", help="forgeries whose `group: name` fits this regular expression; other lines stay"
    )
    arguments = parser.parse_args()
    wanted = [row for row in ROWS if re.search(arguments.only, f"{row.group}: {row.name}")]
    wrong, rows = 0, written()
    for number, row, verdict in judged(wanted):
        differences = faults(row, verdict)
        wrong += bool(differences)
        rows[row.group, row.name] = cells(row, verdict)
        sys.stdout.write(f"{number} of {len(wanted)} {' | '.join(rows[row.group, row.name])}\n")
        sys.stdout.writelines(f"    {difference}\n" for difference in differences)
        sys.stdout.flush()
    caught.write("forgeries", COLUMNS, [rows[key] for row in ROWS if (key := (row.group, row.name)) in rows])
    sys.exit(bool(wrong))


def written() -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the rows of the file by group and name, numbered as they are now."""
    there = {(row["group"], row["forgery"]): tuple(row.values())[1:] for row in caught.read("forgeries")}
    numbered = {(row.group, row.name): number for number, row in enumerate(ROWS, start=1)}
    return {key: (str(number), *there[key]) for key, number in numbered.items() if key in there}


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


def cells(row: Forgery, verdict: Verdict) -> tuple[str, ...]:
    """Return a row of the table: the forgery, the command that detects it, and its message or other evidence."""
    sentence = row.shown_by if row.by == "nothing" else cell(verdict.sentence(row.words))
    return str(1 + ROWS.index(row)), row.group, row.name, COMMANDS[verdict.by], sentence


def cell(text: str) -> str:
    """Return a text with unprintable characters escaped and long text truncated."""
    text = caught.printable(text).replace("`", "'")
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


if __name__ == "__main__":
    main()
