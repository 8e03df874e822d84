"""Conversion of modules' statistics to JSON records, and of a folder's results to CSV and a text table."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from in4310repro.data.preprocessing import to_json
from in4310repro.evaluation.feature_maps.measurement import Request
from in4310repro.features import FeatureResult, Histogram
from in4310repro.runs.records import QUANTILES, SHOWN, ActivationFeatures, ChannelImages, ValueFeatures
from in4310repro.system.schema import LONGEST
from in4310repro.system.text import publishable_place

CHANNELS = 3  # of a module, those with the largest responses


def activation_record(result: FeatureResult, paths: Sequence[str], first_image: int = 0) -> ActivationFeatures:
    """Return the JSON record of a module's values; `result` must have a histogram and top images.

    Up to three channels have their images named, those with the largest responses; ties go to the lower index.

    Args:
        result: the statistics of the module.
        paths: paths of the images, in the order in which they were measured.
        first_image: the index that the first image of `paths` has in the statistics.

    Raises:
        ValueError: no value is finite.
    """
    histogram, top = result.histogram, result.top_images
    assert histogram is not None and top is not None  # noqa: S101, PT018 - for the type checker
    order = torch.sort(top.responses[:, 0], descending=True, stable=True).indices[:CHANNELS].tolist()
    of_channels = {channel: [image for image in top.images[channel].tolist() if image >= 0] for channel in order}
    return {
        **_value_record(histogram),
        "never_positive": top.never_positive.nonzero().flatten().tolist(),
        "top_images": [
            ChannelImages(
                channel=channel,
                images=[_printable(paths[image - first_image]) for image in images],
                responses=top.responses[channel, : len(images)].tolist(),
            )
            for channel, images in of_channels.items()
            if images
        ],
    }


def _value_record(histogram: Histogram) -> ValueFeatures:
    """Return a module's quantiles, and the number of its values between successive powers of two, by sign and power.

    For example, the entry `-2^3` counts the values in (-16, -8], and `0` counts the zeros.

    Raises:
        ValueError: no value is finite.
    """
    names = {-1: "-2^{}", 0: "0", 1: "2^{}"}
    return ValueFeatures(
        quantiles={share: histogram.quantile(float(share)) for share in QUANTILES},
        powers_of_two={names[sign].format(power): count for sign, power, count in histogram.by_exponent()},
    )


def _printable(path: str) -> str:
    """Return a path with unprintable characters escaped, cut to `LONGEST` characters."""
    return (path if path.isprintable() else ascii(path)[1:-1])[:LONGEST]


# Attributes of a result that a module's record has in any case, and with samples the values in its table.
COUNTS = ("images", "rows", "values", "non_positive", "zeros", "non_finite")
CSV_FIELDS = (*COUNTS, "channels", "effective_rank", "clamped")
HEADING = ("module", "values <= 0", *SHOWN.values(), "never positive", "channels")
FolderResult = dict[str, Any]  # the request without full paths, and the record of each module


def folder_result(request: Request, results: Mapping[str, FeatureResult], paths: Sequence[str]) -> FolderResult:
    """Return the results of all modules as one record. `paths` are the image paths, relative to the folder."""
    modules = {name: _module_record(result, request, paths) for name, result in results.items()}
    recorded = {"preprocessing": to_json(request.preprocessing)}
    places = {"data": publishable_place(request.data), "weights": publishable_place(request.weights)}
    return {"request": asdict(request) | recorded | places, "modules": modules}


def _module_record(result: FeatureResult, request: Request, paths: Sequence[str]) -> dict[str, Any]:
    """Return the record of one module; without samples, only what needs no channels: counts and quantiles.

    `non_positive` is the share of values <= 0, in [0, 1]; `rows` are samples of the covariance; `channels` is None for
    "flat"; `effective_rank`, and `trace_share` of the eigenvalues that are listed, are None where nothing varies;
    `clamped` is the magnitude of the most negative eigenvalue, which was set to zero; the largest of `eigenvalues`
    is the first. `activations` are as a run has them; there are none where no value is finite.
    """
    record = {name: getattr(result, name) for name in COUNTS}
    if result.histogram is not None and len(result.histogram.counts):
        named = result.top_images is not None
        record["activations"] = activation_record(result, paths) if named else _value_record(result.histogram)
    if request.samples is None:
        return record
    spectrum = result.spectrum
    listed = min(request.eigenvalues, len(spectrum.eigenvalues))
    varies = bool(spectrum.eigenvalues.sum() > 0)
    return record | {
        "channels": len(result.moments.shift) if result.moments is not None else None,
        "effective_rank": spectrum.effective_rank() if varies else None,
        "trace_share": spectrum.trace_share(listed) if varies else None,
        "clamped": spectrum.clamped,
        "eigenvalues": spectrum.largest(listed).tolist(),
    }


def to_csv(result: FolderResult) -> str:
    """Return the statistics as CSV: a row per module, with counts, fractions, quantiles and eigenvalues."""
    longest = max(len(module.get("eigenvalues", ())) for module in result["modules"].values())
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    eigenvalues = [f"eigenvalue_{rank}" for rank in range(1, longest + 1)]
    quantiles = [f"quantile_{share}" for share in QUANTILES]
    table.writerow(["module", *CSV_FIELDS, "never_positive", *quantiles, *eigenvalues])
    for name, module in result["modules"].items():
        never_positive, values = _activations(module, QUANTILES)
        counts = [module.get(field) for field in CSV_FIELDS]
        table.writerow([name, *counts, never_positive, *values, *module.get("eigenvalues", ())])
    return text.getvalue()


def to_text(result: FolderResult) -> str:
    """Return a table for a terminal: fraction of values <= 0, quantiles and never-positive channels per module.

    Unknown values are shown as "-".
    """
    rows = [HEADING]
    for name, module in result["modules"].items():
        never_positive, values = _activations(module, SHOWN)
        shown = ["-" if value is None else f"{value:.3g}" for value in values]
        counts = ["-" if count is None else f"{count}" for count in (never_positive, module.get("channels"))]
        rows.append((name, f"{module['non_positive']:.2%}", *shown, *counts))
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    return "\n".join(
        "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], widths, strict=True))])
        for row in rows
    )


def _activations(module: Mapping[str, Any], shares: Iterable[str]) -> tuple[int | None, list[float | None]]:
    """Return the number of channels that are never positive, and some quantiles; None for what was not measured."""
    activations = module.get("activations", {})
    channels, quantiles = activations.get("never_positive"), activations.get("quantiles", {})
    return None if channels is None else len(channels), [quantiles.get(share) for share in shares]
