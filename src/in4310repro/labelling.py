"""label(): the class that a run's network gives to images without labels, with its softmax scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from in4310repro.context import Context
from in4310repro.data.folders import Entry, image_files
from in4310repro.data.images import load_images
from in4310repro.files import file_sha256, json_bytes
from in4310repro.prediction import predict, refuse_too_large, rows_of_all, share_of
from in4310repro.runs.finished import FinishedRun
from in4310repro.scores import csv_of

AT_ONCE = 1024  # images that are decoded at a time


@dataclass(frozen=True)
class Labelled:
    """Images and what a network says of them."""

    classes: list[str]
    paths: list[str]  # as they were given; below a folder, the folder and the path in it
    softmax: Float32[np.ndarray, "image class"]

    def predicted(self) -> list[str]:
        """The class of each image with the largest score, the first of equal ones."""
        return [self.classes[index] for index in self.softmax.argmax(axis=1)]

    def to_csv(self) -> str:
        """A header and a row for each image: path, predicted, and the score of each class; float32 reads back equal."""
        return csv_of({"path": self.paths, "predicted": self.predicted()}, self.classes, self.softmax)

    def content(self, form: str) -> bytes:
        """What a file with this ending, .csv or .json, holds."""
        return self.to_csv().encode() if form == ".csv" else json_bytes(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The classes, and of each image its path, predicted class and scores."""
        rows = zip(self.paths, self.predicted(), self.softmax.tolist(), strict=True)
        images = [{"path": path, "predicted": label, "scores": scores} for path, label, scores in rows]
        return {"classes": self.classes, "images": images}


def label(
    run: FinishedRun,
    context: Context,
    places: Sequence[Path],
) -> Labelled:
    """What the selected network of a run says of images.

    Args:
        run: gives the network, the classes and the image size.
        context: arithmetic, progress and processes of the computation.
        places: image files, and folders whose images are taken at any depth.

    Raises:
        ValueError: a place is not there, a folder has no images, or a file is no image.
    """
    refuse_too_large(run.config, context.numerics)
    files = list(dict.fromkeys(file for place in places for file in _files(place)))
    model = context.numerics.place(run.selected_network())
    own = share_of(len(files), context.processes)
    scores = []
    for start in own[::AT_ONCE]:
        entries = [Entry(f"{file}", 0, file_sha256(file)) for file in files[start : min(start + AT_ONCE, own.stop)]]
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
        scores.append(torch.from_numpy(predict(model, images, run.config, context.alone()).softmax))
    softmax = rows_of_all(scores, context.processes).numpy()
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
