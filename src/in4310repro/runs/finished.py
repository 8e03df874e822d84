"""A finished run as an immutable object; its files are read and checked once, by the first of several processes.

The files must be consistent in classes, images, epochs, settings and selection.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import safetensors.numpy
from torch.nn import Module

from in4310repro.data import embedded, splits
from in4310repro.data.class_folders import INNERMOST, read
from in4310repro.data.folders import Entry
from in4310repro.data.images import ImageSet
from in4310repro.metrics import PER_CLASS, wilson
from in4310repro.metrics.scores import Scores
from in4310repro.models.weights import Weights
from in4310repro.runs import chain, names, presets, selection, settings
from in4310repro.runs.config import Config
from in4310repro.runs.folder import RunFolder, array_bytes, finished_files, read_arrays, unchanged
from in4310repro.runs.record_types import QUANTILES, Chain, FeatureMaps, Groups, History, HistoryRow, Pixels, RunMetrics
from in4310repro.system.fingerprint import Fingerprint
from in4310repro.system.processes import Processes
from in4310repro.system.progress import SILENT, Progress
from in4310repro.system.tensors import Tensors, tensors_sha256

FEW = 20  # training images of a class
Faults = Iterator[str]  # what is wrong in a file
# Dtype and number of axes of each array in scores.npz; text may have any length.
SCORE_ARRAYS = {"paths": ("str_", 1), "labels": ("int64", 1), "softmax": ("float32", 2)}


@dataclass(frozen=True)
class FinishedRun:
    """Content of the folder of a finished run, except weights, which are read on request."""

    files: RunFolder
    config: Config
    fingerprint: Fingerprint
    groups: Groups  # paths that the split holds on one side, beside files of equal bytes
    split: splits.Split
    histories: selection.Histories  # by setting, in the order of their training
    tensors: Mapping[str, Chain]  # by setting, after each epoch
    metrics: RunMetrics
    scores: Scores  # of the test set, without logits
    features: FeatureMaps | None  # None until they are measured

    @classmethod
    def open(cls, folder: str | Path) -> "FinishedRun":
        """Read and check the folder of a finished run.

        Raises:
            ValueError: the folder is not a run, the run is not finished, or a file is missing, damaged or in an
                unsupported format.
        """
        files = finished_files(folder := Path(folder))
        config, read = files.read_config(), files.read_record
        metrics, of_each = read(names.METRICS, RunMetrics), [setting.name for setting in config.settings]
        files.manifest()
        run = cls(
            files,
            config,
            read(names.FINGERPRINT, Fingerprint),
            read(names.GROUPS, Groups) if config.group == settings.LOOK_ALIKES else [],
            splits.from_csv(files.file(names.SPLIT), Path(config.data or ".")),
            {name: read(f"{name}/{names.HISTORY}", History) for name in of_each},
            {name: read(f"{name}/{names.TENSORS}", Chain) for name in of_each},
            metrics,
            _read_scores(files, metrics["loss"]),
            read(names.FEATURES, FeatureMaps) if (folder / names.FEATURES).exists() else None,
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

    def class_sizes(self, part: str) -> list[int]:
        """Return the number of images of each class in what the run used as a part of its split."""
        supports = self.metrics["supports"][self.config.protocol.part_read_as(part)]
        return [supports[name] for name in self.classes]

    def entries(self, part: str) -> tuple[Entry, ...]:
        """Return the images that the run used as this part."""
        return self.split.parts[self.config.protocol.part_read_as(part)]

    def best_row(self, setting: str) -> HistoryRow:
        """Return the row of a setting's best epoch."""
        return selection.best_epoch(self.histories[setting], self.config.select)

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

    def selected_network(self) -> Module:
        """Return the network that was selected and scored on the test set, on the CPU.

        Raises:
            ValueError: the weights are missing, damaged, of another network, or differ from those that were scored.
        """
        model = self.saved_network()
        if tensors_sha256(model.state_dict()) != self.metrics["weights_sha256"]:
            raise ValueError(
                f"{self.folder / self.best_weights} holds other weights than the test set was scored with: see "
                f"weights_sha256 in {names.METRICS}"
            )
        return model

    def saved_network(self) -> Module:
        """Return the network with the selected setting's best weights, on the CPU, without checking their hash.

        Raises:
            ValueError: the weights are missing, damaged or of another network.
        """
        return self.restore(self.files.read_tensors(self.best_weights), f"{self.folder / self.best_weights}")

    @property
    def best_weights(self) -> str:
        """Name of the file with the selected network's weights, below the run folder."""
        return f"{self.metrics['setting']}/{names.BEST_WEIGHTS}"

    def restore(self, state: Tensors, source: str) -> Module:
        """Return the run's network with the given weights, on the CPU.

        Raises:
            ValueError: the weights do not fit the network; the message names their source.
        """
        return self.config.network.restore(len(self.classes), state, source)

    @cached_property
    def _initial_weights(self) -> Weights:
        """Weights before training, read from their file once."""
        return self.config.network.read_weights(self.config.weights)

    def initial_network(self) -> Module:
        """Return the network with its weights before training, on the CPU.

        Raises:
            ValueError: the weights cannot be read or do not fit the network.
        """
        return self.config.network.build(len(self.classes), self.config.seed, self._initial_weights)

    def test_images(self, data: str | None = None, progress: Progress = SILENT) -> ImageSet:
        """Return the decoded test images.

        Args:
            data: the present folder of the images; None if it is still the recorded one.
            progress: where to show how many images have been decoded.

        Raises:
            ValueError: an image is missing or has changed since the split was made.
        """
        return self.config.load_part(self.split_below(data), "test", progress)

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


