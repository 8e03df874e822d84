"""Mistakes 15 to 17, of training: which weights are kept, and when training ends."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
from torch import nn

from in4310repro.metrics.scores import Scores
from in4310repro.runs.folder import RunFolder
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import training
from tests.mistakes import drawn
from tests.mistakes.drawn import from_to
from tests.mistakes.mistake import Mistake
from tests.mistakes.training import BRIEF, State, fit, network, plain_epoch, sgd, task


@dataclass(frozen=True)
class Kept:
    """Accuracy and sha256 of the weights after each epoch, and the sha256 of the weights kept as the best."""

    epochs: list[tuple[float, str]]
    best: str


ACCURACIES = (0.5, 0.75, 0.25)


def measured(accuracy: float) -> Scores:
    """Return scores that have this accuracy in every class."""
    labels = np.arange(24) % 6
    right = np.arange(24) // 6 < accuracy * 4
    return Scores(tuple(map(str, range(24))), labels, np.eye(6, dtype=np.float32)[(labels + ~right) % 6], 1.0)


@functools.cache
def our_best() -> Kept:
    """Train three epochs with `fit`, the second being best; return hashes of the epochs' and the saved weights."""
    config = replace(BRIEF, epochs=3)
    with (
        tempfile.TemporaryDirectory() as name,
        mock.patch.object(training, "predict", side_effect=map(measured, ACCURACIES)),
    ):
        files = RunFolder.create(Path(name) / "run")
        rows = training.fit(task(network(), config, files))
        best = tensors_sha256(files.read_tensors("sgd/best.safetensors"))
    return Kept([(row["mean_class_accuracy"], row["weights_sha256"]) for row in rows], best)


def best_of(keep: Callable[[nn.Module, State, bool], State]) -> Kept:
    """Train three epochs; after each one, call `keep(model, kept, is_best)`, which returns the state to keep."""
    model, epochs = network(), []
    kept, optimizer = State(), sgd(model)
    for epoch, accuracy in enumerate(ACCURACIES):
        plain_epoch(model, optimizer, epoch)
        epochs.append((accuracy, tensors_sha256(model.state_dict())))
        kept = keep(model, kept, accuracy >= max(ACCURACIES[: epoch + 1]))
    return Kept(epochs, tensors_sha256(kept))


def check_best(kept: Kept) -> None:
    """The saved weights are those of the epoch with the highest validation accuracy."""
    assert kept.best == max(kept.epochs)[1]


def last_for_best(_ours: Kept, _twin: Kept) -> str:
    """Return a sentence with the best and the last accuracy of a regression with a too high learning rate."""
    parts = drawn.our_parts()
    validation = parts["validation"]
    curve = [
        drawn.mean_accuracy(validation.labels, (drawn.inputs(validation.images) @ weights).argmax(axis=1))
        for weights in drawn.regression(parts["training"], 20, 0.2)
    ]
    return from_to("mean class accuracy on validation", max(curve), curve[-1])


@dataclass(frozen=True)
class Stopped:
    """Requested epochs and patience, the validation loss of each epoch, and the number of epochs trained."""

    epochs: int
    patience: int | None
    losses: list[float]
    trained: int


@functools.cache
def our_epochs() -> Stopped:
    rows = fit(network(), replace(BRIEF, epochs=3))
    return Stopped(3, None, [row["val_loss"] for row in rows], len(rows))


@functools.cache
def overfitted() -> list[float]:
    """Return the validation losses of a regression that overfits, for each of 40 epochs of 5 steps."""
    parts = drawn.our_parts()
    rows, labels = drawn.inputs(parts["validation"].images), parts["validation"].labels
    return [drawn.losses(rows @ weights, labels) for weights in drawn.regression(parts["training"], 200, 0.02)[4::5]]


def patience_reset() -> Stopped:
    best, trained = float("inf"), 0
    for loss in overfitted():
        # Belongs before the loop.
        waited = 0
        trained += 1
        waited += loss >= best
        best = min(best, loss)
        if waited > 3:
            break
    return Stopped(len(overfitted()), 3, overfitted(), trained)


def check_epochs(stopped: Stopped) -> None:
    """The number of trained epochs is the requested number, or the number that the patience allows."""
    assert stopped.trained == asked_for(stopped)


def asked_for(stopped: Stopped) -> int:
    for epoch in range(1, stopped.epochs + 1):
        since = epoch - 1 - int(np.argmin(stopped.losses[:epoch]))
        if stopped.patience is not None and since > stopped.patience:
            return epoch
    return stopped.epochs


def more_epochs(_ours: Stopped, twin: Stopped) -> str:
    return f"{twin.trained} epochs trained instead of {asked_for(twin)}"


MISTAKES = [
    Mistake(
        number=15,
        name="the best model is an alias of the live one",
        check=check_best,
        ours=our_best,
        twin=lambda: best_of(lambda model, kept, best: model.state_dict() if best else kept),
        size=last_for_best,
    ),
    Mistake(
        number=16,
        name="last weights kept instead of the best",
        check=check_best,
        ours=our_best,
        twin=lambda: best_of(lambda model, _kept, _best: model.state_dict()),
        size=last_for_best,
    ),
    Mistake(
        number=17,
        name="patience reset every epoch",
        check=check_epochs,
        ours=our_epochs,
        twin=patience_reset,
        size=more_epochs,
    ),
]
