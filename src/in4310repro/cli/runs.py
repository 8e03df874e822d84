"""The commands that read a run: `verify`, `compare`, `evaluate`; and `fingerprint`, which a run records."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from in4310repro.cli.console import (
    DIFFERENCE,
    WRONG_INPUT,
    activate_arithmetic,
    activate_as_recorded,
    conclude,
    load_torch,
    print_error,
    print_line,
    print_next,
    print_text,
    progress,
    trust_network,
)
from in4310repro.cli.options import (
    DEVICES,
    MACHINE,
    Data,
    Device,
    OfRun,
    OnDevice,
    OwnNetwork,
    RunPath,
    choices,
    option,
)
from in4310repro.config import CHOICES

if TYPE_CHECKING:
    from in4310repro.numerics import Numerics
    from in4310repro.replay.plan import Plan

Replay = Annotated[
    int | None, typer.Option(help="Train the first, last and selected epoch again, and so many that are drawn.")
]
Draw = Annotated[int | None, typer.Option(help="Seed of the draw of --replay; default: a new one, printed.")]


def verify(
    run: RunPath,
    data: Data = None,
    numerics: OfRun = None,
    report: Annotated[Path | None, typer.Option(help="Compare the JSON files and pages of this report, too.")] = None,
    manifest_sha256: Annotated[str | None, typer.Option(help="Compare with what the last line prints.")] = None,
    replay: Replay = None,
    draw: Draw = None,
    model: OwnNetwork = None,
) -> None:
    """Compute again what follows from a run's weights, images and seed, and compare; exit code 1 on a difference.

    Examples:
        in4310repro verify runs/demo
        in4310repro verify runs/demo --report reports/demo
        in4310repro verify runs/mine --data moved/mine
        in4310repro verify runs/demo --replay 2   # of a run of train --keep-epochs
    """
    load_torch()
    from in4310repro.fingerprint import Fingerprint
    from in4310repro.replay.plan import check_request
    from in4310repro.runs import names
    from in4310repro.verification import changed_essentials, other_manifest, recorded_files

    check_request(replay, draw)
    files = recorded_files(run)
    committed = other_manifest(files, manifest_sha256)
    if essentials := changed_essentials(files):
        _end_with([*committed, *essentials])
    trust_network(model, files.read_json(names.CONFIG).get("model"))
    active = activate_as_recorded(files.read_record(names.FINGERPRINT, Fingerprint), numerics, None)
    from in4310repro import verification
    from in4310repro.report.check import report_differences

    try:
        plan = None if replay is None else _plan(run, active, replay, draw)
        verified = verification.verify(run, active, data, progress())
        of_report = report_differences(run, report) if report and not verified.differences else []
    except ValueError as error:
        # Images that are not there are no fault of the run; what is known by then is said all the same.
        if committed:
            _end_with([*committed, str(error)])
        raise
    _end_with([*committed, *verified.differences, *of_report])
    for line in verification.last_lines(run, verified, report):
        print_line(line)
    document = asdict(verified)
    if plan is None:
        conclude(document)
        print_next(f"hand on this sha256; in4310repro verify {run} --manifest-sha256 SHA256 compares it")
    else:
        _replay(run, active, plan, data, document)


def _end_with(differences: list[str]) -> None:
    """Prints differences, and ends with exit code 1 where there are any."""
    for difference in differences:
        print_line(f"difference: {difference}")
    if differences:
        conclude({"differences": differences}, DIFFERENCE)


def _plan(run: Path, numerics: Numerics, draws: int, seed: int | None) -> Plan | None:
    """What is trained again, before hours of computing; None where the run cannot be read, which is a difference.

    Raises:
        ValueError: too many are to be drawn, or the run was made in other arithmetic.
    """
    from in4310repro.replay.of_run import missing_epochs, plan_replay
    from in4310repro.runs.finished import FinishedRun

    try:
        finished = FinishedRun.open(run)
    except (ValueError, OSError):
        return None
    plan = plan_replay(finished, draws, seed, numerics)
    if missing := missing_epochs(finished, plan):
        # Now, and not after hours; what can be trained again may be evidence all the same.
        progress().message(f"{missing}; only the others are trained again")
    return plan


def _replay(run: Path, numerics: Numerics, plan: Plan, data: str | None, document: dict[str, Any]) -> None:
    """Trains epochs of a verified run again; exit code 1 on a difference, else 2 where one is missing."""
    from in4310repro.replay.lines import difference_lines, missing_line, result_lines
    from in4310repro.replay.of_run import replay
    from in4310repro.runs.finished import FinishedRun

    result = replay(FinishedRun.open(run), plan, numerics, data, progress())
    for difference in result.differences:
        print_line(f"difference: {difference}")
    for line in (difference_lines if result.differences else result_lines)(result):
        print_line(line)
    if result.missing:
        print_error(missing_line(result))
    document |= {"differences": result.differences, "replayed": result.replayed, "drawn": result.plan.drawn}
    document |= {"draw": result.plan.seed, "missing": result.missing}
    conclude(document, DIFFERENCE if result.differences else WRONG_INPUT if result.missing else 0)


def compare(first: RunPath, second: RunPath) -> None:
    """Say whether two runs are equal to the bit and, if not, where they begin to differ; exit code 1 if not.

    Examples:
        in4310repro compare runs/demo runs/demo.1
    """
    load_torch()
    from in4310repro.compare import COMPARED, compare_runs
    from in4310repro.runs.finished import FinishedRun

    mismatches = compare_runs(FinishedRun.open(first), FinishedRun.open(second))
    for mismatch in mismatches:
        print_line(mismatch)
    if not mismatches:
        print_line(f"{first} and {second} are equal to the bit: {COMPARED}")
    conclude({"equal": not mismatches, "differences": mismatches}, DIFFERENCE if mismatches else 0)


def evaluate(
    run: RunPath,
    data: Annotated[str | None, typer.Option(help="Folder of class folders; default: the run's test set.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="JSON file for the result, or a .csv file of every image and its scores.")
    ] = None,
    device: OnDevice = None,
    numerics: OfRun = None,
    model: OwnNetwork = None,
) -> None:
    """Measure a run's selected network on its test set, or on every image of another folder.

    Examples:
        in4310repro evaluate runs/demo
        in4310repro evaluate runs/demo --json    # with the confusion matrix
        in4310repro evaluate runs/mine --data photos/other --out each.csv
    """
    load_torch()
    from in4310repro.processes import joined
    from in4310repro.runs.sent import opened

    with joined("cpu") as processes, opened(run, processes) as finished:
        trust_network(model, finished.config.model)
        active = activate_as_recorded(finished.fingerprint, numerics, device)
        from in4310repro import evaluation
        from in4310repro.files import json_bytes, write_file

        measured, scores = evaluation.evaluate(finished, active, data, progress(), processes=processes)
    if not processes.leads:
        return
    print_text(evaluation.to_text(measured))
    if out:
        csv = out.suffix == ".csv"
        write_file(out, scores.to_csv(finished.classes).encode() if csv else json_bytes(measured))
        print_line(f"wrote {out}")
    conclude(measured)


def fingerprint(
    numerics: Annotated[str, option(choices("numerics"), MACHINE, of=CHOICES["numerics"])] = "auto",
    device: Annotated[str, option(Device, MACHINE, of=DEVICES)] = "auto",
) -> None:
    """Print all that could explain another result: libraries, processor, arithmetic, source.

    Examples:
        in4310repro fingerprint
        in4310repro fingerprint --numerics portable
    """
    active = activate_arithmetic(numerics, device)
    from in4310repro.features import kernel_description
    from in4310repro.files import json_bytes
    from in4310repro.fingerprint import fingerprint

    content = fingerprint(active) | {"feature_kernel": kernel_description()}
    print_text(json_bytes(content).decode().rstrip())
    conclude(content)
