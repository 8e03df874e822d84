"""Checks that the files of a finished run are consistent in classes, images, epochs, settings and selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from in4310repro.data.class_folders import INNERMOST, read
from in4310repro.data.splits import Split, parse_sizes
from in4310repro.metrics import PER_CLASS, ClassMetrics, class_metrics
from in4310repro.metrics.scores import Scores
from in4310repro.runs import chain, names
from in4310repro.runs.config import Config
from in4310repro.runs.deviations import Protocol
from in4310repro.runs.records import QUANTILES, ActivationFeatures, EpochHashes, FeatureMaps, HistoryRow, RunMetrics
from in4310repro.runs.selection import select
from in4310repro.runs.settings import STRENGTHS
from in4310repro.system.fingerprint import Fingerprint

# Softmax of float32 adds up to 1 within 1e-6 for some thousand classes.
SOFTMAX_TOLERANCE = 1e-4


def refuse_contradictions(
    folder: Path,
    config: Config,
    split: Split,
    histories: Mapping[str, Sequence[HistoryRow]],
    metrics: RunMetrics,
    scores: Scores,
    features: FeatureMaps | None,
) -> None:
    """Check that the files of a run do not contradict each other.

    Raises:
        ValueError: there is a contradiction. The message names the file of the first one, the key in this
            file, and the expected value.
    """
    _refuse(folder / names.SPLIT, _wrong_in_split(split, config))
    for setting in config.settings:
        rows = histories[setting.name]
        faults = _wrong_in_history(rows, config.rows_of(setting), len(split.classes), config.select)
        _refuse(folder / setting.name / names.HISTORY, faults)
        _refuse(folder / setting.name / names.HISTORY, _wrong_test_losses(rows, config.protocol))
        _refuse(folder / setting.name / names.HISTORY, _wrong_strengths(rows, config.fits_head(setting)))
    _refuse(folder / names.METRICS, _wrong_in_metrics(metrics, config, split, histories))
    _refuse(folder / names.SCORES, _wrong_in_scores(scores, split))
    if features is not None:
        _refuse(folder / names.FEATURES, _wrong_in_features(features, config.modules))


def refuse_broken_chains(
    folder: Path,
    config: Config,
    fingerprint: Fingerprint,
    split: Split,
    histories: Mapping[str, Sequence[HistoryRow]],
    tensors: Mapping[str, Sequence[EpochHashes]],
) -> None:
    """Check the hash chain in each setting's `tensors.json`: its start, all links, and the data of its entries.

    Each entry must have the right epoch, tensors, and hash of the weights.

    Raises:
        ValueError: there is an error. The message names the file of the first one, what is wrong in it, and
            what is expected.
    """
    starts = chain.starts(config, fingerprint, split, tensors)
    for name, rows in histories.items():
        _refuse(folder / name / names.TENSORS, _wrong_in_tensors(tensors[name], rows, starts[name], config))


def _refuse(file: Path, faults: Iterator[str]) -> None:
    for fault in faults:
        raise ValueError(f"{file}: {fault}")


def _wrong_in_split(split: Split, settings: Config) -> Iterator[str]:
    entries = [entry for part in split.parts.values() for entry in part]
    for path, times in Counter(entry.path for entry in entries).items():
        if times > 1:
            yield f"path {path} stands in {times} rows; one is valid"
    labels = split.catalogue().labels()
    # Older versions took the folder that an image is in, and recorded no choice.
    choices = (settings.class_folders,) if settings.class_folders else (None, INNERMOST)
    expected = (read(labels, chosen).classes for chosen in choices)
    wrong = ([path for path, label in labels.items() if label != each.get(path)] for each in expected)
    for path in min(wrong, key=len):
        yield f"class {labels[path]} of {path} is not the folder of the image"
    if len(split.classes) < 2:
        yield f"class is {split.classes[0]} everywhere; at least 2 classes are needed"
    if not settings.data and len(entries) != settings.scenes * len(split.classes):
        yield f"it has {len(entries)} images; scenes {settings.scenes} of {names.CONFIG} are of each class"
    sizes = tuple(map(len, split.parts.values()))
    try:
        needed = parse_sizes(settings.split, len(entries))
    except ValueError as error:
        yield f"{names.CONFIG} does not fit: {error}"
    else:
        if sizes != needed or not all(sizes):
            yield f"part has {sizes} images; split {settings.split!r} of {names.CONFIG} needs {needed}"


def _wrong_in_history(rows: Sequence[HistoryRow], epochs: int, classes: int, by: str) -> Iterator[str]:
    if len(rows) != epochs:
        yield f"it has {len(rows)} rows; epochs is {epochs} in {names.CONFIG}"
    for number, row in enumerate(rows, start=1):
        if row["epoch"] != number:
            yield f"epoch of row {number} is {row['epoch']}; {number} is needed"
        if by not in row:
            yield f"epoch {number} lacks {by}, which select of {names.CONFIG} needs"
        for fault in _wrong_lengths(row, classes):
            yield f"epoch {number}: {fault}"


def _wrong_test_losses(rows: Sequence[HistoryRow], protocol: Protocol) -> Iterator[str]:
    for row in rows:
        if ("test_loss" in row) != protocol.scores_test_each_epoch:
            found, needed = ("there", "absent") if "test_loss" in row else ("absent", "needed")
            yield f"epoch {row['epoch']}: test_loss is {found}; by protocol of {names.CONFIG} it is {needed}"


def _wrong_strengths(rows: Sequence[HistoryRow], fitted: bool) -> Iterator[str]:
    for row, needed in zip(rows, STRENGTHS if fitted else (None,) * len(rows), strict=True):
        if row.get("strength") != needed:
            yield f"epoch {row['epoch']}: strength is {row.get('strength')}; {needed} is needed"


def _wrong_lengths(record: ClassMetrics, classes: int) -> Iterator[str]:
    for key, values in class_metrics(record).items():
        if key in PER_CLASS and len(values) != classes:  # type: ignore[arg-type]
            yield f"{key} has {len(values)} values; {names.SPLIT} has {classes} classes"  # type: ignore[arg-type]


def _wrong_in_tensors(
    entries: Sequence[EpochHashes], rows: Sequence[HistoryRow], start_sha256: str, config: Config
) -> Iterator[str]:
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
        if entry["weights_sha256"] != row["weights_sha256"]:
            yield (
                f"epoch {number}: weights_sha256 is {entry['weights_sha256']}; {names.HISTORY} has "
                f"{row['weights_sha256']}"
            )
        needed, before = chain.sha256_of(entry, config), f"the entry of epoch {number}"


def _wrong_in_metrics(
    metrics: RunMetrics, config: Config, split: Split, histories: Mapping[str, Sequence[HistoryRow]]
) -> Iterator[str]:
    setting, row = select(histories, config.select)
    needed = {
        "classes": list(split.classes),
        "supports": split.supports(),
        "setting": setting,
        "epoch": row["epoch"],
        "validation_mean_class_accuracy": row["mean_class_accuracy"],
        "weights_sha256": row["weights_sha256"],
    }
    for key, value in needed.items():
        if metrics[key] != value:  # type: ignore[literal-required]
            source = names.SPLIT if key in ("classes", "supports") else names.HISTORY
            yield f"{key} is {metrics[key]}; by {source} it is {value}"  # type: ignore[literal-required]
    yield from _wrong_lengths(metrics, len(split.classes))
    unseen = metrics.get("unseen")
    if (unseen is not None) != config.protocol.shares_split:
        yield "unseen is of a protocol with shared-split, and of no other"
    if unseen is not None:
        for fault in _wrong_lengths(unseen, len(split.classes)):
            yield f"unseen: {fault}"


def _wrong_in_scores(scores: Scores, split: Split) -> Iterator[str]:
    entries = split.parts["test"]
    shape = (len(entries), len(split.classes))
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
        if not good.all():
            image = int(np.flatnonzero(~good)[0])
            yield f"softmax of {scores.paths[image]} adds up to {sums[image]:g}; shares that add up to 1 are needed"


def _wrong_in_features(features: FeatureMaps, expected: Sequence[str]) -> Iterator[str]:
    for place, images in enumerate(features["sets"]):
        if images["modules"].keys() != set(expected):
            yield f"sets.{place}.modules are {sorted(images['modules'])}; {names.CONFIG} has {sorted(expected)}"
        for name, module in images["modules"].items():
            if "activations" in module:
                yield from _wrong_in_activations(
                    f"sets.{place}.modules.{name}", module["activations"], module["channels"]
                )


def _wrong_in_activations(place: str, activations: ActivationFeatures, channels: int) -> Iterator[str]:
    if activations["quantiles"].keys() != set(QUANTILES):
        yield f"{place}.activations.quantiles are at {sorted(activations['quantiles'])}; {list(QUANTILES)} are needed"
    named = [*activations["never_positive"], *(each["channel"] for each in activations["top_images"])]
    if max(named, default=0) >= channels:
        yield f"{place}.activations name channel {max(named)}; there are {channels}, from 0"
