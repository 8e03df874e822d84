"""The commands that write pages: `report`, `ablation`, `published`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from in4310repro import presets
from in4310repro.cli.console import activate_arithmetic, activate_as_recorded, print_line, print_text, progress
from in4310repro.cli.options import ConfigFile, Out, Preset, RunPath, default_folder, with_overrides
from in4310repro.config import changed_for_report, read_toml

OfTrain = "No effect: train and report take the same options."


@with_overrides
def report(
    preset: Preset = "demo",
    config: ConfigFile = None,
    out: Out = None,
    reports: Annotated[
        Path, typer.Option(help="Where the folder of the report goes, which is named like that of the run.")
    ] = Path("reports"),
    photographs: Annotated[bool, typer.Option(help="Draw the images of figure 7, else only list them.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help=OfTrain)] = False,
    keep_epochs: Annotated[bool, typer.Option("--keep-epochs", help=OfTrain)] = False,
    log_steps: Annotated[str | None, typer.Option(help=OfTrain)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=OfTrain)] = False,
    optimizer: Annotated[str | None, typer.Option(help=OfTrain)] = None,
    learning_rate: Annotated[float | None, typer.Option(help=OfTrain)] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help=OfTrain)] = False,
    overrides: Any = None,
) -> None:
    """Measure the feature maps of a run and write its report: Markdown, HTML, figures and their numbers."""
    del resume, keep_epochs, log_steps, dry_run, optimizer, learning_rate, print_config
    from in4310repro.runs.finished import FinishedRun

    data = presets.configure(preset, config, overrides).data
    run = FinishedRun.open(out or default_folder(preset, data, to_read=True))
    overrides = (read_toml(config) if config else {}) | overrides
    configuration = changed_for_report(run.config, overrides, run.folder)
    numerics = activate_as_recorded(run.fingerprint, overrides.get("numerics"), overrides.get("device"))
    from in4310repro import architectures
    from in4310repro.feature_maps import of_run
    from in4310repro.report import page

    if "model" in overrides:
        architectures.trust(overrides["model"])

    measured = of_run.measure(run, configuration, numerics, overrides.get("data"), progress())
    names = presets.default_names(run.config.preset, run.config.data)
    folder = next(reports / name for name in names if page.may_write(measured, reports / name))
    for file in page.write(measured, folder, overrides.get("data"), photographs=photographs):
        print_line(f"wrote {file}")


@with_overrides
def ablation(
    preset: Preset = "demo",
    config: ConfigFile = None,
    out: Annotated[Path, typer.Option(help="Where the tables go.")] = Path("reports/ablation"),
    runs: Annotated[Path, typer.Option(help="Where the run folders go, named after protocols.")] = Path(
        "runs/ablation"
    ),
    deviations: Annotated[str | None, typer.Option(help="Names joined by commas; default: each, then all.")] = None,
    overrides: Any = None,
) -> None:
    """Turn on one deviation from the assignment at a time and print what it changes."""
    configuration = presets.configure(preset, config, overrides)
    numerics = activate_arithmetic(configuration.numerics, configuration.device)
    from in4310repro.ablation import EACH_THEN_ALL, ablation

    protocols = tuple(deviations.split(",")) if deviations else EACH_THEN_ALL
    for file in ablation(configuration, numerics, runs, out, progress(), protocols=protocols):
        if file.suffix == ".md":
            print_text(file.read_text(encoding="utf-8"))
        print_line(f"wrote {file}")


def published(
    corrected: RunPath,
    published: Annotated[list[Path], typer.Argument(help="Runs of --protocol published, a seed each.")],
    ablation: Annotated[list[Path] | None, typer.Option(help="An ablation.json; may be given several times.")] = None,
    reports: Annotated[Path, typer.Option(help="Where published.md goes.")] = Path("reports"),
) -> None:
    """Compare the published protocol with the corrected one and with what is printed, on one page."""
    from in4310repro.report import published_page
    from in4310repro.runs.finished import FinishedRun

    runs = [FinishedRun.open(folder) for folder in published]
    for file in published_page.write(FinishedRun.open(corrected), runs, ablation or [], reports):
        print_line(f"wrote {file}")
