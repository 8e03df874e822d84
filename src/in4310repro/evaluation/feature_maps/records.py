"""Conversion of modules' statistics to JSON records, and of a folder's results to CSV and a text table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import NotRequired, TypedDict

import torch

from in4310repro.data.preprocessing import to_json
from in4310repro.evaluation.feature_maps.measurement import Request
from in4310repro.features import FeatureResult, Histogram, TopImages
from in4310repro.runs.records import QUANTILES, SHOWN, ActivationFeatures, ChannelImages, ValueFeatures
from in4310repro.system.schema import LONGEST
from in4310repro.system.text import publishable_place

CHANNELS = 3  # of a module, those with the largest responses


def activation_record(result: FeatureResult, paths: Sequence[str], first_image: int = 0) -> ActivationFeatures:
    """Return the JSON record of a module's values; `result` must have a histogram and top images.

    Args:
        result: the statistics of the module.
        paths: paths of the images, in the order in which they were measured.
        first_image: the index that the first image of `paths` has in the statistics.

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
    """Return a module's quantiles, and the number of its values between successive powers of two.

    Raises:
        ValueError: no value is finite.
    """
    return ValueFeatures(
        quantiles={share: histogram.quantile(float(share)) for share in QUANTILES},
        powers_of_two=powers_of_two(histogram),
    )


def powers_of_two(histogram: Histogram) -> dict[str, int]:
    """Return the number of values between successive powers of two, by sign and power.

    For example, the entry `-2^3` counts the values in (-16, -8], and `0` counts the zeros.
    """
    signs = {-1: "-", 1: ""}
    return {f"{signs[sign]}2^{exponent}" if sign else "0": count for sign, exponent, count in histogram.by_exponent()}


def _channels(top: TopImages) -> list[int]:
    """Return up to three channels, those with the largest responses; ties go to the lower index."""
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
    """Return a path with unprintable characters escaped, cut to `LONGEST` characters."""
    return (path if path.isprintable() else ascii(path)[1:-1])[:LONGEST]


CSV_FIELDS = (
    "images",
    "rows",
    "values",
    "non_positive",
    "zeros",
    "non_finite",
    "channels",
    "effective_rank",
    "clamped",
)
HEADING = ("module", "values <= 0", *SHOWN.values(), "never positive", "channels")


class FolderModule(TypedDict):
    """Statistics of one module; without samples, only those that need no channels: counts and quantiles."""

    images: int
    rows: int  # samples of the covariance
    values: int
    non_positive: float  # share of values <= 0, in [0, 1]
    zeros: int
    non_finite: int  # values
    channels: NotRequired[int | None]  # None for "flat"
    effective_rank: NotRequired[float | None]  # None where nothing varies
    trace_share: NotRequired[float | None]  # of the eigenvalues that are listed, in [0, 1]
    clamped: NotRequired[float]  # magnitude of the most negative eigenvalue, which was set to zero
    eigenvalues: NotRequired[list[float]]  # the largest first
    activations: NotRequired[ActivationFeatures | ValueFeatures]  # as a run has them; not where no value is finite


class FolderResult(TypedDict):
    """Result for an image folder: the request without full paths, and the statistics of each module."""

    request: dict[str, object]
    modules: dict[str, FolderModule]


def folder_result(request: Request, results: Mapping[str, FeatureResult], paths: Sequence[str]) -> FolderResult:
    """Return the results of all modules as one record. `paths` are the image paths, relative to the folder."""
    modules = {name: _module_record(result, request, paths) for name, result in results.items()}
    recorded = {"preprocessing": to_json(request.preprocessing)}
    places = {"data": publishable_place(request.data), "weights": publishable_place(request.weights)}
    return FolderResult(request=asdict(request) | recorded | places, modules=modules)


def _module_record(result: FeatureResult, request: Request, paths: Sequence[str]) -> FolderModule:
    record = FolderModule(
        images=result.images,
        rows=result.rows,
        values=result.values,
        non_positive=result.non_positive,
        zeros=result.zeros,
        non_finite=result.non_finite,
    )
    if result.histogram is not None and len(result.histogram.counts):
        if result.top_images is None:
            record["activations"] = value_record(result.histogram)
        else:
            record["activations"] = activation_record(result, paths)
    if request.samples is None:
        return record
    spectrum = result.spectrum
    listed = min(request.eigenvalues, len(spectrum.eigenvalues))
    varies = bool(spectrum.eigenvalues.sum() > 0)
    record["channels"] = len(result.moments.shift) if result.moments is not None else None
    record["effective_rank"] = spectrum.effective_rank() if varies else None
    record["trace_share"] = spectrum.trace_share(listed) if varies else None
    record["clamped"] = spectrum.clamped
    record["eigenvalues"] = spectrum.largest(listed).tolist()
    return record


def to_csv(result: FolderResult) -> str:
    """Return the statistics as CSV: a row per module, with counts, fractions, quantiles and eigenvalues."""
    longest = max(len(module.get("eigenvalues", ())) for module in result["modules"].values())
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    quantiles = [f"quantile_{share}" for share in QUANTILES]
    eigenvalues = [f"eigenvalue_{rank}" for rank in range(1, longest + 1)]
    table.writerow(["module", *CSV_FIELDS, "never_positive", *quantiles, *eigenvalues])
    for name, module in result["modules"].items():
        counts = [module.get(field) for field in CSV_FIELDS]
        values = [_quantile(module, share) for share in QUANTILES]
        table.writerow([name, *counts, _never_positive(module), *values, *module.get("eigenvalues", ())])
    return text.getvalue()


def to_text(result: FolderResult) -> str:
    """Return a table for a terminal: fraction of values <= 0, quantiles and never-positive channels per module.

    Unknown values are shown as "-".
    """
    rows = [HEADING]
    for name, module in result["modules"].items():
        values = [_quantile(module, share) for share in SHOWN]
        shown = ["-" if value is None else f"{value:.3g}" for value in values]
        counts = ["-" if count is None else str(count) for count in (_never_positive(module), module.get("channels"))]
        rows.append((name, f"{module['non_positive']:.2%}", *shown, *counts))
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(
        "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True))])
        for row in rows
    )


def _quantile(module: FolderModule, share: str) -> float | None:
    return module["activations"]["quantiles"][share] if "activations" in module else None


def _never_positive(module: FolderModule) -> int | None:
    """Return the number of channels that are never positive; None if channels were not measured."""
    activations: Mapping[str, object] = module.get("activations", {})
    channels = activations.get("never_positive")
    return len(channels) if isinstance(channels, list) else None
