"""verify(): reloads weights and images, predicts the test set again, and compares with the saved scores."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from in4310repro import config as configuration
from in4310repro.data.embedded import differences_from_drawn
from in4310repro.data.images import load_images
from in4310repro.data.splits import Split
from in4310repro.deviations import Deviation
from in4310repro.files import file_sha256
from in4310repro.fingerprint import Fingerprint
from in4310repro.numerics import Numerics
from in4310repro.prediction import predict, refuse_too_large
from in4310repro.progress import SILENT, Progress
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun, finished_files, image_root
from in4310repro.runs.folder import RunFolder
from in4310repro.scores import Scores
from in4310repro.tensors import tensors_sha256

# Softmax of equal weights moved by at most 1e-7 over batch sizes and layouts (measured); ten times that is allowed.
SCORE_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The differences as sentences, and how firmly the scores were compared."""

    differences: list[str]
    bitwise: bool = False  # else within SCORE_TOLERANCE, in another numeric class than the run's


def verify(folder: Path, numerics: Numerics, data: str | None = None, progress: Progress = SILENT) -> Verification:
    """Predicts the test set of a run again and compares it with the saved scores.

    The images are decoded again, and drawn scenes are drawn again, so that no cache can hide anything. Files of the run
    whose bytes changed are differences even where the scores survive.

    Raises:
        ValueError: the folder is no run, the run is not finished, or an image of an intact run is not there.
    """
    differences = changed_files(recorded_files(folder))
    try:
        run = FinishedRun.open(folder)
        differences += wrong_in_manifest(run)
        model = run.saved_network()
        refuse_too_large(run.config, numerics)
    except (ValueError, OSError) as error:
        # What can no longer be read is a difference too, and says so itself.
        return Verification(differences=[*differences, f"{folder} cannot be read completely: {error}"])
    if not run.config.data:
        drawn = (run.config.scenes, run.config.image_size, run.config.seed)
        differences += differences_from_drawn(run.split, *drawn, progress)
    try:
        split = replace(run.split, root=image_root(run.config, data))
        _refuse_missing_test_images(split)
    except ValueError as error:
        # No fault of the run; what is known by then is said all the same.
        if not differences:
            raise
        return Verification(differences=[*differences, f"{error}"])
    differences += _changed_test_images(split)
    try:
        predicted = _predict_test_set(model, run, split, numerics, progress)
    except ValueError as error:
        return Verification(differences=[*differences, f"the test set cannot be predicted again: {error}"])
    bitwise = run.fingerprint["numeric_class"] == numerics.numeric_class
    differences += score_differences(run.scores, predicted, bitwise=bitwise)
    if tensors_sha256(model.state_dict()) != run.metrics["weights_sha256"]:
        differences.append(f"{folder / names.METRICS} has the weights_sha256 of other weights than were saved")
    return Verification(differences=differences, bitwise=bitwise)


def recorded_files(folder: Path) -> RunFolder:
    """The folder of a finished run, by its files or by the manifest that lists them.

    Raises:
        ValueError: the folder is no run, or the run is not finished.
    """
    files = RunFolder(folder)
    try:
        listed = files.manifest().keys()
    except ValueError:
        # A damaged manifest is a difference, where the run is there.
        return RunFolder.open(folder)
    if {names.CONFIG, names.METRICS} <= listed:
        return files
    return finished_files(folder)


def changed_essentials(files: RunFolder) -> list[str]:
    """A sentence for each fault of the files without which nothing can be predicted again.

    Raises:
        ValueError: the configuration is unchanged and of another format.
    """
    # Of all files only where they are wanted: a run's weights take long to hash, and `verify` does it once more.
    if changed_files(files, (names.MANIFEST, names.CONFIG, names.FINGERPRINT)):
        return changed_files(files)
    try:
        files.read_record(names.FINGERPRINT, Fingerprint)
        recorded = files.read_json(names.CONFIG)
    except (ValueError, OSError) as error:
        return [*changed_files(files), str(error)]
    configuration.check_format(recorded, f"{files.folder / names.CONFIG}")
    return []


def changed_files(files: RunFolder, among: Collection[str] | None = None) -> list[str]:
    """A sentence for each file of a run that is missing, changed or a link to elsewhere, or for a damaged manifest.

    Args:
        files: of the run.
        among: names of the files that are looked at; None: all of them.
    """
    try:
        return [_changed(files, name) for name in files.changed_files(among)]
    except (ValueError, OSError) as error:
        return [str(error)]


