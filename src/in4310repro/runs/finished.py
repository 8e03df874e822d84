"""A finished run as an immutable object; its files are read and checked once, by the first of several processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import safetensors.numpy
import torch

from in4310repro.data import embedded, splits
from in4310repro.data.images import ImageSet
from in4310repro.metrics import wilson
from in4310repro.metrics.scores import Scores
from in4310repro.models.weights import Weights
from in4310repro.runs import chain, names, presets, selection
from in4310repro.runs.config import Config
from in4310repro.runs.consistency import refuse_contradictions
from in4310repro.runs.folder import RunFolder, finished_files, unchanged
from in4310repro.runs.records import EpochHashes, FeatureMaps, Groups, HistoryRow, Pixels, RunMetrics
from in4310repro.runs.settings import LOOK_ALIKES
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.processes import Processes
from in4310repro.system.progress import Progress
from in4310repro.system.tensors import tensors_sha256

FEW = 20  # training images of a class
# Kind, dtype and number of axes of each array in scores.npz; text may have any length.
SCORE_ARRAYS = {"paths": ("U", "str_", 1), "labels": ("i", "int64", 1), "softmax": ("f", "float32", 2)}


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """Content of the folder of a finished run, except weights, which are read on request."""

    files: RunFolder
    config: Config
    fingerprint: Fingerprint
    groups: list[list[str]]  # paths that the split holds on one side, beside files of equal bytes
    split: splits.Split
    histories: Mapping[str, list[HistoryRow]]  # by setting, in the order of their training
    tensors: Mapping[str, list[EpochHashes]]  # by setting, after each epoch
    metrics: RunMetrics
    scores: Scores  # of the test set, without logits
    features: FeatureMaps | None  # None until they are measured

    @classmethod
    def open(cls, folder: Path) -> FinishedRun:
        """Read and check the folder of a finished run.

        Raises:
            ValueError: the folder is not a run, the run is not finished, or a file is missing, damaged or in an
                unsupported format.
        """
        files = finished_files(folder)
        config, read, of_setting = files.read_config(), files.read_record, names.of_setting
        settings = [setting.name for setting in config.settings]
        metrics = read(names.METRICS, RunMetrics)
        measured = (folder / names.FEATURES).exists()
        files.manifest()
        run = cls(
            files=files,
            config=config,
            fingerprint=read(names.FINGERPRINT, Fingerprint),
            groups=read(names.GROUPS, Groups) if config.group == LOOK_ALIKES else [],
            split=splits.from_csv(files.file(names.SPLIT), Path(config.data or ".")),
            histories={name: read(of_setting(name, names.HISTORY), list[HistoryRow]) for name in settings},
            tensors={name: read(of_setting(name, names.TENSORS), list[EpochHashes]) for name in settings},
            metrics=metrics,
            scores=_read_scores(files, metrics["loss"]),
            features=read(names.FEATURES, FeatureMaps) if measured else None,
        )
        refuse_contradictions(run, folder)
        return run

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.files.folder

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of labels and scores."""
        return self.metrics["classes"]

    @property
    def training_sha256(self) -> str:
        """Last hash in the hash chain of the selected training setting. It depends on every epoch."""
        return chain.sha256_of(self.tensors[self.metrics["setting"]][-1], self.config)

    def pixel_hashes(self) -> Pixels:
        """Return the recorded sha256 of each image's decoded pixels by path; none up to format 5.

        Raises:
            ValueError: the file is missing or damaged.
        """
        return self.files.read_record(names.PIXELS, Pixels) if self.config.is_canonical else {}

    def selected_network(self) -> torch.nn.Module:
        """Return the network that was selected and scored on the test set, on the CPU.

        Raises:
            ValueError: the weights are missing, damaged, of another network, or differ from those that were scored.
        """
        model = self.saved_network()
        if tensors_sha256(model.state_dict()) != self.metrics["weights_sha256"]:
            raise ValueError(
                f"{self.folder / self._best} holds other weights than the test set was scored with: see weights_sha256 "
                f"in {names.METRICS}"
            )
        return model

    def saved_network(self) -> torch.nn.Module:
        """Return the network with the selected setting's best weights, on the CPU, without checking their hash.

        Raises:
            ValueError: the weights are missing, damaged or of another network.
        """
        return self.restore(self.files.read_tensors(self._best), f"{self.folder / self._best}")

    @property
    def _best(self) -> str:
        return names.of_setting(self.metrics["setting"], names.BEST_WEIGHTS)

    def restore(self, state: Mapping[str, torch.Tensor], source: str) -> torch.nn.Module:
        """Return the run's network with the given weights, on the CPU.

        Raises:
            ValueError: the weights do not fit the network; the message names their source.
        """
        return self.config.network.restore(len(self.classes), state, source)

    @property
    def has_initial_weights(self) -> bool:
        """True if the weights before training are random, or if their file is on this machine."""
        return self.config.network.has_weights(self.config.weights)

    @cached_property
    def _initial_weights(self) -> Weights:
        """Weights before training, read from their file once."""
        return self.config.network.read_weights(self.config.weights)

    def initial_network(self) -> torch.nn.Module:
        """Return the network with its weights before training, on the CPU.

        Raises:
            ValueError: the weights cannot be read or do not fit the network.
        """
        return self.config.network.build(len(self.classes), self.config.seed, self._initial_weights)

    def test_images(self, data: str | None, progress: Progress) -> ImageSet:
        """Return the decoded test images.

        Args:
            data: the present folder of the images; None if it is still the recorded one.
            progress: where to show how many images have been decoded.

        Raises:
            ValueError: an image is missing or has changed since the split was made.
        """
        split = self.split_below(data)
        return self.config.load("test", split.root, split.parts["test"], progress)

    def split_below(self, data: str | None) -> splits.Split:
        """Return the split with the present folder of its images, after checking that no image has changed.

        Args:
            data: the present folder of the images. If it is None, the folder in the configuration is used. If the
                configuration names none either, the images are the package's own drawings of scenes.

        Raises:
            ValueError: an image is missing or has changed since the split was made.
        """
        split = replace(self.split, root=image_root(self.config, data))
        splits.check_contents(split)
        return split


