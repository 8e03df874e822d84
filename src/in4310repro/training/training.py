"""Training loop of one optimizer setting: validate after each epoch, save the best weights, resume exactly."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from in4310repro import metrics
from in4310repro.runs import chain, names, records, selection
from in4310repro.runs import config as configuration
from in4310repro.runs.folder import RunFolder
from in4310repro.system import signals
from in4310repro.system.files import path_below, write_file
from in4310repro.system.tensors import tensor_bytes
from in4310repro.training import checkpoints, step_log
from in4310repro.training.checkpoints import Position
from in4310repro.training.epochs import Epochs, TrainingInputs


@dataclass(frozen=True, kw_only=True)
class Task(TrainingInputs):
    """Inputs for training with one optimizer setting, and the run folder to write to."""

    files: RunFolder
    start_sha256: str  # of all inputs, see `chain.start_sha256`
    keep_epochs: bool = False
    log_steps: frozenset[str] = frozenset()  # formats, see `step_log`
    trace: range = range(0)  # numbers of the steps that are traced, see `step_log`

    def file(self, name: str) -> str:
        """Return the path of a file of the setting, relative to the run folder."""
        return names.of_setting(self.setting.name, name)

    def write(
        self, position: Position, row: records.HistoryRow, model: torch.nn.Module, optimizer: Mapping[str, torch.Tensor]
    ) -> None:
        """Add a finished epoch's metrics and hashes to `position`, and write them to the training setting's files.

        If the epoch is the best so far, its weights are written before the metrics that refer to them.
        """
        files, config, weights = self.files, self.config, model.state_dict()
        if selection.best_epoch([*position.history, row], config.select) is row:
            files.write_weights(self.file(names.BEST_WEIGHTS), weights, config.preprocessing)
        previous = chain.sha256_of(position.tensors[-1], config) if position.tensors else self.start_sha256
        position.history.append(row)
        position.tensors.append(chain.entry(row["epoch"], previous, weights, optimizer))
        files.write_json(self.file(names.TENSORS), position.tensors)
        files.write_json(self.file(names.HISTORY), position.history)


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
    config, run, name = task.config, task.files.folder, task.setting.name
    config_json = configuration.to_json(config)
    with signals.interrupts() as interrupted:
        epochs, processes, folder = Epochs(task, interrupted), task.context.processes, run / name / names.CHECKPOINTS
        model, optimizer = epochs.model, epochs.optimizer
        epochs.position, warnings = checkpoints.restore(folder, model, optimizer, config_json, epochs.batches)
        for warning in warnings:
            task.context.progress.message(warning)
        if processes.size > 1:
            processes.broadcast(checkpoints.pack(model, optimizer, epochs.position))
        if epochs.steps < task.trace.stop:
            trace = step_log.new_trace(run, name, epochs.steps)
            epochs.trace = step_log.StepTrace(model, optimizer, trace, task.trace)
        log = step_log.StepLog(run, name, task.log_steps, epochs.steps)

        def save_checkpoint() -> None:
            log.sync()
            checkpoints.save(folder, checkpoints.tensors_of(model, optimizer), epochs.position, config_json)

        def after_step() -> None:
            log.add(epochs.last)
            steps = config.checkpoint_steps
            if (steps and epochs.position.batch % steps == 0) or epochs.stop:
                save_checkpoint()

        def after_epoch(row: records.HistoryRow) -> None:
            log.sync()
            if task.keep_epochs:
                kept = path_below(run, names.kept_epoch(name, row["epoch"]))
                write_file(kept, tensor_bytes(checkpoints.tensors_of(model, optimizer)))
            task.write(epochs.position, row, model, checkpoints.optimizer_tensors(optimizer))
            task.context.progress.message(
                f"{name} epoch {row['epoch']}: loss {row['train_loss']:.3f} training, "
                f"{row['val_loss']:.3f} validation; {metrics.line(row)}; {row['images_per_second']:.0f} images/s"
            )
            if epochs.position.epoch < config.epochs:
                save_checkpoint()

        with log, epochs.trace or nullcontext():
            epochs.run(after_step, after_epoch)
        return epochs.position.history


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
        epochs.run()
