"""An untrained run with consistent records: two classes, eight images, two settings (optimizers), two epochs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from in4310repro.data.folders import Entry
from in4310repro.data.splits import Split, to_csv
from in4310repro.metrics.scores import Scores
from in4310repro.runs.config import Config, to_json
from in4310repro.runs.folder import RunFolder, array_bytes
from in4310repro.runs.settings import OptimizerSetting
from tests.builders import pixels_of, relink

CLASSES = ("bay", "sea")
CONFIG = Config(
    preset="made-up",
    scenes=4,
    epochs=2,
    split="3/2/3",
    settings=(
        OptimizerSetting(name="one", optimizer="AdamW", weight_decay=0.5),
        OptimizerSetting(name="two", optimizer="SGD", learning_rate=0.25, momentum=0.9),
    ),
    modules=("conv1", "fc"),
)
INITIAL = "e" * 64


@dataclass(frozen=True)
class Records:
    config: Config
    fingerprint: Any
    pixels: Mapping[str, str]
    split: Split
    histories: Any
    tensors: Any
    metrics: Any
    scores: Scores
    features: Any


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def entry(path: str) -> Entry:
    return Entry(path, CLASSES.index(path.partition("/")[0]), digest(path))


def split() -> Split:
    parts = {
        "training": ("bay/0.png", "bay/1.png", "sea/0.png"),
        "validation": ("bay/2.png", "sea/1.png"),
        "test": ("bay/3.png", "sea/2.png", "sea/3.png"),
    }
    return Split(Path("images"), CLASSES, {part: tuple(map(entry, paths)) for part, paths in parts.items()})


def history_row(setting: str, epoch: int, accuracy: float) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "train_loss": 1.0,
        "val_loss": 1.0,
        "images_per_second": 9.0,
        "weights_sha256": digest(f"{setting} {epoch}"),
        "class_accuracy": [accuracy, accuracy],
        "average_precision": [0.5, 0.75],
        "mean_class_accuracy": accuracy,
        "mean_average_precision": 0.625,
    }


def chained(setting: str, start_sha256: str) -> list[Any]:
    rows = [
        {
            "epoch": epoch,
            "previous": "",
            "weights_sha256": digest(f"{setting} {epoch}"),
            "optimizer_sha256": digest(f"state of {setting} {epoch}"),
            "tensors": {"conv1.weight": "0123456789ab", "fc.bias": "ba9876543210"},
        }
        for epoch in (1, 2)
    ]
    return relink(rows, start_sha256)


def start_sha256(
    config: Config, setting: OptimizerSetting, initial: str, training_images: str = "training", **also: Any
) -> str:
    """Return the hash of a training's initial state by the formula of docs/verification.md."""
    start = {
        "config": {
            "model": config.model,
            "image_size": config.image_size,
            "batch_size": config.batch_size,
            "epochs": config.epochs,
            "seed": str(config.seed) if config.is_canonical else config.seed,
            "augmentation": config.augmentation,
            "schedule": config.schedule,
            "warm_up": config.warm_up,
            **also,
        },
        "initial_weights_sha256": initial,
        "numeric_class": "a class",
        "setting": {
            name: getattr(setting, name) for name in ("optimizer", "learning_rate", "weight_decay", "momentum")
        },
        "split_sha256": hashlib.sha256(to_csv(split())).hexdigest(),
        "training_images": training_images,
    }
    if config.is_canonical:
        return canonical_sha256(start)
    return digest(json.dumps(start, sort_keys=True, separators=(",", ":")))


