"""The statistics of a folder of images as records for JSON, as CSV, and as a table for a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import NotRequired, TypedDict

from in4310repro.data.preprocessing import to_json
from in4310repro.evaluation.feature_maps.activations import activation_record, value_record
from in4310repro.evaluation.feature_maps.request import Request
from in4310repro.features import FeatureResult
from in4310repro.runs.records import QUANTILES, SHOWN, ActivationFeatures, ValueFeatures
from in4310repro.system.text import publishable_place

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
    """Statistics of one module; if `samples` is None, only those that need no channels: counts and quantiles."""

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
    """The request, with file and folder names instead of paths, and the statistics of each module."""

    request: dict[str, object]
    modules: dict[str, FolderModule]


def folder_result(request: Request, results: Mapping[str, FeatureResult], paths: Sequence[str]) -> FolderResult:
    """Return the results of all modules as one record; `paths` are the image paths below the folder."""
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
    """Return the statistics as CSV: a row per module, and columns for counts, shares, quantiles and eigenvalues."""
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
