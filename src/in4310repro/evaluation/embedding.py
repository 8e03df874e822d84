"""Features of images: the inputs of a network's last layer, computed once per image and stored with a checksum."""

import atexit
import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64

from in4310repro.data.cache import cache_folder
from in4310repro.data.images import ImageSet, decoder, evaluation_batches
from in4310repro.evaluation.prediction import gather_rows, local_share
from in4310repro.features.hooks import evaluation_mode
from in4310repro.models import building
from in4310repro.models.sources import Network
from in4310repro.system.context import Context
from in4310repro.system.files import lock
from in4310repro.system.machine import refuse_beyond_disk
from in4310repro.system.numerics import Numerics
from in4310repro.system.tensors import tensors_sha256

FOLDER = "features"  # in that of the cache
SUFFIX = ".embedding"
AT_ONCE = 8  # batches between two writes
HASH_BYTES = 32
Features = Float32[np.ndarray, "image feature"]


@dataclass(frozen=True)
class Embedding:
    """Features of an image set as an array [image, feature], read from a file on access."""

    records: np.ndarray  # a memory map, in the order in which they were computed
    places: Int64[np.ndarray, " image"]  # of each image

    def __len__(self) -> int:
        return len(self.places)

    def take(self, rows: range) -> Features:
        """Return a copy of the features of the images whose indices are in `rows`."""
        values: Features = self.records["features"][self.places[rows.start : rows.stop]]
        return values


def embed(
    model: torch.nn.Module, network: Network, images: ImageSet, batch_size: int, context: Context, *, cache: bool = True
) -> Embedding:
    """Return the input of the network's last linear layer for every image, in eval mode and without gradients.

    Each image has a record in a file of the cache: a sha256 of its key, its features, and a sha256 of both.
    Features that another split or command computed with the same weights are read from there. Missing, incomplete
    or changed records are computed again. If another process is writing the file, this one works on a copy.

    Args:
        model: the network, as returned by `context.numerics.place`. Its mode is restored; the last layer's
            weights have no effect.
        network: description of the network, which says which layer is the last.
        images: the images, in the order of the rows.
        batch_size: images per batch.
        context: arithmetic, progress and processes of the computation.
        cache: False computes all features in a temporary file and reads no cache. This protects from features
            that somebody forged together with their sha256.

    Raises:
        ValueError: the network does not end in one linear layer, a feature is not finite, or the disk is too
            full.
    """
    numerics, processes = context.numerics, context.processes
    layer, last = building.last_layer(model, network)
    record = record_type(last.in_features)
    file = cache_folder() / FOLDER / f"{_key(model, layer, images, numerics)}{SUFFIX}"
    if processes.leads:
        file = _lock_or_copy(file) if cache else _private_folder() / file.name
    places = _find_records(file, record) if processes.leads else {}
    own = [hashlib.sha256(key.encode()).digest() for key in images.keys]
    missing: list[int] = processes.broadcast_json([place for place, each in enumerate(own) if each not in places])
    if processes.leads and missing:
        refuse_beyond_disk(f"features of {len(missing)} images take", len(missing) * record.itemsize, file.parent)
    given, size = list[torch.Tensor](), batch_size * AT_ONCE * processes.size
    hook = last.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].cpu()))
    task = context.progress.task(f"features of {images.name}", len(missing))
    with hook, evaluation_mode(model), torch.inference_mode(), task as advance:
        for group in (missing[start : start + size] for start in range(0, len(missing), size)):
            part = local_share(len(group), processes)
            for batch in evaluation_batches(images.at(group[part.start : part.stop]), batch_size):
                model(batch.images.to(numerics.device))
            rows = gather_rows(given, processes)
            given.clear()
            if processes.leads:
                _refuse_not_finite(rows, [images.paths[place] for place in group])
                first = _append(file, record, [own[place] for place in group], rows.numpy())
                places |= {own[place]: first + number for number, place in enumerate(group)}
            advance(len(group), "")
    if not processes.leads:
        return Embedding(np.empty(0, record), np.empty(0, np.int64))
    return Embedding(_records(file, record), np.array([places[each] for each in own], np.int64))


def _lock_or_copy(file: Path) -> Path:
    """Lock the file and return it; if another process has locked it, return a copy of the file."""
    try:
        lock(file)
    except ValueError:
        copy = _private_folder() / file.name
        return Path(shutil.copyfile(file, copy)) if file.exists() else copy
    return file


def _private_folder() -> Path:
    """Return a new folder on the cache's disk; it is removed when this process ends."""
    place = cache_folder() / FOLDER
    place.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".apart-", dir=place))
    # Where a system removes no file that is mapped it stays, and `cache --clear` removes it.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def record_type(width: int) -> np.dtype[np.void]:
    """Return the NumPy dtype of an image's record in the file, for the given number of features."""
    return np.dtype(
        [("image", np.uint8, HASH_BYTES), ("features", np.float32, width), ("sha256", np.uint8, HASH_BYTES)]
    )


def _key(model: torch.nn.Module, layer: str, images: ImageSet, numerics: Numerics) -> str:
    """Return a hash of everything on which the features of an image depend, except the image itself.

    This includes the weights, the preprocessing and the arithmetic. In native arithmetic it also includes all
    images of the set, because the bits depend on the other images of a batch.
    """
    body = {name: value for name, value in model.state_dict().items() if not name.startswith(f"{layer}.")}
    # In native arithmetic bits depend on the other images of a batch.
    others = None if numerics.portable else images.pixels_sha256()
    settings = [layer, tensors_sha256(body), decoder(), asdict(images.preprocessing), numerics.numeric_class, others]
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]


def _find_records(file: Path, record: np.dtype[np.void]) -> dict[bytes, int]:
    """Return a dict from image identifier to index of the image's record in the file; omit damaged records.

    An incomplete last record is cut off. A killed process may have left it, or a running one may be writing it.
    """
    with file.open("ab") as stream:
        stream.truncate(stream.tell() // record.itemsize * record.itemsize)
    records = _records(file, record)
    return {
        each["image"].tobytes(): place
        for place, each in enumerate(records)
        if each["sha256"].tobytes() == record_sha256(each["image"], each["features"])
    }


def _records(file: Path, record: np.dtype[np.void]) -> np.ndarray:
    # An empty file cannot be mapped.
    return np.memmap(file, record, "r") if file.stat().st_size else np.empty(0, record)


def record_sha256(image: np.ndarray, features: np.ndarray) -> bytes:
    """Return the sha256 of an image's identifier and features, by which a stored record is checked."""
    return hashlib.sha256(image.tobytes() + features.tobytes()).digest()


def _refuse_not_finite(rows: torch.Tensor, paths: list[str]) -> None:
    finite = rows.isfinite().all(dim=1)
    if not finite.all():
        first = paths[int(finite.logical_not().nonzero()[0])]
        raise ValueError(
            f"features of {int((~finite).sum())} of {len(paths)} images are nan or infinite, such as those of {first}: "
            "the weights are too large for float32, or images are prepared otherwise than for them"
        )


def _append(file: Path, record: np.dtype[np.void], images: list[bytes], rows: Features) -> int:
    """Append one record per identifier of an image to the file; return the index of the first new record."""
    new = np.empty(len(images), record)
    new["features"] = rows
    for each, image in zip(new, images, strict=True):
        each["image"] = np.frombuffer(image, np.uint8)
        each["sha256"] = np.frombuffer(record_sha256(each["image"], each["features"]), np.uint8)
    with file.open("ab") as stream:
        first = stream.tell() // record.itemsize
        stream.write(new.tobytes())
    return first
