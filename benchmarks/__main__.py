"""Entry point of `python -m benchmarks`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import arithmetic, processes, traces
from benchmarks.features import BenchmarkOptions, benchmark
from in4310repro.cli.console import activate, conclude, print_written

TABLES = ("features", "arithmetic", "processes", "traces")
ONLY = (
    f"One table ({', '.join(TABLES)}), or the rows of arithmetic with this in their name, such as 'resnet18, 64 px' or "
    "'1 image, inference'; with rows, give --out as well."
)


@click.command(context_settings={"show_default": True})
@click.option("--out", type=Path, default=Path("reports/bench"), help="Where the tables go.")
@click.option("--device", default="cpu", help="auto, cpu or cuda.")
@click.option("--repeats", type=click.IntRange(1, 1000), default=7, help="Alternating repeats, at least.")
@click.option("--only", default="", help=ONLY)
def main(out: Path, device: str, repeats: int, only: str) -> None:
    """Time feature statistics against peers, portable beside native arithmetic, several processes, and traces.

    On two cores, arithmetic takes about 12 minutes and features about 15; pip install -e '.[bench]' brings the peers.
    """
    context = activate("native", device)
    rows = "" if only in TABLES else only
    tables: tuple[str, ...] = TABLES if not only else ("arithmetic",) if rows else (only,)
    if context.numerics.device != "cpu":
        tables = tuple(table for table in tables if table == "features")
    written = []
    if "features" in tables:
        written += benchmark(out, context, BenchmarkOptions(repeats=repeats))
    if "arithmetic" in tables:
        written += arithmetic.benchmark(out, arithmetic.ArithmeticOptions(repeats=repeats, only=rows), context.progress)
    if "processes" in tables:
        written += processes.benchmark(out, processes.ProcessesOptions(repeats=repeats), context.progress)
    if "traces" in tables:
        written += traces.benchmark(out, traces.TraceOptions(repeats=4 * repeats), context.progress)
    conclude(print_written(written))


if __name__ == "__main__":
    main()
