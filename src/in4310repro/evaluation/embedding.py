"""Features of images: the inputs of a network's last layer, computed once per image and stored with a checksum."""

import atexit
import hashlib
import json
import shutil
import tempfile
from contextlib import suppress
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
from in4310repro.runs.config import Config
from in4310repro.system import files, machine, tensors
from in4310repro.system.context import Context

FOLDER = "features"  # in that of the cache
SUFFIX = ".embedding"
AT_ONCE = 8  # batches between two writes
Features = Float32[np.ndarray, "image feature"]
Labels = Int64[np.ndarray, " image"]


@dataclass(frozen=True)
class Embedding:
    """Features of an image set as an array [image, feature], read from a file on access."""

    records: np.ndarray  # a memory map, in the order in which they were computed
    places: Int64[np.ndarray, " image"]  # of each image

    def __len__(self) -> int:
        return len(self.places)

    def take(self, rows: range) -> Features:
        """Return a copy of the features of the images whose indices are in `rows`."""
        return np.asarray(self.records["features"][self.places[rows.start : rows.stop]])


def embed(
    model: torch.nn.Module, config: Config, images: ImageSet, context: Context, *, cache: bool = True
) -> Embedding:
    """Return the input of the network's last linear layer for every image, in eval mode and without gradients.

    Each image has a record in a file of the cache: a sha256 of its key, its features, and a sha256 of both.
    Features that another split or command computed with the same weights are read from there. Missing, incomplete
    or changed records are computed again. If another process is writing the file, this one works on a copy.

    Args:
        model: the network, as returned by `context.numerics.place`. Its mode is restored; the last layer's
            weights have no effect.
        config: says which network it is, and thus which layer is the last, and gives the size of the batches.
        images: the images, in the order of the rows.
        context: arithmetic, progress and processes of the computation.
        cache: False computes all features in a temporary file and reads no cache. This protects from features
            that somebody forged together with their sha256.

    Raises:
        ValueError: the network does not end in one linear layer, a feature is not finite, or the disk is too
            full.
    """
    numerics, processes = context.numerics, context.processes
    batch_size = config.evaluation_batch_size
    layer, last = building.last_layer(model, config.network)
    record = record_type(last.in_features)
    # A hash of everything on which the features of an image depend, except the image itself: weights, preprocessing and
    # arithmetic. In native arithmetic bits depend on the other images of a batch.
    body = {name: value for name, value in model.state_dict().items() if not name.startswith(f"{layer}.")}
    others = None if numerics.portable else images.pixels_sha256()
    of_weights, how = [layer, tensors.tensors_sha256(body), decoder()], asdict(images.preprocessing)
    settings = [*of_weights, how, numerics.numeric_class, others]
    key = files.bytes_sha256(json.dumps(settings).encode())[:32]
    file = cache_folder() / FOLDER / f"{key}{SUFFIX}"
    places = dict[bytes, int]()
    if processes.leads:
        file = _own_file(file, cache=cache)
        # An incomplete last record is cut off: a killed process may have left it, or a running one may be writing it.
        with file.open("ab") as stream:
            stream.truncate(stream.tell() // record.itemsize * record.itemsize)
        # Damaged records are omitted.
        places |= {
            each["image"].tobytes(): place
            for place, each in enumerate(_records(file, record))
            if each.tobytes() == record_bytes(each["image"].tobytes(), each["features"])
        }
    own = [hashlib.sha256(key.encode()).digest() for key in images.keys]
    missing = list[int](processes.broadcast_json([place for place, each in enumerate(own) if each not in places]))
    if processes.leads and missing:
        need = len(missing) * record.itemsize
        machine.refuse_beyond_disk(f"features of {len(missing)} images take", need, file.parent)
    given, size = list[torch.Tensor](), batch_size * AT_ONCE * processes.size
    hook = last.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0].cpu()))
    task = context.progress.task(f"features of {images.name}", len(missing))
    with hook, evaluation_mode(model), torch.inference_mode(), task as advance:
        for group in (missing[start : start + size] for start in range(0, len(missing), size)):
            part = local_share(len(group), processes)
            for batch in evaluation_batches(images.at(group[part.start : part.stop]), batch_size):
                before = len(given)
                model(batch.images.to(numerics.device))
                # If a layer is called several times, the last call counts.
                del given[before:-1]
            rows = gather_rows(given, processes)
            given.clear()
            if processes.leads:
                if (wrong := rows.isfinite().all(dim=1).logical_not()).any():
                    raise ValueError(
                        f"features of {int(wrong.sum())} of {len(group)} images are nan or infinite, such as those of "
                        f"{images.paths[group[int(wrong.nonzero()[0])]]}: the weights are too large for float32, or "
                        "images are not prepared as they need"
                    )
                new = [record_bytes(own[place], row) for place, row in zip(group, rows.numpy(), strict=True)]
                with file.open("ab") as stream:
                    first = stream.tell() // record.itemsize
                    stream.write(b"".join(new))
                places |= {own[place]: first + number for number, place in enumerate(group)}
            advance(len(group), "")
    if not processes.leads:
        return Embedding(np.empty(0, record), np.empty(0, np.int64))
    return Embedding(_records(file, record), np.array([places[each] for each in own], np.int64))


def _own_file(file: Path, *, cache: bool) -> Path:
    """Lock the file and return it.

    If another process has locked it, return a copy of the file, and without the cache a new file, on the cache's disk.
    They are removed when this process ends.
    """
    with suppress(ValueError):
        if cache:
            files.lock(file)
            return file
    file.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".apart-", dir=file.parent))
    # Where a system removes no file that is mapped it stays, and `cache --clear` removes it.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if cache and file.exists():
        shutil.copyfile(file, folder / file.name)
    return folder / file.name


def record_type(width: int) -> np.dtype[np.void]:
    """Return the NumPy dtype of an image's record in the file, for the given number of features."""
    return np.dtype([("image", np.uint8, 32), ("features", np.float32, width), ("sha256", np.uint8, 32)])


def _records(file: Path, record: np.dtype[np.void]) -> np.ndarray:
    # An empty file cannot be mapped.
    return np.memmap(file, record, "r") if file.stat().st_size else np.empty(0, record)


def record_bytes(image: bytes, features: np.ndarray) -> bytes:
    """Return a record as it is stored: an image's identifier, its features, and the sha256 of both."""
    content = image + features.tobytes()
    return content + hashlib.sha256(content).digest()
