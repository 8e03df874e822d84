"""Command-line options that several commands share, and decorators that add them to the functions of commands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from in4310repro.cli import before
from in4310repro.cli.console import choose_output
from in4310repro.cli.help_pages import OUTPUT
from in4310repro.models.network import ALL, HEAD
from in4310repro.models.sources import RESNETS
from in4310repro.runs import deviations, presets
from in4310repro.runs.settings import CHOICES

# Groups of options in `--help`.
RUN, IMAGES, TRAINING, MACHINE = "The run", "Images", "Network and training", "Machine"


def option(help_text: str, panel: str, *names: str, of: Iterable[str] = (), **range_: Any) -> Any:
    """Return a command-line option that the help shows in the group `panel`.

    Args:
        help_text: the option's help.
        panel: the title of the group.
        names: names of the option; without them, typer derives one from the parameter's name.
        of: values for the shell's completion.
        range_: bounds of the value, `min` and `max`.
    """
    values = sorted(of)
    complete = (lambda: values) if values else None
    return typer.Option(*names, help=help_text, rich_help_panel=panel, autocompletion=complete, **range_)


Preset = Annotated[str, option(f"Settings to start from: {', '.join(presets.PRESETS)}.", RUN, of=presets.PRESETS)]
ChosenPreset = Annotated[
    str | None,
    option(
        f"Settings to start from: {', '.join(presets.PRESETS)}; default: demo, and {presets.HEAD_PRESET} for --data "
        "without --model and --weights where its weights are installed.",
        RUN,
        of=presets.PRESETS,
    ),
]
ConfigFile = Annotated[Path | None, option("TOML file of settings that replace the preset's.", RUN)]
Out = Annotated[Path | None, option("The run folder; default: runs/PRESET, or runs/NAME of the folder of --data.", RUN)]
RunPath = Annotated[Path, typer.Argument(help="A run folder, such as runs/demo."), before.RUN]
MOVED = "Where the run's images are now, if they moved."
Data = Annotated[str | None, typer.Option(help=MOVED), before.FOLDER]
JsonOut = Annotated[Path | None, typer.Option(help="JSON file for the result."), before.TO_FILE]

Weights = "none, imagenet or a .safetensors or .pth file."
Device = "auto, cpu or cuda."
DEVICES = ("auto", "cpu", "cuda")
PARTS = (HEAD, ALL)
PROTOCOLS = (deviations.CORRECTED, deviations.PUBLISHED, *deviations.Deviation)
Model = "A network of torchvision (see modules --list), timm:NAME, or MODULE:FUNCTION of your own."


def default_folder(preset: str, data: str | None) -> Path:
    """Return the default run folder for a preset and the images in `data`.

    The possible names are those of `presets.default_names`. With `data`, the result is the first folder without a
    run, or with a run that uses the same images. Without `data`, it is the folder with the first name.

    Args:
        preset: one of the presets.
        data: the folder of the images.

    Raises:
        ValueError: the configuration of an existing run is damaged.
    """
    folders = (Path("runs") / name for name in presets.default_names(preset, data))
    return next(folder for folder in folders if not data or _is_free(folder, data))


def _is_free(folder: Path, data: str) -> bool:
    """Return whether a folder has no run, or one with the images in `data`."""
    from in4310repro.runs import config as configuration
    from in4310repro.runs import names
    from in4310repro.system.files import read_json

    file = folder / names.CONFIG
    if not file.exists():
        return True
    before = configuration.from_json(read_json(file), f"{file}").data
    return before is not None and Path(before).resolve() == Path(data).resolve()


def choices(name: str) -> str:
    """Return the valid values of an option as a phrase for its help."""
    *others, last = CHOICES[name]
    return f"{', '.join(others)} or {last}."


ClassFolders = Annotated[
    str | None,
    option(
        f"Folders of --data that are the classes: {choices('class_folders')[:-1]} (the folder of each image); default: "
        "as they tell.",
        IMAGES,
        of=CHOICES["class_folders"],
    ),
]
ImageNet = Annotated[str | None, option("Folder of ImageNet images to compare with.", IMAGES)]
Cifar10 = Annotated[str | None, option("Folder of CIFAR-10 images to compare with.", IMAGES)]
Precision = Annotated[
    str | None,
    option(f"Precision of feature statistics: {choices('precision')}", MACHINE, of=CHOICES["precision"]),
    before.choice("precision"),
]
OnDevice = Annotated[str | None, option(Device, MACHINE, of=DEVICES), before.DEVICE]
OwnNetwork = Annotated[str | None, typer.Option("--model", help="MODULE:FUNCTION, if the run's network is your code.")]
OfRun = Annotated[
    str | None,
    typer.Option(
        help=f"{choices('numerics')[:-1]}; default: the run's.", autocompletion=lambda: sorted(CHOICES["numerics"])
    ),
    before.choice("numerics"),
]


class Overrides:
    """Options of all commands that train; each is named after a field of `config.Config`."""

    data: Annotated[str | None, option("Folder of class folders; default: the embedded scenes.", IMAGES)]
    class_folders: ClassFolders
    scenes: Annotated[int | None, option("Embedded scenes of each class.", IMAGES)]
    image_size: Annotated[int | None, option("Side of the square input, pixels.", IMAGES)]
    mean: Annotated[str | None, option("Mean of red, green and blue: 0.5,0.5,0.5; default: from the weights.", IMAGES)]
    std: Annotated[str | None, option("Standard deviation of red, green and blue; default: from the weights.", IMAGES)]
    interpolation: Annotated[
        str | None,
        option(
            f"{choices('interpolation')[:-1]}; default: from the weights, or bilinear.",
            IMAGES,
            of=CHOICES["interpolation"],
        ),
    ]
    crop_ratio: Annotated[float | None, option("Side of the cropped square, as a share of the short side.", IMAGES)]
    split: Annotated[
        str | None, option("training/validation/test as counts or shares; with --data: the preset's shares.", IMAGES)
    ]
    group: Annotated[
        str | None,
        option(
            "Images kept in one part of the split: identical (files), or look-alikes (with copies of any kind).",
            IMAGES,
            of=CHOICES["group"],
        ),
    ]
    imagenet: ImageNet
    cifar10: Cifar10
    model: Annotated[str | None, option(Model, TRAINING, of=RESNETS)]
    weights: Annotated[str | None, option(Weights, TRAINING, of=("none", "imagenet"))]
    train: Annotated[
        str | None, option("What to train: head (fitted), all, or from:LAYER (with later layers).", TRAINING, of=PARTS)
    ]
    batch_size: Annotated[int | None, option("Images per training step.", TRAINING)]
    epochs: Annotated[int | None, option("Epochs of each setting.", TRAINING)]
    select: Annotated[
        str | None,
        option(
            f"Metric on validation that chooses epoch and setting: {choices('select')}", TRAINING, of=CHOICES["select"]
        ),
    ]
    seed: Annotated[int | None, option("Seed of split, initial weights, image order and augmentation.", TRAINING)]
    protocol: Annotated[
        str | None, option("corrected, published, or deviations joined by commas.", TRAINING, of=PROTOCOLS)
    ]
    device: OnDevice
    numerics: Annotated[str | None, option(choices("numerics"), MACHINE, of=CHOICES["numerics"])]
    precision: Precision


Command = Callable[..., None]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only errors; the exit code is the result.", rich_help_panel=OUTPUT)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.", rich_help_panel=OUTPUT)]


def with_overrides(command: Command) -> Command:
    """Add the shared training options to a command.

    The parameter `overrides` of the command receives a dict of the options that the user gave.
    """
    annotations = inspect.get_annotations(Overrides, eval_str=True)
    shared = [_keyword(name, annotation, None) for name, annotation in annotations.items()]

    def call(options: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        command(**values, overrides={name: value for name, value in options.items() if value is not None})

    return _with_options(command, parameters_of(command)[:-1], shared, call)


def with_output(command: Command) -> Command:
    """Add `--quiet` and `--json` to a command; apply them, and check its words, before it runs."""
    parameters = parameters_of(command)

    def call(options: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        choose_output(**options)
        before.check_words(parameters, values)
        command(**values)

    output = [_keyword("quiet", Quiet, False), _keyword("json", AsJson, False)]
    return _with_options(command, parameters, output, call)


def parameters_of(command: Command) -> list[inspect.Parameter]:
    """Return the parameters of a command's function, as keyword-only parameters."""
    listed = inspect.signature(command, eval_str=True).parameters.values()
    return [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in listed]


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _with_options(
    command: Command,
    own: list[inspect.Parameter],
    shared: list[inspect.Parameter],
    call: Callable[[Mapping[str, Any], Mapping[str, Any]], None],
) -> Command:
    """Return a function with the parameters `own` and `shared`, which passes their values to `call`.

    `call` receives two dicts: the values of `shared`, then those of `own`. Name and docstring are those of
    `command`.
    """
    defaults = {each.name: each.default for each in (*own, *shared) if each.default is not each.empty}

    def wrapper(**values: Any) -> None:
        # A command can call another one with some of its options.
        values = defaults | values
        call({each.name: values.pop(each.name) for each in shared}, values)

    wrapper.__doc__, wrapper.__name__ = command.__doc__, command.__name__
    wrapper.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    return wrapper
