"""Presets: frozen settings that are passed whole and recorded in each run."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from in4310repro import protocols

MODELS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
CHOICES = {
    "model": MODELS,
    "optimizer": ("AdamW", "RMSprop", "SGD"),
    "augmentation": ("none", "flip", "flip-shift"),
    "schedule": ("constant", "cosine"),
    "numerics": ("auto", "native", "portable"),
    "precision": ("fast", "exact"),
}
# What a value of each annotated type may be; ranges and choices are checked afterwards.
KINDS: dict[Any, tuple[type, ...]] = {
    int: (int,),
    float: (int, float),
    str: (str,),
    str | None: (str, type(None)),
    Literal["fast", "exact"]: (str,),
}
# Settings without an option of their own on the command line.
FILE_ALONE = (
    "evaluation_batch_size",
    "augmentation",
    "schedule",
    "warm_up",
    "checkpoint_steps",
    "settings",
    "modules",
    "feature_images",
)
FIVE_MODULES = ("conv1", "layer1.1.conv1", "layer2.1.conv1", "layer3.1.conv1", "layer4.1.conv1")


@dataclass(frozen=True, kw_only=True)
class OptimizerSetting:
    """One of the three compared ways to train."""

    name: str
    optimizer: str
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0  # SGD alone


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that changes a run."""

    preset: str
    data: str | None = None  # folder of class folders; None draws the embedded scenes
    scenes: int = 0  # embedded scenes of each class
    model: str = "resnet18"
    weights: str = "none"  # none, imagenet or a file
    image_size: int = 224  # pixels
    batch_size: int = 16  # images
    evaluation_batch_size: int = 64  # images
    epochs: int = 20
    split: str = "12034/2000/3000"  # training/validation/test, as counts or fractions
    seed: int = 0
    device: str = "auto"
    numerics: str = "auto"
    precision: Literal["fast", "exact"] = "exact"
    protocol: str = protocols.CORRECTED
    augmentation: str = "flip"
    schedule: str = "constant"
    warm_up: float = 0.0  # share of the steps
    checkpoint_steps: int = 200  # between checkpoints within an epoch; 0: at the ends of epochs alone
    settings: tuple[OptimizerSetting, ...] = ()
    modules: tuple[str, ...] = FIVE_MODULES
    feature_images: int = 200
    imagenet: str | None = None
    cifar10: str | None = None


def three_settings(adamw: float, rmsprop: float, sgd: float) -> tuple[OptimizerSetting, ...]:
    """The report's optimizers at the given learning rates."""
    return (
        OptimizerSetting(name="adamw", optimizer="AdamW", learning_rate=adamw, weight_decay=0.01),
        OptimizerSetting(name="rmsprop", optimizer="RMSprop", learning_rate=rmsprop),
        OptimizerSetting(name="sgd", optimizer="SGD", learning_rate=sgd, momentum=0.9),
    )


PRESETS = {
    "demo": Config(
        preset="demo",
        scenes=130,
        image_size=64,
        batch_size=24,
        epochs=5,
        split="480/120/180",
        augmentation="flip-shift",
        schedule="cosine",
        warm_up=0.2,
        settings=three_settings(1e-3, 1e-3, 0.02),
        feature_images=180,
    ),
    "course": Config(preset="course", weights="imagenet", numerics="native", settings=three_settings(1e-3, 1e-3, 1e-3)),
    "tiny": Config(
        preset="tiny",
        scenes=8,
        image_size=32,
        batch_size=8,
        evaluation_batch_size=8,
        epochs=2,
        split="24/12/12",
        augmentation="flip-shift",
        schedule="cosine",
        warm_up=0.2,
        checkpoint_steps=0,
        settings=three_settings(1e-3, 1e-4, 1e-2),
        feature_images=12,
    ),
}


def configure(preset: str, file: Path | None, overrides: Mapping[str, Any]) -> Config:
    """A preset, changed by a TOML file and then by the overrides that are not None.

    Raises:
        ValueError: an unknown preset or key, or a value outside its range.
    """
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; valid are {', '.join(PRESETS)}")
    config = _changed(PRESETS[preset], read_file(file), str(file)) if file else PRESETS[preset]
    given = {name: value for name, value in overrides.items() if value is not None}
    return checked(_changed(config, given, "options"))


def from_json(value: Mapping[str, Any]) -> Config:
    """The configuration that `to_json` wrote."""
    base = Config(preset=str(value.get("preset")))
    return checked(_changed(base, dict(value), "config.json"))


def to_json(config: Config) -> dict[str, Any]:
    """The configuration as JSON values."""
    return asdict(config)


