"""Evaluation of a run's selected network: metrics on its test set or a folder, and predicted classes of files."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from in4310repro.data.class_folders import read_as
from in4310repro.data.folders import Entry, catalogue, image_files
from in4310repro.evaluation import seen
from in4310repro.evaluation.prediction import gather_rows, local_share, predict, refuse_too_large
from in4310repro.metrics import METRICS, SCALARS, Details
from in4310repro.metrics.scores import Scores, csv_of
from in4310repro.runs.deviations import Protocol
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.settings import check_choice
from in4310repro.system.context import Context
from in4310repro.system.files import file_sha256, json_bytes
from in4310repro.system.numerics import Numerics
from in4310repro.system.progress import Progress
from in4310repro.system.text import publishable_place

# Metrics of a run's selected network on images that are new to it, which are neither trained on nor chose the fit;
# `examine` says what each name is.
Evaluation = dict[str, Any]


@dataclass(frozen=True)
class Examined:
    """Scores that a run's selected network gives to images, with what each was to the run, and the metrics."""

    measured: Evaluation  # of the new images
    scores: Scores  # of every image
    new: Scores
    roles: list[str]  # of every image, as `seen.roles_of` returns them

    def to_csv(self) -> str:
        """Return CSV with a row per image: path, class, predicted class, what it was to the run, and its scores."""
        return self.scores.to_csv(self.measured["all_classes"], {"seen": self.roles})


def evaluate(
    run: FinishedRun,
    context: Context,
    data: str | None = None,
    class_folders: str | None = None,
    *,
    protocol: Protocol | None = None,
) -> tuple[Evaluation, Scores]:
    """Return the metrics of a run's selected network on images that are new to it, and the scores behind them.

    Images that were trained on or chose the fit are recognised by the bytes of their files and by their pixels, and
    are in neither. See `examine` for the arguments and for what is raised.
    """
    examined = examine(run, context, data, class_folders, protocol=protocol)
    return examined.measured, examined.new


def examine(
    run: FinishedRun,
    context: Context,
    data: str | None = None,
    class_folders: str | None = None,
    *,
    protocol: Protocol | None = None,
) -> Examined:
    """Return the scores of images, what each of them was to the run, and the metrics of those that are new to it.

    Beside the metrics of `ClassMetrics` (`class_accuracy` is the recall of each class) and `Details`, which are None
    without new images, these have the names:
        setting, loss: the setting of the selected network, and the mean cross-entropy.
        data: the name of the folder, or "test set".
        images: those of the metrics; trained_on, chose_fit: images beside them, which are in no metric.
        copies: of the new images, those that repeat the pixels of another one.
        near_duplicates: new images that resemble seen ones; None where these were not looked for.
        mean_class_accuracy_without_near_duplicates: None where nothing, or everything, is left out.
        notes: sentences on what could not be recognised, and the label of a deviation.
        classes: those with images, in the order of class accuracy and average precision.
        all_classes: the run's, in the order of the confusion matrix, precision and F1.

    Args:
        run: the run, from which network, classes, image size and test set are taken.
        context: arithmetic, progress and processes of the computation.
        data: a folder of class folders, for all or some of the run's classes; None for the test set.
        class_folders: which of its folders are the classes (see `class_folders.read`); None: those that the run knows.
        protocol: the protocol by which the metrics are computed; None for the run's.

    Raises:
        ValueError: the folder has a class that the run does not have, or images are missing.
    """
    refuse_too_large(run.config, context.numerics)
    if data:
        entries = _entries_of_folder(run, data, class_folders, context.progress)
        images = run.config.load("images", Path(data), entries, context.progress)
    else:
        images = run.test_images(None, context.progress)
    roles = seen.roles_of(images, seen.read_contents(run))
    model = context.numerics.place(run.selected_network())
    scores = predict(model, images, run.config, context)
    places = [place for place, role in enumerate(roles) if role == seen.NEW]
    new, hashes = _take(scores, places, context.numerics), list(images.pixel_hashes().values())
    similar, why = None, "in4310repro data check --split finds those of a test set"
    if data and places and context.processes.leads:
        similar, why = seen.find_near_duplicates(run, Path(data), entries, roles, context.progress)
    distinct = [place for place in places if images.paths[place] not in (similar or ())]
    without = _take(scores, distinct, context.numerics).metrics(every_class=False) if similar and distinct else None
    notes = [run.config.protocol.label, *seen.unrecognised(run)]
    if places and similar is None:
        notes.append(f"near-duplicates of seen images: not looked for, since {why}")
    metrics: dict[str, Any] = dict.fromkeys(("loss", *METRICS, *Details.__annotations__))
    if places:
        by_logits = (run.config.protocol if protocol is None else protocol).ranks_logits
        metrics = {"loss": new.loss, **new.metrics(by_logits=by_logits, every_class=False), **new.details()}
    measured = {
        "setting": run.metrics["setting"],
        "data": publishable_place(data) if data else "test set",
        "images": len(places),
        "trained_on": roles.count(seen.TRAINED),
        "chose_fit": roles.count(seen.CHOSE),
        "copies": len(places) - len({hashes[place] for place in places}),
        "near_duplicates": similar,
        "mean_class_accuracy_without_near_duplicates": without and without["mean_class_accuracy"],
        "notes": list(filter(None, notes)),
        "classes": [run.classes[label] for label in sorted(set(new.labels.tolist()))],
        "all_classes": run.classes,
        **metrics,
    }
    return Examined(measured, scores, new, roles)


