"""The commands that write pages: `report`, `ablation`, `published`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from in4310repro import presets
from in4310repro.cli.console import (
    activate_arithmetic,
    activate_as_recorded,
    conclude,
    keep_if,
    load_torch,
    naming,
    print_next,
    print_text,
    print_written,
    progress,
)
from in4310repro.cli.options import RUN, ConfigFile, Out, Overrides, Preset, RunPath, default_folder, option
from in4310repro.cli.signatures import hiding, taking_options_of, with_overrides
from in4310repro.cli.training import train
from in4310repro.config import FREE_IN_REPORTS, changed_for_report, read_toml

# What a run has decided: `report` refuses other values. A network of one's own is named again.
DECIDED = [name for name in Overrides.__annotations__ if name not in (*FREE_IN_REPORTS, "model")]


@taking_options_of(train)
@hiding(*DECIDED)
@with_overrides
def report(
    preset: Preset = "demo",
    config: ConfigFile = None,
    out: Out = None,
    reports: Annotated[
        Path, option("Where the folder of the report goes, which is named like that of the run.", RUN)
    ] = Path("reports"),
    photographs: Annotated[bool, option("Draw the images of figure 7, else only list them.", RUN)] = True,
    overrides: Any = None,
) -> None:
    """Measure the feature maps of a run and write its report: Markdown, HTML, figures and their numbers.

    Examples:
        in4310repro report
        in4310repro report --data photos/mine
        in4310repro report --out runs/demo --no-photographs
    """
    data = presets.configure(preset, config, overrides).data
    load_torch()
    from in4310repro.processes import joined
    from in4310repro.runs.sent import opened

    folder = out or default_folder(preset, data, to_read=True)
    with joined("cpu") as processes, opened(folder, processes) as run:
        overrides = (read_toml(config) if config else {}) | overrides
        configuration = changed_for_report(run.config, overrides, run.folder)
        numerics = activate_as_recorded(run.fingerprint, overrides.get("numerics"), overrides.get("device"))
        from in4310repro import architectures
        from in4310repro.feature_maps import of_run
        from in4310repro.report import page

        if "model" in overrides:
            architectures.trust(overrides["model"])

        measured = of_run.measure(run, configuration, numerics, overrides.get("data"), progress(), processes)
    if not processes.leads:
        return
    names = presets.default_names(run.config.preset, run.config.data)
    folder = next(reports / name for name in names if page.may_write(measured, reports / name))
    files = page.write(measured, folder, overrides.get("data"), photographs=photographs)
    conclude(print_written(files))
    verifies = f"in4310repro verify {run.folder}{naming(run.config.model)}"
    print_next(f"open {folder / 'index.html'}; {verifies} proves its numbers")


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
    """Turn on one deviation from the assignment at a time and print what it changes.

    Examples:
        in4310repro ablation
        in4310repro ablation --deviations shared-split,warm-start
    """
    configuration = presets.configure(preset, config, overrides)
    numerics = activate_arithmetic(configuration.numerics, configuration.device)
    from in4310repro.ablation import EACH_THEN_ALL, ablation
    from in4310repro.runs import names

    protocols = tuple(deviations.split(",")) if deviations else EACH_THEN_ALL
    keep_if(lambda: any(runs.glob(f"*/{names.CONFIG}")), f"{runs} is kept, and the same command continues")
    files = ablation(configuration, numerics, runs, out, progress(), protocols=protocols)
    for file in files:
        if file.suffix == ".md":
            print_text(file.read_text(encoding="utf-8"))
    conclude(print_written(files))


def published(
    corrected: RunPath,
    published: Annotated[list[Path], typer.Argument(help="Runs of --protocol published, a seed each.")],
    ablation: Annotated[list[Path] | None, typer.Option(help="An ablation.json; may be given several times.")] = None,
    reports: Annotated[Path, typer.Option(help="Where published.md goes.")] = Path("reports"),
    from_imagenet: Annotated[
        bool, typer.Option("--from-imagenet", help="The runs start from ImageNet weights: add them to the page.")
    ] = False,
) -> None:
    """Compare the published protocol with the corrected one and with what is printed, on one page.

    Examples:
        in4310repro published runs/corrected runs/published-0 runs/published-1
        in4310repro published runs/photographs runs/photographs-published --from-imagenet
    """
    load_torch()
    from in4310repro.report import published_page
    from in4310repro.runs.finished import FinishedRun

    runs = [FinishedRun.open(folder) for folder in published]
    write = published_page.write_evidence if from_imagenet else published_page.write
    conclude(print_written(write(FinishedRun.open(corrected), runs, ablation or [], reports)))
