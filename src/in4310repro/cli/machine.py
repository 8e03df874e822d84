"""The commands about this machine: `doctor` and `cache`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from in4310repro.cli.console import WRONG_INPUT, print_line


def doctor() -> None:
    """Say what is installed, what is missing and the command that gets it; exit code 0 if the demo can run."""
    from in4310repro import doctor

    stopped = False
    for finding in doctor.examine(Path("runs")):
        sign = "!" if finding.stops_demo else "-" if finding.wanted else "+"
        print_line(f"{sign} {finding.topic:<13}{finding.text}" + (f" -> {finding.wanted}" if finding.wanted else ""))
        stopped |= finding.stops_demo
    if stopped:
        raise typer.Exit(WRONG_INPUT)
    print_line("the demo can run: in4310repro train, then in4310repro report")


def cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove all of it; it is made again when needed.")] = False,
) -> None:
    """Show how much the cache of decoded images and drawn scenes holds, or clear it."""
    from in4310repro.data.images import CACHED, cache_folder

    folder = cache_folder()
    for part in CACHED:
        size = sum(file.lstat().st_size for file in (folder / part).rglob("*") if file.is_file())
        if clear:
            # The folder itself may be one that holds more.
            shutil.rmtree(folder / part, ignore_errors=True)
        print_line(f"{size / 2**20:10.1f} MiB  {'removed from' if clear else 'in'} {folder / part}")
