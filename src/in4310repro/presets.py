"""Presets: frozen configurations to start from."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from in4310repro import deviations
from in4310repro.config import ONLY_IN_FILES, Config, OptimizerSetting, change, read_toml
from in4310repro.text import publishable_place


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
    """A preset, changed by a TOML file and then by the overrides.

    Raises:
        ValueError: an unknown preset or key, or a value outside its range.
    """
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; valid are {', '.join(PRESETS)}")
    config = change(PRESETS[preset], read_toml(file), str(file)) if file else PRESETS[preset]
    return change(config, overrides, "options")


def command_line_options(config: Config) -> str:
    """The options that make this configuration of its preset, as a person types them.

    What only a file can set is named after `--config FILE`. Places are those of `publishable`; a POSIX shell reads
    every value as one word.
    """
    config = publishable(config)
    base = PRESETS.get(config.preset, Config(preset=config.preset))
    words, in_file = [f"--preset {shlex.quote(config.preset)}"], []
    for name in (field.name for field in fields(Config)):
        value = getattr(config, name)
        if value == getattr(base, name):
            continue
        if name in ONLY_IN_FILES:
            in_file.append(name)
            continue
        if isinstance(value, frozenset):
            value = deviations.describe(value)
        words.append(f"--{name.replace('_', '-')} {shlex.quote(str(value))}")
    if in_file:
        words.append(f"--config FILE (with {', '.join(in_file)})")
    return " ".join(words)


def publishable(config: Config) -> Config:
    """The configuration with nothing of a machine in it: see `publishable_place`; a run's own files keep the paths."""
    return replace(
        config,
        data=config.data and publishable_place(config.data),
        weights=config.weights if config.weights in ("none", "imagenet") else publishable_place(config.weights),
        imagenet=config.imagenet and publishable_place(config.imagenet),
        cifar10=config.cifar10 and publishable_place(config.cifar10),
    )
