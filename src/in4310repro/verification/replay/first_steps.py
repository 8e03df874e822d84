"""The first training steps of a run, as `in4310repro.trace.explain` takes a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from in4310repro.data.images import training_batches
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.system.context import Context
from in4310repro.system.numerics import activate
from in4310repro.training.epochs import Epochs, TrainingInputs
from in4310repro.verification.evidence import load_part
from in4310repro.verification.replay.epoch import MissingStateError, read_start

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]


def first_steps(folder: str) -> tuple[torch.nn.Module, Loss, torch.optim.Optimizer, Batches]:
    """Return network, loss, optimizer and batches with which a run's selected setting began its training.

    The arithmetic is that of the run. Decoded pixels may be read from the cache.

    Raises:
        ValueError: the folder is not that of a finished run, its last layer was fitted without training steps,
            or the images or the initial weights are missing.
    """
    run = FinishedRun.open(Path(folder))
    setting = run.config.setting(run.metrics["setting"])
    if run.config.fits_head(setting):
        raise ValueError(f"the head of {folder} was fitted and has no steps")
    numerics = activate(run.fingerprint["numerics"], "cpu" if run.fingerprint["device"] == "cpu" else "auto")
    try:
        model, _ = read_start(run, setting, 1)
    except MissingStateError as error:
        raise ValueError(str(error)) from None
    images = load_part(run, image_root(run.config, None), "training", cache=True)
    inputs = TrainingInputs(
        model=model, training=images, validation=images, config=run.config, setting=setting, context=Context(numerics)
    )
    epochs = Epochs(inputs)
    return epochs.model, numerics.cross_entropy, epochs.optimizer, _batches(epochs)


def _batches(epochs: Epochs) -> Batches:
    """Yield a pair (images, labels) for each batch of the first epoch.

    Before each batch, set the learning rates and the random generator as the training did.
    """
    config, device = epochs.task.config, epochs.task.context.numerics.device
    epochs.start_epoch()
    for batch in training_batches(epochs.task.training, config.batch_size, config.augmentation, config.seed, 0):
        epochs.start_step()
        yield batch.images.to(device), batch.labels.to(device)
        epochs.position.batch += 1
