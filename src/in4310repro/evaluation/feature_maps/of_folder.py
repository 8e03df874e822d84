"""Feature maps of a folder of images, measured by one process or several, with partial results to continue from."""

import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from torch import nn

from in4310repro.data import folders, reading, references
from in4310repro.data.images import normalize
from in4310repro.data.preprocessing import Preprocessing, to_json
from in4310repro.evaluation.feature_maps.measurement import FolderResult, Request, folder_result
from in4310repro.features import FeatureStatistics, batches, first_image, gather
from in4310repro.features.kernel import kernel_description
from in4310repro.models import modules
from in4310repro.models.sources import open_network
from in4310repro.system import schema, signals, tensors
from in4310repro.system.context import Context
from in4310repro.system.files import bytes_sha256, lock, read_bytes, reason, write_file
from in4310repro.system.processes import Processes, join


def with_ending(out: Path, ending: str) -> Path:
    """Return the path `out` with `ending` in place of `.json`.

    If the path does not end in `.json`, `ending` is appended.
    """
    return out.with_name(out.name.removesuffix(".json") + ending)


def partial_results(out: Path) -> list[Path]:
    """Return the files in which any process stored partial results of the result file `out`."""
    name = re.escape(with_ending(out, "").name) + r"\.\d+of\d+\.part"
    return sorted(file for file in out.parent.glob("*.part") if re.fullmatch(name, file.name))


def remove_partial_results(out: Path) -> None:
    """Remove the files with partial results of the result file `out`."""
    for file in partial_results(out):
        file.unlink(missing_ok=True)


@dataclass
class PartialResult:
    """File in which one process saves the statistics of an unfinished measurement."""

    out: Path  # file of the result
    processes: Processes
    identity: Mapping[str, object]  # JSON values that must be equal for the measurement to be continued
    statistics: FeatureStatistics  # to save, and to restore in `begin`
    images: int = 0  # measured so far
    files_digest: Any = field(default_factory=hashlib.sha256)

    @property
    def file(self) -> Path:
        """Path of the file."""
        return with_ending(self.out, f".{self.processes.rank}of{self.processes.size}.part")

    def begin(self, files: list[Path], *, resume: bool) -> None:
        """Lock the result file, and load the statistics of a partial result if there is one.

        Args:
            files: the files that this rank measures, in order.
            resume: whether to continue from a partial result.

        Raises:
            ValueError: the result cannot be written to `out`; another process is writing it; there is a partial
                result, but `resume` is false; or the partial result is corrupt or of a different measurement.
        """
        self._claim()
        ending = f"of{self.processes.size}.part"
        if others := [file for file in partial_results(self.out) if not file.name.endswith(ending)]:
            raise ValueError(
                f"{others[0]} is from another number of processes; continue with the number after 'of' in its name, "
                "or remove it"
            )
        if not self.file.exists():
            return
        if not resume:
            raise ValueError(
                f"{self.file} is the partial result of an interrupted call; continue it with --resume, or remove it"
            )
        data = read_bytes(self.file)
        try:
            state, metadata = safetensors.torch.load(data), tensors.metadata_of(data)
            intact = metadata.pop("sha256") == _digest(metadata, state)
            identity, images = json.loads(metadata["identity"]), int(metadata["images"])
        except (safetensors.SafetensorError, KeyError, ValueError, RecursionError):
            intact = False
        if not intact:
            raise ValueError(f"{self.file} is corrupt or not a partial result; remove it and measure again")
        schema.refuse_other_configuration(identity, self.identity, f"{self.file}")
        self.add(files[:images])
        if self.files_digest.hexdigest() != metadata["files_sha256"]:
            raise ValueError(
                f"the {images} images of {self.file} are no longer the first of the sample, by name, size and "
                "modification time; restore them, or remove it and measure again"
            )
        try:
            self.statistics.load_state_dict(state)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(f"{self.file} holds no statistics of these modules ({error}); remove it") from None

    def _claim(self) -> None:
        """Check that the result file can be written, and lock it against other commands."""
        targets = [with_ending(self.out, ending) for ending in (".json", ".csv", ".png")]
        if taken := [file for file in (self.out, *targets) if file.is_dir()]:
            raise ValueError(f"{taken[0]} is a folder; --out takes FILE.json")
        trial = self.file.with_suffix(".trial")
        try:
            # By `write_file`, whose temporary names are longer than the result's.
            write_file(trial, b"").unlink()
            if self.processes.leads:
                lock(targets[0])
        except OSError as error:
            raise ValueError(
                f"{trial.name} cannot be written to {trial.parent} ({reason(error)}); --out takes FILE.json"
            ) from None

    def add(self, files: list[Path]) -> None:
        """Record that these files, which are the next ones in order, have been measured."""
        for file in files:
            status = file.stat()
            self.files_digest.update(f"{file.name} {status.st_size} {status.st_mtime_ns}\n".encode())
        self.images += len(files)

    def save(self) -> None:
        """Write or replace the file; do nothing if no image has been measured."""
        if self.images:
            state = self.statistics.state_dict()
            metadata = {"images": f"{self.images}", "identity": json.dumps(self.identity)}
            metadata["files_sha256"] = self.files_digest.hexdigest()
            write_file(self.file, safetensors.torch.save(state, metadata | {"sha256": _digest(metadata, state)}))


