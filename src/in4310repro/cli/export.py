"""The command `export`, which writes a run in the formats of reviewers, hubs and archives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from in4310repro.cli import before
from in4310repro.cli.console import conclude, load_torch, print_line, print_written, progress, trust_network
from in4310repro.cli.options import Data, OwnNetwork, RunPath
from in4310repro.export.table import (
    FORMATS,
    LEFT_OUT,
    OPTIONS,
    refuse_dateless,
    refuse_file,
    refuse_no_date,
    refuse_unknown,
    unused,
)

WHAT_FORMATS_ARE = "; ".join(f"{name}: {each.what}" for name, each in FORMATS.items())


def export(
    run: RunPath,
    format_: Annotated[
        str,
        typer.Option("--as", help=f"{WHAT_FORMATS_ARE}.", autocompletion=lambda: list(FORMATS)),
        before.Checked(refuse_unknown),
    ],
    out: Annotated[
        Path,
        typer.Option(help="The folder to write to: a new or empty one, or one with other exports."),
        before.Checked(refuse_file),
    ],
    verification: Annotated[
        Path | None, typer.Option(help="What verify RUN --json printed, as a file."), before.FILE
    ] = None,
    report: Annotated[Path | None, typer.Option(help="The folder of the run's report."), before.REPORT] = None,
    data: Data = None,
    pixels: Annotated[bool, typer.Option(help="Let a bundle hold photographs that the report shows.")] = False,
    date: Annotated[
        str | None,
        typer.Option(help="Day of publication, YYYY-MM-DD; a run records none."),
        before.Checked(refuse_no_date),
    ] = None,
    model: OwnNetwork = None,
) -> None:
    """Write a run in a format that reviewers, hubs or archives read; equal input gives equal bytes.

    An option that the format does not use is named and changes nothing.

    Examples:
        in4310repro export runs/demo --as in-toto --out statement
        in4310repro export runs/demo --as ro-crate --out crate --report reports/demo --date 2026-11-28
        in4310repro export runs/demo --as model-card --out card --verification verified.json   # of verify --json
    """
    refuse_dateless(format_, date)
    load_torch()
    from in4310repro.export import formats, verified
    from in4310repro.export.table import Extras
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.runs.folder import written

    values = {"verification": verification, "report": report, "images": data, "pixels": pixels or None, "date": date}
    given = {name: value for name, value in values.items() if value is not None}
    # Locked where it can be: what is written could not be taken back if the run changed meanwhile.
    with written(run):
        finished = FinishedRun.open(run)
        trust_network(model, finished.config.model)
        extras = Extras(
            verification=None if verification is None else verified.read(verification, finished),
            report=report,
            images=None if data is None else Path(data),
            pixels=pixels,
            date=date,
        )
        files = formats.export(finished, format_, out, extras)
    own = [file for file in files if file.parent == out]
    print_written(own)
    if copies := len(files) - len(own):
        print_line(f"wrote {copies} copies of files of the run and its report below {out}")
    document: dict[str, object] = {"wrote": [str(file) for file in files]}
    if note := formats.describe(format_, files):
        print_line(note)
        document["note"] = note
    if needless := unused(format_, given):
        progress().message(f"--as {format_} does not use {', '.join(needless)}")
        document["not_used"] = needless
    for option, name in OPTIONS.items():
        if name in LEFT_OUT and name in FORMATS[format_].takes and name not in given:
            progress().message(f"left out, since no {option} was given: {LEFT_OUT[name]}")
    conclude(document)
