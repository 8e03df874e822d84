"""Training loop of one optimizer setting: validate after each epoch, save the best weights, resume exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from in4310repro import metrics
from in4310repro.runs import chain, names
from in4310repro.runs import config as configuration
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.records import HistoryRow
from in4310repro.runs.selection import best_epoch
from in4310repro.system.files import path_below
from in4310repro.system.signals import interrupts
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import checkpoints
from in4310repro.training.checkpoints import Position
from in4310repro.training.epochs import Epochs, TrainingInputs
from in4310repro.training.step_log import StepLog
from in4310repro.training.step_trace import StepTrace, new_trace


@dataclass(frozen=True, kw_only=True)
class Task(TrainingInputs):
    """Inputs for training with one optimizer setting, and the run folder to write to."""

    files: RunFolder
    split_sha256: str  # of the bytes of split.csv
    keep_epochs: bool = False
    log_steps: frozenset[str] = frozenset()  # formats, see `step_log`
    trace: range = range(0)  # numbers of the steps that are traced, see `step_trace`


def fit(task: Task) -> list[HistoryRow]:
    """Train with one optimizer setting; return one row of metrics per epoch.

    After each epoch, `SETTING/history.json` and `SETTING/tensors.json` (a chain of hashes: see `runs.chain`)
    are written. `SETTING/best.safetensors` (parameters and buffers) is written if the selection metric on
    validation is the best so far. Checkpoints go to `SETTING/checkpoint/`. If `task.keep_epochs`
    is True, the weights and optimizer state after each epoch are kept in `SETTING/epochs/`. If there is a
    checkpoint, the training resumes from it, with results bitwise equal to those of an uninterrupted training.

    Raises:
        ValueError: the loss is not finite, or the checkpoint's configuration differs.
        KeyboardInterrupt: the process was asked to stop; raised after the current step, with a checkpoint
            written.
    """
    with interrupts() as interrupted:
        history = _Training(task, interrupted).run()
        if task.context.processes.ask(interrupted)():
            raise KeyboardInterrupt
        return history


def follow(inputs: TrainingInputs) -> None:
    """Take part in the training of one optimizer setting by several processes.

    The first process calls `fit`, and every other process calls `follow`.

    Raises:
        ValueError: the loss is not finite, or the processes no longer have the same weights.
        KeyboardInterrupt: a process was asked to stop, and all have finished the same step.
    """
    with interrupts() as interrupted:
        epochs = Epochs(inputs, interrupted)
        epochs.position = checkpoints.unpack(inputs.context.processes.broadcast(), epochs.model, epochs.optimizer)

        def stop() -> None:
            if epochs.stop:
                raise KeyboardInterrupt

        epochs.run(stop, lambda _row: stop())
        if inputs.context.processes.ask(interrupted)():
            raise KeyboardInterrupt


class Record:
    """Writer of a setting's files: metrics and hashes after each epoch, and the best weights so far.

    Args:
        task: the task; its network must still have its initial weights.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        initial_sha256 = tensors_sha256(task.model.state_dict())
        self.start_sha256 = chain.start_sha256(
            task.config, task.setting, task.split_sha256, initial_sha256, task.context.numerics.numeric_class
        )

    def write(
        self, position: Position, row: HistoryRow, model: torch.nn.Module, optimizer: Mapping[str, torch.Tensor]
    ) -> None:
        """Add a finished epoch's metrics and hashes to `position`, and write them to the training setting's files.

        If the epoch is the best so far, its weights are written before the metrics that refer to them.
        """
        files, setting = self._task.files, self._task.setting.name
        if best_epoch([*position.history, row], self._task.config.select) is row:
            best_weights = names.of_setting(setting, names.BEST_WEIGHTS)
            files.write_weights(best_weights, model.state_dict(), self._task.config.preprocessing)
        previous = chain.sha256_of(position.tensors[-1], self._task.config) if position.tensors else self.start_sha256
        position.history.append(row)
        position.tensors.append(chain.entry(row["epoch"], previous, model.state_dict(), optimizer))
        files.write_json(names.of_setting(setting, names.TENSORS), position.tensors)
        files.write_json(names.of_setting(setting, names.HISTORY), position.history)


class _Training:
    def __init__(self, task: Task, interrupted: Callable[[], bool]) -> None:
        self._task = task
        self._config_json = configuration.to_json(task.config)
        self._checkpoints = task.files.folder / task.setting.name / names.CHECKPOINTS
        self._record = Record(task)
        self._epochs = Epochs(task, interrupted)
        self._epochs.position, warnings = checkpoints.restore(
            self._checkpoints, self._epochs.model, self._epochs.optimizer, self._config_json, self._epochs.batches
        )
        for warning in warnings:
            task.context.progress.message(warning)
        if task.context.processes.size > 1:
            task.context.processes.broadcast(
                checkpoints.pack(self._epochs.model, self._epochs.optimizer, self._epochs.position)
            )
        self._log = StepLog(task.files.folder, task.setting.name, task.log_steps, self._epochs.steps)
        if self._epochs.steps < task.trace.stop:
            file = new_trace(task.files.folder, task.setting.name, self._epochs.steps)
            self._epochs.trace = StepTrace(self._epochs.model, self._epochs.optimizer, file, task.trace)

    def run(self) -> list[HistoryRow]:
        with self._log, self._epochs.trace or nullcontext():
            self._epochs.run(self._after_step, self._after_epoch)
        return self._epochs.position.history

    def _after_epoch(self, row: HistoryRow) -> None:
        task = self._task
        self._log.sync()
        model, optimizer, position = self._epochs.model, self._epochs.optimizer, self._epochs.position
        if task.keep_epochs:
            kept = path_below(task.files.folder, names.kept_epoch(task.setting.name, row["epoch"]))
            checkpoints.write_kept_epoch(kept, model, optimizer)
        self._record.write(position, row, model, checkpoints.optimizer_tensors(optimizer))
        task.context.progress.message(
            f"{task.setting.name} epoch {row['epoch']}: loss {row['train_loss']:.3f} training, {row['val_loss']:.3f} "
            f"validation; {metrics.line(row)}; {row['images_per_second']:.0f} images/s"
        )
        if self._epochs.position.epoch < task.config.epochs:
            self._save_checkpoint()
        elif self._epochs.stop:
            raise KeyboardInterrupt

    def _after_step(self) -> None:
        assert self._epochs.last  # noqa: S101 - for the type checker
        self._log.add(self._epochs.last)
        steps = self._task.config.checkpoint_steps
        if (steps and self._epochs.position.batch % steps == 0) or self._epochs.stop:
            self._save_checkpoint()

    def _save_checkpoint(self) -> None:
        self._log.sync()
        position = self._epochs.position
        checkpoints.save(self._checkpoints, self._epochs.model, self._epochs.optimizer, position, self._config_json)
        if self._epochs.stop:
            raise KeyboardInterrupt
