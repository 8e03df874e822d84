"""The command that writes a page: `report`."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from in4310repro.cli import before
from in4310repro.cli.console import (
    activate_as_recorded,
    conclude,
    context_of,
    load_torch,
    print_next,
    print_written,
    progress,
    trust_network,
)
from in4310repro.cli.options import (
    MOVED,
    RUN,
    Cifar10,
    ImageNet,
    OfRun,
    OnDevice,
    OwnNetwork,
    Precision,
    option,
)
from in4310repro.runs import presets
from in4310repro.system.text import shell_word

if TYPE_CHECKING:
    from in4310repro.runs.finished import FinishedRun

DEFAULT_RUN = Path("runs/demo")
REPORTS = Path("reports")


def report(
    run: Annotated[
        Path | None, typer.Argument(help=f"A run folder; default: {DEFAULT_RUN.as_posix()}."), before.RUN
    ] = None,
    out: Annotated[
        Path | None, option("Folder to write the report to; default: reports/NAME, the name of the run's folder.", RUN)
    ] = None,
    photographs: Annotated[bool, option("Show images in the figures; otherwise only list them.", RUN)] = True,
    pixels: Annotated[
        bool,
        option("Also write the decoded test images for check.html, which decodes no JPEG or PNG.", RUN, "--pixels"),
    ] = False,
    data: Annotated[str | None, typer.Option(help=MOVED)] = None,
    imagenet: ImageNet = None,
    cifar10: Cifar10 = None,
    precision: Precision = None,
    device: OnDevice = None,
    numerics: OfRun = None,
    model: OwnNetwork = None,
) -> None:
    """Measure the feature maps of a run and write its report: Markdown, HTML, figures and their numbers.

    Examples:
        in4310repro report                       # the demo's run; writes reports/demo
        in4310repro report runs/mine
        in4310repro report runs/mine --out published --no-photographs
        in4310repro report runs/mine --pixels    # check.html predicts photographs again from these pixels
    """
    _refuse_former_use(run, out, data)
    chosen = {"imagenet": imagenet, "cifar10": cifar10, "precision": precision}
    before.check_run(run or DEFAULT_RUN)
    for place in filter(None, (data, imagenet, cifar10)):
        before.FOLDER.check(place)
    load_torch()
    from in4310repro.runs.config import change
    from in4310repro.runs.finished import open_run
    from in4310repro.runs.folder import written
    from in4310repro.system.processes import join

    with ExitStack() as until_written:
        with join("cpu") as processes:
            locked = not processes.leads or until_written.enter_context(written(run or DEFAULT_RUN))
            with open_run(run or DEFAULT_RUN, processes) as finished:
                trust_network(model, finished.config.model)
                given = {name: value for name, value in chosen.items() if value is not None}
                configuration = change(finished.config, given, "options")
                active = activate_as_recorded(finished.fingerprint, numerics, device)
                from in4310repro.evaluation.feature_maps import of_run
                from in4310repro.report import check_page, page

                context = context_of(active, processes)
                measured = of_run.write_features(finished, configuration, context, data, locked=locked)
        if not processes.leads:
            return
        folder = out or _free_folder(measured)
        files = page.write(measured, folder, data, photographs=photographs)
        check_page.write_images(measured, folder, data)
        if pixels:
            files.append(check_page.write_pixels(measured, folder, data, progress()))
    conclude(print_written(files))
    verifies = f"in4310repro verify {shell_word(f'{measured.folder}')}{measured.config.network.option}"
    print_next(
        f"open {folder / 'index.html'}; {verifies} computes its numbers again, and {folder / check_page.PAGE} some of "
        "them in a browser"
    )


def _refuse_former_use(run: Path | None, out: Path | None, data: str | None) -> None:
    """Raise ValueError if `--out` or `--data` is used to choose the run, as in older versions."""
    from in4310repro.runs import names

    of_runs = out and not run and out.absolute().parent == DEFAULT_RUN.parent.absolute()
    if out and (of_runs or all((out / name).is_file() for name in (names.CONFIG, names.MANIFEST))):
        raise ValueError(
            f"--out {out} names a run, and --out is what report writes; the run is the argument: "
            f"in4310repro report {shell_word(f'{out}')} [--out FOLDER]"
        )
    if data and not run:
        made = Path("runs") / next(presets.default_names(DEFAULT_RUN.name, data))
        raise ValueError(
            f"--data {data} without a run; the run is the argument: in4310repro report {shell_word(made.as_posix())}, "
            "where --data says where its images are now"
        )


def _free_folder(run: FinishedRun) -> Path:
    """Return the folder for a run's report, named after the run's folder.

    A number is added to the name if the folder with this name holds the report of another run.
    """
    from in4310repro.report import page

    # Not resolved: a link is as good a name as its target's.
    name = os.path.basename(os.path.abspath(run.folder)) or DEFAULT_RUN.name  # noqa: PTH100, PTH119
    first, *others = (REPORTS / each for each in (name, *(f"{name}-{number}" for number in range(2, 1000))))
    if page.may_write(run, first):
        return first
    free = next((folder for folder in others if page.may_write(run, folder)), first)
    progress().message(f"{first} holds the report of another run; this one goes to {free}")
    return free
