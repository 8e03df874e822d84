"""The commands that read a run: `verify`, `compare`, `evaluate` and `predict`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from in4310repro.cli import console, options
from in4310repro.cli.console import conclude, load_torch, print_line, print_text
from in4310repro.cli.options import AS_RUN, OWN_NETWORK, Place, Text, argument, command, ending, of_config, option
from in4310repro.data.folders import refuse_no_folder, refuse_no_images
from in4310repro.models.sources import trust_network
from in4310repro.runs import names
from in4310repro.system.text import shell_command

if TYPE_CHECKING:
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.system.context import Context
    from in4310repro.verification.replay import Plan
    from in4310repro.verification.routine import Verdict


@command()
@argument("run", "A run folder, such as runs/demo, or a bundle of one.")
# Not checked when parsed, so that differences that are known without the images are printed.
@option("--data", options.MOVED)
@AS_RUN
@option("--report", "Compare the JSON files and pages of this report, too.", Path, check=names.refuse_no_report)
@option("--manifest-sha256", "The sha256 that verify printed earlier, to compare with.")
@option("--replay", "Train the first, last and selected epoch again, and this many random ones.", int)
@option("--draw", "Seed by which --replay draws epochs; default: a new one, which is printed.", int)
@option("--setting", "Setting to replay, or all of them; default: the selected one.")
@OWN_NETWORK
def verify(run: Path, **given: Any) -> None:
    """Compute a run's split, scores, metrics and feature maps again, and compare; exit code 1 on a difference.

    Examples:
        in4310repro verify runs/demo
        in4310repro verify runs/demo --report reports/demo
        in4310repro verify runs/mine --data moved/mine
        in4310repro verify runs/demo --replay 2   # needs a run of train --keep-epochs
        in4310repro verify runs/demo --replay 18 --setting all
        in4310repro verify bundle.zip             # of export --as bundle
    """
    from in4310repro.runs.folder import RunFolder, unchanged

    asked = SimpleNamespace(**given, differences=(), shown=str)
    for name in ("draw", "replay"):
        if (given[name] or 0) < 0:
            raise ValueError(f"--{name} {given[name]}; expected at least 0")
    for name in ("draw", "setting"):
        if asked.replay is None and given[name] is not None:
            raise ValueError(f"--{name} {given[name]} is for --replay K, and --replay is not given")
    try:
        # A folder with any file of a run counts as one, even if others are missing.
        if not (run.is_file() or any((run / name).is_file() for name in (names.MANIFEST, *names.OF_RUN))):
            RunFolder.open(run)
        load_torch()
        with unchanged(run):
            answer = (_verify_bundle if run.is_file() else _verify)(run, asked)
    except (ValueError, OSError):
        print_line(f"{run}: neither verified nor refuted; the error says what is missing")
        raise
    print_line(*answer.lines)
    if answer.error:
        console.print_error(answer.error)
    conclude(answer.document, answer.code)
    if asked.replay is None:
        again = shell_command(["in4310repro", "verify", f"{run}", "--manifest-sha256", "SHA256"])
        console.print_next(f"hand on this sha256; {again} compares it")


def _verify_bundle(file: Path, asked: SimpleNamespace) -> Verdict:
    """Verify the run of a bundle like a folder, its report and images with it; return output that names the bundle.

    Raises:
        ValueError: the file is not a bundle, or as for a folder.
    """
    from in4310repro.verification import bundle_checks

    with bundle_checks.unpacked(file) as bundle:
        asked.differences, asked.shown = bundle_checks.bundle_differences(bundle), bundle.shown
        asked.data, asked.report = asked.data or (bundle.images and f"{bundle.images}"), asked.report or bundle.report
        answer = _verify(bundle.run, asked)
        said: dict[str, Any] = answer._asdict()
        if "proven" in answer.document:
            listed = bundle_checks.unchecked_in_bundle(bundle, asked.data and Path(asked.data), asked.report)
            first, *others = answer.lines
            said = said | {"document": answer.document | {"not_checked_in_bundle": listed}}
            said = said | {"lines": [first, f"{file}: {bundle_checks.describe_unchecked(listed)}", *others]}
        return answer._replace(**_show_all(said, bundle.shown))


def _show_all(value: Any, shown: Callable[[str], str]) -> Any:
    """Return a JSON value with each text as `shown` returns it."""
    if isinstance(value, dict):
        return {key: _show_all(each, shown) for key, each in value.items()}
    if isinstance(value, list):
        return [_show_all(each, shown) for each in value]
    return shown(value) if isinstance(value, str) else value


def _verify(run: Path, asked: SimpleNamespace) -> Verdict:
    """Compute a run's results again; return the output of the comparison and its exit code.

    The options that were `asked` are those of the command, with `differences` that are known before, and `shown`, which
    returns a text as it is printed.

    Raises:
        ValueError: the folder has no finished run, its images are missing, or an option does not fit the run.
    """
    from in4310repro.system.fingerprint import Fingerprint
    from in4310repro.verification import checks, folder_checks, routine
    from in4310repro.verification.replay import Replay, describe_cap, replay

    files = folder_checks.recorded_files(run)
    committed = [*asked.differences, *folder_checks.other_manifest(files, asked.manifest_sha256)]
    if essentials := folder_checks.changed_essentials(files):
        return routine.answer(run, checks.Verification(differences=[*committed, *essentials]))
    recorded = files.read_json(names.CONFIG)
    # If it is not a configuration, the check of the folder reports it.
    trust_network(asked.model, recorded.get("model") if isinstance(recorded, dict) else None)
    made_by, report = files.read_record(names.FINGERPRINT, Fingerprint), asked.report
    context = console.activate_as_recorded(made_by, asked.numerics, None)
    from in4310repro.report.page import list_report_files, report_differences

    try:
        opened, plans = (None, []) if asked.replay is None else _plan(run, asked, context)
        verified = routine.verify(run, asked.data, opened, context=context)
        of_report = report_differences(run, report) if report and not verified.differences else []
    except ValueError as error:
        # Missing images are not a fault of the run; differences found before are still reported.
        if committed:
            return routine.answer(run, checks.Verification(differences=[*committed, f"{error}"]))
        raise
    if found := [*committed, *verified.differences, *of_report]:
        return routine.answer(run, checks.Verification(differences=found))
    in_report = folder_checks.unchecked_in(report, list_report_files(report)) if report else None
    agree = partial(routine.answer, run, verified, report, in_report)
    if not opened or not plans:
        return agree()
    context.progress.message(f"{asked.shown(agree().lines[0])}; now epochs are trained again")
    results: list[Replay] = []
    try:
        # One by one, so that an error does not lose those before it.
        results.extend(replay(opened, plan, context, asked.data) for plan in plans)
    except (KeyboardInterrupt, ValueError) as error:
        # Hours of computing: what was found before is printed whatever ends the replay.
        stopped = agree(results, ended=False)
        if isinstance(error, ValueError):
            return stopped._replace(error=f"{error}")
        print_line(*map(asked.shown, stopped.lines))
        raise
    return agree(results, [*filter(None, (describe_cap(plan, asked.replay) for plan in plans))])


def _plan(run: Path, asked: SimpleNamespace, context: Context) -> tuple[FinishedRun | None, list[Plan]]:
    """Return the run, and for each setting to replay the plan of its epochs to train again.

    If the run cannot be read, there is nothing to return, since verification reports this as a difference. Show a
    message if fewer epochs than requested can be repeated.

    Raises:
        ValueError: the arithmetic differs from that of the run, there is no such setting or it has no epochs, or a
            training step is too large for this machine.
    """
    from in4310repro.runs.finished import FinishedRun
    from in4310repro.verification.replay import describe_cap, describe_missing_epochs, plan_replays

    try:
        opened = FinishedRun.open(run)
    except (ValueError, OSError):
        return None, []
    plans = plan_replays(opened, asked.replay, asked.draw, context.numerics, asked.setting)
    for plan in plans:
        if fewer := describe_cap(plan, asked.replay):
            context.progress.message(fewer)
        if missing := describe_missing_epochs(opened, plan.setting, plan.epochs):
            # Reported now, not after hours of training; the epochs that can be trained again may still be evidence.
            context.progress.message(f"{missing}; only the others are trained again")
    return opened, plans


@command()
@argument("first", options.A_RUN, check=options.check_run)
@argument("second", options.A_RUN, check=options.check_run)
def compare(first: Path, second: Path) -> None:
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
        if mismatches := compare_runs(*runs):
            mismatches += describe_first_tensor(*runs)
    print_line(*mismatches or [f"{first} and {second} are equal to the bit: {COMPARED}"])
    conclude({"equal": not mismatches, "differences": mismatches}, console.DIFFERENCE if mismatches else 0)


@command()
@options.RUN_FOLDER
@option("--data", "Folder of class folders; default: the run's test set.", check=refuse_no_folder)
@of_config("class_folders")
@option(
    "--out", "JSON file for the result, or a .csv file of every image and its scores.", Path, check=options.check_output
)
@of_config("device")
@AS_RUN
@OWN_NETWORK
def evaluate(run: Path, data: Text, class_folders: Text, out: Place, **how: Any) -> None:
    """Measure a run's selected network on its test set, or on the images of another folder that are new to it.

    Images on which the run was trained or selected are recognised by content, counted, and left out of every number.

    Examples:
        in4310repro evaluate runs/demo
        in4310repro evaluate runs/demo --json    # with the confusion matrix
        in4310repro evaluate runs/mine --data photos/other --out each.csv
    """
    if class_folders and not data:
        raise ValueError("--class-folders goes with --data, which names a folder; a run's test set has its classes")
    with console.opened(run, **how) as (finished, context):
        from in4310repro.evaluation import evaluation
        from in4310repro.system.files import json_bytes, write_file

        measured, _, scores, roles = evaluation.examine(finished, data, class_folders, context=context)
    if not context.processes.leads:
        return
    print_text(evaluation.to_text(measured))
    if out:
        of_images = out.suffix == ".csv"
        content = scores.to_csv(finished.classes, {"seen": roles}).encode() if of_images else json_bytes(measured)
        print_line(f"wrote {write_file(out, content)}")
    conclude(measured)


@command()
@options.RUN_FOLDER
@argument("images", "Image files, and folders of images at any depth.", nargs=-1, check=refuse_no_images)
@option("--out", "A .csv or .json file; default: CSV on standard output.", Path, check=ending("--out", ".csv", ".json"))
@of_config("device")
@AS_RUN
@OWN_NETWORK
def predict(run: Path, images: tuple[Path, ...], out: Place, **how: Any) -> None:
    """Print the class that a run's network gives to each image, and the softmax scores of all classes.

    Examples:
        in4310repro predict runs/demo photo.jpg
        in4310repro predict runs/demo photos more/photo.jpg --out predictions.csv
    """
    with console.opened(run, **how) as (finished, context):
        from in4310repro.evaluation.evaluation import label
        from in4310repro.system.files import write_file

        labelled = label(finished, images, context=context)
    if not context.processes.leads:
        return
    if said := labelled.describe_seen():
        context.progress.message(said)
    if out:
        count = len(labelled.paths)
        print_line(f"wrote {write_file(out, labelled.content(out.suffix))}: {count} images")
        conclude({"wrote": [f"{out}"], "images": count})
    else:
        print_text(labelled.to_csv().removesuffix("\n"))
        conclude(labelled.to_json())
