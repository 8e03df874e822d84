"""Checkpoints: files named by their hashes, with all that is needed to continue a training exactly.

Order, augmentation and learning rate are functions of (seed, epoch, image, step), so there is no generator to save.
A file's name ends with the sha256 of its bytes: a corrupt one is recognised without a second file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from typing_extensions import TypedDict

from in4310repro.runs import config as configuration
from in4310repro.runs import names
from in4310repro.runs.records import EpochHashes, HistoryRow
from in4310repro.runs.settings import Kept, OptimizerSetting
from in4310repro.system.files import read_bytes, write_file
from in4310repro.system.schema import Count, NonNegative, check, refuse_other_configuration
from in4310repro.system.tensors import load_state, metadata_of, read_tensors, tensor_bytes
from in4310repro.training import optimizers


@dataclass
class Position:
    """Point reached in a training; with network and optimizer state, it determines all further results."""

    epoch: int = 0  # epochs that are finished
    batch: int = 0  # batches of the next epoch that are done
    loss: float = 0.0  # summed over the images of those batches
    history: list[HistoryRow] = field(default_factory=list)
    tensors: list[EpochHashes] = field(default_factory=list)  # after each epoch


class PositionRecord(TypedDict):
    """Point reached in a training, as JSON in a checkpoint."""

    epoch: Count
    batch: Count
    loss: NonNegative
    history: list[HistoryRow]
    tensors: list[EpochHashes]


def check_position(position: PositionRecord, epochs: int | None, batches: int | None) -> None:
    """Check that `position`, a point reached in a training run, has possible and consistent values.

    Raises:
        ValueError: the history does not have one row per finished epoch, the position is beyond the end of the
            training run or of an epoch, or the loss is not 0 before the first batch.
    """
    epoch, batch, loss = position["epoch"], position["batch"], position["loss"]
    for name, found in (("history", position["history"]), ("tensors", position["tensors"])):
        numbers = [each["epoch"] for each in found]
        if len(numbers) != epoch or numbers != list(range(1, epoch + 1)):
            raise ValueError(
                f"epoch is {epoch}, and {name} has epochs {numbers[:9]}; valid are 1 to {epoch}, each once and in order"
            )
    if epochs is not None and (epoch, min(batch, 1)) > (epochs, 0):
        raise ValueError(
            f"epoch is {epoch} and batch {batch}; the training ends at epoch {epochs}, batch 0, the last that is valid"
        )
    if batches is not None and batch > batches:
        raise ValueError(f"batch is {batch}; valid are up to {batches}, those of an epoch")
    if loss and not batch:
        raise ValueError(f"loss is {loss} before the first batch of an epoch; 0 is valid")


KEPT = 2
# What the content of a file that `save` did not write can raise.
UNUSABLE = (safetensors.SafetensorError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError)
OF_MODEL, OF_OPTIMIZER = "model.", "optimizer."  # begin the names of the tensors
POSITION = "position"  # in the metadata
TO_REMOVE = "; remove it, and the one before it is used"


def save(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    position: Position,
    config: Mapping[str, Any],
) -> Path:
    """Write a checkpoint and remove all but the last two; return the path of the written file."""
    return save_tensors(folder, _tensors(model, optimizer), position, config)


def save_tensors(
    folder: Path, tensors: Mapping[str, torch.Tensor], position: Position, config: Mapping[str, Any]
) -> Path:
    """Write a checkpoint like `save`, but from tensors named `model.NAME` and `optimizer.INDEX.NAME`."""
    data = tensor_bytes(tensors, {POSITION: json.dumps(asdict(position)), "config": json.dumps(config)})
    name = names.checkpoint(position.epoch, position.batch, hashlib.sha256(data).hexdigest())
    write_file(folder / name, data)
    for old in _list_files(folder)[:-KEPT]:
        old.unlink()
    return folder / name


def pack(model: torch.nn.Module, optimizer: torch.optim.Optimizer, position: Position) -> bytes:
    """Return the content of a checkpoint as bytes, to be sent to another process."""
    return tensor_bytes(_tensors(model, optimizer), {POSITION: json.dumps(asdict(position))})


def unpack(data: bytes, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Position:
    """Load a checkpoint from `pack` into network and optimizer; return the point reached in the training."""
    position = Position(**json.loads(metadata_of(data)[POSITION]))
    _load(safetensors.torch.load(data), model, optimizer, begun=bool(position.epoch or position.batch))
    return position


def size(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Return the size in bytes of a checkpoint's tensors: the weights and the optimizer state."""
    return len(tensor_bytes(_tensors(model, optimizer)))


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the optimizer's state tensors by `INDEX.NAME` (INDEX of the parameter), such as `0.exp_avg`."""
    states = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, state in states.items() for name, value in state.items()}


