"""The statistics of a folder as records with named fields, for JSON, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict
from typing import NotRequired, TypedDict

from in4310repro.feature_maps.request import Request
from in4310repro.features import FeatureResult
from in4310repro.preprocessing import to_json
from in4310repro.text import publishable_place

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


class FolderModule(TypedDict):
    """One module's statistics; with `samples` of None the counts alone."""

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


class FolderResult(TypedDict):
    """The request, with names in place of paths, and the statistics of each module."""

    request: dict[str, object]
    modules: dict[str, FolderModule]


def folder_result(request: Request, results: Mapping[str, FeatureResult]) -> FolderResult:
    """The results of all modules as one record."""
    modules = {name: _module_record(result, request) for name, result in results.items()}
    said = {"preprocessing": to_json(request.preprocessing)}
    places = {"data": publishable_place(request.data), "weights": publishable_place(request.weights)}
    return FolderResult(request=asdict(request) | said | places, modules=modules)


def _module_record(result: FeatureResult, request: Request) -> FolderModule:
    record = FolderModule(
        images=result.images,
        rows=result.rows,
        values=result.values,
        non_positive=result.non_positive,
        zeros=result.zeros,
        non_finite=result.non_finite,
    )
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
    """A row per module: counts, shares, and each eigenvalue in its own column."""
    longest = max(len(module.get("eigenvalues", ())) for module in result["modules"].values())
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["module", *CSV_FIELDS, *(f"eigenvalue_{rank}" for rank in range(1, longest + 1))])
    for name, module in result["modules"].items():
        table.writerow([name, *(module.get(field) for field in CSV_FIELDS), *module.get("eigenvalues", ())])
    return text.getvalue()
