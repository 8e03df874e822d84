"""The command `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from in4310repro.cli.console import activate_arithmetic, conclude, context_of, print_written, progress
from in4310repro.cli.options import Device


def bench(
    out: Annotated[Path, typer.Option(help="Where the tables go.")] = Path("reports/bench"),
    device: Annotated[str, typer.Option(help=Device)] = "cpu",
    repeats: Annotated[int, typer.Option(help="Alternating repeats, at least.", min=1, max=1000)] = 5,
) -> None:
    """Time feature statistics against peers, portable beside native arithmetic, and several processes beside one.

    Examples:
        in4310repro bench                   # takes minutes; pip install -e '.[bench]' brings the peers
        in4310repro bench --device cuda
    """
    active = activate_arithmetic("native", device)
    from in4310repro.bench import arithmetic, processes
    from in4310repro.bench.features import BenchmarkOptions, benchmark

    written = benchmark(out, context_of(active), BenchmarkOptions(repeats=repeats))
    if active.device == "cpu":
        written += arithmetic.benchmark(out, arithmetic.ArithmeticOptions(repeats=repeats), progress())
        written += processes.benchmark(out, processes.ProcessesOptions(repeats=repeats), progress())
    conclude(print_written(written))
