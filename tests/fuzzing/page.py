"""The results of the fuzzing as a table of Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.fuzzing.cases import Case

ENDINGS = ("accepted", "difference", "refused", "fault")


def table(cases: Sequence[Case], seconds: float) -> str:
    """Return a table of how the commands ended, by kind of file."""
    counts = Counter((case.kind, case.ending) for case in cases)
    commands = Counter(case.command.split()[0] for case in cases)
    listed = ", ".join(f"`{command}` {number:,}" for command, number in sorted(commands.items()))
    faults = sum(bool(case.faults) for case in cases)
    lines = [
        f"{len(cases):,} damaged files, {seconds / 60:.0f} minutes; {listed}; {faults} faults.",
        "",
        "| damaged file | cases | accepted (0) | difference (1) | refused (2) | faults |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for kind in sorted({case.kind for case in cases}):
        numbers = [counts[kind, ending] for ending in ENDINGS]
        lines.append(f"| {kind} | {sum(numbers)} | " + " | ".join(map(str, numbers)) + " |")
    return "\n".join(lines)
