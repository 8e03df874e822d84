"""Predict, select, rank, and prove that saved scores can be made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from in4310repro import metrics, models, presets
from in4310repro.data.embedded import embedded_catalogue
from in4310repro.data.images import ImageSet, batches, load
from in4310repro.data.splits import Split, from_csv
from in4310repro.numerics import Numerics, generator_for
from in4310repro.presets import Config
from in4310repro.progress import SILENT, Progress
from in4310repro.protocols import CORRECTED, Switch, switches
from in4310repro.runs import Run, file_sha256

# Softmax of equal weights moved by at most 1e-7 over batch sizes and layouts (measured); ten times that is allowed.
SCORE_TOLERANCE = 1e-6
Row = dict[str, Any]


@dataclass(frozen=True)
class Scores:
    """Softmax of each image, keyed by its path, and the mean cross-entropy; logits where they were just computed."""

    paths: tuple[str, ...]
    labels: Int64[np.ndarray, " image"]
    softmax: Float32[np.ndarray, "image label"]
    loss: float
    logits: Float32[np.ndarray, "image label"] | None = None

    def metrics(self, protocol: str = CORRECTED) -> dict[str, Any]:
        """Both metrics of each class and their means."""
        ranked = self.softmax
        if Switch.LOGIT_PRECISION in switches(protocol):
            assert self.logits is not None, "scores that were read from a file have no logits"  # noqa: S101
            ranked = self.logits
        return metrics.summary(*map(torch.from_numpy, (self.labels, self.softmax, ranked)))


def predict(
    model: torch.nn.Module,
    images: ImageSet,
    config: Config,
    device: str = "cpu",
    progress: Progress = SILENT,
    *,
    epoch: int = 0,
) -> Scores:
    """Softmax scores of every image, in eval mode and without gradients; the model's mode is put back.

    The loss is the cross-entropy summed over images in float64 and divided by their number. The epoch matters only
    to a protocol that flips images: each look at them has its own flips.
    """
    training = model.training
    model.eval()
    flips = None
    if Switch.FLIPPED_EVALUATION in switches(config.protocol):
        flips = [generator_for(config.seed, "evaluation", epoch, key).random() < 0.5 for key in images.keys]
    kept: list[torch.Tensor] = []
    paths: list[str] = []
    loss = 0.0
    try:
        with torch.inference_mode(), progress.task(f"predicting {images.name}", len(images)) as advance:
            for batch in batches(images, config.evaluation_batch_size, flips):
                logits = model(batch.images.to(device))
                cross_entropy = torch.nn.functional.cross_entropy(logits, batch.labels.to(device), reduction="none")
                kept.append(torch.stack([logits.softmax(dim=1), logits]).cpu())
                loss += float(cross_entropy.double().sum())
                paths.extend(batch.paths)
                advance(len(batch.paths), "")
    finally:
        model.train(training)
    softmax, raw = torch.cat(kept, dim=1).numpy()
    return Scores(tuple(paths), images.labels, softmax, loss / len(images), raw)


def select(histories: Mapping[str, Sequence[Row]]) -> tuple[str, Row]:
    """The setting with the highest mean class accuracy on validation in any epoch, and that epoch's row.

    The first of equals. Only validation enters: the rows hold nothing of the test set.
    """
    best = {name: max(rows, key=lambda row: row["mean_class_accuracy"]) for name, rows in histories.items()}
    chosen = max(best, key=lambda name: best[name]["mean_class_accuracy"])
    return chosen, best[chosen]


def top_and_bottom(scores: Scores, label: int, count: int = 10) -> dict[str, list[dict[str, Any]]]:
    """The images with the highest and the lowest softmax score of a class, each list from its extreme inwards."""
    # Sorted by path where scores are equal, so that the list has one order.
    order = np.lexsort((np.array(scores.paths), -scores.softmax[:, label]))

    def listed(positions: NDArray[Any]) -> list[dict[str, Any]]:
        return [
            {"path": scores.paths[i], "score": float(scores.softmax[i, label]), "label": int(scores.labels[i])}
            for i in positions
        ]

    return {"top": listed(order[:count]), "bottom": listed(order[::-1][:count])}


def compared(saved: Scores, again: Scores, *, bitwise: bool) -> list[str]:
    """What differs between two sets of scores of the same images, as sentences; empty when nothing does.

    Bitwise means equal float32 bits; otherwise scores may differ by `SCORE_TOLERANCE` and no prediction may change.
    """
    if saved.paths != again.paths:
        lost = sorted(set(saved.paths) ^ set(again.paths))[:1] or ["their order"]
        return [f"the saved scores and the split list other images: {lost[0]}"]
    found = []
    if not np.array_equal(saved.labels, again.labels):
        image = int(np.flatnonzero(saved.labels != again.labels)[0])
        found.append(f"{saved.paths[image]} has label {saved.labels[image]} in the scores, {again.labels[image]} now")
    if saved.softmax.shape != again.softmax.shape or saved.softmax.dtype != again.softmax.dtype:
        return [*found, f"scores are {saved.softmax.dtype} {saved.softmax.shape}, now {again.softmax.shape}"]
    return found + _score_differences(saved, again, 0.0 if bitwise else SCORE_TOLERANCE)


def _score_differences(saved: Scores, again: Scores, tolerance: float) -> list[str]:
    apart = np.abs(saved.softmax.astype(np.float64) - again.softmax)
    # Also true for nan, which compares as neither equal nor apart.
    wrong = ~(apart <= tolerance) | (np.isnan(saved.softmax) != np.isnan(again.softmax))
    found = []
    if wrong.any():
        image, label = np.unravel_index(np.nanargmax(np.where(np.isnan(apart), np.inf, apart)), apart.shape)
        worst = f"{saved.softmax[image, label]:.9g} saved, {again.softmax[image, label]:.9g} now"
        found.append(
            f"{int(wrong.any(axis=1).sum())} of {len(saved.paths)} images have other scores (tolerance {tolerance:g}); "
            f"the worst is {saved.paths[image]}, class {label}: {worst}"
        )
    changed = np.flatnonzero(saved.softmax.argmax(axis=1) != again.softmax.argmax(axis=1))
    if len(changed):
        found.append(f"{len(changed)} predictions changed, the first is that of {saved.paths[changed[0]]}")
    return found


def read_scores(run: Run) -> Scores:
    """The saved test scores of a run.

    Raises:
        ValueError: the file is missing, damaged or lacks an array.
    """
    arrays = run.read_arrays("scores.npz")
    missing = {"paths", "labels", "softmax"} - set(arrays)
    if missing:
        raise ValueError(f"{run.folder / 'scores.npz'} lacks {', '.join(sorted(missing))}")
    loss = float(run.read_json("metrics.json")["loss"])
    return Scores(tuple(map(str, arrays["paths"])), arrays["labels"], arrays["softmax"], loss)


def data_root(config: Config, data: str | None) -> Path:
    """Where a run's images lie: the folder given now, that of the configuration, or the embedded scenes."""
    named = data or config.data
    return Path(named) if named else embedded_catalogue(config.scenes, config.image_size, config.seed).root


