"""The commands on traces of trainings: `diff` says in which tensor two trainings first differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from in4310repro.cli.console import DIFFERENCE, conclude, load_torch, print_line

TracePath = Annotated[Path, typer.Argument(help="A file that in4310repro.trace.Trace wrote, such as a.trace.")]


def diff(first: TracePath, second: TracePath) -> None:
    """Say in which tensor two traced trainings first differ, and what may have caused it; exit code 1 if they do.

    Examples:
        in4310repro diff a.trace b.trace
    """
    load_torch()
    from in4310repro.trace import compare, read_trace

    comparison = compare(read_trace(first), read_trace(second))
    print_line(comparison.paragraph())
    for note in comparison.notes:
        print_line(note)
    conclude(comparison.to_json(), 0 if comparison.equal else DIFFERENCE)