def _changed(files: RunFolder, name: str) -> str:
    if (files.folder / name).exists():
        try:
            files.file(name)
        except ValueError as error:
            return str(error)
    return f"{files.folder / name} is missing or has other bytes than were written"


def score_differences(saved: Scores, predicted: Scores, *, bitwise: bool) -> list[str]:
    """What differs between two sets of scores of the same images, as sentences; empty when nothing does.

    Args:
        saved: the scores of the run.
        predicted: those that were just computed.
        bitwise: equal float32 bits are required; otherwise scores may differ by `SCORE_TOLERANCE` and no prediction
            may change.
    """
    if saved.paths != predicted.paths:
        lost = sorted(set(saved.paths) ^ set(predicted.paths))[:1] or ["their order"]
        return [f"the scores are of other images than the test set, such as {lost[0]}"]
    differences = []
    if not np.array_equal(saved.labels, predicted.labels):
        image = int(np.flatnonzero(saved.labels != predicted.labels)[0])
        differences.append(
            f"{saved.paths[image]} has label {saved.labels[image]} in the scores, {predicted.labels[image]} now"
        )
    if saved.softmax.shape != predicted.softmax.shape or saved.softmax.dtype != predicted.softmax.dtype:
        return [*differences, f"scores are {saved.softmax.dtype} {saved.softmax.shape}, now {predicted.softmax.shape}"]
    return differences + _value_differences(saved, predicted, 0.0 if bitwise else SCORE_TOLERANCE)


def _value_differences(saved: Scores, predicted: Scores, tolerance: float) -> list[str]:
    deviation = np.abs(saved.softmax.astype(np.float64) - predicted.softmax)
    # Also true for nan, which is neither within the tolerance nor beyond it.
    wrong = ~(deviation <= tolerance) | (np.isnan(saved.softmax) != np.isnan(predicted.softmax))
    differences = []
    if wrong.any():
        image, label = np.unravel_index(np.nanargmax(np.where(np.isnan(deviation), np.inf, deviation)), wrong.shape)
        worst = f"{saved.softmax[image, label]:.9g} saved, {predicted.softmax[image, label]:.9g} now"
        differences.append(
            f"{int(wrong.any(axis=1).sum())} of {len(saved.paths)} images have other scores (tolerance {tolerance:g}); "
            f"the worst is {saved.paths[image]}, class {label}: {worst}"
        )
    changed = np.flatnonzero(saved.softmax.argmax(axis=1) != predicted.softmax.argmax(axis=1))
    if len(changed):
        differences.append(f"{len(changed)} predictions changed, the first is that of {saved.paths[changed[0]]}")
    return differences


def wrong_in_manifest(run: FinishedRun) -> list[str]:
    """A sentence for each file of the run that the manifest omits, and for each entry that is no file of a run."""
    of_settings = {names.HISTORY, names.TENSORS, names.BEST_WEIGHTS}
    if Deviation.WARM_START in run.config.protocol:
        of_settings.add(names.LAST_WEIGHTS)
    needed = {names.of_setting(setting.name, name) for setting in run.config.settings for name in of_settings}
    needed |= {names.CONFIG, names.FINGERPRINT, names.SPLIT, names.SCORES, names.METRICS}
    if run.features is not None:
        needed.add(names.FEATURES)
    listed = run.files.manifest().keys()
    omitted = [f"{run.folder} has no manifest entry for {name}" for name in sorted(needed - listed)]
    return omitted + [
        f"{run.folder / names.MANIFEST} lists {name}, which is no file of this run"
        for name in sorted(listed - needed - {names.FEATURES})
    ]


def _refuse_missing_test_images(split: Split) -> None:
    for entry in split.parts["test"]:
        if not (split.root / entry.path).is_file():
            raise ValueError(
                f"test image {entry.path} is not below {split.root}; --data names the folder that holds it"
            )


def _changed_test_images(split: Split) -> list[str]:
    files = {split.root / entry.path: entry.sha256 for entry in split.parts["test"]}
    return [
        f"test image {file} has other bytes than when the run was made"
        for file, sha256 in files.items()
        if file_sha256(file) != sha256
    ]


def _predict_test_set(
    model: torch.nn.Module, run: FinishedRun, split: Split, numerics: Numerics, progress: Progress
) -> Scores:
    entries, size = split.parts["test"], run.config.image_size
    images = load_images("test", split.root, entries, size, cache=False, progress=progress)
    return predict(numerics.place(model), images, run.config, numerics, progress)
