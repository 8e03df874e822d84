"""The commands on image folders: `data scenes` and `data check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from in4310repro.cli.console import conclude, print_findings, print_line, print_text, progress
from in4310repro.cli.helping import Command, Group
from in4310repro.cli.options import JsonOut
from in4310repro.cli.signatures import with_output

HELP = """Image folders: check one, draw the embedded scenes.

    Examples:
        in4310repro data check photos/mine
        in4310repro data scenes scenes
    """
app = typer.Typer(cls=Group, rich_markup_mode=None, invoke_without_command=True, help=HELP)


@app.callback()
def start(context: typer.Context) -> None:
    """What is done without a command: the help is printed."""
    if context.invoked_subcommand is None:
        print_text(context.get_help())


def scenes(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    images: Annotated[int, typer.Option(help="Images of each class.", min=1, max=10**7)] = 100,
    image_size: Annotated[int, typer.Option(help="Side, pixels.", min=16, max=2**14)] = 64,
    seed: Annotated[int, typer.Option(help="Of what is drawn.", min=0, max=2**63 - 1)] = 0,
) -> None:
    """Draw the embedded scenes into class folders.

    Examples:
        in4310repro data scenes scenes                       # 100 images of each class, 64 px
        in4310repro data scenes scenes --images 130 --seed 1
    """
    from in4310repro.capacity import refuse_beyond_disk
    from in4310repro.data.embedded import write_scenes
    from in4310repro.data.scenes import CLASSES

    need = images * len(CLASSES) * image_size**2 * 3
    refuse_beyond_disk(f"{images} images of each class at --image-size {image_size} take", need, folder)
    write_scenes(folder, images, image_size, seed, progress())
    print_line(f"wrote {folder}")
    conclude({"wrote": [str(folder)]})


def check(
    folder: Annotated[Path, typer.Argument(help="A folder of class folders.")],
    split: Annotated[Path | None, typer.Option(help="A run's split.csv: look for leaks between its parts.")] = None,
    out: JsonOut = None,
) -> None:
    """Look for unreadable images, copies, conflicting labels, leaks and wrong rows; exit code 1 for any.

    Examples:
        in4310repro data check photos/mine
        in4310repro data check photos/mine --split runs/mine/split.csv --out findings.json
    """
    from in4310repro.data import check

    findings = check.check(folder, split, progress())
    print_findings(check.render(findings), findings.to_json(), out, wrong=findings.wrong)


for command in (scenes, check):
    app.command(cls=Command)(with_output(command))
