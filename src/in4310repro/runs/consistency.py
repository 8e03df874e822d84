"""Checks that the files of a finished run are consistent in classes, images, epochs, settings and selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from in4310repro.data.class_folders import INNERMOST, read
from in4310repro.data.splits import parse_sizes
from in4310repro.metrics import PER_CLASS
from in4310repro.runs import chain, names, records, selection, settings

if TYPE_CHECKING:
    from in4310repro.runs.finished import FinishedRun

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


def _checks(run: FinishedRun) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield the name of each file and what is wrong in it."""
    yield names.SPLIT, _wrong_in_split(run)
    for setting in run.config.settings:
        yield names.of_setting(setting.name, names.HISTORY), _wrong_in_history(run, setting)
    yield names.METRICS, _wrong_in_metrics(run)
    yield names.SCORES, _wrong_in_scores(run)
    yield names.FEATURES, _wrong_in_features(run)
    for name, start in chain.starts(run.config, run.fingerprint, run.split, run.tensors).items():
        yield names.of_setting(name, names.TENSORS), _wrong_in_tensors(run, name, start)


def _wrong_in_split(run: FinishedRun) -> Iterator[str]:
    split, config = run.split, run.config
    entries = [entry for part in split.parts.values() for entry in part]
    for path, times in Counter(entry.path for entry in entries).items():
        if times > 1:
            yield f"path {path} stands in {times} rows; one is valid"
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
        needed = parse_sizes(config.split, len(entries))
    except ValueError as error:
        yield f"{names.CONFIG} does not fit: {error}"
    else:
        if sizes != needed or not all(sizes):
            yield f"part has {sizes} images; split {config.split!r} of {names.CONFIG} needs {needed}"


def _wrong_in_history(run: FinishedRun, setting: settings.OptimizerSetting) -> Iterator[str]:
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
            found, needed = ("absent", "needed") if tested else ("there", "absent")
            yield f"epoch {number}: test_loss is {found}; by protocol of {names.CONFIG} it is {needed}"
        if row.get("strength") != strength:
            yield f"epoch {number}: strength is {row.get('strength')}; {strength} is needed"


def _wrong_lengths(run: FinishedRun, record: Mapping[str, Any]) -> Iterator[str]:
    classes = len(run.split.classes)
    for key in PER_CLASS:
        if key in record and len(record[key]) != classes:
            yield f"{key} has {len(record[key])} values; {names.SPLIT} has {classes} classes"


def _wrong_in_tensors(run: FinishedRun, setting: str, start_sha256: str) -> Iterator[str]:
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


def _wrong_in_metrics(run: FinishedRun) -> Iterator[str]:
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


def _wrong_in_scores(run: FinishedRun) -> Iterator[str]:
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


def _wrong_in_features(run: FinishedRun) -> Iterator[str]:
    expected = run.config.modules
    for place, images in enumerate(run.features["sets"] if run.features else ()):
        if images["modules"].keys() != set(expected):
            yield f"sets.{place}.modules are {sorted(images['modules'])}; {names.CONFIG} has {sorted(expected)}"
        for name, module in images["modules"].items():
            if found := module.get("activations"):
                at = f"sets.{place}.modules.{name}.activations"
                if found["quantiles"].keys() != set(records.QUANTILES):
                    yield f"{at}.quantiles are at {sorted(found['quantiles'])}; {list(records.QUANTILES)} are needed"
                last = max([*found["never_positive"], *(each["channel"] for each in found["top_images"])], default=0)
                if last >= module["channels"]:
                    yield f"{at} name channel {last}; there are {module['channels']}, from 0"
