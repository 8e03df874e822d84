"""fit(): the loop, every epoch validated, the best weights written the moment they are found, resumed to the bit."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from in4310repro import checkpoints, optimizers, presets
from in4310repro.checkpoints import Position
from in4310repro.data.images import ImageSet, training_batches
from in4310repro.evaluation import Row, predict
from in4310repro.presets import Config, OptimizerSetting
from in4310repro.progress import SILENT, Progress, interrupts
from in4310repro.runs import Run, tensors_sha256


@dataclass(frozen=True, kw_only=True)
class Task:
    """One setting to train: what is trained, on what, and where its files go."""

    model: torch.nn.Module
    training: ImageSet
    validation: ImageSet
    config: Config
    setting: OptimizerSetting
    run: Run
    device: str = "cpu"
    progress: Progress = SILENT


def fit(task: Task) -> list[Row]:
    """Trains a network and returns its history, a row an epoch.

    Writes `SETTING/history.json` and `SETTING/tensors.json` (a hash of every tensor) after each epoch,
    `SETTING/best.safetensors` (parameters and buffers) whenever the mean class accuracy on validation exceeds that of
    every epoch before, and `SETTING/checkpoint/`. Goes on from a checkpoint that is there; what comes out then equals
    an undisturbed training to the bit.

    Raises:
        ValueError: the loss is no longer finite, or the checkpoint belongs to another configuration.
        KeyboardInterrupt: after the step that the interrupt fell in, and a checkpoint of it.
    """
    with interrupts() as interrupted:
        history = _fit(task, interrupted)
        if interrupted():
            raise KeyboardInterrupt
        return history


def _fit(task: Task, interrupted: Callable[[], bool]) -> list[Row]:
    model, setting, run = task.model.to(task.device), task.setting, task.run
    optimizer = optimizers.build(setting, model.parameters())
    folder = run.folder / setting.name / "checkpoint"
    config = presets.to_json(task.config)
    position, warnings = checkpoints.restore(folder, model, optimizer, config)
    for warning in warnings:
        task.progress.say(warning)

    def keep() -> None:
        checkpoints.save(folder, model, optimizer, position, config)
        if interrupted():
            raise KeyboardInterrupt

    while position.epoch < task.config.epochs:
        train_loss, speed = _train_epoch(task, optimizer, position, interrupted, keep)
        scores = predict(model, task.validation, task.config, task.device, epoch=position.epoch + 1)
        row: Row = {"epoch": position.epoch + 1, "train_loss": train_loss, "val_loss": scores.loss}
        row |= scores.metrics(task.config.protocol)
        state = model.state_dict()
        row |= {"images_per_second": speed, "weights_sha256": tensors_sha256(state)}
        best = max((earlier["mean_class_accuracy"] for earlier in position.history), default=-1.0)
        if row["mean_class_accuracy"] > best:
            run.write_tensors(f"{setting.name}/best.safetensors", state)
        position.history.append(row)
        position.tensors.append({name: tensors_sha256({name: value})[:12] for name, value in state.items()})
        position.epoch, position.batch, position.loss = position.epoch + 1, 0, 0.0
        run.write_json(f"{setting.name}/tensors.json", position.tensors)
        run.write_json(f"{setting.name}/history.json", position.history)
        task.progress.say(_line(setting, row))
        if position.epoch < task.config.epochs:
            keep()
    return position.history


def _train_epoch(
    task: Task,
    optimizer: torch.optim.Optimizer,
    position: Position,
    interrupted: Callable[[], bool],
    keep: Callable[[], None],
) -> tuple[float, float]:
    """Mean loss over the epoch's images, each at the weights it met, and images a second.

    Starts after the batches that the position says are done, and moves the position on.
    """
    images, config = task.training, task.config
    loader = training_batches(images, config.batch_size, config.augmentation, config.seed, position.epoch)
    total = torch.tensor(position.loss, dtype=torch.float64, device=task.device)
    title = f"{task.setting.name}, epoch {position.epoch + 1} of {config.epochs}"
    start, seen, speed = time.perf_counter(), 0, 0.0
    task.model.train()
    with task.progress.task(title, len(images)) as advance:
        advance(min(position.batch * config.batch_size, len(images)), "")
        for batch in itertools.islice(loader, position.batch, None):
            loss = _step(task, optimizer, position, batch)
            total += loss.double() * len(batch.paths)
            position.batch += 1
            seen += len(batch.paths)
            speed = seen / (time.perf_counter() - start)
            advance(len(batch.paths), f"loss {float(loss):.3f}, {speed:.0f} images/s")
            due = config.checkpoint_steps and position.batch % config.checkpoint_steps == 0
            if due or interrupted():
                position.loss = float(total)
                keep()
    if not math.isfinite(float(total)):
        raise ValueError(
            f"{title}: the training loss is {float(total)}; "
            f"a learning_rate below {task.setting.learning_rate} may keep it finite"
        )
    return float(total) / len(images), speed


def _step(task: Task, optimizer: torch.optim.Optimizer, position: Position, batch: Any) -> torch.Tensor:
    """One step of the optimizer; returns the mean loss of the batch."""
    config = task.config
    steps = steps_an_epoch(len(task.training), config.batch_size)
    step = position.epoch * steps + position.batch
    factor = optimizers.learning_rate_factor(step, steps * config.epochs, config.schedule, config.warm_up)
    optimizers.set_learning_rate(optimizer, task.setting.learning_rate * factor)
    optimizer.zero_grad()
    logits = task.model(batch.images.to(task.device))
    loss = torch.nn.functional.cross_entropy(logits, batch.labels.to(task.device))
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def steps_an_epoch(images: int, batch_size: int) -> int:
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
