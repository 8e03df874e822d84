"""Checks of a command's words that need no torch, which takes seconds to load; they are made before it is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from in4310repro.runs.config import Config
from in4310repro.runs.presets import SHARES, refuse_without_images
from in4310repro.runs.settings import check_choice
from in4310repro.system import launch
from in4310repro.system.numerics import check_device


@dataclass(frozen=True)
class Checked:
    """A check of a parameter's value, in its annotation beside its help; it raises ValueError."""

    check: Callable[[Any], object]


def check_words(parameters: Iterable[inspect.Parameter], values: Mapping[str, Any]) -> None:
    """Check the values of a command's parameters, each value of a list by itself; None was not given.

    Options, which come last, are checked first: what is wrong with them is wrong for any run.
    Only rank 0 of several processes checks: others need not have the files of a run, and print nothing.

    Raises:
        ValueError: a value is wrong, or a file or folder that it names is missing.
    """
    for parameter in () if launch.is_silent() else reversed([*parameters]):
        value = values.get(parameter.name)
        for each in value if isinstance(value, list) else [value]:
            for checked in getattr(parameter.annotation, "__metadata__", ()):
                if isinstance(checked, Checked) and each is not None:
                    checked.check(each)


def choice(name: str) -> Checked:
    """Return a check of a value that has a few choices, such as `numerics`."""
    return Checked(lambda value: check_choice(name, value))


def check_run(folder: Path) -> None:
    """Raise ValueError if the folder is no finished run; nothing is checked by other processes than rank 0."""
    if launch.is_silent():
        return
    from in4310repro.runs.folder import finished_files

    finished_files(folder)


def _is_folder(place: str | Path) -> None:
    from in4310repro.data.folders import refuse_no_folder

    refuse_no_folder(Path(place))


def _is_there(file: Path) -> None:
    if not file.exists():
        raise ValueError(f"{file} is not there")


def _is_no_folder(file: Path) -> None:
    if file.is_dir():
        raise ValueError(f"{file} is a folder; a regular file is needed")


def _is_report(folder: Path) -> None:
    from in4310repro.runs.names import refuse_no_report

    refuse_no_report(folder)


def _is_weights(weights: str) -> None:
    from in4310repro.models.sources import refuse_no_weights

    refuse_no_weights(weights)


RUN, FOLDER = Checked(check_run), Checked(_is_folder)
FILE, TO_FILE, REPORT = Checked(_is_there), Checked(_is_no_folder), Checked(_is_report)
WEIGHTS, DEVICE = Checked(_is_weights), Checked(check_device)


def check_training(config: Config) -> None:
    """Check that images and weights of a configuration are there, and that its split has sizes that fit.

    Raises:
        ValueError: something is missing, or the sizes do not fit the images.
    """
    if launch.is_silent():
        return
    from in4310repro.data.embedded import refuse_too_many
    from in4310repro.data.folders import count_images
    from in4310repro.data.scenes import CLASSES
    from in4310repro.data.splits import parse_sizes

    refuse_without_images(config)
    check_device(config.device)
    for place in filter(None, (config.imagenet, config.cifar10)):
        _is_folder(place)
    _is_weights(config.weights)
    if config.data:
        images = count_images(Path(config.data), config.class_folders)
    else:
        try:
            refuse_too_many(config.scenes, config.image_size, config.seed)
        except ValueError:
            # What else does not fit is told before it, by the preparation of the training.
            return
        images = config.scenes * len(CLASSES)
    if config.split != SHARES:
        parse_sizes(config.split, images)
