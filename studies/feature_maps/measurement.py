"""Measurement of a network's modules on a set of images: statistics, and the samples that they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from in4310repro.data.images import ImageSet, evaluation_batches
from in4310repro.features import FeatureResult, FeatureStatistics

BATCH = 50  # images


class Measured(NamedTuple):
    """Statistics of a module, the spatial mean of each image's map, and each image's share of values <= 0."""

    result: FeatureResult
    rows: Float64[np.ndarray, "image channel"]
    shares: Float64[np.ndarray, " image"]


def batches(images: ImageSet) -> Iterator[Tensor]:
    return (batch.images for batch in evaluation_batches(images, BATCH))


def measure(model: nn.Module, images: ImageSet, modules: Sequence[str]) -> dict[str, Measured]:
    """Pass images through a network and return what is measured of its modules, one sample for each image."""
    kept: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in modules}

    def keep(name: str, output: Tensor) -> None:
        kept[name].append((output.double().mean(dim=(2, 3)), (output <= 0).double().mean(dim=(1, 2, 3))))

    named = dict(model.named_modules())
    handles = [
        named[name].register_forward_hook(lambda _module, _inputs, output, name=name: keep(name, output))
        for name in modules
    ]
    try:
        with FeatureStatistics(model, modules, samples="images", precision="exact") as statistics:
            for batch in batches(images):
                model(batch)
    finally:
        for handle in handles:
            handle.remove()
    parts = {name: [torch.cat(column).numpy() for column in zip(*kept[name], strict=True)] for name in modules}
    return {name: Measured(result, *parts[name]) for name, result in statistics.result().items()}


def inputs_of(model: nn.Module, images: ImageSet, modules: Sequence[str]) -> dict[str, Tensor]:
    """Return the input [image, channel, height, width] of each of the modules, in eval mode."""
    kept: dict[str, list[Tensor]] = {name: [] for name in modules}
    named = dict(model.named_modules())
    handles = [
        # Cloned: a later layer may overwrite it in place.
        named[name].register_forward_pre_hook(lambda _module, given, name=name: kept[name].append(given[0].clone()))
        for name in modules
    ]
    training = model.training
    try:
        with torch.inference_mode():
            model.eval()
            for batch in batches(images):
                model(batch)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return {name: torch.cat(parts) for name, parts in kept.items()}


def statistics_of(
    module: nn.Module,
    inputs: Float[Tensor, "image channel height width"],
    samples: Literal["images", "positions"] | None,
) -> FeatureResult:
    """Return the statistics of what one module makes of the given inputs; without samples, counts alone."""
    model = nn.Sequential(module)
    with FeatureStatistics(model, ["0"], samples=samples, precision="exact") as statistics:
        for part in torch.split(inputs, BATCH):
            model(part)
    return statistics.result()["0"]


def share_of(module: nn.Module, inputs: Float[Tensor, "image channel height width"]) -> float:
    """Return the share of values <= 0 in what one module makes of the given inputs."""
    return statistics_of(module, inputs, None).non_positive
