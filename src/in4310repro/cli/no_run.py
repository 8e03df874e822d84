"""The commands that need no run: `audit` and `data`, of numbers and image folders."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from in4310repro.cli import console, options
from in4310repro.cli.console import conclude, print_error, print_line, print_text, progress
from in4310repro.cli.options import Command, Group, Place, argument, check_output, command, of_config, option
from in4310repro.runs.settings import OPTIONS
from in4310repro.system.files import json_bytes, write_file
from in4310repro.system.machine import refuse_beyond_disk

# Settings that a file of weights may lack; a run has them all.
OF_WEIGHTS = ("model", "image_size", "mean", "std", "interpolation", "crop_ratio")
FEATURES = "By the features of a network"
ON_PLANE = 2000  # images of the page's map


@command()
@argument("files", "Reports: text, Markdown, LaTeX, HTML, CSV, JSON, TOML or PDF.", nargs=-1)
@option(
    "--images", "Number of images of a set, if not printed; repeat for each set.", int, multiple=True, within=(1, None)
)
@option(
    "--sizes", "Images of each class: sea=510,forest=474, or a JSON or CSV file; repeat for each set.", multiple=True
)
@option("--folds", "Number of folds or runs over which the values are averaged.", int, within=(1, None))
@option("--bound", "Largest class size that is searched.", int, within=(1, None))
@option("--ceiling", "Accuracy above which a result is reported as odd, such as 0.995.", multiple=True)
@option("--show", "Print what was recognised, and stop.", bool)
@option("--out", "Page (.html) or findings (.json) of one file.", Path)
@option("--sheet", "Write what was read from one file to this new .toml file, to correct and confirm.", Path)
def audit(files: tuple[Path, ...], show: bool, out: Place, sheet: Place, **given: Any) -> None:
    """Look for printed numbers that contradict each other.

    Exit code 1 if any is impossible, 3 if any is impossible as it was read, else 2 if a file was not read.

    Examples:
        in4310repro audit report.md
        in4310repro audit paper.pdf --images 3000 --out audit.html
        in4310repro audit results.csv --sizes sea=510,forest=474 --json
        in4310repro audit report.md --sheet sheet.toml
    """
    from in4310repro.audit import command
    from in4310repro.audit.verdicts import Options

    command.check_outputs(out, sheet, files)
    if show:
        listings = [(file, command.list_recognised(file)) for file in files]
        for _, each in listings:
            print_text(each) if isinstance(each, str) else print_error(each.error)
        shown = [{"file": f"{file}", "recognised": text} for file, text in listings if isinstance(text, str)]
        conclude({"files": shown}, 0 if len(shown) == len(files) else console.WRONG_INPUT)
        return
    sizes, ceilings = map(command.parse_sizes, given.pop("sizes")), command.parse_ceilings(given.pop("ceiling"))
    options = Options.of_sets(given.pop("images"), [*sizes], ceilings=ceilings, **given)
    power = not (console.QUIET in console.OUTPUT.get() and out is None)
    outcomes = [command.audit_file(file, options, power) for file in files]
    written = [command.write(each.audit, out) for each in outcomes if each.audit and out]
    written += [command.write_read(each.audit, sheet) for each in outcomes if each.audit and sheet]
    for text in command.lines(outcomes):
        print_text(text)
    console.print_written(written)
    for each in outcomes:
        if each.error:
            print_error(each.error)
    results = [{"file": f"{each.path}", "result": each.to_json()} for each in outcomes]
    conclude({"files": results}, command.exit_code(outcomes))


data = Group(
    "data",
    """Image folders: check one, draw the embedded scenes.

    Examples:
        in4310repro data check photos/mine
        in4310repro data scenes scenes
    """,
)


@data.command(cls=Command)
@argument("folder", "A new folder.")
@option("--images", "Images of each class.", int, default=100, within=(1, 10**7))
@option("--image-size", "Side, pixels.", int, default=64, within=(16, 2**14))
@option("--seed", "Seed of the scenes.", **options.SEED)
def scenes(folder: Path, images: int, image_size: int, seed: int) -> None:
    """Draw the embedded scenes into class folders.

    Examples:
        in4310repro data scenes scenes                       # 100 images of each class, 64 px
        in4310repro data scenes scenes --images 130 --seed 1
    """
    from in4310repro.data.embedded import write_scenes
    from in4310repro.data.scenes import CLASSES

    need = images * len(CLASSES) * image_size**2 * 3
    refuse_beyond_disk(f"{images} images of each class at --image-size {image_size} take", need, folder)
    write_scenes(folder, images, image_size, seed, progress())
    print_line(f"wrote {folder}")
    conclude({"wrote": [f"{folder}"]})


@data.command(cls=Command)
@argument("folder", "A folder of class folders.")
@option("--split", "A run's split.csv: look for leaks between its parts.", Path, check=options.check_file)
@option("--out", "JSON file for the result.", Path, check=check_output)
@of_config("class_folders")
@option("--weights", "Run folder or weights file of the network whose features find doubtful labels.", panel=FEATURES)
@of_config("model", help_text=f"For a weights file: {OPTIONS['model'].help}", panel=FEATURES)
@of_config("image_size", help_text="For a weights file: side of the input, pixels.", panel=FEATURES)
@of_config("mean", help_text="Of red, green and blue, such as 0.5,0.5,0.5, if a weights file lacks it.", panel=FEATURES)
@of_config("std", help_text="Like --mean.", panel=FEATURES)
@of_config("interpolation", "crop_ratio", help_text="If a weights file lacks it.", panel=FEATURES)
@option("--seed", "Seed of the folds.", panel=FEATURES, **options.SEED)
@option("--page", "HTML file to show pairs, doubtful labels and confusions.", Path, FEATURES, check=check_output)
@option("--photographs/--no-photographs", "Show pictures on the page, else only names.", bool, FEATURES, default=True)
def check(folder: Path, **given: Any) -> None:
    """Find faults of the folder, unreadable images, conflicting labels, leaks (exit code 1 for any), and copies.

    With --weights, also find images that are parts of others, look-alikes in different classes, and doubtful labels.
    These are for a person to judge and never change the exit code.

    Examples:
        in4310repro data check photos/mine
        in4310repro data check photos/mine --split runs/mine/split.csv --out findings.json
        in4310repro data check photos/mine --weights runs/mine --page doubts.html
    """
    asked, of_weights = SimpleNamespace(**given), options.given({name: given[name] for name in OF_WEIGHTS})
    source: Any = None
    if asked.weights is not None:
        if not asked.photographs and asked.page is None:
            raise ValueError("--no-photographs goes with --page, which shows them")
        is_folder = asked.weights and Path(asked.weights).is_dir()
        if not is_folder and ("model" not in of_weights or asked.weights == "none"):
            valid = "give one, or imagenet or a file together with --model NAME"
            raise ValueError(f"--weights {asked.weights!r} is not a run folder; {valid}")
        console.load_torch()
        import numpy as np

        from in4310repro.data.references import sample_positions
        from in4310repro.evaluation.doubts import examination
        from in4310repro.evaluation.doubts.folder_features import features_of, open_source, plane
        from in4310repro.report import contact_sheet

        source = open_source(asked.weights, of_weights)
        recorded = source.fingerprint and console.activate_as_recorded(source.fingerprint, None, None)
        context = recorded or console.activate_for(source.config)
    else:
        for name in (*of_weights, *["page"] * (asked.page is not None), *["no_photographs"] * (not asked.photographs)):
            raise ValueError(f"{options.flag(name)} goes with --weights, which names a run or a file")
    from in4310repro.data import check
    from in4310repro.data.splits import from_csv

    listed = from_csv(asked.split, folder) if asked.split else None
    images, found = check.check(folder, listed, progress(), asked.class_folders)
    text, document = check.render(found), found.to_json()
    try:
        if source:
            entries = examination.readable(images, found, asked.seed)
            features = features_of(source, folder, entries, context)
            known = sum(entry.sha256 in source.labels_known for entry in entries)
            described = source.described() | {"trained_on": known}
            doubts = examination.examine(images, found, features, described, listed, asked.seed, context.progress)
            more = f"\n{examination.render(doubts)}"
            if known:
                more += f"\nthe network was trained on {known} of these images: it knows their labels, and doubts fewer"
                more += " of them"
            if asked.page:
                files = {entry.path: (folder / entry.path, entry.sha256) for entry in entries}
                of_classes = np.array([entry.label for entry in entries])
                drawn = sample_positions([entry.path for entry in entries], ON_PLANE, asked.seed)
                on_plane = contact_sheet.draw_plane(
                    plane(features[drawn], asked.seed), images.classes, of_classes[drawn]
                )
                sheet = contact_sheet.render(folder.name, found, doubts, files if asked.photographs else {}, on_plane)
                more += f"\nwrote {write_file(asked.page, sheet.encode())}"
            document["doubts"] = doubts
            text += more
    finally:
        # An error does not lose what was found before it.
        print_text(text)
        if asked.out:
            print_line(f"wrote {write_file(asked.out, json_bytes(document))}")
    conclude(document, console.DIFFERENCE if found.wrong else 0)
