"""evaluate(): the selected network on the run's test set, or on every image of another folder."""

from __future__ import annotations

from pathlib import Path

from in4310repro.data.folders import catalogue
from in4310repro.data.images import ImageSet, load_images
from in4310repro.deviations import Deviations
from in4310repro.metrics import ClassMetrics
from in4310repro.numerics import Numerics
from in4310repro.prediction import predict, refuse_too_large
from in4310repro.progress import SILENT, Progress
from in4310repro.runs.finished import FinishedRun
from in4310repro.text import publishable_place


class Evaluation(ClassMetrics):
    """What was measured, of which setting's network, on how many images."""

    setting: str
    data: str  # the name of the folder, or "test set"
    images: int
    classes: list[str]
    loss: float


def evaluate(
    run: FinishedRun,
    numerics: Numerics,
    data: str | None = None,
    progress: Progress = SILENT,
    *,
    deviations: Deviations | None = None,
) -> Evaluation:
    """Both metrics of the selected network.

    Args:
        run: gives the network, the classes, the image size and the test set.
        numerics: the arithmetic of this process.
        data: a folder of class folders with the run's classes; None: the run's test set.
        progress: where to show how far it is.
        deviations: those of the measurement; None: the run's.

    Raises:
        ValueError: the folder's classes are not the run's, or images are missing.
    """
    refuse_too_large(run.config, numerics)
    images = _images_of_folder(run, data, progress) if data else run.test_images(None, progress)
    model = numerics.place(run.selected_network())
    scores = predict(model, images, run.config, numerics, progress)
    measured = scores.metrics(run.config.protocol if deviations is None else deviations)
    return Evaluation(
        setting=run.metrics["setting"],
        data=publishable_place(data) if data else "test set",
        images=len(images),
        classes=run.classes,
        loss=scores.loss,
        **measured,
    )


def _images_of_folder(run: FinishedRun, data: str, progress: Progress) -> ImageSet:
    images = catalogue(Path(data), progress)
    if list(images.classes) != run.classes:
        raise ValueError(
            f"{data} has the classes {list(images.classes)}; the network of {run.folder} knows {run.classes}"
        )
    return load_images("images", images.root, images.entries, run.config.image_size, progress=progress)
