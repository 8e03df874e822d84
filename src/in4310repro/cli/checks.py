"""The commands `audit` and `data check`, which check printed numbers and image folders, and `data scenes`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from in4310repro.cli import before
from in4310repro.cli.console import (
    WRONG_INPUT,
    activate_as_recorded,
    activate_for,
    conclude,
    context_of,
    load_torch,
    print_error,
    print_findings,
    print_line,
    print_text,
    progress,
)
from in4310repro.cli.help_pages import Command, Group
from in4310repro.cli.options import ClassFolders, JsonOut, Model, option, with_output
from in4310repro.models.sources import RESNETS
from in4310repro.runs.settings import CHOICES, check_choice


def audit(
    files: Annotated[list[Path], typer.Argument(help="Reports: text, Markdown, LaTeX, HTML, CSV, JSON, TOML or PDF.")],
    images: Annotated[
        list[int] | None, typer.Option(help="Number of images of a set, if not printed; repeat for each set.", min=1)
    ] = None,
    sizes: Annotated[
        list[str] | None,
        typer.Option(help="Images of each class: sea=510,forest=474, or a JSON or CSV file; repeat for each set."),
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Number of folds or runs that the values average.", min=1)] = None,
    bound: Annotated[int | None, typer.Option(help="Largest class size that is searched.", min=1)] = None,
    ceiling: Annotated[list[str] | None, typer.Option(help="Accuracy above which a result is odd: 0.995.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print what is recognised and stop.")] = False,
    out: Annotated[Path | None, typer.Option(help="Page (.html) or findings (.json) of one file.")] = None,
) -> None:
    """Look for printed numbers that contradict each other; exit code 1 if any is impossible, 2 if a file was not read.

    Examples:
        in4310repro audit report.md
        in4310repro audit paper.pdf --images 3000 --out audit.html
        in4310repro audit results.csv --sizes sea=510,forest=474 --json
    """
    from in4310repro.audit import command
    from in4310repro.audit.verdicts import Options

    command.check_out(out, files)
    if show:
        _show_recognised(files)
        return
    given = [command.parse_sizes(each) for each in sizes or []]
    ceilings = command.parse_ceilings(ceiling or [])
    options = Options.of_sets(images or [], given, bound=bound, folds=folds, ceilings=ceilings)
    outcomes = [command.audit_file(file, options) for file in files]
    written = [command.write(each.audit, out) for each in outcomes if each.audit and out]
    for text in command.lines(outcomes):
        print_text(text)
    for path in written:
        print_line(f"wrote {path}")
    for each in outcomes:
        if each.error:
            print_error(each.error)
    results = [{"file": str(each.path), "result": each.to_json()} for each in outcomes]
    conclude({"files": results}, command.exit_code(outcomes))


def _show_recognised(files: Sequence[Path]) -> None:
    """Print what is recognised in each file; exit with code 2 if a file cannot be read."""
    from in4310repro.audit import command

    listings = [command.list_recognised(file) for file in files]
    for each in listings:
        if isinstance(each, str):
            print_text(each)
        else:
            print_error(each.error)
    shown = [{"file": str(file), "recognised": text} for file, text in zip(files, listings, strict=True)]
    unread = [each for each in listings if not isinstance(each, str)]
    conclude({"files": [each for each in shown if isinstance(each["recognised"], str)]}, WRONG_INPUT if unread else 0)


FEATURES = "By the features of a network"
ON_PLANE = 2000  # images of the page's map

HELP = """Image folders: check one, draw the embedded scenes.

    Examples:
        in4310repro data check photos/mine
        in4310repro data scenes scenes
    """
app = typer.Typer(cls=Group, invoke_without_command=True, help=HELP)


@app.callback()
def start(context: typer.Context) -> None:
    """Print the help if no command is given."""
    if context.invoked_subcommand is None:
        print_text(context.get_help())


def scenes(
    folder: Annotated[Path, typer.Argument(help="A new folder.")],
    images: Annotated[int, typer.Option(help="Images of each class.", min=1, max=10**7)] = 100,
    image_size: Annotated[int, typer.Option(help="Side, pixels.", min=16, max=2**14)] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the scenes.", min=0, max=2**63 - 1)] = 0,
) -> None:
    """Draw the embedded scenes into class folders.

    Examples:
        in4310repro data scenes scenes                       # 100 images of each class, 64 px
        in4310repro data scenes scenes --images 130 --seed 1
    """
    from in4310repro.data.embedded import write_scenes
    from in4310repro.data.scenes import CLASSES
    from in4310repro.system.machine import refuse_beyond_disk

    need = images * len(CLASSES) * image_size**2 * 3
    refuse_beyond_disk(f"{images} images of each class at --image-size {image_size} take", need, folder)
    write_scenes(folder, images, image_size, seed, progress())
    print_line(f"wrote {folder}")
    conclude({"wrote": [str(folder)]})


def check(
    folder: Annotated[Path, typer.Argument(help="A folder of class folders.")],
    split: Annotated[
        Path | None, typer.Option(help="A run's split.csv: look for leaks between its parts."), before.FILE
    ] = None,
    out: JsonOut = None,
    class_folders: ClassFolders = None,
    weights: Annotated[
        str | None, option("Run folder or weights file of the network whose features find doubtful labels.", FEATURES)
    ] = None,
    model: Annotated[str | None, option(f"For a weights file: {Model}", FEATURES, of=RESNETS)] = None,
    image_size: Annotated[int | None, option("Of a file of weights: side of the input, pixels.", FEATURES)] = None,
    mean: Annotated[str | None, option("If a weights file lacks it, as 0.5,0.5,0.5.", FEATURES)] = None,
    std: Annotated[str | None, option("As --mean.", FEATURES)] = None,
    interpolation: Annotated[
        str | None, option("If a weights file lacks it.", FEATURES, of=CHOICES["interpolation"])
    ] = None,
    crop_ratio: Annotated[float | None, option("If a weights file lacks it.", FEATURES)] = None,
    seed: Annotated[int, option("Seed of the folds.", FEATURES, min=0, max=2**63 - 1)] = 0,
    page: Annotated[
        Path | None, option("HTML file to show pairs, doubtful labels and confusions.", FEATURES), before.TO_FILE
    ] = None,
    photographs: Annotated[bool, option("Show pictures on the page, else only names.", FEATURES)] = True,
) -> None:
    """Find faults of the folder, unreadable images, conflicting labels, leaks (exit code 1 for any), and copies.

    With --weights also for parts of other images, look-alikes in other classes and doubtful labels, which are for a
    person to judge and never change the exit code.

    Examples:
        in4310repro data check photos/mine
        in4310repro data check photos/mine --split runs/mine/split.csv --out findings.json
        in4310repro data check photos/mine --weights runs/mine --page doubts.html
    """
    if class_folders:
        check_choice("class_folders", class_folders)
    options: dict[str, object] = {"model": model, "image_size": image_size, "mean": mean, "std": std}
    options |= {"interpolation": interpolation, "crop_ratio": crop_ratio}
    given = {name: value for name, value in options.items() if value is not None}
    if weights is None:
        more = {"page": page is not None, "no_photographs": not photographs}
        if needless := next((name for name in (*given, *(name for name, there in more.items() if there))), None):
            raise ValueError(f"--{needless.replace('_', '-')} goes with --weights, which names a run or a file")
        from in4310repro.data import check

        findings = check.check(folder, split, progress(), class_folders)
        print_findings(check.render(findings), findings.to_json(), out, wrong=findings.wrong)
        return
    if not photographs and page is None:
        raise ValueError("--no-photographs goes with --page, which shows them")
    _check_with(weights, given, folder, split, class_folders, seed, out, page, photographs)


def _check_with(
    weights: str,
    options: Mapping[str, object],
    folder: Path,
    split: Path | None,
    class_folders: str | None,
    seed: int,
    out: Path | None,
    page: Path | None,
    photographs: bool,
) -> None:
    """Check an image folder, and find doubtful labels with the features of a network."""
    if weights and Path(weights).is_dir():
        before.check_run(Path(weights))
    elif weights == "none" or "model" not in options:
        raise ValueError(
            f"--weights {weights!r} is no run folder; give one, or imagenet or a file together with --model NAME"
        )
    load_torch()
    import numpy as np

    from in4310repro.data import check
    from in4310repro.data.comparison import sample_positions
    from in4310repro.data.splits import from_csv
    from in4310repro.evaluation.doubts import examination
    from in4310repro.evaluation.doubts.features import features_of, open_source, plane
    from in4310repro.report import contact_sheet
    from in4310repro.report.photographs import Photograph
    from in4310repro.system.files import json_bytes, write_file

    source = open_source(weights, options)
    listed = from_csv(split, folder) if split else None
    if source.fingerprint is None:
        numerics = activate_for(source.config)
    else:
        numerics = activate_as_recorded(source.fingerprint, None, None)
    images, found = check.check_tree(folder, listed, progress(), class_folders)
    try:
        entries = examination.readable(images, found, seed)
        features = features_of(source, folder, entries, context_of(numerics))
        known = sum(entry.sha256 in source.labels_known for entry in entries)
        described = source.described() | {"trained_on": known}
        doubts = examination.examine(images, found, features, described, listed, seed, progress())
    except ValueError:
        # What was found by then is not lost.
        print_text(check.render(found))
        if out:
            print_line(f"wrote {write_file(out, json_bytes(found.to_json()))}")
        raise
    text = f"{check.render(found)}\n{examination.render(doubts)}"
    if known:
        text += f"\nthe network was trained on {known} of these images: it knows their labels, and doubts fewer of them"
    if page:
        files = {entry.path: Photograph(folder / entry.path, entry.sha256) for entry in entries}
        of_classes = np.array([entry.label for entry in entries])
        drawn = sample_positions([entry.path for entry in entries], ON_PLANE, seed)
        on_plane = contact_sheet.draw_plane(plane(features[drawn], seed), images.classes, of_classes[drawn])
        sheet = contact_sheet.render(folder.name, found, doubts, files if photographs else {}, on_plane)
        write_file(page, sheet.encode())
        text += f"\nwrote {page}"
    print_findings(text, found.to_json() | {"doubts": doubts.to_json()}, out, wrong=found.wrong)


for command in (scenes, check):
    app.command(cls=Command)(with_output(command))
