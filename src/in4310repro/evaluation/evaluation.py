"""Evaluation of a run's selected network on its test set or on all images of a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

from in4310repro.data.folders import catalogue
from in4310repro.data.images import ImageSet, load_images
from in4310repro.evaluation.prediction import predict, refuse_too_large
from in4310repro.metrics import SCALARS, ClassMetrics, Details
from in4310repro.metrics.scores import Scores
from in4310repro.runs.deviations import Protocol
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.progress import Progress
from in4310repro.system.text import publishable_place


class Evaluation(ClassMetrics, Details):
    """Results of an evaluation: metrics, optimizer setting, data and classes; a class's recall is its accuracy."""

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
    *,
    protocol: Protocol | None = None,
) -> tuple[Evaluation, Scores]:
    """Return the metrics of a run's selected network, and the scores from which they are computed.

    Args:
        run: the run, from which network, classes, image size and test set are taken.
        context: arithmetic, progress and processes of the computation.
        data: a folder with one subfolder per class, for all or some of the run's classes; None for the test
            set.
        protocol: the protocol by which the metrics are computed; None for the run's.

    Raises:
        ValueError: the folder has a class that the run does not have, or images are missing.
    """
    refuse_too_large(run.config, context.numerics)
    images = _images_of_folder(run, data, context.progress) if data else run.test_images(None, context.progress)
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


def _images_of_folder(run: FinishedRun, data: str, progress: Progress) -> ImageSet:
    images = catalogue(Path(data), progress)
    if not set(images.classes) <= set(run.classes):
        raise ValueError(
            f"{data} has the classes {list(images.classes)}; the network of {run.folder} knows {run.classes}"
        )
    labels = [run.classes.index(name) for name in images.classes]
    entries = [replace(entry, label=labels[entry.label]) for entry in images.entries]
    return load_images(
        "images", images.root, entries, run.config.image_size, preprocessing=run.config.preprocessing, progress=progress
    )
