"""Positions in a training: the epoch and batch reached, as stored in a checkpoint, and their check."""

from __future__ import annotations

from dataclasses import dataclass, field

from typing_extensions import TypedDict

from in4310repro.runs.records import EpochHashes, HistoryRow
from in4310repro.system.schema import Count, NonNegative


@dataclass
class Position:
    """A position in a training; with network and optimizer state it determines all further results."""

    epoch: int = 0  # epochs that are finished
    batch: int = 0  # batches of the next epoch that are done
    loss: float = 0.0  # summed over the images of those batches
    history: list[HistoryRow] = field(default_factory=list)
    tensors: list[EpochHashes] = field(default_factory=list)  # after each epoch


class PositionRecord(TypedDict):
    """A position in a training, as JSON in a checkpoint."""

    epoch: Count
    batch: Count
    loss: NonNegative
    history: list[HistoryRow]
    tensors: list[EpochHashes]


def check_position(position: PositionRecord, epochs: int | None, batches: int | None) -> None:
    """Check that the values of a position are possible and consistent.

    Raises:
        ValueError: the history does not have one row per finished epoch, the position is beyond the end of the
            training or of an epoch, or the loss is not 0 before the first batch.
    """
    epoch, batch, loss = position["epoch"], position["batch"], position["loss"]
    for name, found in (("history", position["history"]), ("tensors", position["tensors"])):
        numbers = [each["epoch"] for each in found]
        if len(numbers) != epoch or numbers != list(range(1, epoch + 1)):
            raise ValueError(f"epoch is {epoch}, and {name} has epochs {numbers[:9]}; valid are 1 to epoch")
    if epochs is not None and (epoch, min(batch, 1)) > (epochs, 0):
        raise ValueError(
            f"epoch is {epoch} and batch {batch}; valid are up to {epochs} epochs, the end of the training"
        )
    if batches is not None and batch > batches:
        raise ValueError(f"batch is {batch}; valid are up to {batches}, those of an epoch")
    if loss and not batch:
        raise ValueError(f"loss is {loss} before the first batch of an epoch; 0 is valid")
