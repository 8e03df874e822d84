"""Check that a run's selected network is better than guessing, with advice if it is not."""

from __future__ import annotations

from in4310repro.metrics import wilson
from in4310repro.runs.config import Config
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.presets import HEAD_PRESET
from in4310repro.runs.selection import select

FEW = 20  # training images of a class


def hint(run: FinishedRun) -> str:
    """Return advice if the selected network may be guessing or a class has few training images; else empty.

    The network may be guessing if always predicting the largest class has an accuracy within or above the 95 %
    interval of its validation accuracy. Validation accuracy is optimistic, since the network was selected by
    it.
    """
    supports = run.metrics["supports"]
    of_validation = supports[run.config.protocol.part_read_as("validation")]
    counts = [of_validation[name] for name in run.classes]
    fewest = min(supports[run.config.protocol.part_read_as("training")].values())
    _, row = select(run.histories, run.config.select)
    images = sum(counts)
    correct = round(sum(share * count for share, count in zip(row["class_accuracy"], counts, strict=True)))
    chance = max(counts) / images
    advice = _advice(run.config)
    lower, upper = wilson(correct, images)
    if lower <= chance:
        place = "within its interval: no difference seen" if chance <= upper else "above its interval"
        return (
            f"no better than guessing, for all that {images} validation images tell: {correct} are right "
            f"({lower:.2f} to {upper:.2f}), and {chance:.2f}, by always saying the largest class, lies {place}; "
            f"try {advice}"
        )
    return f"{fewest} training images of the smallest class are few; try {advice}" if fewest < FEW else ""


def _advice(config: Config) -> str:
    """Return advice on how to train a better network, the most effective measure first."""
    if all(map(config.training.fits_head, config.settings)):
        return "more images or --train all"
    head = f"--preset {HEAD_PRESET}, " if config.data and config.weights == "none" else ""
    return f"{head}more images or more --epochs"
