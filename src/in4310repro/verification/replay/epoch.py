"""The training of one epoch again from the state before it, and the first steps of a run for `trace.explain`."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import torch

from in4310repro.data.images import training_batches
from in4310repro.runs import chain, names, settings
from in4310repro.runs.finished import FinishedRun, image_root
from in4310repro.runs.records import SPEED, EpochHashes, HistoryRow
from in4310repro.system import files, schema
from in4310repro.system.context import Context
from in4310repro.system.numerics import activate
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import checkpoints
from in4310repro.training.epochs import Epochs, TrainingInputs
from in4310repro.training.step_log import StepTrace
from in4310repro.verification import evidence, records


class EpochRecord(NamedTuple):
    """The record of one epoch: its entry in the hash chain and its history row."""

    entry: EpochHashes
    row: HistoryRow


# The saved state after an epoch: weights and buffers, and the optimizer's tensors, named `INDEX.NAME`.
Kept = tuple[Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]]


def read_kept(folder: Path, setting: str, before: EpochHashes) -> Kept:
    """Read the state saved after an epoch, and check its hashes against the epoch's record.

    Raises:
        ValueError: the file is damaged, or its state does not have the recorded hashes; the message names the
            epoch.
    """
    file = files.path_below(folder, names.kept_epoch(setting, before["epoch"]))
    kept = checkpoints.read_kept_epoch(file)
    recorded = {"weights": before["weights_sha256"], "optimizer state": before["optimizer_sha256"]}
    for tensors, (what, sha256) in zip(kept, recorded.items(), strict=True):
        if tensors_sha256(tensors) != sha256:
            raise ValueError(f"{file} holds other {what} than {names.TENSORS} commits to after epoch {before['epoch']}")
    return kept


def train_again(
    inputs: TrainingInputs,
    recorded: EpochRecord,
    kept: Kept | None,
    interrupted: Callable[[], bool] = lambda: False,
    trace: Path = Path(),
    traced: Collection[int] = (),
) -> EpochRecord:
    """Train an epoch again and return its new record.

    Args:
        inputs: the inputs of the training, with the network as it was before the epoch.
        recorded: the run's record of the epoch.
        kept: the state before the epoch; None for the first epoch.
        interrupted: called after each step; training ends if it returns true.
        trace: the file for the trace.
        traced: the steps to trace, by their numbers from 0.

    Raises:
        ValueError: a loss is not finite, or the kept state does not fit the network or the optimizer.
        KeyboardInterrupt: `interrupted` returned true.
    """
    epochs, epoch = Epochs(inputs, interrupted), recorded.entry["epoch"]
    if kept:
        source = f"the kept state after epoch {epoch - 1}"
        checkpoints.load_into(*kept, epochs.model, epochs.optimizer, source)
    epochs.position = checkpoints.Position(epoch=epoch - 1)
    with StepTrace(epochs.model, epochs.optimizer, trace, traced) if traced else nullcontext() as epochs.trace:
        row = epochs.validate(*epochs.train())
    state = checkpoints.optimizer_tensors(epochs.optimizer)
    entry = chain.entry(epoch, recorded.entry["previous"], epochs.model.state_dict(), state)
    return EpochRecord(entry, row)


def compare_records(recorded: EpochRecord, computed: EpochRecord) -> Iterator[str]:
    """Yield a clause for each difference between two records of an epoch, except in training speed."""
    saved, now = recorded.entry, computed.entry
    if other := [*schema.differences(saved["tensors"], now["tensors"])]:
        yield f"{len(other)} of {len(saved['tensors'])} tensors differ, the first is {other[0].path}"
    elif saved["weights_sha256"] != now["weights_sha256"]:
        yield f"weights_sha256 is {saved['weights_sha256']}, and {now['weights_sha256']} now"
    if saved["optimizer_sha256"] != now["optimizer_sha256"]:
        yield "the optimizer state differs"
    for each in records.known_differences(recorded.row, computed.row, {SPEED: None, "weights_sha256": None}):
        yield f"{each.path} is {each.first} in {names.HISTORY}, and {each.second} now"


class MissingStateError(ValueError):
    """Error raised if the state before an epoch is unavailable."""


def read_start(run: FinishedRun, setting: settings.OptimizerSetting, epoch: int) -> tuple[torch.nn.Module, Kept | None]:
    """Return the network as it was before an epoch of a setting, and the state saved before that epoch.

    For epoch 1, the state is None, and the network has the weights with which the setting began: the initial
    weights of the run, or the last weights of the previous setting.

    Raises:
        ValueError: the saved state is damaged, or the state or the weights do not have the recorded hashes.
        MissingStateError: the state was not saved, or the weights before epoch 1 cannot be read.
    """
    if epoch > 1:
        file = run.folder / names.kept_epoch(setting.name, epoch - 1)
        if not file.exists():
            raise MissingStateError(_describe_missing(run, setting.name, "it"))
        kept = read_kept(run.folder, setting.name, run.tensors[setting.name][epoch - 2])
        return run.restore(kept[0], f"{file}"), kept
    expected, source = run.fingerprint.get("initial_weights_sha256"), "the initial weights"
    try:
        if before := run.config.setting_before(setting):
            name = names.of_setting(before, names.LAST_WEIGHTS)
            expected, source = run.tensors[before][-1]["weights_sha256"], f"{run.folder / name}"
            model = run.restore(run.files.read_tensors(name), source)
        else:
            model = run.initial_network()
    except ValueError as error:
        raise MissingStateError(str(error)) from None
    if (found := tensors_sha256(model.state_dict())) != expected:
        raise ValueError(f"{source} have sha256 {found}; expected {expected}, from which the training started")
    return model, None


def describe_missing_epochs(run: FinishedRun, setting: str, epochs: Iterable[int]) -> str:
    """Return a clause that lists the epochs whose starting state was not saved; empty if all were saved."""
    before = {f"{epoch}": names.kept_epoch(setting, epoch - 1) for epoch in epochs if epoch > 1}
    missing = [epoch for epoch, name in before.items() if not (run.folder / name).exists()]
    return _describe_missing(run, setting, f"epoch {', '.join(missing)}") if missing else ""


def _describe_missing(run: FinishedRun, setting: str, epochs: str) -> str:
    kept = names.of_setting(setting, names.KEPT_EPOCHS)
    return f"{run.folder / kept} has no state before {epochs}; train --keep-epochs keeps them"


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
    model, _ = read_start(run, setting, 1)
    images = evidence.load_part(run, image_root(run.config, None), "training", cache=True)
    inputs = TrainingInputs(
        model=model, training=images, validation=images, config=run.config, setting=setting, context=Context(numerics)
    )
    epochs = Epochs(inputs)

    def batches() -> Batches:
        # Before each batch, learning rates and random generator are set as the training did.
        epochs.start_epoch()
        for batch in training_batches(images, run.config.batch_size, run.config.augmentation, run.config.seed, 0):
            epochs.start_step()
            yield batch.images.to(numerics.device), batch.labels.to(numerics.device)
            epochs.position.batch += 1

    return epochs.model, numerics.cross_entropy, epochs.optimizer, batches()