def chosen_network(run: Run, classes: int) -> tuple[torch.nn.Module, str]:
    """The network that the run selected, with its best weights, and the name of its setting."""
    config = presets.from_json(run.read_json("config.json"))
    setting = run.read_json("metrics.json")["setting"]
    model = models.build(config.model, classes, config.seed)
    state = models.merged(
        models.initial_state(model, config.seed), run.read_tensors(f"{setting}/best.safetensors"), setting
    )
    model.load_state_dict(state)
    return model, setting


def verify(run: Run, numerics: Numerics, data: str | None = None, progress: Progress = SILENT) -> list[str]:
    """Reloads weights and images, predicts the test set again and compares; returns the differences found.

    The images are decoded anew, so that the cache is under test too. Files of the run whose bytes changed are
    differences even where the scores survive.

    Raises:
        ValueError: the folder is no run, or holds no finished one.
    """
    config = presets.from_json(run.read_json("config.json"))
    if not (run.folder / "metrics.json").is_file():
        raise ValueError(f"{run.folder} holds no finished run: it has no metrics.json")
    found = [f"{run.folder / name} is missing or has other bytes than were written" for name in run.changed_files()]
    found += [
        f"{run.folder} has no manifest entry for {name}" for name in sorted(_required(config) - run.manifest().keys())
    ]
    try:
        root = data_root(config, data)
        split = from_csv(run.folder / "split.csv", root, check_contents=False)
        found += _changed_images(split, root)
        saved = read_scores(run)
        again = _predict_test(run, config, split, numerics, progress)
        recorded = run.read_json("fingerprint.json")["numeric_class"]
    except (ValueError, KeyError, TypeError) as error:
        # What cannot be read any more is a difference too, and says so itself.
        return [*found, f"{run.folder} cannot be read whole: {error}"]
    return found + compared(saved, again, bitwise=recorded == numerics.numeric_class)


def _required(config: Config) -> set[str]:
    """Files that every finished run has."""
    files = {f"{setting.name}/{name}" for setting in config.settings for name in ("history.json", "best.safetensors")}
    return files | {"config.json", "fingerprint.json", "split.csv", "scores.npz", "metrics.json"}


def _changed_images(split: Split, root: Path) -> list[str]:
    found = []
    for entry in split.parts["test"]:
        file = root / entry.path
        if not file.is_file():
            raise ValueError(f"test image {entry.path} is not below {root}; --data names the folder that holds it")
        if file_sha256(file) != entry.sha256:
            found.append(f"test image {file} has other bytes than when the run was made")
    return found


def _predict_test(run: Run, config: Config, split: Split, numerics: Numerics, progress: Progress) -> Scores:
    images = load("test", split.root, split.parts["test"], config.image_size, cache=False, progress=progress)
    model, _ = chosen_network(run, len(split.classes))
    return predict(model.to(numerics.device), images, config, numerics.device, progress)
