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


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Where the tables go.")] = Path("reports/bench"),
    device: Annotated[str, typer.Option(help=Device)] = "cpu",
    repeats: Annotated[int, typer.Option(help="Alternating repeats, at least.", min=1, max=1000)] = 5,
) -> None:
    """Time feature statistics against peers, portable beside native arithmetic, several processes, and traces.

    It takes minutes; pip install -e '.[bench]' brings the peers.
    """
    active = activate_arithmetic("native", device)
    written = benchmark(out, context_of(active), BenchmarkOptions(repeats=repeats))
    if active.device == "cpu":
        written += arithmetic.benchmark(out, arithmetic.ArithmeticOptions(repeats=repeats), progress())
        written += processes.benchmark(out, processes.ProcessesOptions(repeats=repeats), progress())
        written += traces.benchmark(out, traces.TraceOptions(repeats=4 * repeats), progress())
    conclude(print_written(written))


if __name__ == "__main__":
    app()
