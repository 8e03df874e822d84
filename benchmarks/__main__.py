"""Entry point of `python -m benchmarks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks import arithmetic, processes, traces
from benchmarks.features import BenchmarkOptions, benchmark
from in4310repro.cli.console import activate_arithmetic, conclude, context_of, print_written, progress
from in4310repro.cli.options import Device

app = typer.Typer(rich_markup_mode=None, add_completion=False)
TABLES = ("features", "arithmetic", "processes", "traces")
ONLY = (
    f"One table ({', '.join(TABLES)}), or the rows of arithmetic with this in their name, such as 'resnet18, 64 px'; "
    "with rows, give --out as well."
)


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Where the tables go.")] = Path("reports/bench"),
    device: Annotated[str, typer.Option(help=Device)] = "cpu",
    repeats: Annotated[int, typer.Option(help="Alternating repeats, at least.", min=1, max=1000)] = 5,
    only: Annotated[str, typer.Option(help=ONLY)] = "",
) -> None:
    """Time feature statistics against peers, portable beside native arithmetic, several processes, and traces.

    On two cores, arithmetic takes about 10 minutes and features about 15; pip install -e '.[bench]' brings the peers.
    """
    active = activate_arithmetic("native", device)
    rows = "" if only in TABLES else only
    tables: tuple[str, ...] = TABLES if not only else ("arithmetic",) if rows else (only,)
    if active.device != "cpu":
        tables = tuple(table for table in tables if table == "features")
    written = []
    if "features" in tables:
        written += benchmark(out, context_of(active), BenchmarkOptions(repeats=repeats))
    if "arithmetic" in tables:
        written += arithmetic.benchmark(out, arithmetic.ArithmeticOptions(repeats=repeats, only=rows), progress())
    if "processes" in tables:
        written += processes.benchmark(out, processes.ProcessesOptions(repeats=repeats), progress())
    if "traces" in tables:
        written += traces.benchmark(out, traces.TraceOptions(repeats=4 * repeats), progress())
    conclude(print_written(written))


if __name__ == "__main__":
    app()
