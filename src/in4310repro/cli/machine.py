"""The commands about this machine: `doctor` and `cache`."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from in4310repro.cli.console import WRONG_INPUT, conclude, load_torch, print_line, print_next


def doctor() -> None:
    """Say what is installed, what is missing and the command that gets it; exit code 0 if the demo can run.

    Examples:
        in4310repro doctor
    """
    load_torch()
    from in4310repro.cli import doctor

    findings = []
    for finding in doctor.examine(Path("runs")):
        sign = "!" if finding.stops_demo else "-" if finding.wanted else "+"
        print_line(f"{sign} {finding.topic:<13}{finding.text}" + (f" -> {finding.wanted}" if finding.wanted else ""))
        findings.append(finding)
    stopped = any(finding.stops_demo for finding in findings)
    if not stopped:
        print_line("the demo can run")
    conclude({"demo_can_run": not stopped, "findings": list(map(asdict, findings))}, WRONG_INPUT if stopped else 0)
    print_next("in4310repro train")


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all of it; it is made again when needed.")] = False,
) -> None:
    """Show how much the cache of decoded images and drawn scenes holds and may hold, or clear it.

    Examples:
        in4310repro cache
        in4310repro cache --clear
    """
    from in4310repro.data.cache import LIMIT_VARIABLE, bytes_by_folder, cache_folder, limit
    from in4310repro.system.machine import size_text

    folder, most, sizes = cache_folder(), limit(), bytes_by_folder()
    for part, size in sizes.items():
        if clear:
            # The folder itself may be one that holds more.
            shutil.rmtree(folder / part, ignore_errors=True)
        print_line(f"{size_text(size):>10}  {'removed from' if clear else 'in'} {folder / part}")
    what = f"{folder / 'pixels'} may hold before the longest unused is evicted; {LIMIT_VARIABLE} sets it, in GB"
    print_line(f"{size_text(most):>10}  {what}")
    conclude({"folder": str(folder), "bytes": sizes, "limit": most, "cleared": clear})
