"""The command `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from in4310repro.cli.console import (
    activate_as_recorded,
    conclude,
    context_of,
    load_torch,
    print_line,
    print_text,
    trust_network,
)
from in4310repro.cli.options import Device, OfRun, OwnNetwork, RunPath


def predict(
    run: RunPath,
    images: Annotated[list[Path], typer.Argument(help="Image files, and folders of images at any depth.")],
    out: Annotated[Path | None, typer.Option(help="A .csv or .json file; default: CSV on standard output.")] = None,
    device: Annotated[str | None, typer.Option(help=Device)] = None,
    numerics: OfRun = None,
    model: OwnNetwork = None,
) -> None:
    """Say which class a run's network gives to images, with the softmax score of each class.

    Examples:
        in4310repro predict runs/demo photo.jpg
        in4310repro predict runs/demo photos more/photo.jpg --out predictions.csv
    """
    load_torch()
    from in4310repro.runs.finished import open_run
    from in4310repro.system.processes import join

    if out and out.suffix not in (".csv", ".json"):
        raise ValueError(f"--out {out}; a name that ends with .csv or .json is valid")
    with join("cpu") as processes, open_run(run, processes) as finished:
        trust_network(model, finished.config.model)
        active = activate_as_recorded(finished.fingerprint, numerics, device)
        from in4310repro.evaluation.evaluation import label
        from in4310repro.system.files import write_file

        labelled = label(finished, context_of(active, processes), images)
    if not processes.leads:
        return
    if out:
        print_line(f"wrote {write_file(out, labelled.content(out.suffix))}: {len(labelled.paths)} images")
        conclude({"wrote": [str(out)], "images": len(labelled.paths)})
    else:
        print_text(labelled.to_csv().removesuffix("\n"))
        conclude(labelled.to_json())
