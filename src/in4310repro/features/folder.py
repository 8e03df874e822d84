"""Feature statistics of a folder of images, from the command line or under torchrun."""

from __future__ import annotations

import csv
import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import distributed as dist
from torch import nn

from in4310repro import models
from in4310repro.data.comparison import sampled
from in4310repro.data.folders import image_files
from in4310repro.data.images import decode, normalised
from in4310repro.features.distributed import batches, first_image, gather
from in4310repro.features.hooks import ModuleChoice
from in4310repro.features.kernel import described
from in4310repro.features.part import Part, parts
from in4310repro.features.result import FeatureResult
from in4310repro.features.statistics import FeatureStatistics
from in4310repro.presets import FIVE_MODULES
from in4310repro.progress import SILENT, Progress, interrupts
from in4310repro.runs import tensors_sha256

Samples = Literal["images", "positions", "flat"] | None
SECONDS_BETWEEN_PARTS = 300.0
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


def measure(
    request: Request,
    device: str = "cpu",
    progress: Progress = SILENT,
    out: Path | None = None,
    arithmetic: str = "",
    *,
    resume: bool = False,
) -> dict[str, Any] | None:
    """Statistics as JSON values; None on the ranks of a torchrun that do not report.

    The result is the same to the bit for any number of processes and of interruptions.

    Args:
        request: what to measure.
        device: where.
        progress: where to say how far it is.
        out: the file that the result is for. Beside it stands what a process has measured, when it is complete or
            interrupted, when a file is no image, and every few minutes; it stays until `finish`. None: nothing is kept.
        arithmetic: the numeric class, in which alone a measurement goes on.
        resume: go on with what stands there.

    Raises:
        ValueError: no such folder, model, weights or module, fewer than two images, a file that is no image, a result
            that cannot be written, or a part that is there unasked or is of another measurement.
        KeyboardInterrupt: after the batch that the interrupt fell in.
    """
    root = Path(request.data)
    files = image_files(root)
    if min(len(files), request.images) < 2:
        raise ValueError(f"{len(files)} images in {root}, {request.images} asked for; at least 2 are needed")
    kept = [files[index] for index in sampled([str(f.relative_to(root)) for f in files], request.images, request.seed)]
    model = models.build(request.model, 1000, request.seed, request.weights).to(device)
    with ranks(device) as (rank, world_size):
        start = first_image(len(kept), rank, world_size)
        statistics = FeatureStatistics(
            model,
            chosen(request.modules),
            request.samples,
            request.precision,
            calls=request.calls,
            first_image=start,
        )
        todo = [[kept[index] for index in batch] for batch in batches(len(kept), request.batch_size, rank, world_size)]
        part = None
        if out is not None:
            # What can differ without another number in the result is left out.
            identity = {name: value for name, value in vars(request).items() if name not in ("data", "eigenvalues")} | {
                "weights": tensors_sha256(model.state_dict()),
                "arithmetic": arithmetic,
                "kernel": described(),
                "first_image": start,
            }
            part = Part(out, rank, world_size, identity, statistics)
            if not part.begin(list(chain(*todo)), resume=resume) and resume:
                progress.say(f"{part.file} is not there; all its images are measured")
            # It ends where a batch does.
            ends = accumulate(map(len, todo))
            todo = [batch for batch, end in zip(todo, ends, strict=True) if end > part.images]
        with statistics, progress.task(f"feature maps of {root.name}", sum(map(len, todo))) as advance:
            for taken in _passed(model, todo, request.image_size, device, part):
                advance(taken, "")
        if part:
            part.save()
        if world_size > 1:
            gather(statistics)
        return _as_json(request, statistics) if rank == 0 else None


def finish(out: Path) -> None:
    """The result is written: what was kept for it can go."""
    for file in parts(out):
        file.unlink(missing_ok=True)


def _passed(model: nn.Module, batches: list[list[Path]], side: int, device: str, part: Part | None) -> Iterator[int]:
    """Pass batches of files through the model, one a turn; keeps the part when something comes between."""
    saved = time.monotonic()
    with interrupts() as interrupted:
        for files in batches:
            try:
                pixels = np.stack([decode(file, side) for file in files])
            except ValueError as error:
                if part is None or not part.images:
                    raise
                part.save()
                raise ValueError(f"{error}; {part.images} images are kept, and --resume goes on then") from None
            model(normalised(pixels).to(device))
            if part:
                part.take(files)
                if interrupted() or time.monotonic() - saved > SECONDS_BETWEEN_PARTS:
                    part.save()
                    saved = time.monotonic()
            yield len(files)
            if interrupted():
                raise KeyboardInterrupt


def chosen(modules: str) -> ModuleChoice:
    """Modules as the command line names them: `a,b`, `leaves` or `/pattern/`."""
    if modules == "leaves":
        return "leaves"
    if len(modules) > 2 and modules[0] == modules[-1] == "/":
        try:
            return re.compile(modules[1:-1])
        except re.error as error:
            raise ValueError(f"modules {modules} is no pattern: {error}") from None
    names = [name.strip() for name in modules.split(",")]
    if "" in names:
        raise ValueError(f"modules is {modules!r}; NAME,NAME or leaves or /PATTERN/ is valid")
    return names


@contextmanager
def ranks(device: str) -> Iterator[tuple[int, int]]:
    """Rank and number of processes under torchrun; (0, 1) without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield 0, 1
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # One process may have hours of work left when another is done.
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=timedelta(days=30))
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
