"""Forgeries that stay undetected: a run selected by its test score, or a run on mislabelled images."""

from __future__ import annotations

import json
from pathlib import Path

from tests.forgeries.forger import Forger
from tests.forgeries.row import forgeries_of


def accuracy(work: Path) -> float:
    metrics: dict[str, float] = json.loads((work / "runs/tiny/metrics.json").read_text())
    return metrics["mean_class_accuracy"]


def choose(forger: Forger) -> None:
    """Keep the run with the better test score of two honest runs with different seeds."""
    other = forger.starts("seed 1")
    if accuracy(other) > accuracy(forger.work):
        for file in (other / "runs/tiny").rglob("*"):
            if file.is_file():
                forger.write(file.relative_to(other / "runs/tiny").as_posix(), file.read_bytes())


def nothing(_forger: Forger) -> None:
    """Change nothing: only the choice of the data was dishonest."""


row = forgeries_of("doors that stay open", by="nothing")
ROWS = [
    row(
        "the seed that was best on the test set",
        nothing,
        start="seed 1",
        shown_by="a seed that was named before the training, or that the verifier names and trains with",
    ),
    row(
        "the better of two runs, the other hidden",
        choose,
        shown_by="settings that were named before the training; a record of all runs that was begun before the first",
    ),
    row(
        "another person's images under these names, trained on honestly",
        nothing,
        start="own images",
        shown_by="the data's published hashes: `split.csv` has the sha256 of every image",
    ),
    row(
        "wrong labels in the folder, trained on honestly",
        nothing,
        start="wrong labels",
        shown_by="the data's published hashes, or a look at the images: `in4310repro data check`",
    ),
    row(
        "bytes behind the end of a test image tried until the split has it in training, trained on honestly",
        nothing,
        "that no picture has bytes behind its end",
        start="ground",
        shown_by="the data's published hashes; `verify` reads no picture to its end and says so",
    ),
    row(
        "near copies of the test images in training, trained on honestly",
        nothing,
        start="near copies",
        shown_by="`in4310repro data check`, which lists near-duplicates across the parts",
    ),
]
