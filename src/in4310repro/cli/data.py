"""The commands on image folders: `data scenes` and `data check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from in4310repro.cli.console import print_findings, print_line, progress
from in4310repro.cli.options import JsonOut

app = typer.Typer(no_args_is_help=True, help="Image folders: check one, draw the embedded scenes.")


@app.command()
def scenes(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    images: Annotated[int, typer.Option(help="Images of each class.", min=1, max=10**7)] = 100,
    image_size: Annotated[int, typer.Option(help="Side, pixels.", min=16, max=2**14)] = 64,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1)] = 0,
) -> None:
    """Draw the embedded scenes into class folders."""
    from in4310repro.capacity import refuse_beyond_disk
    from in4310repro.data.embedded import write_scenes
    from in4310repro.data.scenes import CLASSES

    need = images * len(CLASSES) * image_size**2 * 3
    refuse_beyond_disk(f"{images} images of each class at --image-size {image_size} take", need, folder)
    write_scenes(folder, images, image_size, seed, progress())
    print_line(f"wrote {folder}")


@app.command()
def check(
    folder: Annotated[Path, typer.Argument(help="A folder of class folders.")],
    split: Annotated[Path | None, typer.Option(help="A run's split.csv: look for leaks between its parts.")] = None,
    out: JsonOut = None,
) -> None:
    """Look for unreadable images, copies, conflicting labels, leaks and wrong rows; exit code 1 for any."""
    from in4310repro.data import check

    findings = check.check(folder, split, progress())
    print_findings(check.render(findings), findings.to_json(), out, wrong=findings.wrong)
