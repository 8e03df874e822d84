"""Training of one optimizer setting, by one process or several: epochs, checkpoints, files, and exact resumption."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, distributed
from torch.nn import Module
from torch.nn.parallel import DistributedDataParallel

from in4310repro import metrics
from in4310repro.arithmetic import shares
from in4310repro.data.images import Batch, ImageSet, training_batches, training_ranges
from in4310repro.evaluation.prediction import local_share, predict
from in4310repro.metrics.scores import Scores
from in4310repro.models import building
from in4310repro.runs import chain, config as configuration, names, selection
from in4310repro.runs.config import Config
from in4310repro.runs.folder import RunFolder
from in4310repro.runs.record_types import History, HistoryRow
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system import signals
from in4310repro.system.context import Context
from in4310repro.system.files import path_below, write_file
from in4310repro.system.numerics import generator_for
from in4310repro.system.processes import Processes
from in4310repro.system.tensors import Tensors, tensor_bytes, tensors_sha256
from in4310repro.training import checkpoints, optimizers, step_log
from in4310repro.training.checkpoints import Position
from in4310repro.training.step_log import Step, StepTrace


def backward_over_processes(loss: Tensor, share: float, processes: Processes) -> Tensor:
    """Compute the gradients of the mean loss over the whole batch of all processes, and return this loss.

    Args:
        loss: the mean loss over the images of this process.
        share: number of these images divided by the number in the whole batch.
        processes: all processes that have images of the batch.
    """
    # DistributedDataParallel divides by the number of processes.
    weighted = loss * share
    (weighted * processes.size).backward()  # type: ignore[no-untyped-call]
    whole = weighted.detach().clone()
    distributed.all_reduce(whole)
    return whole


@dataclass(frozen=True, kw_only=True)
class TrainingInputs:
    """Inputs for training with one optimizer setting: the initial network, images and configuration."""

    model: Module
    training: ImageSet
    validation: ImageSet
    test: ImageSet | None = None  # whose loss is recorded after each epoch; None: it is not
    config: Config
    setting: OptimizerSetting
    context: Context


class Epochs:
    """A network and its optimizer at some point of their training; `run` trains them to the end.

    Args:
        task: network, images and configuration of the training.
        interrupted: a function that returns whether this process was asked to stop.
    """

    def __init__(self, task: TrainingInputs, interrupted: Callable[[], bool] = lambda: False) -> None:
        self.task, self.config, self.context = task, task.config, task.context
        self.numerics, self.processes = task.context.numerics, task.context.processes
        self.model = self.numerics.place(task.model)
        self._network = self.model  # that is called in training
        if self.processes.size > 1 and not self.numerics.portable:
            # Its batch norm uses the images of all processes.
            self.model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.model)  # type: ignore[no-untyped-call]
            self._network = DistributedDataParallel(self.model)
        self._frozen = building.frozen_modules(self.model, self.config.trained_part(task.setting))
        for module in self._frozen:
            module.requires_grad_(False)
        head = building.head(self.config.network) if task.setting.head_learning_rate else ()
        parameters = [(name in head, each) for name, each in self.model.named_parameters() if each.requires_grad]
        parts = ([each for in_head, each in parameters if in_head is part] for part in (False, True))
        self.optimizer = optimizers.build(task.setting, *parts, portable=self.numerics.portable)
        self.position = checkpoints.Position()
        self.last: Step  # that was taken
        self.trace: StepTrace | None = None  # records steps, if it is set before the training
        self.stop: bool  # whether any process was asked to stop by the last step or epoch: all have the same answer
        self._interrupted = interrupted

    @property
    def steps(self) -> int:
        """Number of optimizer steps done so far."""
        return self.position.epoch * self.batches + self.position.batch

    @property
    def batches(self) -> int:
        """Number of batches per epoch; each batch is one optimizer step."""
        return len(training_ranges(len(self.task.training), self.config.batch_size))

    @property
    def title(self) -> str:
        """The name of the optimizer setting and the number of the current epoch, as text."""
        return f"{self.task.setting.name}, epoch {self.position.epoch + 1} of {self.config.epochs}"

    def run(
        self, after_step: Callable[[], None] = lambda: None, after_epoch: Callable[[HistoryRow], None] = lambda _: None
    ) -> None:
        """Train all remaining epochs, and call `after_epoch` with the metrics of each epoch.

        Args:
            after_step: called after each step; the attributes `position` and `last` then include that step.
            after_epoch: called after each epoch; the attribute `position` then includes that epoch.

        Raises:
            ValueError: a loss is not finite, or the processes no longer have the same weights.
            KeyboardInterrupt: a process was asked to stop; raised after the same step or epoch in all of them.
        """
        position = self.position
        while position.epoch < self.config.epochs:
            row = self.validate(*self.train(after_step))
            position.epoch, position.batch, position.loss = position.epoch + 1, 0, 0.0
            heard = self.processes.gather_json([row["weights_sha256"], row["train_loss"], self._interrupted()])
            self.stop = any(stop for *_, stop in heard)
            for rank, (*found, _) in enumerate(heard):
                if found != heard[0][:2]:
                    raise ValueError(
                        f"{self.task.setting.name}, epoch {row['epoch']}: process {rank} has other weights than "
                        "process 0; memory or processor of one are at fault: verify both machines and start again"
                    )
            after_epoch(row)
            if self.stop:
                raise KeyboardInterrupt
        if self.processes.ask(self._interrupted)():
            raise KeyboardInterrupt

    def train(self, after_step: Callable[[], None] = lambda: None) -> tuple[float, float]:
        """Train the rest of the current epoch; return the mean loss over its images, and images per second.

        The attribute `position` says which batches are already done; these are skipped. Each step updates the batch
        and the loss in `position`.

        Args:
            after_step: called after each step; the attributes `position` and `last` then include that step.

        Raises:
            ValueError: the loss is not finite.
            KeyboardInterrupt: a process was asked to stop; raised after the same step in all of them.
        """
        config, position, images = self.config, self.position, self.task.training
        ranges = training_ranges(len(images), size := config.batch_size)[position.batch :]
        how, share = (config.augmentation, config.seed, position.epoch), self._local_share
        loader = training_batches(images, size, *how, first=position.batch, part=share)
        total = torch.tensor(position.loss, dtype=torch.float64, device=self.numerics.device)
        start, images_done, speed = time.perf_counter(), 0, 0.0
        self.start_epoch()
        progress = self.context.progress.part(position.epoch, config.epochs, unit="epoch")
        with progress.task(self.title, len(images)) as advance:
            advance(min(position.batch * size, len(images)), "")
            before = time.perf_counter()
            for number, batch in zip(map(len, ranges), loader, strict=True):
                stop = self.processes.ask(self._interrupted)
                loss = self._step(batch, number)
                value = float(loss)
                self._refuse_non_finite("training", value)
                total += loss.double() * number
                position.batch += 1
                position.loss = float(total)
                images_done += number
                speed = images_done / (time.perf_counter() - start)
                rate, seconds = self.optimizer.param_groups[0]["lr"], round(time.perf_counter() - before, 6)
                self.last = Step(position.epoch + 1, self.steps, number, value, rate, seconds)
                advance(number, f"loss {value:.3f}, {speed:.0f} images/s")
                self.stop = stop()
                after_step()
                if self.stop:
                    raise KeyboardInterrupt
                before = time.perf_counter()
        return position.loss / len(images), speed

    def start_epoch(self) -> None:
        """Put the network into training mode, except for its frozen part."""
        self.model.train()
        for module in self._frozen:
            module.eval()

    def validate(self, train_loss: float, speed: float) -> HistoryRow:
        """Evaluate the network on the validation images; return the losses and metrics of the epoch.

        With the deviation test-loss-each-epoch, the loss on the test images is among them.

        Raises:
            ValueError: a loss is not finite.
        """
        epoch, by_logits = self.position.epoch + 1, self.config.protocol.ranks_logits
        scores = self._predict("validation", self.task.validation, epoch)
        row = HistoryRow(
            epoch=epoch,
            train_loss=train_loss,
            val_loss=scores.loss,
            **scores.metrics(by_logits=by_logits),  # type: ignore[typeddict-item] # no strength of a fit is in it
            images_per_second=speed,
            weights_sha256=tensors_sha256(self.model.state_dict()),
        )
        if self.task.test is not None:
            row["test_loss"] = self._predict("test", self.task.test, epoch).loss
        return row

    def _predict(self, part: str, images: ImageSet, epoch: int) -> Scores:
        scores = predict(self.model, images, self.config, self.context.silent(), epoch=epoch)
        self._refuse_non_finite(part, scores.loss)
        return scores

    def _local_share(self, batch: range) -> range:
        """Return the range of indices of the images in `batch` that this process computes."""
        processes, size = self.processes, len(batch)
        own = shares.images_of(size, processes.connection) if self.numerics.portable else local_share(size, processes)
        return batch[own.start : own.stop]

    def _step(self, batch: Batch, images: int) -> Tensor:
        """Take one optimizer step; return the mean loss over the batch, including the images of other processes."""
        self.start_step()
        with self.trace.step(self.steps, batch) if self.trace else nullcontext() as recorded:
            loss = self._loss_with_gradients(batch, images)
            self.optimizer.step()
            if recorded:
                recorded.record(loss=loss)
        return loss

    def start_step(self) -> None:
        """Set the learning rates for the step at `position`, and clear the gradients.

        If the network is not a ResNet, also seed torch's random generator for the step, for example for dropout.
        """
        config, step = self.config, self.steps
        factor = optimizers.learning_rate_factor(step, self.batches * config.epochs, config.schedule, config.warm_up)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.optimizer.zero_grad()
        if not config.network.is_resnet:
            # Random numbers of a network, such as dropout's, depend on the step, not on what was drawn before.
            drawn = generator_for(config.seed, "draws of the network", self.task.setting.name, str(step))
            torch.manual_seed(int(drawn.integers(2**63)))

    def _loss_with_gradients(self, batch: Batch, images: int) -> Tensor:
        numerics, processes = self.numerics, self.processes
        maps, labels = batch.images.to(numerics.device), batch.labels.to(numerics.device)
        if not numerics.portable and processes.size > 1:
            loss = numerics.cross_entropy(self._network(maps), labels)
            return backward_over_processes(loss, len(labels) / images, processes)
        connection, of_images = processes.connection, batch.identities
        with shares.Share(images, connection, of_images) if connection else shares.Whole(of_images) as share:
            loss = numerics.cross_entropy(self._network(maps), labels)
            # Within the block, since torch.utils.checkpoint computes parts of the forward pass again.
            loss.backward()  # type: ignore[no-untyped-call]
        share.finish()
        return loss.detach()

    def _refuse_non_finite(self, name: str, loss: float) -> None:
        """Raise ValueError if the loss is not finite; the message suggests a remedy."""
        advice = f"a learning_rate below {self.task.setting.learning_rate} may keep it finite"
        if name == "training" and not self.position.begun:
            advice = "it is so before the first step, so the initial weights are at fault and not the learning_rate"
        if not math.isfinite(loss):
            raise ValueError(f"{self.title}: the {name} loss is {loss}; {advice}")


@dataclass(frozen=True, kw_only=True)
class Task(TrainingInputs):
    """Inputs for training with one optimizer setting, and the run folder to write to."""

    files: RunFolder
    start_sha256: str  # of all inputs, see `chain.start_sha256`
    keep_epochs: bool = False
    log_steps: frozenset[str] = frozenset()  # formats, see `step_log`
    trace: range = range(0)  # numbers of the steps that are traced, see `step_log`

    def write(self, position: Position, row: HistoryRow, model: Module, optimizer: Tensors) -> None:
        """Add a finished epoch's metrics and hashes to `position`, and write them to the training setting's files.

        If the epoch is the best so far, its weights are written before the metrics that refer to them.
        """
        files, config, weights, name = self.files, self.config, model.state_dict(), self.setting.name
        if selection.best_epoch([*position.history, row], config.select) is row:
            files.write_weights(f"{name}/{names.BEST_WEIGHTS}", weights, config.preprocessing)
        previous = chain.sha256_of(position.tensors[-1], config) if position.tensors else self.start_sha256
        position.history.append(row)
        position.tensors.append(chain.entry(row["epoch"], previous, weights, optimizer))
        files.write_json(f"{name}/{names.TENSORS}", position.tensors)
        files.write_json(f"{name}/{names.HISTORY}", position.history)


def read_history(files: RunFolder, setting: str, *more: str) -> History:
    """Return the recorded history of a setting; an empty list if a file of the setting is missing or changed.

    An epoch's row is written after its weights, so the best weights of a history exist too.

    Args:
        files: the run folder.
        setting: the setting's name.
        more: names of files that are needed beside the history.
    """
    listed = {name for name in files.manifest() if name.startswith(f"{setting}/")}
    if not {f"{setting}/{name}" for name in (names.HISTORY, *more)} <= listed or files.changed_files(listed):
        return []
    return files.read_record(f"{setting}/{names.HISTORY}", History)


def fit(task: Task) -> History:
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
            epochs.trace = step_log.StepTrace(model, optimizer, step_log.new_trace(run, name, epochs.steps), task.trace)
        log = step_log.StepLog(run, name, task.log_steps, epochs.steps)

        def save_checkpoint() -> None:
            log.sync()
            checkpoints.save(folder, checkpoints.tensors_of(model, optimizer), epochs.position, config_json)

        def after_step() -> None:
            log.add(epochs.last)
            steps = config.checkpoint_steps
            if (steps and epochs.position.batch % steps == 0) or epochs.stop:
                save_checkpoint()

        def after_epoch(row: HistoryRow) -> None:
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