def _take(scores: Scores, places: Sequence[int], numerics: Numerics) -> Scores:
    """Return the scores of the images at some places; their loss is the mean of their own."""
    if len(places) == len(scores.paths) or scores.logits is None:
        return scores
    labels, logits = scores.labels[[*places]], scores.logits[[*places]]
    losses = numerics.losses(torch.from_numpy(logits), torch.from_numpy(labels)).tolist() if places else []
    paths = tuple(scores.paths[place] for place in places)
    loss = math.fsum(losses) / len(losses) if losses else math.nan
    return Scores(paths, labels, scores.softmax[[*places]], loss, logits)


def to_text(measured: Evaluation) -> str:
    """Return the mean metrics as text, then a table with the metrics of each class, and what limits them."""
    counts, images = (measured["trained_on"], measured["chose_fit"], measured["images"]), measured["images"]
    lines = [f"{measured['data']}: {sum(counts)} images, network of setting {measured['setting']}"]
    said, every, classes = seen.describe_roles(*counts), measured["all_classes"], measured["classes"]
    if not images:
        return "\n".join([*lines, f"{said}: none is left to measure", *measured["notes"]])
    numbers = {each.label: measured[name] for name, each in SCALARS.items()}
    numbers |= {"loss": measured["loss"], "expected calibration error": measured["expected_calibration_error"]}
    width = max(map(len, ("class", *classes)))
    lines += [
        f"{said}: {', '.join(f'{name} {value:.4f}' for name, value in numbers.items())}",
        f"{'class':<{width}}  images  accuracy  precision      F1      AP",
    ]
    for name, recall, area in zip(classes, measured["class_accuracy"], measured["average_precision"], strict=True):
        label = every.index(name)
        shares = [measured["precision"][label], measured["f1"][label]]
        precision, f1 = ("-" if share is None else f"{share:.4f}" for share in shares)
        total = sum(measured["confusion_matrix"][label])
        lines.append(f"{name:<{width}}  {total:>6}  {recall:>8.4f}  {precision:>9}  {f1:>6}  {area:.4f}")
    if absent := [name for name in every if name not in classes]:
        lines.append(f"no image of {', '.join(absent)}: the means are of the other classes")
    if measured["copies"]:
        lines.append(f"repeating the pixels of another: {measured['copies']} of the {images}")
    similar, without = measured["near_duplicates"], measured["mean_class_accuracy_without_near_duplicates"]
    if similar is not None:
        named = f", such as {similar[0]}" if similar else ""
        rest = f"; without them mean class accuracy {without:.4f}" if without is not None else ""
        lines.append(f"near-duplicates of seen images: {len(similar)} of the {images}{named}{rest}")
    return "\n".join([*lines, *measured["notes"]])


