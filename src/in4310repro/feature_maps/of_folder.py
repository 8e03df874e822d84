"""Feature maps of a folder of images, measured by one process or by several under torchrun."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, chain
from pathlib import Path

import numpy as np
from torch import nn

from in4310repro.context import Context
from in4310repro.data.batches import normalize
from in4310repro.data.comparison import sample_positions
from in4310repro.data.folders import image_files
from in4310repro.data.images import decode
from in4310repro.feature_maps.activations import IMAGES
from in4310repro.feature_maps.partial import PartialResult
from in4310repro.feature_maps.records import FolderResult, folder_result
from in4310repro.feature_maps.request import Request, parse_modules
from in4310repro.features import FeatureStatistics, batches, first_image, gather, kernel_description
from in4310repro.models.weights import Weights
from in4310repro.preprocessing import Preprocessing, to_json
from in4310repro.processes import joined
from in4310repro.progress import Progress, interrupts
from in4310repro.tensors import tensors_sha256

SECONDS_BETWEEN_SAVES = 300.0
USUAL = "most of torchvision's weights: bilinear, mean 0.485,0.456,0.406, deviation 0.229,0.224,0.225"


def measure(
    request: Request,
    context: Context,
    out: Path | None = None,
    *,
    resume: bool = False,
) -> FolderResult | None:
    """Statistics of a folder as a record; None on the ranks of a torchrun other than 0.

    The result is the same to the bit for any number of processes and of interruptions.

    Args:
        request: what to measure.
        context: arithmetic, progress and processes of the computation.
        out: the file that the result is for. Beside it each process saves what it has measured: at the end, when it is
            interrupted, when a file cannot be decoded, and every few minutes. Those files stay until
            `remove_partial_results`. None: nothing is saved.
        resume: continue from the saved file.

    Raises:
        ValueError: no such folder, model, weights or module, fewer than two images, a file that is no image, a result
            that cannot be written, or a partial result that is there without `resume` or is of another measurement.
        KeyboardInterrupt: after the batch during which the interrupt came.
    """
    files = sample_files(request)
    network = request.network
    network.check()
    weights = network.read_weights(request.weights)
    model = network.build(1000, request.seed, weights)
    request = _with_preprocessing(request, weights, context.progress)
    network.check_scores(model, 1000, request.image_size)
    if request.modules is None:
        chosen = network.default_modules(model, request.image_size)
        request = replace(request, modules=",".join(chosen))
    numerics = context.numerics
    model = numerics.place(model)
    with joined(numerics.device) as processes:
        rank, world_size = processes.rank, processes.size
        start = first_image(len(files), rank, world_size)
        statistics = FeatureStatistics(
            model,
            parse_modules(request.modules or ""),
            request.samples,
            request.precision,
            calls=request.calls,
            first_image=start,
            channel_axis=request.channel_axis,
            histogram=True,
            # What is not cut into images has no channels either.
            top_images=IMAGES if request.samples else 0,
        )
        index_batches = batches(len(files), request.batch_size, rank, world_size)
        file_batches = [[files[index] for index in batch] for batch in index_batches]
        partial = None
        if out is not None:
            identity = describe_measurement(request, model, numerics.numeric_class, start)
            partial = PartialResult(out, rank, world_size, identity, statistics)
            file_batches = _begin(partial, file_batches, context.progress, resume=resume)
        with (
            statistics,
            context.progress.task(f"feature maps of {Path(request.data).name}", sum(map(len, file_batches))) as advance,
        ):
            for images in _pass_through(model, file_batches, request, numerics.device, partial):
                advance(images, "")
        if partial:
            partial.save()
        if world_size > 1:
            gather(statistics)
        if rank:
            return None
        paths = [file.relative_to(request.data).as_posix() for file in files]
        return folder_result(request, statistics.result(), paths)


def _with_preprocessing(request: Request, weights: Weights, progress: Progress) -> Request:
    """Return the request with the preprocessing of its weights."""
    if weights.preprocessing is None:
        progress.message(f"{request.weights} does not say how images are prepared for it; they are for {USUAL}")
    return replace(request, preprocessing=weights.preprocessing or Preprocessing())


def sample_files(request: Request) -> list[Path]:
    """The files of the sample, a function of the seed and the paths below the folder; in the order of the paths.

    Raises:
        ValueError: no such folder, or fewer than two images in it or requested.
    """
    root = Path(request.data)
    files = image_files(root)
    if min(len(files), request.images) < 2:
        raise ValueError(f"{len(files)} images in {root}, {request.images} requested; at least 2 are needed")
    positions = sample_positions([str(file.relative_to(root)) for file in files], request.images, request.seed)
    return [files[position] for position in positions]


def describe_measurement(request: Request, model: nn.Module, arithmetic: str, start: int) -> dict[str, object]:
    """All that must be equal for a partial result to be continued; `data` and `eigenvalues` change no statistic."""
    options = {name: value for name, value in vars(request).items() if name not in ("data", "eigenvalues")}
    return options | {
        "preprocessing": to_json(request.preprocessing) | {"orientation": request.preprocessing.orientation},
        "weights": tensors_sha256(model.state_dict()),
        "arithmetic": arithmetic,
        "kernel": kernel_description(),
        "first_image": start,
    }


def _begin(
    partial: PartialResult, file_batches: list[list[Path]], progress: Progress, *, resume: bool
) -> list[list[Path]]:
    """The batches that are not measured yet, after an earlier call's are loaded; it stopped at the end of a batch."""
    if not partial.begin(list(chain(*file_batches)), resume=resume) and resume:
        progress.message(f"{partial.file} is not there; all its images are measured")
    ends = accumulate(map(len, file_batches))
    return [batch for batch, end in zip(file_batches, ends, strict=True) if end > partial.images]


def _pass_through(
    model: nn.Module, file_batches: list[list[Path]], request: Request, device: str, partial: PartialResult | None
) -> Iterator[int]:
    """Passes batches of files through the model and yields the images of each; saves the statistics where it ends."""
    saved_at = time.monotonic()
    size, how = request.image_size, request.preprocessing
    with interrupts() as interrupted:
        for files in file_batches:
            try:
                pixels = np.stack([decode(file, size, preprocessing=how) for file in files])
            except ValueError as error:
                if partial is None or not partial.images:
                    raise
                partial.save()
                raise ValueError(
                    f"{error}; {partial.images} images are saved, and --resume continues after them"
                ) from None
            model(normalize(pixels, how).to(device))
            if partial:
                partial.add(files)
                if interrupted() or time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES:
                    partial.save()
                    saved_at = time.monotonic()
            yield len(files)
            if interrupted():
                raise KeyboardInterrupt
