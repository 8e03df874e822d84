"""Options that several commands share."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from in4310repro import presets
from in4310repro.config import CHOICES

Preset = Annotated[str, typer.Option(help=f"Settings to start from: {', '.join(presets.PRESETS)}.")]
ConfigFile = Annotated[Path | None, typer.Option(help="TOML file of settings that replace the preset's.")]
Out = Annotated[
    Path | None, typer.Option(help="The run folder; default: runs/PRESET, or runs/NAME of the folder of --data.")
]
RunPath = Annotated[Path, typer.Argument(help="A run folder, such as runs/demo.")]
Data = Annotated[str | None, typer.Option(help="Where the run's images are now, if they moved.")]
JsonOut = Annotated[Path | None, typer.Option(help="JSON file for the result.")]

Weights = "none, imagenet or a .safetensors or .pth file."
Device = "auto, cpu or cuda."
Model = "A network of torchvision (see modules --list), timm:NAME, or MODULE:FUNCTION of your own."


def default_folder(preset: str, data: str | None, *, to_read: bool = False) -> Path:
    """The run folder where none is named: the first of `presets.default_names` that is free or a run of these images.

    Args:
        preset: one of the presets.
        data: the folder of the images.
        to_read: where no run is of these images, the first folder, for their folder may have moved.

    Raises:
        ValueError: the configuration of a run that is there is damaged.
    """
    from in4310repro import config as configuration
    from in4310repro.files import read_json
    from in4310repro.runs import names

    first, *others = (Path("runs") / name for name in itertools.islice(presets.default_names(preset, data), 1000))
    for folder in (first, *others) if data else ():
        file = folder / names.CONFIG
        if not file.exists():
            return first if to_read else folder
        before = configuration.from_json(read_json(file), f"{file}").data
        if before and Path(before).resolve() == Path(data or "").resolve():
            return folder
    return first


def choices(name: str) -> str:
    """The valid values of an option, for its help."""
    *others, last = CHOICES[name]
    return f"{', '.join(others)} or {last}."


OwnNetwork = Annotated[str | None, typer.Option("--model", help="The run's network where it is code: MODULE:FUNCTION.")]
OfRun = Annotated[str | None, typer.Option(help=f"{choices('numerics')[:-1]}; default: the run's.")]


class Overrides:
    """Options that every command which trains or reports takes; each is a field of `config.Config`."""

    data: Annotated[str | None, typer.Option(help="Folder of class folders; default: the embedded scenes.")]
    scenes: Annotated[int | None, typer.Option(help="Embedded scenes of each class.")]
    weights: Annotated[str | None, typer.Option(help=Weights)]
    model: Annotated[str | None, typer.Option(help=Model)]
    image_size: Annotated[int | None, typer.Option(help="Side of the square input, pixels.")]
    mean: Annotated[str | None, typer.Option(help="Of red, green and blue, as 0.5,0.5,0.5; default: the weights'.")]
    std: Annotated[str | None, typer.Option(help="Their standard deviation; default: the weights'.")]
    interpolation: Annotated[
        str | None, typer.Option(help=f"{choices('interpolation')[:-1]}; default: the weights', else bilinear.")
    ]
    crop_ratio: Annotated[float | None, typer.Option(help="Side of the square that is cropped, of the short side.")]
    batch_size: Annotated[int | None, typer.Option(help="Images per training step.")]
    epochs: Annotated[int | None, typer.Option(help="Epochs of each setting.")]
    split: Annotated[
        str | None, typer.Option(help="training/validation/test as counts or shares; with --data: the preset's shares.")
    ]
    seed: Annotated[int | None, typer.Option(help="Of split, weights, order and augmentation.")]
    device: Annotated[str | None, typer.Option(help=Device)]
    numerics: Annotated[str | None, typer.Option(help=choices("numerics"))]
    precision: Annotated[str | None, typer.Option(help=f"Of feature statistics: {choices('precision')}")]
    protocol: Annotated[str | None, typer.Option(help="corrected, published, or deviations joined by commas.")]
    imagenet: Annotated[str | None, typer.Option(help="Folder of ImageNet images to compare with.")]
    cifar10: Annotated[str | None, typer.Option(help="Folder of CIFAR-10 images to compare with.")]


def with_overrides(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the shared options; it receives those that were set as its last argument, a dictionary."""
    parameters = list(inspect.signature(command, eval_str=True).parameters.values())[:-1]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in inspect.get_annotations(Overrides, eval_str=True).items()
    ]

    def call(**values: Any) -> None:
        overrides = {option.name: values.pop(option.name) for option in shared}
        command(**values, overrides={name: value for name, value in overrides.items() if value is not None})

    call.__doc__, call.__name__ = command.__doc__, command.__name__
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    call.__signature__ = inspect.Signature([*keyword_only, *shared])  # type: ignore[attr-defined]
    return call