def _entries_of_folder(run: FinishedRun, data: str, class_folders: str | None, progress: Progress) -> tuple[Entry, ...]:
    if class_folders:
        check_choice("class_folders", class_folders)
    split = run.split.catalogue().labels()
    images = catalogue(Path(data), progress, class_folders, lambda paths: read_as(split, paths))
    if unknown := [name for name in images.classes if name not in run.classes]:
        known = f"which the network of {run.folder} does not know; valid are {run.classes}"
        raise ValueError(f"{data} has the classes {unknown}, {known}")
    labels = [run.classes.index(name) for name in images.classes]
    return tuple(replace(entry, label=labels[entry.label]) for entry in images.entries)


AT_ONCE = 1024  # images that are decoded at a time


@dataclass(frozen=True)
class Labelled:
    """Softmax scores that a network gives to images, with their paths and what each image was to the run."""

    classes: list[str]
    paths: list[str]  # as they were given; below a folder, the folder and the path in it
    roles: list[str]  # as `seen.roles_of` returns them
    softmax: Float32[np.ndarray, "image class"]

    def predicted(self) -> list[str]:
        """Return the class with the largest score for each image.

        If several classes share the largest score, the first of them is returned.
        """
        return [self.classes[index] for index in self.softmax.argmax(axis=1)]

    def describe_seen(self) -> str:
        """Return a sentence on the images that were trained on or chose the fit; empty if there are none."""
        places = [place for place, role in enumerate(self.roles) if role != seen.NEW]
        if not places:
            return ""
        if len(self.paths) == 1:
            return f"this image {'was ' if self.roles == [seen.TRAINED] else ''}{self.roles[0]}"
        trained, chose = map(self.roles.count, (seen.TRAINED, seen.CHOSE))
        counts = seen.describe_roles(trained, chose, len(self.roles) - len(places)).partition(";")[0]
        return f"{counts}: {self.paths[places[0]]}{' and others' if places[1:] else ''}"

    def to_csv(self) -> str:
        """Return CSV with a row per image: path, predicted class, what it was to the run, and each class's score.

        Scores have all digits of float32.
        """
        words = {"path": self.paths, "predicted": self.predicted(), "seen": self.roles}
        return csv_of(words, self.classes, self.softmax)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values: the classes, and for each image path, predicted class, what it was to the run, scores."""
        names = ("path", "predicted", "seen", "scores")
        rows = zip(self.paths, self.predicted(), self.roles, self.softmax.tolist(), strict=True)
        return {"classes": self.classes, "images": [dict(zip(names, row, strict=True)) for row in rows]}

    def content(self, form: str) -> bytes:
        """Return the bytes of a file of these scores; `form` is its suffix, .csv or .json."""
        return self.to_csv().encode() if form == ".csv" else json_bytes(self.to_json())


def label(run: FinishedRun, context: Context, places: Sequence[Path], *, at_once: int = AT_ONCE) -> Labelled:
    """Return the scores that a run's selected network gives to images, and what each image was to the run.

    Args:
        run: the run, from which network, classes and image size are taken.
        context: arithmetic, progress and processes of the computation.
        places: image files, and folders, which are searched for images at any depth.
        at_once: the number of images to hold in memory at a time.

    Raises:
        ValueError: a file or folder does not exist, a folder has no images, or a file is not an image.
    """
    refuse_too_large(run.config, context.numerics)
    files = list(dict.fromkeys(file for place in places for file in _files(place)))
    model = context.numerics.place(run.selected_network())
    own = local_share(len(files), context.processes)
    contents, roles, scores = seen.read_contents(run), list[str](), []
    for start in own[::at_once]:
        entries = [Entry(f"{file}", 0, file_sha256(file)) for file in files[start : min(start + at_once, own.stop)]]
        name = f"images {start + 1} to {start + len(entries)} of {len(files)}"
        images = run.config.load(name, Path(), entries, context.progress, cache=False)
        roles += seen.roles_of(images, contents)
        scores.append(torch.from_numpy(predict(model, images, run.config, context.alone()).softmax))
    softmax = gather_rows(scores, context.processes).numpy()
    gathered = [role for each in context.processes.gather(json.dumps(roles).encode()) for role in json.loads(each)]
    return Labelled(run.classes, [file.as_posix() for file in files], gathered, softmax)


def _files(place: Path) -> Sequence[Path]:
    if not place.exists():
        raise ValueError(f"no image and no folder {place}")
    files = image_files(place, unlabelled=True) if place.is_dir() else [place]
    if not files:
        raise ValueError(f"{place} has no images")
    return files
