"""All rows of bad input, and their table in docs/caught/bad-input.csv: python -m tests.bad_input.table."""

from __future__ import annotations

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
    weights as weight_files,
)
from tests.bad_input.row import Row
from tests.docs import caught

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


COLUMNS = ("group", "bad input", "command", "exit code", "the sentence names", "unchanged afterwards")
SHOWN = 200  # characters of a command


def cells(row: Row) -> tuple[str, str, str, int, str, str]:
    """Return the cells of a row of bad input, a command of more characters shortened."""
    command = row.command if len(row.command) <= SHOWN else f"{row.command[: SHOWN - 3]}..."
    return row.group, row.name, command, row.code, "; ".join(row.words), row.intact


if __name__ == "__main__":
    caught.write("bad-input", COLUMNS, map(cells, ROWS))
