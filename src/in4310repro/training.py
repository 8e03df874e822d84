"""fit(): the loop, every epoch validated, the best weights written the moment they are found."""

from __future__ import annotations

import math
import time

import torch

from in4310repro import metrics, optimizers
from in4310repro.data.images import ImageSet, training_batches
from in4310repro.evaluation import Row, predict
from in4310repro.presets import Config, OptimizerSetting
from in4310repro.progress import SILENT, Progress
from in4310repro.runs import Run, tensors_sha256


def fit(
    model: torch.nn.Module,
    training: ImageSet,
    validation: ImageSet,
    config: Config,
    setting: OptimizerSetting,
    run: Run,
    device: str = "cpu",
    progress: Progress = SILENT,
) -> list[Row]:
    """Trains a network and returns its history, a row an epoch.

    Writes `SETTING/history.json` after each epoch and `SETTING/best.safetensors` (parameters and buffers) whenever
    the mean class accuracy on validation exceeds that of every epoch before.

    Raises:
        ValueError: the loss is no longer finite; the epochs before are in the run folder.
    """
    model.to(device)
    optimizer = optimizers.build(setting, model.parameters())
    history: list[Row] = []
    for epoch in range(config.epochs):
        train_loss, speed = _train_epoch(model, training, optimizer, config, setting, epoch, device, progress)
        scores = predict(model, validation, config.evaluation_batch_size, device)
        row: Row = {"epoch": epoch + 1, "train_loss": train_loss, "val_loss": scores.loss}
        row |= metrics.summary(*scores.tensors())
        row |= {"images_per_second": speed, "weights_sha256": tensors_sha256(model.state_dict())}
        best = max((earlier["mean_class_accuracy"] for earlier in history), default=-1.0)
        if row["mean_class_accuracy"] > best:
            run.write_tensors(f"{setting.name}/best.safetensors", model.state_dict())
        history.append(row)
        run.write_json(f"{setting.name}/history.json", history)
        progress.say(_line(setting, row))
    return history


def _train_epoch(
    model: torch.nn.Module,
    images: ImageSet,
    optimizer: torch.optim.Optimizer,
    config: Config,
    setting: OptimizerSetting,
    epoch: int,
    device: str,
    progress: Progress,
) -> tuple[float, float]:
    """Mean loss over the epoch's images, each at the weights it met, and images a second."""
    steps = _steps(len(images), config.batch_size)
    total = torch.zeros((), dtype=torch.float64, device=device)
    start = time.perf_counter()
    model.train()
    title = f"{setting.name}, epoch {epoch + 1} of {config.epochs}"
    with progress.task(title, len(images)) as advance:
        loader = training_batches(images, config.batch_size, config.augmentation, config.seed, epoch)
        for step, batch in enumerate(loader, start=epoch * steps):
            factor = optimizers.learning_rate_factor(step, steps * config.epochs, config.schedule, config.warm_up)
            optimizers.set_learning_rate(optimizer, setting.learning_rate * factor)
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(batch.images.to(device)), batch.labels.to(device))
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.detach().double() * len(batch.paths)
            advance(len(batch.paths), f"loss {float(loss.detach()):.3f}")
    if not math.isfinite(float(total)):
        raise ValueError(
            f"{title}: the training loss is {float(total)}; "
            f"a learning_rate below {setting.learning_rate} may keep it finite"
        )
    return float(total) / len(images), len(images) / (time.perf_counter() - start)


def _steps(images: int, batch_size: int) -> int:
    """Batches an epoch; a last single image joins the batch before it, as in `training_batches`."""
    whole, rest = divmod(images, batch_size)
    return max(whole + (rest > 1), 1)


def _line(setting: OptimizerSetting, row: Row) -> str:
    return (
        f"{setting.name} epoch {row['epoch']}: loss {row['train_loss']:.3f} training, {row['val_loss']:.3f} "
        "validation; "
        f"mean class accuracy {row['mean_class_accuracy']:.4f}, mAP {row['mean_average_precision']:.4f}; "
        f"{row['images_per_second']:.0f} images/s"
    )