def score_bytes(scores: Scores) -> bytes:
    """Return the content of scores.npz."""
    softmax = np.ascontiguousarray(scores.softmax)
    return array_bytes({"paths": np.array(scores.paths, np.str_), "labels": scores.labels, "softmax": softmax})


def _read_scores(files: RunFolder, loss: float) -> Scores:
    arrays, file = read_arrays(files.file(names.SCORES)), files.folder / names.SCORES
    if arrays.keys() != SCORE_ARRAYS.keys():
        raise ValueError(f"{file} has {sorted(arrays)[:5]}; it must have {', '.join(SCORE_ARRAYS)}")
    for name, (dtype, axes) in SCORE_ARRAYS.items():
        array = arrays[name]
        found = "str_" if array.dtype.kind == "U" else f"{array.dtype}"
        if (found, array.ndim) != (dtype, axes):
            raise ValueError(
                f"{file}: {name} is {array.dtype} of shape {array.shape}; it must be {dtype} with {axes} axes"
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
                # Weights of the selected setting alone.
                needed = [name for name in (*names.OF_RUN, names.MANIFEST) if (folder / name).is_file()]
                needed += [f"{s}/{name}" for s in run.histories for name in (names.HISTORY, names.TENSORS)]
                files = {
                    name: np.frombuffer((folder / name).read_bytes(), np.uint8) for name in (*needed, run.best_weights)
                }
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
    config, counts, training = run.config, run.class_sizes("validation"), run.class_sizes("training")
    _, row = selection.select(run.histories, config.select)
    images, largest, fewest = sum(counts), max(counts), min(training)
    correct = round(np.dot(row["class_accuracy"], counts))
    advice = "more images or --train all"
    if not all(map(config.fits_head, config.settings)):
        head = f"--preset {presets.HEAD_PRESET}, " if config.data and config.weights == "none" else ""
        advice = f"{head}more images or more --epochs"
    (lower, upper), chance = wilson(correct, images), largest / images
    if lower <= chance:
        said = "the largest class" if counts.count(largest) == 1 else "one of the largest classes"
        verdict = "not shown to be better" if chance <= upper else "worse"
        return (
            f"{verdict} than guessing: {correct} of {images} validation images are right (95 % interval "
            f"{lower:.2f} to {upper:.2f}), and always naming {said} gives {chance:.2f}; try {advice}"
        )
    smallest = "the smallest class" if training.count(fewest) == 1 else "each of the smallest classes"
    return f"{fewest} training images of {smallest} are few; try {advice}" if fewest < FEW else ""


# Softmax of float32 adds up to 1 within 1e-6 for some thousand classes.
SOFTMAX_TOLERANCE = 1e-4


def refuse_contradictions(run: FinishedRun, folder: Path) -> None:
    """Check that the files of a run do not contradict each other, and that its hash chains are whole.

    Each entry of a chain must have the right epoch, tensors, link, and hash of the weights.

    Raises:
        ValueError: there is a contradiction. The message names the file of the first one, the key in this
            file, and the expected value.
    """
    for name, faults in _checks(run):
        for fault in faults:
            raise ValueError(f"{folder / name}: {fault}")


def _checks(run: FinishedRun) -> Iterator[tuple[str, Faults]]:
    """Yield the name of each file and what is wrong in it."""
    yield names.SPLIT, _wrong_in_split(run)
    for setting in run.config.settings:
        yield f"{setting.name}/{names.HISTORY}", _wrong_in_history(run, setting)
    yield names.METRICS, _wrong_in_metrics(run)
    yield names.SCORES, _wrong_in_scores(run)
    yield names.FEATURES, _wrong_in_features(run)
    for name, start in chain.starts(run.config, run.fingerprint, run.split, run.tensors).items():
        yield f"{name}/{names.TENSORS}", _wrong_in_tensors(run, name, start)


def _wrong_in_split(run: FinishedRun) -> Faults:
    split, config = run.split, run.config
    entries = [entry for part in split.parts.values() for entry in part]
    for path, times in Counter(entry.path for entry in entries).items():
        if times > 1:
            yield f"path {path} is in {times} rows; it must be in one"
    labels = split.catalogue().labels()
    # Older versions took the folder that an image is in, and recorded no choice.
    choices = [config.class_folders] if config.class_folders else [None, INNERMOST]
    expected = (read(labels, each).classes for each in choices)
    wrong = ([path for path, label in labels.items() if label != each.get(path)] for each in expected)
    for path in min(wrong, key=len):
        yield f"class {labels[path]} of {path} is not the folder of the image"
    if len(split.classes) < 2:
        yield f"class is {split.classes[0]} everywhere; at least 2 classes are needed"
    if not config.data and len(entries) != config.scenes * len(split.classes):
        yield f"it has {len(entries)} images; scenes {config.scenes} of {names.CONFIG} are of each class"
    sizes = tuple(map(len, split.parts.values()))
    try:
        needed = splits.parse_sizes(config.split, len(entries))
    except ValueError as error:
        yield f"{names.CONFIG} does not fit: {error}"
    else:
        if sizes != needed or not all(sizes):
            yield f"part has {sizes} images; split {config.split!r} of {names.CONFIG} needs {needed}"


def _wrong_in_history(run: FinishedRun, setting: settings.OptimizerSetting) -> Faults:
    rows, by, tested = run.histories[setting.name], run.config.select, run.config.protocol.scores_test_each_epoch
    strengths = settings.STRENGTHS if run.config.fits_head(setting) else (None,) * run.config.epochs
    if len(rows) != len(strengths):
        yield f"it has {len(rows)} rows; epochs is {len(strengths)} in {names.CONFIG}"
    for number, (row, strength) in enumerate(zip(rows, strengths, strict=True), start=1):
        if row["epoch"] != number:
            yield f"epoch of row {number} is {row['epoch']}; {number} is needed"
        if by not in row:
            yield f"epoch {number} lacks {by}, which select of {names.CONFIG} needs"
        yield from (f"epoch {number}: {fault}" for fault in _wrong_lengths(run, row))
        if ("test_loss" in row) != tested:
            by_protocol = f"by protocol of {names.CONFIG} it is {'needed' if tested else 'absent'}"
            yield f"epoch {number}: test_loss is {'absent' if tested else 'there'}; {by_protocol}"
        if row.get("strength") != strength:
            yield f"epoch {number}: strength is {row.get('strength')}; {strength} is needed"


def _wrong_lengths(run: FinishedRun, record: Mapping[str, Any]) -> Faults:
    classes = len(run.split.classes)
    for key in PER_CLASS:
        if key in record and len(record[key]) != classes:
            yield f"{key} has {len(record[key])} values; {names.SPLIT} has {classes} classes"


def _wrong_in_tensors(run: FinishedRun, setting: str, start_sha256: str) -> Faults:
    entries, rows = run.tensors[setting], run.histories[setting]
    if len(entries) != len(rows):
        yield f"it has {len(entries)} rows; epochs is {len(rows)} in {names.CONFIG}"
    needed, before = start_sha256, f"the start by {names.CONFIG}, {names.SPLIT} and {names.FINGERPRINT}"
    for number, (entry, row) in enumerate(zip(entries, rows, strict=True), start=1):
        if entry["epoch"] != number:
            yield f"epoch of row {number} is {entry['epoch']}; {number} is needed"
        if not entry["tensors"] or entry["tensors"].keys() != entries[0]["tensors"].keys():
            yield f"row {number} has {len(entry['tensors'])} tensors; each row has those of the network"
        if entry["previous"] != needed:
            yield f"epoch {number}: the chain is broken: previous is {entry['previous']}, and {before} has {needed}"
        if (found := entry["weights_sha256"]) != row["weights_sha256"]:
            yield f"epoch {number}: weights_sha256 is {found}; {names.HISTORY} has {row['weights_sha256']}"
        needed, before = chain.sha256_of(entry, run.config), f"the entry of epoch {number}"


def _wrong_in_metrics(run: FinishedRun) -> Faults:
    metrics: Mapping[str, Any] = run.metrics
    setting, row = selection.select(run.histories, run.config.select)
    of_split = {"classes": list(run.split.classes), "supports": run.split.supports()}
    of_history = {"setting": setting, "epoch": row["epoch"], "weights_sha256": row["weights_sha256"]}
    of_history["validation_mean_class_accuracy"] = row["mean_class_accuracy"]
    for source, values in ((names.SPLIT, of_split), (names.HISTORY, of_history)):
        for key, value in values.items():
            if metrics[key] != value:
                yield f"{key} is {metrics[key]}; by {source} it is {value}"
    yield from _wrong_lengths(run, metrics)
    unseen = metrics.get("unseen")
    if (unseen is not None) != run.config.protocol.shares_split:
        yield "unseen is of a protocol with shared-split, and of no other"
    yield from (f"unseen: {fault}" for fault in _wrong_lengths(run, unseen or {}))


def _wrong_in_scores(run: FinishedRun) -> Faults:
    entries, scores = run.split.parts["test"], run.scores
    shape = (len(entries), len(run.split.classes))
    if scores.paths != tuple(entry.path for entry in entries):
        yield f"paths are not those of the test part of {names.SPLIT}, in its order"
    elif scores.labels.tolist() != [entry.label for entry in entries]:
        yield f"labels are not those of the classes in {names.SPLIT}"
    elif scores.softmax.shape != shape:
        yield f"softmax is of shape {scores.softmax.shape}; {shape} is needed"
    else:
        # Also false for nan.
        sums = scores.softmax.astype(np.float64).sum(axis=1)
        good = (scores.softmax >= 0).all(axis=1) & (abs(sums - 1) <= SOFTMAX_TOLERANCE)
        for image in np.flatnonzero(~good):
            yield f"softmax of {scores.paths[image]} adds up to {sums[image]:g}; shares that add up to 1 are needed"


def _wrong_in_features(run: FinishedRun) -> Faults:
    expected = run.config.modules
    for place, images in enumerate(run.features["sets"] if run.features else ()):
        if images["modules"].keys() != set(expected):
            yield f"sets.{place}.modules are {sorted(images['modules'])}; {names.CONFIG} has {sorted(expected)}"
        for name, module in images["modules"].items():
            if found := module.get("activations"):
                at = f"sets.{place}.modules.{name}.activations"
                if found["quantiles"].keys() != set(QUANTILES):
                    yield f"{at}.quantiles are at {sorted(found['quantiles'])}; {list(QUANTILES)} are needed"
                last = max([*found["never_positive"], *(each["channel"] for each in found["top_images"])], default=0)
                if last >= module["channels"]:
                    yield f"{at} name channel {last}; there are {module['channels']}, from 0"