def canonical_sha256(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON: the function H in docs/verification.md."""
    return digest(canonical(value))


def canonical(value: Any) -> str:
    """Return an object with ASCII keys as canonical JSON, by the text of RFC 8785."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, tuple):
        return f"[{','.join(map(canonical, value))}]"
    return ecmascript(value) if isinstance(value, float) else json.dumps(value)


def ecmascript(number: float) -> str:
    """Return a number that is not negative as ECMAScript's Number::toString does, whose steps these are."""
    _, figures, exponent = Decimal(repr(number)).normalize().as_tuple()
    digits, point = "".join(map(str, figures)), len(figures) + int(exponent)
    if number == 0:
        return "0"
    if len(digits) <= point <= 21:
        return digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return "0." + "0" * -point + digits
    tail = f"e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return digits + tail if len(digits) == 1 else f"{digits[0]}.{digits[1:]}{tail}"


def records(config: Config = CONFIG) -> Records:
    """Return all records of a made-up run with two trainings, "one" and "two"; epoch 2 of "two" is the best."""
    histories = {
        "one": [history_row("one", 1, 0.5), history_row("one", 2, 0.625)],
        "two": [history_row("two", 1, 0.5), history_row("two", 2, 0.75)],
    }
    metrics: Any = {
        "setting": "two",
        "epoch": 2,
        "validation_mean_class_accuracy": 0.75,
        "weights_sha256": digest("two 2"),
        "classes": list(CLASSES),
        "supports": {
            "training": {"bay": 2, "sea": 1},
            "validation": {"bay": 1, "sea": 1},
            "test": {"bay": 1, "sea": 2},
        },
        "loss": 0.5,
        "class_accuracy": [1.0, 0.5],
        "average_precision": [1.0, 1.0],
        "mean_class_accuracy": 0.75,
        "mean_average_precision": 1.0,
        # One image of class sea is predicted as class bay: 2 x 1 / (1 + 2) and 2 x 1 / (2 + 1).
        "macro_f1": 2 / 3,
        "accuracy": 2 / 3,
    }
    # One image has a share of 0, which is valid.
    softmax = np.array([[1, 0], [0.25, 0.75], [0.5, 0.5]], np.float32)
    module = {"non_positive": 0.5, "non_finite": 0, "channels": 3, "eigenvalues": [2.0, 1.0]}
    sets = [{"name": name, "images": 3, "modules": {"conv1": module, "fc": module}} for name in ("a", "b", "c")]
    fingerprint = {
        "versions": {"torch": "2"},
        "processor": "a processor",
        "capability": "default",
        "numerics": "portable",
        "numeric_class": "a class",
        "probe": {},
        "threads": 1,
        "device": "cpu",
        "device_name": "a processor",
        "git": {"commit": None, "dirty": None},
    }
    images = [each.path for part in split().parts.values() for each in part]
    pixels, of_parts = pixels_of({path: digest(f"pixels of {path}") for path in images}, config, split())
    return Records(
        config=config,
        fingerprint=fingerprint | {"initial_weights_sha256": INITIAL, "pixels_sha256": of_parts},
        pixels=pixels,
        split=split(),
        histories=histories,
        tensors={each.name: chained(each.name, start_sha256(config, each, INITIAL)) for each in config.settings},
        metrics=metrics,
        scores=Scores(("bay/3.png", "sea/2.png", "sea/3.png"), np.array([0, 1, 1], np.int64), softmax, metrics["loss"]),
        features={
            "network": "resnet18",
            "spectra_mode": "eval",
            "precision": "exact",
            "fingerprint": fingerprint,
            "sets": sets,
        },
    )


def write(folder: Path, made: Records) -> RunFolder:
    """Write the records as files, without weights."""
    files = RunFolder.create(folder)
    files.write_json("config.json", to_json(made.config))
    files.write_json("fingerprint.json", made.fingerprint)
    files.write_bytes("split.csv", to_csv(made.split))
    if made.config.is_canonical:
        files.write_json("pixels.json", made.pixels)
    for setting in made.config.settings:
        files.write_json(f"{setting.name}/history.json", made.histories[setting.name])
        files.write_json(f"{setting.name}/tensors.json", made.tensors[setting.name])
    files.write_json("metrics.json", made.metrics)
    scores = made.scores
    arrays = {"paths": np.array(scores.paths), "labels": scores.labels, "softmax": scores.softmax}
    files.write_bytes("scores.npz", array_bytes(arrays))
    if made.features is not None:
        files.write_json("features.json", made.features)
    return files
