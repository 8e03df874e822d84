"""The studies that take the options of a training, or runs: python -m studies.commands ablation|published --help."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from in4310repro import cli
from in4310repro.cli import application, console, options, training
from in4310repro.cli.options import Group, argument, command, option
from in4310repro.runs import names, presets
from in4310repro.runs.deviations import parse
from in4310repro.system import signals


@command()
@option(
    "--preset",
    f"Settings to start from: {', '.join(presets.PRESETS)}.",
    panel=options.RUN,
    values=presets.PRESETS,
    default="demo",
)
@options.CONFIG_FILE
@option("--out", "Where the tables go.", Path, default=Path("reports/ablation"))
@option("--runs", "Where the run folders go, named after protocols.", Path, default=Path("runs/ablation"))
@option("--deviations", "Joined by commas; default: each alone, then all.")
@options.OVERRIDES
def ablation(preset: str, config: Path | None, out: Path, runs: Path, deviations: str | None, **overrides: Any) -> None:
    """Turn on one deviation from the assignment at a time and print what it changes.

    Examples:
        nox -s ablation --
        nox -s ablation -- --deviations shared-split,warm-start
    """
    configuration = presets.configure(preset, config, options.given(overrides))
    for name in deviations.split(",") if deviations else ():
        parse(name)
    training.check_training(configuration)
    context = console.activate(configuration.numerics, configuration.device)
    from studies.ablation import EACH_THEN_ALL, ablation

    protocols = tuple(deviations.split(",")) if deviations else EACH_THEN_ALL
    console.keep_if(lambda: any(runs.glob(f"*/{names.CONFIG}")), f"{runs} is kept, and the same command continues")
    files = ablation(configuration, context, runs, out, protocols=protocols)
    for file in files:
        if file.suffix == ".md":
            console.print_text(file.read_text(encoding="utf-8"))
    console.conclude(console.print_written(files))


@command()
@argument("corrected", options.A_RUN, check=options.check_run)
@argument(
    "published",
    "Runs of --protocol published, each with its own seed.",
    nargs=-1,
    required=True,
    check=options.check_run,
)
@option("--ablation", "An ablation.json; may be given several times.", Path, multiple=True, check=options.check_file)
@option("--reports", "Where published.md goes.", Path, default=Path("reports"))
@option("--from-imagenet", "The runs start from ImageNet weights: add them to the page.", bool)
def published(
    corrected: Path, published: tuple[Path, ...], ablation: tuple[Path, ...], reports: Path, from_imagenet: bool
) -> None:
    """Compare the supposed protocol with the corrected one and with what is printed, on one page.

    Examples:
        python -m studies.commands published runs/corrected runs/published runs/published-1
        python -m studies.commands published runs/photographs runs/photographs-published --from-imagenet
    """
    console.load_torch()
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.runs.folder import unchanged
    from studies.published import page as published_page

    write = published_page.write_evidence if from_imagenet else published_page.write
    with unchanged(corrected, *published):
        opened, *runs = map(FinishedRun.open, (corrected, *published))
    console.conclude(console.print_written(write(opened, runs, ablation, reports)))


def make_app() -> Group:
    """Return the command line of the studies."""
    app = Group("studies", "Studies of the published report.", show_default=True)
    for each in (ablation, published):
        app.add_command(each)
    return app


def main(words: Sequence[str] | None = None) -> None:
    """Run the study that the first of the words names, and end as a command of the package ends."""
    application.app = make_app()
    cli.main(words)


if __name__ == "__main__":
    signals.take_over_process()
    main()
