"""fit(): the training loop, which validates every epoch, writes the best weights at once, and resumes to the bit."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from in4310repro import checkpoints, optimizers
from in4310repro import config as configuration
from in4310repro.config import Config, OptimizerSetting
from in4310repro.data.batches import Batch, training_batches, training_ranges
from in4310repro.data.images import ImageSet
from in4310repro.numerics import Numerics
from in4310repro.prediction import predict
from in4310repro.progress import SILENT, Progress, interrupts
from in4310repro.runs import names
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.records import HistoryRow
from in4310repro.tensors import tensor_hashes, tensors_sha256


@dataclass(frozen=True, kw_only=True)
class Task:
    """One setting to train: what is trained, on what, and where its files go."""

    model: torch.nn.Module
    training: ImageSet
    validation: ImageSet
    config: Config
    setting: OptimizerSetting
    files: RunFolder
    numerics: Numerics
    progress: Progress = SILENT


def fit(task: Task) -> list[HistoryRow]:
    """Trains a network and returns its history, a row per epoch.

    Writes `SETTING/history.json` and `SETTING/tensors.json` (a hash of every tensor) after each epoch,
    `SETTING/best.safetensors` (parameters and buffers) whenever the mean class accuracy on validation exceeds that of
    every epoch before, and `SETTING/checkpoint/`. Resumes from a checkpoint that is there; what comes out then equals
    an undisturbed training to the bit.

    Raises:
        ValueError: the loss is no longer finite, or the checkpoint belongs to another configuration.
        KeyboardInterrupt: after the step that the interrupt came in, and a checkpoint of it.
    """
    with interrupts() as interrupted:
        history = _Training(task, interrupted).run()
        if interrupted():
            raise KeyboardInterrupt
        return history


class _Training:
    """The training of one setting: the network, its optimizer, and the position that a checkpoint restores."""

    def __init__(self, task: Task, interrupted: Callable[[], bool]) -> None:
        self._task = task
        self._interrupted = interrupted
        self._config_json = configuration.to_json(task.config)
        self._checkpoints = task.files.folder / task.setting.name / names.CHECKPOINTS
        self._model = task.numerics.place(task.model)
        self._optimizer = optimizers.build(task.setting, self._model.parameters(), portable=task.numerics.portable)
        self._position, warnings = checkpoints.restore(
            self._checkpoints, self._model, self._optimizer, self._config_json
        )
        for warning in warnings:
            task.progress.message(warning)

    def run(self) -> list[HistoryRow]:
        """Every epoch that is left; returns the rows of all."""
        task, position = self._task, self._position
        while position.epoch < task.config.epochs:
            train_loss, speed = self._train_epoch()
            row = self._validate(train_loss, speed)
            position.epoch, position.batch, position.loss = position.epoch + 1, 0, 0.0
            self._write_epoch(row)
            task.progress.message(_summary(task.setting, row))
            if position.epoch < task.config.epochs:
                self._save_checkpoint()
        return position.history

    def _train_epoch(self) -> tuple[float, float]:
        """Mean loss over the epoch's images, each at the weights it met, and images per second.

        Starts after the batches that the position counts as done, and advances the position.
        """
        task, config, position, images = self._task, self._task.config, self._position, self._task.training
        loader = training_batches(images, config.batch_size, config.augmentation, config.seed, position.epoch)
        total = torch.tensor(position.loss, dtype=torch.float64, device=task.numerics.device)
        title = _title(task, position.epoch)
        start, images_done, speed = time.perf_counter(), 0, 0.0
        self._model.train()
        with task.progress.task(title, len(images)) as advance:
            advance(min(position.batch * config.batch_size, len(images)), "")
            for batch in itertools.islice(loader, position.batch, None):
                loss = self._step(batch)
                value = float(loss)
                self._refuse_non_finite("training", value)
                total += loss.double() * len(batch.paths)
                position.batch += 1
                images_done += len(batch.paths)
                speed = images_done / (time.perf_counter() - start)
                advance(len(batch.paths), f"loss {value:.3f}, {speed:.0f} images/s")
                due = config.checkpoint_steps and position.batch % config.checkpoint_steps == 0
                if due or self._interrupted():
                    position.loss = float(total)
                    self._save_checkpoint()
        return float(total) / len(images), speed

    def _refuse_non_finite(self, name: str, loss: float) -> None:
        """Raises ValueError for a loss that is not finite, with what can have made it so."""
        if math.isfinite(loss):
            return
        task, position = self._task, self._position
        advice = f"a learning_rate below {task.setting.learning_rate} may keep it finite"
        if name == "training" and not position.epoch and not position.batch:
            advice = "it is so before the first step, so the initial weights are at fault and not the learning_rate"
        title = _title(task, position.epoch)
        raise ValueError(f"{title}: the {name} loss is {loss}; {advice}")

    def _step(self, batch: Batch) -> torch.Tensor:
        """One step of the optimizer; returns the mean loss of the batch."""
        task, config, position = self._task, self._task.config, self._position
        steps = len(training_ranges(len(task.training), config.batch_size))
        step = position.epoch * steps + position.batch
        factor = optimizers.learning_rate_factor(step, steps * config.epochs, config.schedule, config.warm_up)
        optimizers.set_learning_rate(self._optimizer, task.setting.learning_rate * factor)
        self._optimizer.zero_grad()
        logits = self._model(batch.images.to(task.numerics.device))
        loss = task.numerics.cross_entropy(logits, batch.labels.to(task.numerics.device))
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss.detach()

    def _validate(self, train_loss: float, speed: float) -> HistoryRow:
        task, epoch = self._task, self._position.epoch + 1
        scores = predict(self._model, task.validation, task.config, task.numerics, epoch=epoch)
        self._refuse_non_finite("validation", scores.loss)
        return HistoryRow(
            epoch=epoch,
            train_loss=train_loss,
            val_loss=scores.loss,
            **scores.metrics(task.config.protocol),
            images_per_second=speed,
            weights_sha256=tensors_sha256(self._model.state_dict()),
        )

    def _write_epoch(self, row: HistoryRow) -> None:
        """The weights first, so that a history never has a row whose weights are not there."""
        files, setting, position = self._task.files, self._task.setting.name, self._position
        state = self._model.state_dict()
        best = max((earlier["mean_class_accuracy"] for earlier in position.history), default=-1.0)
        if row["mean_class_accuracy"] > best:
            files.write_tensors(names.of_setting(setting, names.BEST_WEIGHTS), state)
        position.history.append(row)
        position.tensors.append({name: digits[:12] for name, digits in tensor_hashes(state).items()})
        files.write_json(names.of_setting(setting, names.TENSORS), position.tensors)
        files.write_json(names.of_setting(setting, names.HISTORY), position.history)

    def _save_checkpoint(self) -> None:
        checkpoints.save(self._checkpoints, self._model, self._optimizer, self._position, self._config_json)
        if self._interrupted():
            raise KeyboardInterrupt


def _title(task: Task, epoch: int) -> str:
    return f"{task.setting.name}, epoch {epoch + 1} of {task.config.epochs}"


def _summary(setting: OptimizerSetting, row: HistoryRow) -> str:
    return (
        f"{setting.name} epoch {row['epoch']}: loss {row['train_loss']:.3f} training, {row['val_loss']:.3f} "
        "validation; "
        f"mean class accuracy {row['mean_class_accuracy']:.4f}, mAP {row['mean_average_precision']:.4f}; "
        f"{row['images_per_second']:.0f} images/s"
    )
