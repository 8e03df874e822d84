"""Training of one epoch again, and comparison with its record: tensors, optimizer state, losses and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from in4310repro.metrics import is_newer
from in4310repro.runs import chain, names
from in4310repro.runs.records import SPEED, EpochHashes, HistoryRow
from in4310repro.system.files import path_below
from in4310repro.system.schema import differences
from in4310repro.system.tensors import tensors_sha256
from in4310repro.training import checkpoints
from in4310repro.training.epochs import Epochs, TrainingInputs
from in4310repro.training.positions import Position


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """The record of one epoch: its entry in the hash chain and its history row."""

    epoch: int  # from 1
    entry: EpochHashes
    row: HistoryRow


@dataclass(frozen=True)
class Kept:
    """The saved state after an epoch: weights and buffers, and the optimizer's tensors, named `INDEX.NAME`."""

    weights: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, torch.Tensor]


def read_kept(folder: Path, setting: str, before: EpochHashes) -> Kept:
    """Read the state saved after an epoch, and check its hashes against the epoch's record.

    Raises:
        ValueError: the file is damaged, or its state does not have the recorded hashes; the message names the
            epoch.
    """
    epoch = before["epoch"]
    file = path_below(folder, names.kept_epoch(setting, epoch))
    kept = Kept(*checkpoints.read_kept_epoch(file))
    for what, tensors, needed in (
        ("weights", kept.weights, before["weights_sha256"]),
        ("optimizer state", kept.optimizer, before["optimizer_sha256"]),
    ):
        if tensors_sha256(tensors) != needed:
            raise ValueError(f"{file} holds other {what} than {names.TENSORS} commits to after epoch {epoch}")
    return kept


def train_again(
    inputs: TrainingInputs, recorded: EpochRecord, kept: Kept | None, interrupted: Callable[[], bool] = lambda: False
) -> EpochRecord:
    """Train an epoch again and return its new record.

    Args:
        inputs: the inputs of the training, with the network as it was before the epoch.
        recorded: the run's record of the epoch.
        kept: the state before the epoch; None for the first epoch.
        interrupted: called after each step; returns whether to stop.

    Raises:
        ValueError: a loss is not finite, or the kept state does not fit the network or the optimizer.
        KeyboardInterrupt: `interrupted` returned true.
    """

    def stop() -> None:
        if interrupted():
            raise KeyboardInterrupt

    epochs = Epochs(inputs)
    if kept:
        source = f"the kept state after epoch {recorded.epoch - 1}"
        checkpoints.load_into(kept.weights, kept.optimizer, epochs.model, epochs.optimizer, source)
    epochs.position = Position(epoch=recorded.epoch - 1)
    row = epochs.validate(*epochs.train(stop))
    state = checkpoints.optimizer_tensors(epochs.optimizer)
    entry = chain.entry(recorded.epoch, recorded.entry["previous"], epochs.model.state_dict(), state)
    return EpochRecord(epoch=recorded.epoch, entry=entry, row=row)


def compare_records(recorded: EpochRecord, computed: EpochRecord) -> Iterator[str]:
    """Yield a clause for each difference between two records of an epoch, except in training speed."""
    saved, now = recorded.entry["tensors"], computed.entry["tensors"]
    other = [name for name in dict.fromkeys([*saved, *now]) if saved.get(name) != now.get(name)]
    if other:
        yield f"{len(other)} of {len(saved)} tensors differ, the first is {other[0]}"
    elif recorded.entry["weights_sha256"] != computed.entry["weights_sha256"]:
        yield f"weights_sha256 is {recorded.entry['weights_sha256']}, and {computed.entry['weights_sha256']} now"
    if recorded.entry["optimizer_sha256"] != computed.entry["optimizer_sha256"]:
        yield "the optimizer state differs"
    for each in differences(recorded.row, computed.row):
        lacking = each.first is None and is_newer(each.path)
        if each.path not in (SPEED, "weights_sha256") and not lacking:
            yield f"{each.path} is {each.first} in {names.HISTORY}, and {each.second} now"