def image_root(config: Config, data: str | None) -> Path:
    """Return the folder of a run's images.

    This is `data` if it is given, otherwise the folder in the configuration. If the configuration names none
    either, it is the folder with the package's own drawings of scenes.
    """
    place = data or config.data
    return Path(place) if place else embedded.embedded_catalogue(config.scenes, config.image_size, config.seed).root


def _read_scores(files: RunFolder, loss: float) -> Scores:
    arrays, file = files.read_arrays(names.SCORES), files.folder / names.SCORES
    if arrays.keys() != SCORE_ARRAYS.keys():
        raise ValueError(f"{file} has {sorted(arrays)[:5]}; {', '.join(SCORE_ARRAYS)} are valid")
    for name, (kind, dtype, axes) in SCORE_ARRAYS.items():
        found = arrays[name].dtype
        if arrays[name].ndim != axes or (found.kind != "U" if kind == "U" else found != dtype):
            raise ValueError(
                f"{file}: {name} is {found} of shape {arrays[name].shape}; {dtype} with {axes} axes is valid"
            )
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{file}: paths, labels and softmax are of {lengths} images; each image is in all of them")
    return Scores(tuple(map(str, arrays["paths"])), arrays["labels"], arrays["softmax"], loss)


@contextmanager
def open_run(folder: Path, processes: Processes) -> Iterator[FinishedRun]:
    """Open a finished run in each of the parallel processes, and yield it for use in a `with` block.

    The run must not change meanwhile, see `unchanged`. The first process reads the folder. Each other process gets
    a temporary copy, and files that it writes there are discarded.

    Raises:
        ValueError: the folder is not a finished run, a file is missing or damaged, or another process works on
            the run. Only the first process raises this error.
    """
    if processes.leads:
        with unchanged(folder):
            run = FinishedRun.open(folder)
            if processes.size > 1:
                # Of the weights, the selected setting's alone.
                needed = [name for name in (*names.OF_RUN, names.MANIFEST) if (folder / name).is_file()]
                needed += [names.of_setting(s, name) for s in run.histories for name in (names.HISTORY, names.TENSORS)]
                files = {name: np.frombuffer((folder / name).read_bytes(), np.uint8) for name in (*needed, run._best)}
                processes.broadcast(safetensors.numpy.save(files))
            yield run
        return
    with TemporaryDirectory() as place:
        for name, content in safetensors.numpy.load(processes.broadcast()).items():
            file = Path(place, name)
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content.tobytes())
        yield FinishedRun.open(Path(place))


def advise(run: FinishedRun) -> str:
    """Return advice if the selected network may be guessing, or if a class has few training images.

    If neither is the case, the text is empty. The network is compared with a classifier that always predicts
    the largest class. If the accuracy of this classifier lies within or above the 95 % interval of the
    network's validation accuracy, the network may be guessing. The validation accuracy is optimistic, since
    the network was selected by a metric on the same images.
    """
    config, supports = run.config, run.metrics["supports"]
    of_validation, training = (supports[config.protocol.part_read_as(part)] for part in ("validation", "training"))
    counts = [of_validation[name] for name in run.classes]
    _, row = selection.select(run.histories, config.select)
    images, largest, fewest = sum(counts), max(counts), min(training.values())
    correct = round(sum(share * count for share, count in zip(row["class_accuracy"], counts, strict=True)))
    advice = "more images or --train all"
    if not all(map(config.fits_head, config.settings)):
        head = f"--preset {presets.HEAD_PRESET}, " if config.data and config.weights == "none" else ""
        advice = f"{head}more images or more --epochs"
    (lower, upper), chance = wilson(correct, images), largest / images
    if lower <= chance:
        said = "the largest class" if counts.count(largest) == 1 else "one of the largest classes"
        place = "within its interval: no difference seen" if chance <= upper else "above its interval"
        return (
            f"no better than guessing, for all that {images} validation images tell: {correct} are right "
            f"({lower:.2f} to {upper:.2f}), and {chance:.2f}, by always saying {said}, lies {place}; try {advice}"
        )
    smallest = "the smallest class" if [*training.values()].count(fewest) == 1 else "each of the smallest classes"
    return f"{fewest} training images of {smallest} are few; try {advice}" if fewest < FEW else ""