def write_kept_epoch(file: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write the weights and the optimizer state after an epoch; equal tensors give equal bytes."""
    write_file(file, tensor_bytes(_tensors(model, optimizer)))


def kept_epoch_bytes(weights: Mapping[str, torch.Tensor], trainable: Collection[str], setting: OptimizerSetting) -> int:
    """Return the approximate number of bytes that `write_kept_epoch` writes, not counting tensor names.

    Args:
        weights: the network's weights and buffers.
        trainable: names of the network's parameters.
        setting: the setting that trains the network.
    """
    sizes = {name: value.numel() * value.element_size() for name, value in weights.items()}
    return sum(sizes.values()) + optimizers.state_copies(setting) * sum(sizes[name] for name in trainable)


def read_kept_epoch(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Read a file that `write_kept_epoch` wrote; return the weights, and the optimizer state by `INDEX.NAME`.

    Raises:
        ValueError: the file does not exist, is not a regular file, or is damaged.
    """
    tensors = read_tensors(file)
    weights, state = (
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in (OF_MODEL, OF_OPTIMIZER)
    )
    return weights, state


def load_into(
    weights: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    source: str,
) -> None:
    """Load the weights and the optimizer state from `read_kept_epoch` into the network and the optimizer.

    Raises:
        ValueError: the state does not fit the network or the optimizer; the message names the source.
    """
    try:
        _load(_prefixed(weights, state), model, optimizer, begun=True)
    except UNUSABLE as error:
        raise _error_for_foreign_file(source, error) from None


def _tensors(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return _prefixed(model.state_dict(), optimizer_tensors(optimizer))


def _prefixed(weights: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    of_model = {f"{OF_MODEL}{name}": value for name, value in weights.items()}
    return of_model | {f"{OF_OPTIMIZER}{name}": value for name, value in state.items()}


def restore(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    config: Mapping[str, Any],
    batches: int | None = None,
) -> tuple[Position, list[str]]:
    """Load the newest intact checkpoint into the network and the optimizer; return its position and warnings.

    Args:
        folder: the folder of the checkpoints.
        model: the network, as built for the training run.
        optimizer: the optimizer, as built for the training run.
        config: the configuration of the training run as JSON values.
        batches: number of batches per epoch, if known.

    Returns:
        The position to continue from, and a warning for each corrupt file. Without an intact checkpoint the
        position is the start of the training run.

    Raises:
        ValueError: the checkpoint's configuration differs (the message names the values), or the file is intact
            but its content cannot come from this training run.
    """
    warnings = []
    for file in reversed(_list_files(folder)):
        data, source = read_bytes(file), f"checkpoint {file}"
        if hashlib.sha256(data).hexdigest()[: names.CHECKPOINT_DIGITS] != file.stem.rpartition("-")[2]:
            warnings.append(f"{source} is corrupt; the one before it is used")
            continue
        try:
            tensors, metadata = safetensors.torch.load(data), metadata_of(data)
            begun_with, position = json.loads(metadata["config"]), json.loads(metadata[POSITION])
        except UNUSABLE as error:
            raise _error_for_foreign_file(source, error, TO_REMOVE) from None
        if isinstance(begun_with, Mapping) and "preset" in begun_with:
            # Reading and writing it adds the defaults of newer settings, with which an older training was done.
            begun_with = configuration.to_json(configuration.from_json(begun_with, source))
            # Older versions wrote the checkpoints of a run of format 3 in format 4.
            begun_with["format"] = config.get("format")
        refuse_other_configuration(begun_with, config, source)
        check(position, PositionRecord, source)
        try:
            check_position(position, config.get("epochs"), batches)
            _load(tensors, model, optimizer, begun=bool(position["epoch"] or position["batch"]))
        except UNUSABLE as error:
            raise _error_for_foreign_file(source, error, TO_REMOVE) from None
        return Position(**position), warnings
    return Position(), warnings


def _check_values(
    weights: Mapping[str, torch.Tensor],
    states: Mapping[int, Mapping[str, torch.Tensor]],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Raise ValueError if a value in the weights or the optimizer state is impossible.

    NaN weights and infinite averages of squared gradients are accepted, since they occur if training diverges.
    """
    for key, value in weights.items():
        if key.endswith("num_batches_tracked") and bool((value < 0).any()):
            raise ValueError(f"{key} is {value.min().item()}; valid are 0 and more")
    keys = {id(parameter): f"{OF_MODEL}{name}" for name, parameter in model.named_parameters()}
    groups = [(group, parameter) for group in optimizer.param_groups for parameter in group["params"]]
    for index, state in states.items():
        group, parameter = groups[index]
        kept = optimizers.state_of(optimizer, group)
        for name in (name for name in state if kept[name] is Kept.SQUARES):
            value = state[name]
            wrong = (value < 0) | (value.isnan() & ~weights[keys[id(parameter)]].isnan())
            if bool(wrong.any()):
                first = value[wrong][0].item()
                raise ValueError(f"{index}.{name} is {first}; valid are 0 and more, and nan where the weight is nan")


def _error_for_foreign_file(source: str, error: Exception, advice: str = "") -> ValueError:
    """Return the error for a file that is intact but belongs to a different training."""
    what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return ValueError(f"{source} does not belong to this training ({what}){advice}")


def _list_files(folder: Path) -> list[Path]:
    """Return the paths of the checkpoints in a folder, sorted by epoch and batch; empty if there is no folder."""
    return sorted(folder.glob("[0-9]*.safetensors"))


def _load(
    tensors: Mapping[str, torch.Tensor], model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, begun: bool
) -> None:
    """Check tensors that are named as in a checkpoint, then load them into the network and the optimizer.

    `begun` is true if training has taken at least one step. There must then be an optimizer state, unless
    the optimizer keeps none.

    Raises:
        KeyError: a weight is missing.
        ValueError: a tensor is neither a weight nor an optimizer state, or has a wrong dtype, shape or
            value; or the optimizer state is missing or incomplete.
    """
    expected = {f"{OF_MODEL}{name}": value for name, value in model.state_dict().items()}
    weights = {key: tensors[key] for key in expected}
    for key, value in weights.items():
        if (value.dtype, value.shape) != (expected[key].dtype, expected[key].shape):
            valid = f"{expected[key].dtype} of shape {tuple(expected[key].shape)} is valid"
            raise ValueError(f"{key} is {value.dtype} of shape {tuple(value.shape)}; {valid}")
    state = {key: value for key, value in tensors.items() if key not in expected}
    if surplus := [key for key in state if not key.startswith(OF_OPTIMIZER)]:
        raise ValueError(f"{surplus[0]} is no weight of the network and no state of the optimizer")
    states = optimizers.states_of(
        optimizer,
        {key.removeprefix(OF_OPTIMIZER): value for key, value in state.items()},
        of_all=bool(state) and _uses_all_parameters(model),
    )
    if begun and not states and any(optimizers.state_of(optimizer, group) for group in optimizer.param_groups):
        raise ValueError(f"it has no state of {type(optimizer).__name__}, which a training has after a step")
    _check_values(weights, states, model, optimizer)
    load_state(model, {key.removeprefix(OF_MODEL): value for key, value in weights.items()})
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for index, each in states.items():
        states[index] = {name: _match_layout(value, parameters[index]) for name, value in each.items()}
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def _uses_all_parameters(model: torch.nn.Module) -> bool:
    """Return whether the model comes from a library whose networks use all parameters in every step."""
    return type(model).__module__.partition(".")[0] in ("torch", "torchvision", "timm", "in4310repro")


def _match_layout(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Return the value in the parameter's memory layout, as fused optimizers require; unchanged if shapes differ."""
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter.detach(), dtype=value.dtype).copy_(value)
