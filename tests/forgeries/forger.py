"""Tools of a forger: changes to an honest run's files, and functions that make other files consistent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from in4310repro.data.folders import Entry
from in4310repro.data.images import load_images
from in4310repro.data.preprocessing import to_metadata
from in4310repro.data.splits import Split, from_csv, to_csv
from in4310repro.evaluation.feature_maps import of_run
from in4310repro.evaluation.prediction import predict
from in4310repro.metrics.scores import Scores
from in4310repro.runs import chain, config as configuration, names
from in4310repro.runs.config import Config
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.runs.folder import array_bytes, read_arrays
from in4310repro.runs.selection import select
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes
from in4310repro.system.numerics import Numerics
from in4310repro.system.tensors import read_tensors, tensor_bytes, tensors_sha256
from tests.builders import inside_json, pixels_of, relink

CHECKS = "in4310repro.runs.finished"
SELECTED, OTHER, LAST = "rmsprop", "adamw", "sgd"  # settings of the tiny run


class Forger:
    """An honest run in a working folder, with methods that forge it; files may be hard links and are replaced."""

    def __init__(self, work: Path, starts: Callable[[str], Path], numerics: Numerics) -> None:
        self.work, self.run, self.numerics = work, work / "runs/tiny", numerics
        self.starts = starts  # the working folder of another honest run, to be read

    # Files.

    def write(self, name: str, data: bytes) -> None:
        file = self.run / name
        file.unlink(missing_ok=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    def read(self, name: str) -> bytes:
        return (self.run / name).read_bytes()

    def json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, json_bytes(value))

    def put(self, name: str, place: str, value: object) -> None:
        """Set the value at the path `place`, such as `supports/test/sea`, in the JSON file `name`."""
        content = self.json(name)
        inner, last = inside_json(content, place)
        inner[last] = value
        self.write_json(name, content)

    def replace(self, name: str, old: str, new: str) -> None:
        text = self.read(name).decode()
        assert old in text, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new, 1).encode())

    def flip(self, name: str, place: int, bit: int = 0) -> None:
        data = bytearray(self.read(name))
        data[place] ^= 1 << bit
        self.write(name, bytes(data))

    def seal(self, *without: str) -> None:
        """Rewrite the manifest as the package does, with every file of the folder except those in the arguments."""
        files = sorted(file.relative_to(self.run).as_posix() for file in self.run.rglob("*") if file.is_file())
        listed = [name for name in files if name not in (names.MANIFEST, *without) and not names.is_kept_epoch(name)]
        self.write_json(names.MANIFEST, {name: sha256_of(self.run / name) for name in listed})

    def rechain(self) -> None:
        """Recompute the hash chain of every setting (one optimizer's training) from the other files."""
        # Of the settings before, whose last weights a warm start takes.
        chained: dict[str, Any] = {}
        config, split = self.config(), self.split()
        pixels, of_parts = pixels_of(self.json(names.PIXELS), config, split)
        self.write_json(names.PIXELS, pixels)
        self.put("fingerprint.json", "pixels_sha256", of_parts)
        for setting in config.settings:
            entries = chained[setting.name] = self.json(files_of(setting.name)[1])
            known = replace(config, settings=config.settings[: len(chained)])
            relink(entries, chain.starts(known, self.json("fingerprint.json"), split, chained)[setting.name])
            self.write_json(files_of(setting.name)[1], entries)

    # What the files hold.

    def config(self) -> Config:
        return configuration.from_json(self.json("config.json"), "config.json")

    def split(self) -> Split:
        config = self.config()
        return replace(from_csv(self.run / "split.csv", Path()), root=self.image_root(config))

    def image_root(self, config: Config) -> Path:
        return self.work / config.data if config.data else image_root(config, None)

    def arrays(self) -> dict[str, Any]:
        return read_arrays(self.run / "scores.npz")

    def write_arrays(self, arrays: dict[str, Any]) -> None:
        self.write("scores.npz", array_bytes(arrays))

    def weights(self, setting: str) -> dict[str, torch.Tensor]:
        return self.ordered(setting, read_tensors(self.run / f"{setting}/best.safetensors"))

    def ordered(self, setting: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the tensors in the order of the run's records, because safetensors files do not preserve it."""
        first = [name for name in self.json(files_of(setting)[1])[0]["tensors"] if name in tensors]
        return {name: tensors[name] for name in [*first, *sorted(tensors.keys() - {*first})]}

    def write_weights(self, setting: str, state: dict[str, torch.Tensor]) -> None:
        self.write(f"{setting}/best.safetensors", tensor_bytes(state, to_metadata(self.config().preprocessing)))

    def write_split(self, parts: dict[str, Sequence[Entry]]) -> None:
        """Write split.csv with the images of `parts`, and update the sizes in configuration and metrics."""
        ordered = {part: tuple(sorted(entries, key=lambda entry: entry.path)) for part, entries in parts.items()}
        split = Split(Path(), self.split().classes, ordered)
        self.write("split.csv", to_csv(split))
        self.put("config.json", "split", "/".join(str(len(entries)) for entries in ordered.values()))
        self.put("metrics.json", "supports", split.supports())

    # What follows from them.

    def predicted(self, setting: str, part: str, epoch: int = 0) -> Scores:
        """Return the scores of a part (training, validation or test) with one optimizer's current weights."""
        config, split = self.config(), self.split()
        images = load_images(part, split.root, split.parts[part], config.image_size, cache=False)
        self.put("fingerprint.json", f"pixels_sha256/{part}", images.pixels_sha256())
        self.write_json(names.PIXELS, dict(sorted((self.json(names.PIXELS) | images.pixel_hashes()).items())))
        model = config.network.restore(len(split.classes), self.weights(setting), setting)
        return predict(self.numerics.place(model), images, config, Context(self.numerics), epoch=epoch)

    def remeasure(self) -> None:
        """Recompute the metrics from the current scores."""
        arrays = self.arrays()
        scores = Scores(tuple(arrays["paths"]), arrays["labels"], arrays["softmax"], 0.0)
        self.write_json("metrics.json", self.json("metrics.json") | dict(scores.metrics()))

    def rescore(self) -> None:
        """Recompute test scores and metrics with the weights of the best optimizer (by validation accuracy)."""
        settings = [setting.name for setting in self.config().settings]
        setting, row = select({name: self.json(f"{name}/history.json") for name in settings}, "mean_class_accuracy")
        scores = self.predicted(setting, "test")
        self.write_arrays({"paths": np.array(scores.paths), "labels": scores.labels, "softmax": scores.softmax})
        new = {
            "setting": setting,
            "epoch": row["epoch"],
            "validation_mean_class_accuracy": row["mean_class_accuracy"],
            "weights_sha256": tensors_sha256(self.weights(setting)),
            "loss": scores.loss,
        }
        self.write_json("metrics.json", self.json("metrics.json") | new | dict(scores.metrics()))

    def revalidate(self, setting: str) -> None:
        """Recompute history row and hash chain entry of one optimizer's best epoch from the current weights."""
        history, tensors, state = *map(self.json, files_of(setting)), self.weights(setting)
        row: dict[str, Any] = max(history, key=lambda each: each["mean_class_accuracy"])
        scores = self.predicted(setting, "validation", row["epoch"])
        row.update(scores.metrics(), val_loss=scores.loss, weights_sha256=tensors_sha256(state))
        entry = tensors[row["epoch"] - 1]
        entry |= chain.entry(row["epoch"], "", state, {}) | {"optimizer_sha256": entry["optimizer_sha256"]}
        for other in history:
            # So that the best epoch stays the best.
            if other is not row and other["mean_class_accuracy"] >= row["mean_class_accuracy"]:
                make_worst(other)
        self.write_json(files_of(setting)[0], history)
        self.write_json(files_of(setting)[1], tensors)

    def refeature(self) -> None:
        """Measure the feature maps again."""
        self.finish()
        # A forger is stopped by no refusal of files that contradict each other.
        with mock.patch(f"{CHECKS}.refuse_contradictions"):
            run = FinishedRun.open(self.run)
        of_run.write_features(run, run.config, Context(self.numerics), str(self.image_root(run.config)))

    def make_fit(self, setting: str = SELECTED) -> None:
        """Recompute everything from an optimizer's weights: best epoch, test scores, feature maps and manifest."""
        self.revalidate(setting)
        self.rescore()
        self.refeature()
        self.finish()

    def finish(self) -> None:
        """Rewrite the hash chains and the manifest."""
        self.rechain()
        self.seal()


def files_of(setting: str) -> tuple[str, str]:
    return f"{setting}/history.json", f"{setting}/tensors.json"


def make_worst(row: dict[str, Any]) -> None:
    """Set the accuracies in an epoch's history row to 0."""
    row["class_accuracy"] = [0.0] * len(row["class_accuracy"])
    row["mean_class_accuracy"] = row["accuracy"] = 0.0


_HASHES: dict[tuple[int, int, int], str] = {}


def sha256_of(file: Path) -> str:
    status = file.stat()
    key = (status.st_dev, status.st_ino, status.st_mtime_ns)
    if key not in _HASHES:
        _HASHES[key] = hashlib.sha256(file.read_bytes()).hexdigest()
    return _HASHES[key]
