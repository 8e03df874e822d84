"""Measurement of a network's modules: their statistics while batches of images pass through the network."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Literal

import torch

from in4310repro.evaluation.feature_maps.activations import IMAGES
from in4310repro.features import FeatureStatistics, ModuleChoice

Samples = Literal["images", "positions", "flat"] | None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Modules of a network to be measured, and options with the values of `FeatureStatistics`."""

    modules: ModuleChoice
    samples: Samples = "images"
    precision: Literal["fast", "exact"] = "fast"
    calls: Literal["pool", "keep"] = "pool"
    channel_axis: Mapping[str, int] = field(default_factory=dict)
    first_image: int = 0  # index of the first image

    def statistics(self, model: torch.nn.Module) -> FeatureStatistics:
        """Return empty statistics of the model's modules, ready to measure the first batch.

        Raises:
            ValueError: the model lacks one of the modules.
        """
        return FeatureStatistics(
            model,
            self.modules,
            self.samples,
            self.precision,
            calls=self.calls,
            first_image=self.first_image,
            channel_axis=self.channel_axis,
            histogram=True,
            # What is not cut into images has no channels either.
            top_images=IMAGES if self.samples else 0,
        )


def measure(
    model: torch.nn.Module,
    batches: Generator[torch.Tensor, None, None],
    measurement: Measurement,
    statistics: FeatureStatistics | None = None,
) -> FeatureStatistics:
    """Pass batches of images through a network, in eval mode, and return the statistics of its modules.

    Args:
        model: the network.
        batches: inputs of the network, on its device; the generator is closed even if the network fails.
        measurement: the modules and options.
        statistics: statistics of earlier batches, to be continued; None: empty ones.

    Raises:
        ValueError: a module cannot be measured.
    """
    statistics = statistics or measurement.statistics(model)
    with statistics, closing(batches):
        for images in batches:
            model(images)
    return statistics