def _digest(metadata: Mapping[str, str], state: tensors.Tensors) -> str:
    """Return one sha256 of the tensors of a partial result, and of its metadata but this hash."""
    of_files = f"{metadata['images']}\n{metadata['files_sha256']}"
    sealed = f"{of_files}\n{metadata['identity']}\n{tensors.tensors_sha256(state)}"
    return bytes_sha256(sealed.encode())


SECONDS_BETWEEN_SAVES = 300  # of partial results, at the end of a batch


def measure_folder(
    request: Request,
    context: Context,
    out: Path | None = None,
    *,
    resume: bool = False,
) -> FolderResult | None:
    """Measure the images of a folder. Rank 0 returns the feature statistics, other processes return None.

    The result has the same bits for any number of torchrun processes and any number of interruptions.

    Args:
        request: what to measure.
        context: arithmetic and progress of the computation.
        out: the file that the result will be written to. Each process saves a partial result beside it: at the
            end, when it is interrupted, when a file cannot be decoded, and from time to time.
            `remove_partial_results` removes these files. If `out` is None, nothing is saved.
        resume: whether to continue from a partial result that was saved before.

    Raises:
        ValueError: the folder, model, weights or a module does not exist; there are fewer than two images; a file
            is not an image; the result cannot be written; there is a partial result, but `resume` is false; or
            the partial result is corrupt or of a different measurement.
        KeyboardInterrupt: the user interrupted the measurement; raised at the end of the current batch.
    """
    root = Path(request.data)
    files = folders.image_files(root)
    if min(len(files), request.images) < 2:
        raise ValueError(f"{len(files)} images in {root}, {request.images} requested; at least 2 are needed")
    # Sorted by path; the sample depends only on the seed and the paths.
    names = [str(file.relative_to(root)) for file in files]
    files = [files[position] for position in references.sample_positions(names, request.images, request.seed)]
    network = open_network(request.model)
    network.check()
    weights = network.read_weights(request.weights)
    model = network.build(1000, request.seed, weights)
    if weights.preprocessing is None:
        context.progress.message(
            f"{request.weights} does not say how images are prepared for it; they are for most of torchvision's "
            "weights: bilinear, mean 0.485,0.456,0.406, deviation 0.229,0.224,0.225"
        )
    modules.check_scores(model, request.model, 1000, request.image_size)
    if (chosen := request.modules) is None:
        chosen = ",".join(modules.default_modules(model, request.model, request.image_size))
    request = replace(request, preprocessing=weights.preprocessing or Preprocessing(), modules=chosen)
    model = context.numerics.place(model)
    with join(context.numerics.device) as processes:
        rank, size = processes.rank, processes.size
        start = first_image(len(files), rank, size)
        statistics = request.statistics(model, start)
        own = [[files[index] for index in batch] for batch in batches(len(files), request.batch_size, rank, size)]
        partial = None
        if out is not None:
            # Without `data` and `eigenvalues`, which do not change the statistics.
            options = {name: value for name, value in vars(request).items() if name not in ("data", "eigenvalues")}
            identity = options | {
                "preprocessing": to_json(request.preprocessing) | {"orientation": request.preprocessing.orientation},
                "weights": tensors.tensors_sha256(model.state_dict()),
                "arithmetic": context.numerics.numeric_class,
                "kernel": kernel_description(),
                "first_image": start,
            }
            partial = PartialResult(out, processes, identity, statistics)
            partial.begin(list(chain(*own)), resume=resume)
            if resume and not partial.images:
                context.progress.message(f"{partial.file} is not there, so all images are measured")
            own = [batch for batch, end in zip(own, accumulate(map(len, own)), strict=True) if end > partial.images]
        with statistics:
            _pass_files(model, own, request, context, partial)
        if size > 1:
            gather(statistics)
        if rank:
            return None
        return folder_result(request, statistics.result(), [file.relative_to(root).as_posix() for file in files])


def _pass_files(
    model: nn.Module,
    file_batches: list[list[Path]],
    request: Request,
    context: Context,
    partial: PartialResult | None,
) -> None:
    """Pass batches of image files through the network; save the partial result from time to time and at the end.

    Raises:
        ValueError: a file is not an image; what was measured is saved.
        KeyboardInterrupt: the user interrupted the measurement; raised at the end of the current batch.
    """
    saved_at, how = time.monotonic(), request.preprocessing
    task = context.progress.task(f"feature maps of {Path(request.data).name}", sum(map(len, file_batches)))
    with signals.interrupts() as interrupted, task as advance:
        for files in file_batches:
            try:
                pixels = np.stack([reading.decode(file, request.image_size, preprocessing=how) for file in files])
            except ValueError as error:
                if partial is None or not partial.images:
                    raise
                partial.save()
                raise ValueError(
                    f"{error}; {partial.images} images are saved, and --resume continues after them"
                ) from None
            model(normalize(pixels, how).to(context.numerics.device))
            advance(len(files), "")
            # Asked once: what comes between two questions would end the measurement without a save.
            stop = interrupted()
            if partial:
                partial.add(files)
                if stop or time.monotonic() - saved_at > SECONDS_BETWEEN_SAVES:
                    partial.save()
                    saved_at = time.monotonic()
            if stop:
                raise KeyboardInterrupt
    if partial:
        partial.save()
