"""The commands that read a run: `verify`, `compare`, `evaluate` and `predict`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from in4310repro.cli import before
from in4310repro.cli.console import (
    DIFFERENCE,
    activate_as_recorded,
    conclude,
    context_of,
    load_torch,
    print_error,
    print_line,
    print_next,
    print_text,
    progress,
    trust_network,
)
from in4310repro.cli.options import MOVED, ClassFolders, OfRun, OnDevice, OwnNetwork, RunPath
from in4310repro.system.text import shell_command

if TYPE_CHECKING:
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.system.numerics import Numerics
    from in4310repro.verification.replay.of_run import Plan
    from in4310repro.verification.replay.of_run import Replay as ReplayOfSetting
    from in4310repro.verification.routine import Verdict


def _not_negative(option: str) -> before.Checked:
    def check(value: int) -> None:
        if value < 0:
            raise ValueError(f"{option} {value}; expected at least 0")

    return before.Checked(check)


Replay = Annotated[
    int | None,
    typer.Option(help="Train the first, last and selected epoch again, and this many random ones."),
    _not_negative("--replay"),
]
Draw = Annotated[
    int | None, typer.Option(help="Seed of the draw of --replay; default: a new one, printed."), _not_negative("--draw")
]
Setting = Annotated[str | None, typer.Option(help="Setting to replay, or all of them; default: the selected one.")]


def verify(
    run: Annotated[Path, typer.Argument(help="A run folder, such as runs/demo, or a bundle of one.")],
    # Not checked before: differences that are known without the images are printed nevertheless.
    data: Annotated[str | None, typer.Option(help=MOVED)] = None,
    numerics: OfRun = None,
    report: Annotated[
        Path | None, typer.Option(help="Compare the JSON files and pages of this report, too."), before.REPORT
    ] = None,
    manifest_sha256: Annotated[str | None, typer.Option(help="The sha256 that verify printed, to compare.")] = None,
    replay: Replay = None,
    draw: Draw = None,
    setting: Setting = None,
    model: OwnNetwork = None,
) -> None:
    """Compute again what follows from a run's weights, images and seed, and compare; exit code 1 on a difference.

    Examples:
        in4310repro verify runs/demo
        in4310repro verify runs/demo --report reports/demo
        in4310repro verify runs/mine --data moved/mine
        in4310repro verify runs/demo --replay 2   # needs a run of train --keep-epochs
        in4310repro verify runs/demo --replay 18 --setting all
        in4310repro verify bundle.zip             # of export --as bundle
    """
    from in4310repro.runs.folder import RunFolder, unchanged
    from in4310repro.runs.names import MANIFEST, OF_RUN

    for name, given in (("--draw", draw), ("--setting", setting)):
        if replay is None and given is not None:
            raise ValueError(f"{name} {given} says what --replay K trains again, and --replay is not given")
    try:
        # A folder with any file of a run counts as one, whatever was taken from it.
        if not (run.is_file() or any((run / name).is_file() for name in (MANIFEST, *OF_RUN))):
            RunFolder.open(run)
        load_torch()
        request = _Request(data, numerics, report, manifest_sha256, replay, draw, setting, model)
        with unchanged(run):
            answer = (_verify_bundle if run.is_file() else _verify)(run, request)
    except (ValueError, OSError):
        print_line(f"{run}: neither verified nor refuted; the error says what is missing")
        raise
    for line in answer.lines:
        print_line(line)
    if answer.error:
        print_error(answer.error)
    conclude(answer.document, answer.code)
    if replay is None:
        again = shell_command(["in4310repro", "verify", f"{run}", "--manifest-sha256", "SHA256"])
        print_next(f"hand on this sha256; {again} compares it")


@dataclass(frozen=True)
class _Request:
    data: str | None
    numerics: str | None
    report: Path | None
    manifest_sha256: str | None
    replay: int | None
    draw: int | None
    setting: str | None
    model: str | None
    differences: tuple[str, ...] = ()  # that are known before
    shown: Callable[[str], str] = str  # returns a text as it is printed


def _verify_bundle(file: Path, request: _Request) -> Verdict:
    """Verify the run of a bundle like a folder, its report and images with it; return output that names the bundle.

    Raises:
        ValueError: the file is no bundle, or as for a folder.
    """
    from in4310repro.verification.bundle import bundle_differences, describe_unchecked, unchecked_in_bundle, unpacked

    with unpacked(file) as bundle:
        data, report = request.data or bundle.images, request.report or bundle.report
        request = replace(request, data=f"{data}" if data else None, report=report, shown=bundle.shown)
        answer = _verify(bundle.run, replace(request, differences=tuple(bundle_differences(bundle))))
        lines, document = answer.lines, answer.document
        if "proven" in document:
            listed = unchecked_in_bundle(bundle, data, report)
            document = document | {"not_checked_in_bundle": listed}
            lines = [lines[0], f"{file}: {describe_unchecked(listed)}", *lines[1:]]
        lines, document = [*map(bundle.shown, lines)], _show_all(document, bundle.shown)
        return replace(answer, lines=lines, document=document, error=bundle.shown(answer.error))


def _show_all(value: Any, shown: Callable[[str], str]) -> Any:
    """Return a JSON value with each text as `shown` returns it."""
    if isinstance(value, dict):
        return {key: _show_all(each, shown) for key, each in value.items()}
    if isinstance(value, list):
        return [_show_all(each, shown) for each in value]
    return shown(value) if isinstance(value, str) else value


def _verify(run: Path, request: _Request) -> Verdict:
    """Compute a run's results again; return the output of the comparison and its exit code.

    Raises:
        ValueError: the folder has no finished run, its images are missing, or an option does not fit the run.
    """
    from in4310repro.runs import names
    from in4310repro.system.fingerprint import Fingerprint
    from in4310repro.verification import changed_essentials, other_manifest, recorded_files, unchecked_in
    from in4310repro.verification.routine import agreeing, differing

    files = recorded_files(run)
    committed = [*request.differences, *other_manifest(files, request.manifest_sha256)]
    if essentials := changed_essentials(files):
        return differing(run, [*committed, *essentials])
    recorded = files.read_json(names.CONFIG)
    # If it is not a configuration, the check of the folder reports it.
    trust_network(request.model, recorded.get("model") if isinstance(recorded, dict) else None)
    active = activate_as_recorded(files.read_record(names.FINGERPRINT, Fingerprint), request.numerics, None)
    from in4310repro import verification
    from in4310repro.report.check import list_report_files, report_differences

    report = request.report
    try:
        opened = None if request.replay is None else _open(run)
        plans = _plan(opened, active, request) if opened else []
        verified = verification.verify(run, context_of(active), request.data, opened)
        of_report = report_differences(run, report) if report and not verified.differences else []
    except ValueError as error:
        # Missing images are not a fault of the run; differences known by then are reported nevertheless.
        if committed:
            return differing(run, [*committed, str(error)])
        raise
    if differences := [*committed, *verified.differences, *of_report]:
        return differing(run, differences)
    in_report = unchecked_in(report, list_report_files(report)) if report else None
    agree = partial(agreeing, run, verified, report, in_report)
    return _replayed(opened, active, plans, request, agree) if opened and plans else agree()


def _open(run: Path) -> FinishedRun | None:
    """Return the run. If it cannot be read, return None, since verification reports this as a difference."""
    from in4310repro.runs.finished import FinishedRun

    try:
        return FinishedRun.open(run)
    except (ValueError, OSError):
        return None


def _plan(run: FinishedRun, numerics: Numerics, request: _Request) -> list[Plan]:
    """Return for each setting to replay the plan of its epochs to train again.

    Show a message if fewer epochs than requested can be repeated.

    Raises:
        ValueError: the arithmetic differs from that of the run, there is no such setting or it has no epochs, or a
            training step is too large for this machine.
    """
    from in4310repro.verification.replay.epoch import describe_missing_epochs
    from in4310repro.verification.replay.of_run import describe_cap, plan_replays

    plans = plan_replays(run, request.replay or 0, request.draw, numerics, request.setting)
    for plan in plans:
        if fewer := describe_cap(plan, request.replay or 0):
            progress().message(fewer)
        if missing := describe_missing_epochs(run, plan.setting, plan.epochs):
            # Now, and not after hours; what can be trained again may be evidence all the same.
            progress().message(f"{missing}; only the others are trained again")
    return plans


def _replayed(
    opened: FinishedRun, numerics: Numerics, plans: list[Plan], request: _Request, agree: Callable[..., Verdict]
) -> Verdict:
    """Train epochs again; return the output of the whole verification."""
    from in4310repro.verification.replay.of_run import describe_cap, replay
    from in4310repro.verification.routine import replayed

    run = opened.folder
    progress().message(f"{request.shown(agree().lines[0])}; now epochs are trained again")
    results: list[ReplayOfSetting] = []
    try:
        # One by one, so that those before an error are there.
        results.extend(replay(opened, plan, context_of(numerics), request.data) for plan in plans)
    except (KeyboardInterrupt, ValueError) as error:
        # Hours of computing: what was found before is printed whatever ends the replay.
        stopped = replayed(run, agree, results, ended=False)
        if isinstance(error, ValueError):
            return replace(stopped, error=str(error))
        for line in stopped.lines:
            print_line(request.shown(line))
        raise
    fewer = [line for plan in plans if (line := describe_cap(plan, request.replay or 0))]
    return replayed(run, agree, results, fewer)


def compare(first: RunPath, second: RunPath) -> None:
    """Compare two runs bit by bit and print where they first differ; exit code 1 if they differ.

    Examples:
        in4310repro compare runs/demo runs/demo.1
    """
    load_torch()
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.runs.folder import unchanged
    from in4310repro.verification.compare import COMPARED, compare_runs, describe_first_tensor

    with unchanged(first, second):
        runs = FinishedRun.open(first), FinishedRun.open(second)
        mismatches = compare_runs(*runs)
        if mismatches:
            mismatches += describe_first_tensor(*runs)
    for mismatch in mismatches:
        print_line(mismatch)
    if not mismatches:
        print_line(f"{first} and {second} are equal to the bit: {COMPARED}")
    conclude({"equal": not mismatches, "differences": mismatches}, DIFFERENCE if mismatches else 0)


def evaluate(
    run: RunPath,
    data: Annotated[
        str | None, typer.Option(help="Folder of class folders; default: the run's test set."), before.FOLDER
    ] = None,
    class_folders: ClassFolders = None,
    out: Annotated[
        Path | None,
        typer.Option(help="JSON file for the result, or a .csv file of every image and its scores."),
        before.TO_FILE,
    ] = None,
    device: OnDevice = None,
    numerics: OfRun = None,
    model: OwnNetwork = None,
) -> None:
    """Measure a run's selected network on its test set, or on the images of another folder that are new to it.

    Images that were trained on or chose the fit are recognised by content, counted, and left out of every number.

    Examples:
        in4310repro evaluate runs/demo
        in4310repro evaluate runs/demo --json    # with the confusion matrix
        in4310repro evaluate runs/mine --data photos/other --out each.csv
    """
    if class_folders and not data:
        raise ValueError("--class-folders goes with --data, which names a folder; a run's test set has its classes")
    load_torch()
    from in4310repro.runs.finished import open_run
    from in4310repro.system.processes import join

    with join("cpu") as processes, open_run(run, processes) as finished:
        trust_network(model, finished.config.model)
        active = activate_as_recorded(finished.fingerprint, numerics, device)
        from in4310repro.evaluation import evaluation
        from in4310repro.system.files import json_bytes, write_file

        examined = evaluation.examine(finished, context_of(active, processes), data, class_folders)
    if not processes.leads:
        return
    measured = examined.measured
    print_text(evaluation.to_text(measured))
    if out:
        csv = out.suffix == ".csv"
        write_file(out, examined.to_csv().encode() if csv else json_bytes(measured))
        print_line(f"wrote {out}")
    conclude(measured)


def _are_images(place: Path) -> None:
    if not place.exists():
        raise ValueError(f"no image and no folder {place}")


def _takes_scores(file: Path) -> None:
    if file.suffix not in (".csv", ".json"):
        raise ValueError(f"--out {file}; a name that ends with .csv or .json is valid")
    before.TO_FILE.check(file)


IMAGES_THERE, SCORES_FILE = before.Checked(_are_images), before.Checked(_takes_scores)


def predict(
    run: RunPath,
    images: Annotated[
        list[Path], typer.Argument(help="Image files, and folders of images at any depth."), IMAGES_THERE
    ],
    out: Annotated[
        Path | None, typer.Option(help="A .csv or .json file; default: CSV on standard output."), SCORES_FILE
    ] = None,
    device: OnDevice = None,
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

    with join("cpu") as processes, open_run(run, processes) as finished:
        trust_network(model, finished.config.model)
        active = activate_as_recorded(finished.fingerprint, numerics, device)
        from in4310repro.evaluation.evaluation import label
        from in4310repro.system.files import write_file

        labelled = label(finished, context_of(active, processes), images)
    if not processes.leads:
        return
    if said := labelled.describe_seen():
        progress().message(said)
    if out:
        print_line(f"wrote {write_file(out, labelled.content(out.suffix))}: {len(labelled.paths)} images")
        conclude({"wrote": [str(out)], "images": len(labelled.paths)})
    else:
        print_text(labelled.to_csv().removesuffix("\n"))
        conclude(labelled.to_json())
