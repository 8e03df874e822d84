"""Presets: named configurations, from which a training starts."""

import itertools
import json
import re
from collections.abc import Collection, Iterator
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

from in4310repro.data.preprocessing import DECIDED_BY_WEIGHTS
from in4310repro.models.sources import FIVE_MODULES, HEAD
from in4310repro.runs.config import Config, Values, change, read_toml, to_json
from in4310repro.runs.settings import FORMAT, OPTIONS
from in4310repro.system.files import LONGEST_NAME
from in4310repro.system.text import did_you_mean, publishable_place, shell_word

HEAD_PRESET = "photographs-head"  # fits the head of its ImageNet weights
SHARES = "preset"  # a split by the shares of the preset, of as many images as there are

PRESETS = {
    name: change(Config(preset=name), values, "presets.toml")
    for name, values in read_toml(Path(__file__).with_name("presets.toml")).items()
}


def configure(preset: str, file: Path | None, overrides: Values) -> Config:
    """Return a preset's configuration, changed first by a TOML file and then by the overrides.

    If the user gives images without a split, the split becomes the placeholder `SHARES`, which `with_counts`
    replaces. If weights are read, preprocessing options that are not given become None, and
    `config.with_preprocessing` fills them in.

    Raises:
        ValueError: an unknown preset or key, or a value outside its range.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset is {preset!r}; it must be one of {', '.join(PRESETS)}{did_you_mean(preset, PRESETS)}")
    changes = read_toml(file) if file else {}
    chosen, config = {**changes, **overrides}, PRESETS[preset]
    if (part := chosen.get("train", config.train)) != config.train and HEAD in (part, config.train):
        # Other optimizers train the rest than fit a head.
        config = replace(config, train=part, settings=PRESETS[HEAD_PRESET if part == HEAD else "photographs"].settings)
    config = change(change(config, changes, f"{file}"), overrides, "options")
    if config.class_folders and not config.data:
        raise ValueError(f"class_folders is {config.class_folders} without --data: drawn scenes have their classes")
    if config.data and "split" not in chosen:
        config = replace(config, split=SHARES)
    if config.weights != "none":
        config = change(config, dict.fromkeys(set(DECIDED_BY_WEIGHTS) - set(chosen)), "options")
    return config


def with_one_setting(config: Config, optimizer: str | None, learning_rate: float | None) -> Config:
    """Return the configuration with only one of its optimizer settings, at the given learning rate.

    If optimizer and learning rate are both None, return the configuration unchanged.

    Args:
        config: a configuration with any number of settings.
        optimizer: the optimizer of the setting; None if there is only one setting.
        learning_rate: the new learning rate; None keeps the setting's own.

    Raises:
        ValueError: no setting or more than one setting fits, or the learning rate is invalid.
    """
    if optimizer is None and learning_rate is None:
        return config
    found = [each for each in config.settings if optimizer in (None, each.optimizer)]
    if len(found) != 1:
        valid = list(dict.fromkeys(each.optimizer for each in config.settings))
        of_one = f"--learning-rate is for one setting, and there are {len(found)}"
        what = f"--optimizer {optimizer} names {len(found)} of the settings" if optimizer else of_one
        raise ValueError(
            f"{what}; --optimizer chooses one of {', '.join(valid)}, and [[settings]] in a file for --config "
            f"can have others{did_you_mean(optimizer or '', valid)}"
        )
    rate = {} if learning_rate is None else {"learning_rate": learning_rate}
    return change(config, {"settings": [asdict(found[0]) | rate]}, "options")


def chosen_values(config: Config) -> Values:
    """Return the configuration as JSON values, without values that are chosen only when the training begins.

    Such values can be the split and the names of the measured modules.
    """
    left = {"split"} if config.split == SHARES else set()
    left |= {"modules"} if config.modules == FIVE_MODULES and not config.network.is_resnet else set()
    return {name: value for name, value in to_json(config, FORMAT).items() if name not in left}


def to_toml(config: Config) -> str:
    """Return the configuration as text of a TOML file for `--config`.

    A comment on the first line gives the command that trains with this file.
    """
    values = chosen_values(config)
    settings = values.pop("settings")
    # Strings, numbers and lists of JSON are TOML's too; it has no null.
    tables = [
        [f"{name} = {json.dumps(v, ensure_ascii=False)}" for name, v in table.items() if v is not None]
        for table in (values, *settings)
    ]
    # The first two are format and preset.
    lines = [f"# in4310repro train --preset {config.preset} --config THIS_FILE", *tables[0][2:]]
    return "\n".join([*lines, *(line for table in tables[1:] for line in ("", "[[settings]]", *table))])


def refuse_without_images(config: Config) -> None:
    """Raise ValueError if the configuration has neither a folder of images nor scenes to draw."""
    if not config.data and not config.scenes:
        raise ValueError(f"preset {config.preset} trains on real images: --data FOLDER names their class folders")


def with_counts(config: Config, images: int) -> Config:
    """Return the configuration after replacing a split `SHARES` by image counts in the preset's proportions.

    Args:
        config: a configuration whose split may be `SHARES`.
        images: the number of images to split.
    """
    if config.split != SHARES:
        return config
    counts = [int(count) for count in PRESETS[config.preset].split.split("/")]
    validation, test = (round(Fraction(count * images, sum(counts))) for count in counts[1:])
    return replace(config, split=f"{images - validation - test}/{validation}/{test}")


def default_names(preset: str, data: str | None) -> Iterator[str]:
    """Yield names for run and report folders, in order of preference; the caller takes the first unused one.

    The names begin with the preset's name. If the preset draws scenes but the user gives images, they begin with
    the name of the images' folder, in which `-` replaces characters that are not letters, digits or `_`. From the
    second name on, a number is appended. A folder's name that is also a preset's always gets a number.

    Args:
        preset: one of `PRESETS`.
        data: the folder of the images.
    """
    own = data and preset in PRESETS and PRESETS[preset].scenes
    name = re.sub(r"[^\w]+", "-", Path(data).absolute().name).strip("-")[:LONGEST_NAME] if data and own else preset
    name = name or preset
    if not own or name not in PRESETS:
        yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))


def reproducing_command(config: Config, chosen: Collection[str] = ()) -> str:
    """Return the shell command that trains a run with this configuration and writes its report.

    The command depends only on the configuration: it is the same for a copy of the run in a different folder.

    Args:
        config: the configuration of a run.
        chosen: names of options that a training chooses by itself, which are omitted.
    """
    config = publishable(config)
    run = shell_word(f"runs/{next(default_names(config.preset, config.data))}")
    # Given explicitly, since by default another name is chosen if a run of other images has this one.
    out = f" --out {run}" if config.data else ""
    trains = f"in4310repro train{out} {command_line_options(config, chosen)}"
    return f"{trains} && in4310repro report {run}{config.network.option}"


def command_line_options(config: Config, chosen: Collection[str] = ()) -> str:
    """Return the command-line options that turn the preset into this configuration.

    Some values can be set only in a TOML file. Their names are given in parentheses after `--config FILE`. Paths
    are made publishable (see `publishable`), and values are quoted (see `shell_word`).

    Args:
        config: the configuration of a finished or a new run.
        chosen: names of options that a training chooses by itself, which are omitted.
    """
    config = publishable(config)
    base = PRESETS.get(config.preset, Config(preset=config.preset))
    values = {name: getattr(config, name) for name in OPTIONS if name not in (*chosen, "format")}
    unsaid = {"split": SHARES}
    changed = {name: v for name, v in values.items() if v not in (None, getattr(base, name), unsaid.get(name))}
    words = [
        f"--{name.replace('_', '-')} {shell_word(','.join(map(str, v)) if isinstance(v, tuple) else f'{v}')}"
        for name, v in changed.items()
        if OPTIONS[name].help
    ]
    if in_file := [name for name in changed if not OPTIONS[name].help]:
        words.append(f"--config FILE (with {', '.join(in_file)})")
    return " ".join([f"--preset {shell_word(config.preset)}", *words])


def publishable(config: Config) -> Config:
    """Return a copy of the configuration without private parts of local paths (see `publishable_place`)."""
    places: Values = {name: getattr(config, name) for name, option in OPTIONS.items() if option.is_place}
    public = {name: publishable_place(v) for name, v in places.items() if v and v not in OPTIONS[name].examples}
    return replace(config, **places | public)
