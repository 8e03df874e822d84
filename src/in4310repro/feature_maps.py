"""What the feature maps of a run's network say about three image sets: non-positive shares and covariance spectra."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from in4310repro import evaluation, models
from in4310repro.data import comparison
from in4310repro.data.images import ImageSet, batches, load
from in4310repro.data.splits import from_csv
from in4310repro.features import FeatureStatistics
from in4310repro.features.blocks import BLOCK
from in4310repro.features.kernel import described
from in4310repro.features.result import FeatureResult
from in4310repro.numerics import Numerics, fingerprint
from in4310repro.presets import Config
from in4310repro.progress import SILENT, Progress
from in4310repro.protocols import PUBLISHED_BATCH, Switch, counted_images, switches
from in4310repro.runs import Run, tensors_sha256

EIGENVALUES = 15


def image_sets(run: Run, config: Config, data: str | None, progress: Progress = SILENT) -> list[ImageSet]:
    """The run's own test images and two sets to hold against them, each a sample of the configured size.

    ImageNet and CIFAR-10 where their folders are given, else photographs and digits that scikit-learn ships, under
    names of their own.
    """
    root = evaluation.data_root(config, data)
    parts = from_csv(run.folder / "split.csv", root)
    own = load("test", parts.root, parts.parts["test"], config.image_size, progress=progress)
    own = comparison.subset(own, config.feature_images, config.seed)
    return [own, *comparison_sets(config)]


def comparison_sets(config: Config) -> list[ImageSet]:
    """The second and the third set.

    Raises:
        ValueError: a folder that cannot be read.
    """
    count, size, seed = config.feature_images, config.image_size, config.seed
    second = (
        comparison.imagenet(Path(config.imagenet), count, size, seed)
        if config.imagenet
        else comparison.photographs(count, size, seed)
    )
    third = (
        comparison.cifar10(Path(config.cifar10), count, size, seed)
        if config.cifar10
        else comparison.digits(count, size, seed)
    )
    return [second, third]


def measure(
    run: Run, config: Config, numerics: Numerics, data: str | None = None, progress: Progress = SILENT
) -> dict[str, Any]:
    """What `statistics` finds, written to `features.json`."""
    found = statistics(run, config, numerics, data, progress)
    run.write_json("features.json", found)
    return found


def statistics(
    run: Run, config: Config, numerics: Numerics, data: str | None = None, progress: Progress = SILENT
) -> dict[str, Any]:
    """Non-positive shares and covariance spectra of the modules on three image sets.

    The network is the one with the weights that training started from; where that was none, the selected one.

    Raises:
        ValueError: an unknown module, or image sets that cannot be read.
    """
    if config.weights == "none":
        model, setting = evaluation.chosen_network(run, len(run.read_json("metrics.json")["classes"]))
        network = f"{config.model} as trained here by setting {setting}"
    else:
        model = models.build(config.model, len(run.read_json("metrics.json")["classes"]), config.seed, config.weights)
        begun = run.read_json("fingerprint.json")["initial_weights_sha256"]
        if tensors_sha256(model.state_dict()) != begun:
            raise ValueError(f"weights {config.weights} are no longer those that {run.folder} was trained from")
        network = f"{config.model} with {config.weights} weights, not fine-tuned"
    return {
        "network": network,
        "spectra_mode": "train" if Switch.TRAIN_MODE in switches(config.protocol) else "eval",
        "precision": config.precision,
        "fingerprint": fingerprint(numerics) | {"feature_kernel": described()},
        "sets": _measured(model.to(numerics.device), image_sets(run, config, data, progress), config, progress),
    }


def _measured(
    model: torch.nn.Module, sets: Sequence[ImageSet], config: Config, progress: Progress
) -> list[dict[str, Any]]:
    """Statistics of each image set as JSON values, with the departures of the configuration's protocol."""
    on = switches(config.protocol)
    found, pooled = [], None
    first_image = 0
    for images in sets:
        spectra = _passed(model, images, config, config.evaluation_batch_size, first_image, progress)
        shares = spectra.result()
        if Switch.TRAIN_MODE in on:
            spectra = _passed(in_train_mode(model), images, config, PUBLISHED_BATCH, first_image, progress)
        if pooled:
            spectra.merge(pooled)
        if Switch.KEPT_ACCUMULATOR in on:
            pooled = spectra
            first_image += math.ceil(len(images) / BLOCK) * BLOCK
        result = spectra.result()
        rows = next(iter(result.values())).images
        divisor = counted_images(len(images)) / len(images) if Switch.WHOLE_BATCHES in on else 1.0
        found.append(
            {
                "name": images.name,
                "images": len(images),
                "modules": _modules(shares, result, divisor, config.modules),
            }
            | ({"pooled_images": rows} if rows > len(images) else {})
        )
    return found


def _passed(
    model: torch.nn.Module, images: ImageSet, config: Config, batch_size: int, first_image: int, progress: Progress
) -> FeatureStatistics:
    """Statistics of one image set, in eval mode."""
    device = next(model.parameters()).device
    with (
        torch.inference_mode(),
        progress.task(f"feature maps of {images.name}", len(images)) as advance,
        FeatureStatistics(
            model, list(config.modules), "images", precision=config.precision, first_image=first_image
        ) as statistics,
    ):
        for batch in batches(images, batch_size):
            model(batch.images.to(device))
            advance(len(batch.paths), "")
    return statistics


def in_train_mode(model: torch.nn.Module) -> torch.nn.Module:
    """A copy whose batch norms use each batch's own mean and variance, as train mode does, also in eval mode."""
    copied = copy.deepcopy(model)
    for module in copied.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean = module.running_var = None
    return copied


def _modules(
    shares: Mapping[str, FeatureResult], spectra: Mapping[str, FeatureResult], divisor: float, names: tuple[str, ...]
) -> dict[str, Any]:
    return {
        name: {
            "non_positive": float(shares[name].non_positive) / divisor,
            "non_finite": int(shares[name].non_finite),
            "channels": len(shares[name].mean),
            "eigenvalues": [float(value) for value in spectra[name].eigenvalues(EIGENVALUES)],
        }
        for name in names
    }
