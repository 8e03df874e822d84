"""The whole chain: images -> split -> three trainings -> selection -> test scores."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from in4310repro import evaluation, feature_maps, models, presets
from in4310repro.data.embedded import embedded_catalogue
from in4310repro.data.folders import Catalogue, catalogue
from in4310repro.data.images import ImageSet, load
from in4310repro.data.splits import PARTS, Split, from_csv, parse_sizes, split, to_csv
from in4310repro.evaluation import Row
from in4310repro.features.hooks import choose
from in4310repro.numerics import Numerics, fingerprint
from in4310repro.presets import Config
from in4310repro.progress import SILENT, Progress
from in4310repro.protocols import Switch, switches
from in4310repro.runs import Run, refuse_other_config, tensors_sha256
from in4310repro.training import Task, fit


def train(
    config: Config, numerics: Numerics, folder: Path, progress: Progress = SILENT, *, resume: bool = False
) -> Run:
    """Trains every setting from equal initial weights, selects on validation, and scores the test set once.

    A run that is already in the folder moves aside, or is gone on with. All inputs are checked, and all images
    decoded, before anything is computed.

    Raises:
        ValueError: whatever is wrong with the data, the weights or the settings; on resuming, whatever differs.
    """
    if config.imagenet or config.cifar10:
        feature_maps.comparison_sets(config)
    images = _catalogue(config, progress)
    parts = split(images, parse_sizes(config.split, len(images.entries)), config.seed)
    # The test images are decoded too, so that an unreadable one is found now and not after hours.
    on = switches(config.protocol)
    sets = {name: _load(parts, _read_as(name, on), config, progress) for name in PARTS}
    classes = len(parts.classes)
    start = models.build(config.model, classes, config.seed, config.weights)
    choose(start, config.modules)
    initial = start.state_dict()
    made = fingerprint(numerics) | {"initial_weights_sha256": tensors_sha256(initial)}
    run = _resumed(folder, config, parts, made) if resume else None
    run = run or _started(folder, config, parts, made)
    histories: dict[str, list[Row]] = {}
    for setting in config.settings:
        model = models.build(config.model, classes, config.seed)
        goes_on = histories if Switch.NO_FRESH_START in on else {}
        model.load_state_dict(run.read_tensors(f"{list(goes_on)[-1]}/last.safetensors") if goes_on else initial)
        task = Task(
            model=model,
            training=sets["training"],
            validation=sets["validation"],
            config=config,
            setting=setting,
            run=run,
            device=numerics.device,
            progress=progress,
        )
        histories[setting.name] = _finished(run, setting.name, config) or fit(task)
        if Switch.NO_FRESH_START in on and not (run.folder / setting.name / "last.safetensors").is_file():
            run.write_tensors(f"{setting.name}/last.safetensors", model.state_dict())
        # All that a checkpoint could give is in the files of the finished setting; it takes 3 times their space.
        shutil.rmtree(run.folder / setting.name / "checkpoint", ignore_errors=True)
    _score_test(run, config, parts, histories, numerics, progress)
    return run


def _read_as(part: str, on: frozenset[Switch]) -> str:
    """The part of the split that stands behind a loader."""
    return "test" if Switch.ONE_SET in on else part


def _finished(run: Run, setting: str, config: Config) -> list[Row]:
    """The history of a setting that was trained to its end, else an empty list.

    An epoch's row is written after its weights, so a whole history has its best weights beside it.
    """
    if not (run.folder / setting / "history.json").is_file():
        return []
    changed = run.changed_files()
    needed = {f"{setting}/history.json"}
    if Switch.NO_FRESH_START in switches(config.protocol):
        needed.add(f"{setting}/last.safetensors")
    if not run.manifest().keys() >= needed or any(name.startswith(f"{setting}/") for name in changed):
        return []
    history: list[Row] = run.read_json(f"{setting}/history.json")
    return history if len(history) == config.epochs else []


def _started(folder: Path, config: Config, parts: Split, made: Mapping[str, Any]) -> Run:
    """A new run folder with what is known before training."""
    run = Run.create(folder)
    run.write_json("fingerprint.json", made)
    run.write_bytes("split.csv", to_csv(parts))
    # Last: a folder with a configuration can be resumed.
    run.write_json("config.json", presets.to_json(config))
    return run


def _resumed(folder: Path, config: Config, parts: Split, made: Mapping[str, Any]) -> Run | None:
    """The run to go on with, or None where none was begun.

    Raises:
        ValueError: it was begun with other settings, other images or in other arithmetic.
    """
    if not (folder / "config.json").is_file():
        return None
    run = Run.reopen(folder)
    refuse_other_config(run.read_json("config.json"), presets.to_json(config), f"{folder}")
    if (folder / "split.csv").read_bytes() != to_csv(parts):
        raise ValueError(f"{folder} was begun with other images than {parts.root} holds now; its split.csv lists them")
    recorded = run.read_json("fingerprint.json")
    for name in ("numeric_class", "versions", "initial_weights_sha256"):
        if recorded.get(name) != made[name]:
            raise ValueError(
                f"{folder} was begun with {name} {recorded.get(name)} and now it is {made[name]}, so that it would not "
                "end with the same bits. Resume where they are equal, or start anew without --resume"
            )
    # A kill may have fallen between this file and its manifest entry.
    run.write_json("config.json", presets.to_json(config))
    return run


def _catalogue(config: Config, progress: Progress) -> Catalogue:
    if config.data:
        return catalogue(Path(config.data), progress)
    if not config.scenes:
        raise ValueError(f"preset {config.preset} trains on real images: --data FOLDER names their class folders")
    return embedded_catalogue(config.scenes, config.image_size, config.seed, progress)


def _load(parts: Split, name: str, config: Config, progress: Progress) -> ImageSet:
    return load(name, parts.root, parts.parts[name], config.image_size, progress=progress)


def _score_test(
    run: Run, config: Config, parts: Split, histories: Mapping[str, list[Row]], numerics: Numerics, progress: Progress
) -> None:
    """The one look at the test set: by the selected network, after the selection."""
    setting, row = evaluation.select(histories)
    model = models.build(config.model, len(parts.classes), config.seed)
    model.load_state_dict(run.read_tensors(f"{setting}/best.safetensors"))
    images = _load(parts, "test", config, progress)
    scores = evaluation.predict(model.to(numerics.device), images, config, numerics.device, progress)
    run.write_arrays("scores.npz", paths=_text(scores.paths), labels=scores.labels, softmax=scores.softmax)
    supports = {part: Catalogue(parts.root, parts.classes, entries).counts() for part, entries in parts.parts.items()}
    found = {
        "setting": setting,
        "epoch": row["epoch"],
        "validation_mean_class_accuracy": row["mean_class_accuracy"],
        "weights_sha256": tensors_sha256(model.state_dict()),
        "classes": list(parts.classes),
        "supports": supports,
        "loss": scores.loss,
    }
    found |= scores.metrics(config.protocol)
    if Switch.ONE_SET in switches(config.protocol):
        found["unseen"] = _unseen(model, config, parts, numerics, progress)
    run.write_json("metrics.json", found)


def _unseen(
    model: torch.nn.Module, config: Config, parts: Split, numerics: Numerics, progress: Progress
) -> dict[str, Any]:
    """Metrics on the images of the split that a protocol with one set never reads."""
    entries = (*parts.parts["training"], *parts.parts["validation"])
    images = load("unseen", parts.root, entries, config.image_size, progress=progress)
    scores = evaluation.predict(model, images, config, numerics.device, progress)
    return {"images": len(images), "loss": scores.loss} | scores.metrics(config.protocol)


def _text(words: tuple[str, ...]) -> Any:
    import numpy as np

    return np.array(words, dtype=np.str_)


def evaluate(
    run: Run,
    numerics: Numerics,
    data: str | None = None,
    progress: Progress = SILENT,
    *,
    protocol: str | None = None,
) -> dict[str, Any]:
    """Both metrics of the selected network on the run's test images, or on every image of another folder.

    Measured as the run's protocol measures, or as another one does.

    Raises:
        ValueError: the folder's classes are not the run's.
    """
    config = presets.from_json(run.read_json("config.json"))
    config = replace(config, protocol=protocol or config.protocol)
    classes = run.read_json("metrics.json")["classes"]
    if data:
        images = catalogue(Path(data), progress)
        if list(images.classes) != classes:
            raise ValueError(
                f"{data} has the classes {list(images.classes)}; the network of {run.folder} knows {classes}"
            )
        chosen = load("images", images.root, images.entries, config.image_size, progress=progress)
    else:
        chosen = _load(from_csv(run.folder / "split.csv", evaluation.data_root(config, None)), "test", config, progress)
    model, setting = evaluation.chosen_network(run, len(classes))
    device = numerics.device
    scores = evaluation.predict(model.to(device), chosen, config, device, progress)
    found = {
        "setting": setting,
        "data": data or "test set",
        "images": len(chosen),
        "classes": classes,
        "loss": scores.loss,
    }
    return found | scores.metrics(config.protocol)
