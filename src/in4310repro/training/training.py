"""Training loop of one optimizer setting: validate after each epoch, save the best weights, resume exactly."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from in4310repro import metrics
from in4310repro.runs import chain, names, records, selection
from in4310repro.runs import config as configuration
from in4310repro.runs.folder import RunFolder
from in4310repro.system import signals, tensors
from in4310repro.system.files import path_below
from in4310repro.training import checkpoints, step_log, step_trace
from in4310repro.training.checkpoints import Position
from in4310repro.training.epochs import Epochs, TrainingInputs


@dataclass(frozen=True, kw_only=True)
class Task(TrainingInputs):
    """Inputs for training with one optimizer setting, and the run folder to write to."""

    files: RunFolder
    split_sha256: str  # of the bytes of split.csv
    keep_epochs: bool = False
    log_steps: frozenset[str] = frozenset()  # formats, see `step_log`
    trace: range = range(0)  # numbers of the steps that are traced, see `step_trace`


def fit(task: Task) -> list[records.HistoryRow]:
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
    with signals.interrupts() as interrupted:
        record, config_json = Record(task), configuration.to_json(task.config)
        folder = task.files.folder / task.setting.name / names.CHECKPOINTS
        epochs = _restored(task, interrupted, folder, config_json)
        log = step_log.StepLog(task.files.folder, task.setting.name, task.log_steps, epochs.steps)

        def save_checkpoint() -> None:
            log.sync()
            checkpoints.save(folder, epochs.model, epochs.optimizer, epochs.position, config_json)
            if epochs.stop:
                raise KeyboardInterrupt

        def after_step() -> None:
            log.add(epochs.last)
            steps = task.config.checkpoint_steps
            if (steps and epochs.position.batch % steps == 0) or epochs.stop:
                save_checkpoint()

        def after_epoch(row: records.HistoryRow) -> None:
            log.sync()
            if task.keep_epochs:
                kept = path_below(task.files.folder, names.kept_epoch(task.setting.name, row["epoch"]))
                checkpoints.write_kept_epoch(kept, epochs.model, epochs.optimizer)
            record.write(epochs.position, row, epochs.model, checkpoints.optimizer_tensors(epochs.optimizer))
            task.context.progress.message(
                f"{task.setting.name} epoch {row['epoch']}: loss {row['train_loss']:.3f} training, "
                f"{row['val_loss']:.3f} validation; {metrics.line(row)}; {row['images_per_second']:.0f} images/s"
            )
            if epochs.position.epoch < task.config.epochs:
                save_checkpoint()
            elif epochs.stop:
                raise KeyboardInterrupt

        with log, epochs.trace or nullcontext():
            epochs.run(after_step, after_epoch)
        if task.context.processes.ask(interrupted)():
            raise KeyboardInterrupt
        return epochs.position.history


def _restored(task: Task, interrupted: Callable[[], bool], folder: Path, config_json: configuration.Values) -> Epochs:
    """Return the training at its newest checkpoint, or at its start, in all processes."""
    epochs, processes = Epochs(task, interrupted), task.context.processes
    epochs.position, warnings = checkpoints.restore(folder, epochs.model, epochs.optimizer, config_json, epochs.batches)
    for warning in warnings:
        task.context.progress.message(warning)
    if processes.size > 1:
        processes.broadcast(checkpoints.pack(epochs.model, epochs.optimizer, epochs.position))
    if epochs.steps < task.trace.stop:
        file = step_trace.new_trace(task.files.folder, task.setting.name, epochs.steps)
        epochs.trace = step_trace.StepTrace(epochs.model, epochs.optimizer, file, task.trace)
    return epochs


def follow(inputs: TrainingInputs) -> None:
    """Take part in the training of one optimizer setting by several processes.

    The first process calls `fit`, and every other process calls `follow`.

    Raises:
        ValueError: the loss is not finite, or the processes no longer have the same weights.
        KeyboardInterrupt: a process was asked to stop, and all have finished the same step.
    """
    with signals.interrupts() as interrupted:
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
        self._task, initial_sha256 = task, tensors.tensors_sha256(task.model.state_dict())
        self.start_sha256 = chain.start_sha256(
            task.config, task.setting, task.split_sha256, initial_sha256, task.context.numerics.numeric_class
        )

    def write(
        self, position: Position, row: records.HistoryRow, model: torch.nn.Module, optimizer: Mapping[str, torch.Tensor]
    ) -> None:
        """Add a finished epoch's metrics and hashes to `position`, and write them to the training setting's files.

        If the epoch is the best so far, its weights are written before the metrics that refer to them.
        """
        files, config, setting = self._task.files, self._task.config, self._task.setting.name
        if selection.best_epoch([*position.history, row], config.select) is row:
            files.write_weights(names.of_setting(setting, names.BEST_WEIGHTS), model.state_dict(), config.preprocessing)
        previous = chain.sha256_of(position.tensors[-1], config) if position.tensors else self.start_sha256
        position.history.append(row)
        position.tensors.append(chain.entry(row["epoch"], previous, model.state_dict(), optimizer))
        files.write_json(names.of_setting(setting, names.TENSORS), position.tensors)
        files.write_json(names.of_setting(setting, names.HISTORY), position.history)
