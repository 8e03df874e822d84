"""Evaluation of a run's selected network: metrics on its test set or a folder, and predicted classes of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float32

from in4310repro.data.class_folders import read_as
from in4310repro.data.folders import Entry, catalogue, image_files
from in4310repro.data.images import ImageSet, load_images
from in4310repro.evaluation.prediction import gather_rows, local_share, predict, refuse_too_large
from in4310repro.metrics import SCALARS, ClassMetrics, Details
from in4310repro.metrics.scores import Scores, csv_of
from in4310repro.runs.deviations import Protocol
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.settings import check_choice
from in4310repro.system.context import Context
from in4310repro.system.files import file_sha256, json_bytes
from in4310repro.system.progress import Progress
from in4310repro.system.text import publishable_place


class Evaluation(ClassMetrics, Details):
    """Metrics of a run's selected network on a set of images; `class_accuracy` is the recall of each class."""

    setting: str
    data: str  # the name of the folder, or "test set"
    images: int
    classes: list[str]  # those with images, in the order of class accuracy and average precision
    all_classes: list[str]  # the run's, in the order of the confusion matrix, precision and F1
    loss: float


def evaluate(
    run: FinishedRun,
    context: Context,
    data: str | None = None,
    class_folders: str | None = None,
    *,
    protocol: Protocol | None = None,
) -> tuple[Evaluation, Scores]:
    """Return the metrics of a run's selected network, and the scores from which they are computed.

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
        images = _images_of_folder(run, data, class_folders, context.progress)
    else:
        images = run.test_images(None, context.progress)
    model = context.numerics.place(run.selected_network())
    scores = predict(model, images, run.config.evaluation, context)
    measured = {
        "setting": run.metrics["setting"],
        "data": publishable_place(data) if data else "test set",
        "images": len(images),
        "classes": [run.classes[label] for label in sorted(set(scores.labels.tolist()))],
        "all_classes": run.classes,
        "loss": scores.loss,
        **scores.metrics(by_logits=(protocol or run.config.protocol).ranks_logits, every_class=False),
        **scores.details(),
    }
    return cast("Evaluation", measured), scores


def to_text(measured: Evaluation) -> str:
    """Return the mean metrics as text, then a table with the metrics of each class."""
    totals = [sum(row) for row in measured["confusion_matrix"]]
    numbers = {
        **{each.label: measured[name] for name, each in SCALARS.items()},  # type: ignore[literal-required]
        "loss": measured["loss"],
        "expected calibration error": measured["expected_calibration_error"],
    }
    width = max(map(len, ("class", *measured["classes"])))
    lines = [
        f"{measured['data']}: {measured['images']} images, network of setting {measured['setting']}",
        f"{', '.join(f'{name} {value:.4f}' for name, value in numbers.items())}",
        f"{'class':<{width}}  images  accuracy  precision      F1      AP",
    ]
    for place, name in enumerate(measured["classes"]):
        label = measured["all_classes"].index(name)
        recall, area = measured["class_accuracy"][place], measured["average_precision"][place]
        precision, f1 = _share(measured["precision"][label]), _share(measured["f1"][label])
        lines.append(f"{name:<{width}}  {totals[label]:>6}  {recall:>8.4f}  {precision:>9}  {f1:>6}  {area:.4f}")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _images_of_folder(run: FinishedRun, data: str, class_folders: str | None, progress: Progress) -> ImageSet:
    if class_folders:
        check_choice("class_folders", class_folders)
    split = run.split.catalogue().labels()
    images = catalogue(Path(data), progress, class_folders, lambda paths: read_as(split, paths))
    if unknown := [name for name in images.classes if name not in run.classes]:
        raise ValueError(
            f"{data} has the classes {unknown}, which the network of {run.folder} does not know; valid are "
            f"{run.classes}"
        )
    labels = [run.classes.index(name) for name in images.classes]
    entries = [replace(entry, label=labels[entry.label]) for entry in images.entries]
    return load_images(
        "images", images.root, entries, run.config.image_size, preprocessing=run.config.preprocessing, progress=progress
    )


AT_ONCE = 1024  # images that are decoded at a time


@dataclass(frozen=True)
class Labelled:
    """Softmax scores that a network gives to images, with the paths of the images."""

    classes: list[str]
    paths: list[str]  # as they were given; below a folder, the folder and the path in it
    softmax: Float32[np.ndarray, "image class"]

    def predicted(self) -> list[str]:
        """Return the class with the largest score for each image.

        If several classes share the largest score, the first of them is returned.
        """
        return [self.classes[index] for index in self.softmax.argmax(axis=1)]

    def to_csv(self) -> str:
        """Return CSV with a row per image: path, predicted class, and each class's score with all digits of float32."""
        return csv_of({"path": self.paths, "predicted": self.predicted()}, self.classes, self.softmax)

    def content(self, form: str) -> bytes:
        """Return the content of a file with the path, predicted class and scores of each image.

        `form` is the file's suffix: .csv or .json.
        """
        return self.to_csv().encode() if form == ".csv" else json_bytes(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return JSON values: the classes, and the path, predicted class and scores of each image."""
        rows = zip(self.paths, self.predicted(), self.softmax.tolist(), strict=True)
        images = [{"path": path, "predicted": label, "scores": scores} for path, label, scores in rows]
        return {"classes": self.classes, "images": images}


def label(run: FinishedRun, context: Context, places: Sequence[Path], *, at_once: int = AT_ONCE) -> Labelled:
    """Return the scores that a run's selected network gives to images.

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
    scores = []
    for start in own[::at_once]:
        entries = [Entry(f"{file}", 0, file_sha256(file)) for file in files[start : min(start + at_once, own.stop)]]
        name = f"images {start + 1} to {start + len(entries)} of {len(files)}"
        images = load_images(
            name,
            Path(),
            entries,
            run.config.image_size,
            preprocessing=run.config.preprocessing,
            cache=False,
            progress=context.progress,
        )
        scores.append(torch.from_numpy(predict(model, images, run.config.evaluation, context.alone()).softmax))
    softmax = gather_rows(scores, context.processes).numpy()
    return Labelled(run.classes, [file.as_posix() for file in files], softmax)


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        if not place.exists():
            raise ValueError(f"no image and no folder {place}")
        yield place
        return
    files = image_files(place)
    if not files:
        raise ValueError(f"{place} has no images")
    yield from files
