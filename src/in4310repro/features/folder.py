"""Feature statistics of a folder of images, from the command line or under torchrun."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import distributed as dist

from in4310repro import models
from in4310repro.data.comparison import sampled
from in4310repro.data.folders import image_files
from in4310repro.data.images import decode, normalised
from in4310repro.features.distributed import batches, first_image, gather
from in4310repro.features.hooks import ModuleChoice
from in4310repro.features.result import FeatureResult
from in4310repro.features.statistics import FeatureStatistics
from in4310repro.presets import FIVE_MODULES
from in4310repro.progress import SILENT, Progress

Samples = Literal["images", "positions", "flat"] | None
NUMBERS = ("images", "rows", "values", "non_positive", "zeros", "non_finite", "channels", "effective_rank", "clamped")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to measure on which images with which network."""

    data: str
    model: str = "resnet18"
    weights: str = "imagenet"
    modules: str = ",".join(FIVE_MODULES)  # names, `leaves`, or `/pattern/` for whole names
    samples: Samples = "images"
    precision: Literal["fast", "exact"] = "fast"
    calls: Literal["pool", "keep"] = "pool"
    images: int = 200
    image_size: int = 224  # pixels
    batch_size: int = 16  # images
    eigenvalues: int = 15
    seed: int = 0


def measure(request: Request, device: str = "cpu", progress: Progress = SILENT) -> dict[str, Any] | None:
    """Statistics as JSON values; None on the ranks of a torchrun that do not report.

    The result is the same to the bit for any number of processes.

    Raises:
        ValueError: no such folder, model, weights or module, or fewer than two images.
    """
    root = Path(request.data)
    files = image_files(root)
    if min(len(files), request.images) < 2:
        raise ValueError(f"{len(files)} images in {root}, {request.images} asked for; at least 2 are needed")
    kept = [files[index] for index in sampled([str(f.relative_to(root)) for f in files], request.images, request.seed)]
    model = models.build(request.model, 1000, request.seed, request.weights).to(device)
    with ranks(device) as (rank, world_size):
        statistics = FeatureStatistics(
            model,
            chosen(request.modules),
            request.samples,
            request.precision,
            calls=request.calls,
            first_image=first_image(len(kept), rank, world_size),
        )
        parts = batches(len(kept), request.batch_size, rank, world_size)
        with statistics, progress.task(f"feature maps of {root.name}", sum(map(len, parts))) as advance:
            for part in parts:
                pixels = np.stack([decode(kept[index], request.image_size) for index in part])
                model(normalised(pixels).to(device))
                advance(len(part), "")
        if world_size > 1:
            gather(statistics)
    return _as_json(request, statistics) if rank == 0 else None


def chosen(modules: str) -> ModuleChoice:
    """Modules as the command line names them: `a,b`, `leaves` or `/pattern/`."""
    if modules == "leaves":
        return "leaves"
    if len(modules) > 2 and modules[0] == modules[-1] == "/":
        try:
            return re.compile(modules[1:-1])
        except re.error as error:
            raise ValueError(f"modules {modules} is no pattern: {error}") from None
    return [name.strip() for name in modules.split(",")]


@contextmanager
def ranks(device: str) -> Iterator[tuple[int, int]]:
    """Rank and number of processes under torchrun; (0, 1) without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0, 1
        return
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield dist.get_rank(), dist.get_world_size()
    finally:
        dist.destroy_process_group()


def _as_json(request: Request, statistics: FeatureStatistics) -> dict[str, Any]:
    results = statistics.result()
    return {"request": vars(request)} | {
        "modules": {name: _numbers(result, request) for name, result in results.items()}
    }


def _numbers(result: FeatureResult, request: Request) -> dict[str, Any]:
    counts = {
        "images": result.images,
        "rows": result.rows,
        "values": result.values,
        "non_positive": result.non_positive,
        "zeros": result.zeros,
        "non_finite": result.non_finite,
    }
    if request.samples is None:
        return counts
    spectrum = result.spectrum
    shown = min(request.eigenvalues, len(spectrum.eigenvalues))
    varies = bool(spectrum.eigenvalues.sum() > 0)
    return counts | {
        "channels": len(result.moments.shift) if result.moments is not None else None,
        "effective_rank": spectrum.effective_rank() if varies else None,
        "trace_share": spectrum.trace_share(shown) if varies else None,
        "clamped": spectrum.clamped,
        "eigenvalues": spectrum.first(shown).tolist(),
    }


def to_csv(found: dict[str, Any]) -> str:
    """A row a module: counts, shares, and the eigenvalues in columns of their own."""
    longest = max(len(module.get("eigenvalues", ())) for module in found["modules"].values())
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["module", *NUMBERS, *(f"eigenvalue_{place}" for place in range(1, longest + 1))])
    for name, module in found["modules"].items():
        table.writerow([name, *(module.get(number) for number in NUMBERS), *module.get("eigenvalues", ())])
    return text.getvalue()
