"""The comparisons and times in docs/processes.md, from docs/processes.json, which two sessions write, and the bench.

python -m benchmarks.processes_page    writes the page again, without measuring
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from tests.docs.marks import replaced

from in4310repro.system.files import json_bytes, read_json, write_file

ROOT = Path(__file__).parents[1]
NUMBERS, PAGE = ROOT / "docs/processes.json", ROOT / "docs/processes.md"
BENCH = ROOT / "reports/bench/processes.json"


def update(name: str, measured: dict[str, Any]) -> None:
    """Replace the entry `shares` or `kills` in the JSON file, and regenerate the page."""
    numbers = read_json(NUMBERS) | {name: measured}
    write_file(NUMBERS, json_bytes(numbers))
    write_file(PAGE, with_tables(PAGE.read_text(encoding="utf-8"), numbers).encode())


def with_tables(text: str, numbers: dict[str, Any]) -> str:
    text = replaced(text, "shares", shares_table(numbers["shares"]))
    return replaced(replaced(text, "kills", kills_line(numbers["kills"])), "messages", messages_line(read_json(BENCH)))


def shares_table(measured: dict[str, Any]) -> str:
    batches = sorted({row["batch"] for row in measured["rows"]})
    titles = [f"batch {batch}, leaves {-(-batch // 8)}" for batch in batches]
    lines = [f"| network | {' | '.join(titles)} |", f"| --- |{' --- |' * len(batches)}"]
    for network in dict.fromkeys(row["network"] for row in measured["rows"]):
        rows = {row["batch"]: row for row in measured["rows"] if row["network"] == network}
        lines.append(f"| {network} | {' | '.join(_compared(rows[batch]) for batch in batches)} |")
    return "\n".join([*lines, "", f"Made {measured['made']}."])


def _compared(row: dict[str, Any]) -> str:
    hashes = set(row["sha256"].values())
    equal = f"`{hashes.pop()}`" if len(hashes) == 1 else "**different**"
    return f"{equal}, control {'equal' if row['control'] in row['sha256'].values() else 'differs'}"


def kills_line(measured: dict[str, Any]) -> str:
    rounds = measured["rounds"]
    kills = sum("killed" in event for each in rounds for event in each["events"].values())
    different = sum(bool(each["differing files"]) for each in rounds)
    return (
        f"{len(rounds)} rounds, {kills} kills; rounds with a file that differs: {different}. Made {measured['made']}."
    )


def messages_line(bench: dict[str, Any]) -> str:
    """Return the milliseconds of a step of two processes, with and without messages, and of one with two threads."""
    times = []
    for workload in bench["workloads"]:
        runs = {(len(run["ranks"]), run["threads"]): run["ranks"] for run in workload["runs"]}
        shared, alone, one = (
            f"{1000 * fmean(rank[key] for rank in ranks):,.0f}"
            for ranks, key in ((runs[2, 1], "seconds"), (runs[2, 1], "alone"), (runs[1, 2], "seconds"))
        )
        times.append(
            f"At {workload['image_size']} px, two processes take {shared} ms a step ({alone} without messages), "
            f"one with two threads {one} ms."
        )
    return "\n".join(times)


if __name__ == "__main__":
    write_file(PAGE, with_tables(PAGE.read_text(encoding="utf-8"), read_json(NUMBERS)).encode())
