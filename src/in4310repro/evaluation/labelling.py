"""Classification of image files by a run's network, with softmax scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from in4310repro.data.folders import Entry, image_files
from in4310repro.data.images import load_images
from in4310repro.evaluation.prediction import gather_rows, local_share, predict, refuse_too_large
from in4310repro.metrics.scores import csv_of
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.files import file_sha256, json_bytes

AT_ONCE = 1024  # images that are decoded at a time


@dataclass(frozen=True)
class Labelled:
    """Image paths with the softmax scores that a network gives to the images."""

    classes: list[str]
    paths: list[str]  # as they were given; below a folder, the folder and the path in it
    softmax: Float32[np.ndarray, "image class"]

    def predicted(self) -> list[str]:
        """Return the class with the largest score of each image; ties go to the lower index."""
        return [self.classes[index] for index in self.softmax.argmax(axis=1)]

    def to_csv(self) -> str:
        """Return CSV with a row per image: path, predicted class and each class's score, exact for float32."""
        return csv_of({"path": self.paths, "predicted": self.predicted()}, self.classes, self.softmax)

    def content(self, form: str) -> bytes:
        """Return the images and scores as bytes of a file with the suffix `form`: .csv or .json."""
        return self.to_csv().encode() if form == ".csv" else json_bytes(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Return JSON values: the classes, and the path, predicted class and scores of each image."""
        rows = zip(self.paths, self.predicted(), self.softmax.tolist(), strict=True)
        images = [{"path": path, "predicted": label, "scores": scores} for path, label, scores in rows]
        return {"classes": self.classes, "images": images}


def label(
    run: FinishedRun,
    context: Context,
    places: Sequence[Path],
    *,
    at_once: int = AT_ONCE,
) -> Labelled:
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
