"""Feature maps of a folder of images, measured by one process or by several under torchrun."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace
from itertools import accumulate, chain
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from in4310repro.data.batches import normalize
from in4310repro.data.comparison import sample_positions
from in4310repro.data.folders import image_files
from in4310repro.data.images import decode
from in4310repro.data.preprocessing import Preprocessing, to_json
from in4310repro.evaluation.feature_maps.measurement import measure
from in4310repro.evaluation.feature_maps.partial import PartialResult
from in4310repro.evaluation.feature_maps.records import FolderResult, folder_result
from in4310repro.evaluation.feature_maps.request import Request
from in4310repro.features import batches, first_image, gather, kernel_description
from in4310repro.models.weights import Weights
from in4310repro.system.context import Context
from in4310repro.system.processes import join
from in4310repro.system.progress import Progress, interrupts
from in4310repro.system.tensors import tensors_sha256

SECONDS_BETWEEN_SAVES = 300.0
USUAL = "most of torchvision's weights: bilinear, mean 0.485,0.456,0.406, deviation 0.229,0.224,0.225"


def measure_folder(
    request: Request, context: Context, out: Path | None = None, *, resume: bool = False
) -> FolderResult | None:
    """Return the feature statistics of a folder's images as a record; None in processes of rank above 0.

    The result has the same bits for any number of torchrun processes and any number of interruptions.

    Args:
        request: what to measure.
        context: arithmetic and progress of the computation.
        out: the file that the result will be written to. Each process saves a partial result beside it: at the
            end, when it is interrupted, when a file cannot be decoded, and every few minutes.
            `remove_partial_results` removes these files. None: nothing is saved.
        resume: continue from the saved file.

    Raises:
        ValueError: no such folder, model, weights or module, fewer than two images, a file that is no image, a
            result that cannot be written, or a partial result without `resume` or of another measurement.
        KeyboardInterrupt: after the batch during which the interrupt came.
    """
    files = sample_files(request)
    request.network.check()
    weights = request.network.read_weights(request.weights)
    model = request.network.build(1000, request.seed, weights)
    request = _complete(request, model, weights, context.progress)
    model = context.numerics.place(model)
    with join(context.numerics.device) as processes:
        rank, size = processes.rank, processes.size
        measurement = request.measurement(first_image(len(files), rank, size))
        statistics = measurement.statistics(model)
        indices = batches(len(files), request.batch_size, rank, size)
        file_batches = _FileBatches([[files[index] for index in batch] for batch in indices], request, context)
        if out is not None:
            identity = describe_measurement(request, model, context.numerics.numeric_class, measurement.first_image)
            file_batches.continue_from(PartialResult(out, rank, size, identity, statistics), resume=resume)
        measure(model, file_batches.load(), measurement, statistics)
        if size > 1:
            gather(statistics)
        if rank:
            return None
        paths = [file.relative_to(request.data).as_posix() for file in files]
        return folder_result(request, statistics.result(), paths)


def _complete(request: Request, model: nn.Module, weights: Weights, progress: Progress) -> Request:
    """Return the request with the preprocessing of its weights, and with default modules if none are named.

    Raises:
        ValueError: the network does not score images of this size.
    """
    if weights.preprocessing is None:
        progress.message(f"{request.weights} does not say how images are prepared for it; they are for {USUAL}")
    request = replace(request, preprocessing=weights.preprocessing or Preprocessing())
    request.network.check_scores(model, 1000, request.image_size)
    if request.modules is None:
        chosen = request.network.default_modules(model, request.image_size)
        request = replace(request, modules=",".join(chosen))
    return request


def sample_files(request: Request) -> list[Path]:
    """Return a random sample of the image files, sorted by path; it depends on the seed and the paths only.

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
    """Return the values that must be equal for a measurement to continue from a partial result.

    `data` and `eigenvalues` are not included, since they change no statistic.
    """
    options = {name: value for name, value in vars(request).items() if name not in ("data", "eigenvalues")}
    return options | {
        "preprocessing": to_json(request.preprocessing) | {"orientation": request.preprocessing.orientation},
        "weights": tensors_sha256(model.state_dict()),
        "arithmetic": arithmetic,
        "kernel": kernel_description(),
        "first_image": start,
    }


class _FileBatches:
    """Batches of decoded image files; after each one the statistics may be saved."""

    def __init__(self, file_batches: list[list[Path]], request: Request, context: Context) -> None:
        self._file_batches, self._request, self._context = file_batches, request, context
        self._partial: PartialResult | None = None

    def continue_from(self, partial: PartialResult, *, resume: bool) -> None:
        """Load a partial result if there is one, skip the batches that it includes, and save to it from now on.

        Raises:
            ValueError: the result cannot be written, or the partial result cannot be continued.
        """
        if not partial.begin(list(chain(*self._file_batches)), resume=resume) and resume:
            self._context.progress.message(f"{partial.file} is not there; all its images are measured")
        ends = accumulate(map(len, self._file_batches))
        left = [batch for batch, end in zip(self._file_batches, ends, strict=True) if end > partial.images]
        self._file_batches, self._partial = left, partial

    def load(self) -> Generator[torch.Tensor, None, None]:
        """Yield the batches not measured yet; report progress, and save the statistics from time to time.

        Raises:
            ValueError: a file is no image.
            KeyboardInterrupt: after the batch during which the interrupt came.
        """
        saved_at, partial, how = time.monotonic(), self._partial, self._request.preprocessing
        name, images = Path(self._request.data).name, sum(map(len, self._file_batches))
        with interrupts() as interrupted, self._context.progress.task(f"feature maps of {name}", images) as advance:
            for files in self._file_batches:
                yield normalize(self._decode(files), how).to(self._context.numerics.device)
                if partial:
                    partial.add(files)
                    if interrupted() or time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES:
                        partial.save()
                        saved_at = time.monotonic()
                advance(len(files), "")
                if interrupted():
                    raise KeyboardInterrupt
        if partial:
            partial.save()

    def _decode(self, files: list[Path]) -> UInt8[np.ndarray, "image height width channel"]:
        """Return the pixels of image files; if one cannot be decoded, save the statistics and raise ValueError."""
        how, size, partial = self._request.preprocessing, self._request.image_size, self._partial
        try:
            return np.stack([decode(file, size, preprocessing=how) for file in files])
        except ValueError as error:
            if partial is None or not partial.images:
                raise
            partial.save()
            raise ValueError(f"{error}; {partial.images} images are saved, and --resume continues after them") from None