def differences(config: Config, overrides: Mapping[str, Any]) -> list[str]:
    """What a command asks for and a finished run was not made with, as `epochs 20 (the run has 5)`."""
    recorded = asdict(config)
    return [
        f"{name} {value} (the run has {recorded[name]})"
        for name, value in overrides.items()
        if value is not None and value != recorded[name]
    ]


def options(config: Config) -> str:
    """The options that make this configuration of its preset, as a person types them.

    What only a file can set is named after `--config FILE`. A folder's name stands for its absolute path, which would
    be another one elsewhere.
    """
    words = [f"--preset {config.preset}"]
    base, of_file = PRESETS.get(config.preset, Config(preset=config.preset)), []
    for name in (field.name for field in fields(Config)):
        value = getattr(config, name)
        if value == getattr(base, name):
            continue
        if name in FILE_ALONE:
            of_file.append(name)
            continue
        if isinstance(value, str) and Path(value).is_absolute():
            value = Path(value).name
        words.append(f"--{name.replace('_', '-')} {value}")
    if of_file:
        words.append(f"--config FILE (with {', '.join(of_file)})")
    return " ".join(words)


def read_file(file: Path) -> dict[str, Any]:
    """The settings in a TOML file.

    Raises:
        ValueError: no such file, no TOML, or it names a preset, which the command line does.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"no file {file}; --config takes a TOML file of settings") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not TOML: {error}") from None
    if "preset" in values:
        raise ValueError(f"{file} names preset {values['preset']!r}; --preset does that")
    return values


def _changed(config: Config, changes: Mapping[str, Any], source: str) -> Config:
    values = _typed(Config, changes, source)
    if "settings" in values:
        values["settings"] = tuple(_optimizer_setting(entry, source) for entry in values["settings"])
    return replace(config, **values)


def _optimizer_setting(entry: Any, source: str) -> OptimizerSetting:
    if not isinstance(entry, Mapping):
        raise ValueError(f"{source}: settings are tables such as [[settings]] name, optimizer; got {entry!r}")
    missing = [name for name in ("name", "optimizer") if name not in entry]
    if missing:
        raise ValueError(f"{source}: a setting lacks {', '.join(missing)}; it has {sorted(entry)}")
    return OptimizerSetting(**_typed(OptimizerSetting, entry, source))


def _typed(record: type, values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The values as the record's fields take them: lists as tuples, whole numbers as floats where floats stand.

    Raises:
        ValueError: an unknown name, or a value of another type.
    """
    types = get_type_hints(record)
    typed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in types:
            raise ValueError(f"{source}: no setting {name!r}; valid are {', '.join(sorted(types))}")
        kinds = KINDS.get(types[name], (list, tuple))
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"{source}: {name} is {value!r}; it takes {' or '.join(kind.__name__ for kind in kinds)}")
        if value == "" or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{source}: {name} is {value!r}; a value is needed")
        if value not in CHOICES.get(name, (value,)):
            raise ValueError(f"{source}: no {name} {value!r}; valid are {', '.join(CHOICES[name])}")
        convert: Any = float if types[name] is float else tuple if isinstance(value, list) else type(value)
        typed[name] = None if value is None else convert(value)
    return typed


def checked(config: Config) -> Config:
    """The configuration itself, when every value is in its range.

    Raises:
        ValueError: names the value and the valid ones.
    """
    least = {
        "scenes": 0,
        "image_size": 32,
        "batch_size": 2,
        "evaluation_batch_size": 1,
        "epochs": 1,
        "seed": 0,
        "checkpoint_steps": 0,
        "feature_images": 2,
    }
    for name, minimum in least.items():
        if getattr(config, name) < minimum:
            raise ValueError(f"{name} is {getattr(config, name)}; it is at least {minimum}")
    if not 0 <= config.warm_up < 1:
        raise ValueError(f"warm_up is {config.warm_up}; it is a share of the steps in [0, 1)")
    protocols.switches(config.protocol)
    _check_settings(config.settings)
    return config


def _check_settings(settings: tuple[OptimizerSetting, ...]) -> None:
    names = [setting.name for setting in settings]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"settings are named {names}; at least one is needed, each with a name of its own")
    for setting in settings:
        if not setting.name.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"setting {setting.name!r} names a folder: letters, digits, - and _ are valid")
        if setting.learning_rate <= 0 or setting.weight_decay < 0 or not 0 <= setting.momentum < 1:
            raise ValueError(f"{setting}: learning_rate > 0, weight_decay >= 0 and 0 <= momentum < 1 are valid")
