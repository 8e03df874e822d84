"""The studies that take the options of a training, or runs: python -m studies.commands ablation|published --help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from in4310repro import cli
from in4310repro.cli import application, before
from in4310repro.cli.console import (
    activate_arithmetic,
    conclude,
    context_of,
    keep_if,
    load_torch,
    print_text,
    print_written,
)
from in4310repro.cli.help_pages import Command
from in4310repro.cli.options import ConfigFile, Preset, RunPath, with_output, with_overrides
from in4310repro.runs import presets
from in4310repro.runs.deviations import parse
from in4310repro.system import signals


@with_overrides
def ablation(
    preset: Preset = "demo",
    config: ConfigFile = None,
    out: Annotated[Path, typer.Option(help="Where the tables go.")] = Path("reports/ablation"),
    runs: Annotated[Path, typer.Option(help="Where the run folders go, named after protocols.")] = Path(
        "runs/ablation"
    ),
    deviations: Annotated[str | None, typer.Option(help="Joined by commas; default: each alone, then all.")] = None,
    overrides: Any = None,
) -> None:
    """Turn on one deviation from the assignment at a time and print what it changes.

    Examples:
        nox -s ablation --
        nox -s ablation -- --deviations shared-split,warm-start
    """
    configuration = presets.configure(preset, config, overrides)
    for name in deviations.split(",") if deviations else ():
        parse(name)
    before.check_training(configuration)
    numerics = activate_arithmetic(configuration.numerics, configuration.device)
    from in4310repro.runs import names
    from studies.ablation import EACH_THEN_ALL, ablation

    protocols = tuple(deviations.split(",")) if deviations else EACH_THEN_ALL
    keep_if(lambda: any(runs.glob(f"*/{names.CONFIG}")), f"{runs} is kept, and the same command continues")
    files = ablation(configuration, context_of(numerics), runs, out, protocols=protocols)
    for file in files:
        if file.suffix == ".md":
            print_text(file.read_text(encoding="utf-8"))
    conclude(print_written(files))


def published(
    corrected: RunPath,
    published: Annotated[
        list[Path], typer.Argument(help="Runs of --protocol published, each with its own seed."), before.RUN
    ],
    ablation: Annotated[
        list[Path] | None, typer.Option(help="An ablation.json; may be given several times."), before.FILE
    ] = None,
    reports: Annotated[Path, typer.Option(help="Where published.md goes.")] = Path("reports"),
    from_imagenet: Annotated[
        bool, typer.Option("--from-imagenet", help="The runs start from ImageNet weights: add them to the page.")
    ] = False,
) -> None:
    """Compare the supposed protocol with the corrected one and with what is printed, on one page.

    Examples:
        python -m studies.commands published runs/corrected runs/published runs/published-1
        python -m studies.commands published runs/photographs runs/photographs-published --from-imagenet
    """
    load_torch()
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.runs.folder import unchanged
    from studies.published import page as published_page

    write = published_page.write_evidence if from_imagenet else published_page.write
    with unchanged(corrected, *published):
        opened, *runs = map(FinishedRun.open, (corrected, *published))
    conclude(print_written(write(opened, runs, ablation or [], reports)))


COMMANDS: tuple[Callable[..., None], ...] = (ablation, published)


def make_app() -> typer.Typer:
    """Return the command line of the studies."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    for command in COMMANDS:
        app.command(cls=Command)(with_output(command))
    return app


def main(words: Sequence[str] | None = None) -> None:
    """Run the study that the first of the words names, and end as a command of the package ends."""
    application.app = make_app()
    cli.main(words)


if __name__ == "__main__":
    signals.take_over_process()
    main()
