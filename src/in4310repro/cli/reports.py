"""The commands that write what others read of a run: `report`, and `export` in formats of reviewers and archives."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from in4310repro.cli import console, options
from in4310repro.cli.console import conclude, load_torch, print_line, print_written, progress
from in4310repro.cli.options import RUN, Place, Text, argument, check_run, command, of_config, option
from in4310repro.data.folders import refuse_no_folder
from in4310repro.export import table
from in4310repro.export.table import FORMATS
from in4310repro.models.sources import trust_network
from in4310repro.runs import names, presets
from in4310repro.system import launch
from in4310repro.system.text import shell_word

DEFAULT_RUN = Path("runs/demo")
REPORTS = Path("reports")
FORMATS_ARE = f"{'; '.join(f'{name}: {each.what}' for name, each in FORMATS.items())}."
EXPORTS = "The folder to write to: a new or empty one, or one with other exports."


@command()
@argument("run", f"A run folder; default: {DEFAULT_RUN.as_posix()}.", required=False, check=check_run)
@option("--out", "Folder to write the report to; default: reports/NAME, the name of the run's folder.", Path, RUN)
@option("--photographs/--no-photographs", "Show images in the figures, or only list them.", bool, RUN, default=True)
@option("--pixels", "Also write the decoded test images for check.html, which cannot decode JPEG or PNG.", bool, RUN)
@option("--data", options.MOVED)
@of_config("imagenet", "cifar10", "precision", "device")
@options.AS_RUN
@options.OWN_NETWORK
def report(run: Place, out: Place, data: Text, photographs: bool, pixels: bool, **given: Any) -> None:
    """Measure the feature maps of a run and write its report: Markdown, HTML, figures and their numbers.

    Examples:
        in4310repro report                       # the demo's run; writes reports/demo
        in4310repro report runs/mine
        in4310repro report runs/mine --out published --no-photographs
        in4310repro report runs/mine --pixels    # check.html predicts photographs again from these pixels
    """
    # Options that chose the run in older versions.
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
    run = run or DEFAULT_RUN
    check_run(run)
    for place in filter(None, (data, given["imagenet"], given["cifar10"])):
        refuse_no_folder(place)
    how = {name: given.pop(name) for name in ("model", "numerics", "device")}
    from in4310repro.runs.config import change
    from in4310repro.runs.folder import written

    with nullcontext(True) if launch.is_silent() else written(run) as locked:
        with console.opened(run, **how) as (finished, context):
            configuration = change(finished.config, options.given(given), "options")
            from in4310repro.evaluation.feature_maps import of_run
            from in4310repro.report import check_page, page

            measured = of_run.write_features(finished, configuration, context, data, locked=locked)
        if not context.processes.leads:
            return
        # Named after the run's folder, and numbered where the report of another run is there. Not resolved: a link is
        # as good a name as its target's.
        name = os.path.basename(os.path.abspath(run)) or DEFAULT_RUN.name  # noqa: PTH100, PTH119
        places = [REPORTS / name, *(REPORTS / f"{name}-{number}" for number in range(2, 1000))]
        folder = out or next((each for each in places if page.may_write(measured, each)), places[0])
        if not out and folder != places[0]:
            progress().message(f"{places[0]} holds the report of another run; this one goes to {folder}")
        files = page.write(measured, folder, data, photographs=photographs)
        check_page.write_images(measured, folder, data)
        if pixels:
            files.append(check_page.write_pixels(measured, folder, data, context.progress))
    conclude(print_written(files))
    verifies = f"in4310repro verify {shell_word(f'{measured.folder}')}{measured.config.network.option}"
    console.print_next(
        f"open {folder / 'index.html'}; {verifies} computes its numbers again, and {folder / check_page.PAGE} some of "
        "them in a browser"
    )


@command()
@options.RUN_FOLDER
@option("--as format_", FORMATS_ARE, required=True, values=FORMATS, check=table.refuse_unknown)
@option("--out", EXPORTS, Path, required=True, check=table.refuse_file)
@option("--verification", "File with the output of verify RUN --json.", Path, check=options.check_file)
@option("--report", "The folder of the run's report.", Path, check=names.refuse_no_report)
@options.DATA
@option("--pixels/--no-pixels", "Include the photographs of the report in a bundle.", bool)
@option("--date", "Day of publication, YYYY-MM-DD; a run records none.", check=table.refuse_no_date)
@options.OWN_NETWORK
def export(run: Path, format_: str, out: Path, verification: Place, data: Text, model: Text, **given: Any) -> None:
    """Write a run in a format that reviewers, hubs or archives read; equal input gives equal bytes.

    An option that the format does not use changes nothing, and a message names it.

    Examples:
        in4310repro export runs/demo --as in-toto --out statement
        in4310repro export runs/demo --as ro-crate --out crate --report reports/demo --date 2026-11-28
        in4310repro export runs/demo --as model-card --out card --verification verified.json   # of verify --json
    """
    table.refuse_dateless(format_, given["date"])
    load_torch()
    from in4310repro.export import facts, formats
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.runs.folder import written

    # Locked where possible: what is written could not be taken back if the run changed meanwhile.
    with written(run):
        finished = FinishedRun.open(run)
        trust_network(model, finished.config.model)
        verified_as = facts.read_verification(verification, finished) if verification else None
        extras = table.Extras(verification=verified_as, images=Path(data) if data else None, **given)
        files = formats.export(finished, format_, out, extras)
    own = [file for file in files if file.parent == out]
    print_written(own)
    if copies := len(files) - len(own):
        print_line(f"wrote {copies} copies of files of the run and its report below {out}")
    document: dict[str, object] = {"wrote": [f"{file}" for file in files]}
    if note := formats.describe(format_, files):
        print_line(note)
        document["note"] = note
    used = {name for name, value in vars(extras).items() if value not in (None, False)}
    if needless := table.unused(format_, used):
        progress().message(f"--as {format_} does not use {', '.join(needless)}")
        document["not_used"] = needless
    for flag, name in table.OPTIONS.items():
        if name in table.LEFT_OUT and name in FORMATS[format_].takes and name not in used:
            progress().message(f"left out, since no {flag} was given: {table.LEFT_OUT[name]}")
    conclude(document)
