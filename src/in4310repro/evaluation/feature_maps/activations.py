"""JSON records of a module's values: quantiles, powers of two, channels that are never positive, and top images."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from in4310repro.features import FeatureResult, Histogram, TopImages
from in4310repro.runs.records import QUANTILES, ActivationFeatures, ChannelImages, ValueFeatures
from in4310repro.system.schema import LONGEST

CHANNELS, IMAGES = 3, 3  # of a module those with the largest responses, and of each of them


def activation_record(result: FeatureResult, paths: Sequence[str], first_image: int = 0) -> ActivationFeatures:
    """Return the JSON record of one module's values, from a result with histogram and top images.

    Args:
        result: the statistics of the module.
        paths: paths of the images, in the order in which they were measured.
        first_image: index that the statistics gave to the first image.

    Raises:
        ValueError: no value is finite.
    """
    histogram, top = result.histogram, result.top_images
    assert histogram is not None and top is not None  # noqa: S101, PT018 - for the type checker
    return {
        **value_record(histogram),
        "never_positive": top.never_positive.nonzero().flatten().tolist(),
        "top_images": [_channel_images(top, each, paths, first_image) for each in _channels(top)],
    }


def value_record(histogram: Histogram) -> ValueFeatures:
    """Return the quantiles of a module's values, and the number of values by power of two.

    Raises:
        ValueError: no value is finite.
    """
    return ValueFeatures(
        quantiles={share: histogram.quantile(float(share)) for share in QUANTILES},
        powers_of_two=powers_of_two(histogram),
    )


def powers_of_two(histogram: Histogram) -> dict[str, int]:
    """Count values by the power of two of their magnitude: `-2^3` counts those in (-16, -8], `0` the zeros."""
    signs = {-1: "-", 1: ""}
    return {f"{signs[sign]}2^{exponent}" if sign else "0": count for sign, exponent, count in histogram.by_exponent()}


def _channels(top: TopImages) -> list[int]:
    """Return the three channels with the largest responses to an image; ties go to the lower index."""
    order = torch.sort(top.responses[:, 0], descending=True, stable=True).indices
    return [int(channel) for channel in order[:CHANNELS] if top.images[channel, 0] >= 0]


def _channel_images(top: TopImages, channel: int, paths: Sequence[str], first_image: int) -> ChannelImages:
    images = [int(image) - first_image for image in top.images[channel] if image >= 0]
    return ChannelImages(
        channel=channel,
        images=[_printable(paths[image]) for image in images],
        responses=top.responses[channel, : len(images)].tolist(),
    )


def _printable(path: str) -> str:
    """Return a path with unprintable characters escaped, cut to the longest text of a record."""
    return (path if path.isprintable() else ascii(path)[1:-1])[:LONGEST]
