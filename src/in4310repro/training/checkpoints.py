"""Checkpoints: files named by their hashes, with all that is needed to continue a training exactly.

Order, augmentation and learning rate are functions of (seed, epoch, image, step), so there is no generator to save.
A file's name ends with the sha256 of its bytes: a corrupt one is recognised without a second file.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import safetensors
import safetensors.torch
import torch
from typing_extensions import TypedDict

from in4310repro.runs import config as configuration
from in4310repro.runs import names, records, settings
from in4310repro.system import files, schema
from in4310repro.system.tensors import load_state, metadata_of, read_tensors, tensor_bytes
from in4310repro.training import optimizers

Tensors = Mapping[str, torch.Tensor]


@dataclass
class Position:
    """Point reached in a training; with network and optimizer state, it determines all further results."""

    epoch: schema.Count = 0  # epochs that are finished
    batch: schema.Count = 0  # batches of the next epoch that are done
    loss: schema.NonNegative = 0.0  # summed over the images of those batches
    history: list[records.HistoryRow] = field(default_factory=list)
    tensors: list[records.EpochHashes] = field(default_factory=list)  # after each epoch

    @property
    def begun(self) -> bool:
        """True if the training has taken a step."""
        return bool(self.epoch or self.batch)


# As JSON in a checkpoint.
PositionRecord = TypedDict("PositionRecord", get_type_hints(Position, include_extras=True))  # type: ignore[misc]


def check_position(position: Position, epochs: int | None, batches: int | None) -> None:
    """Check that `position`, a point reached in a training run, has possible and consistent values.

    Raises:
        ValueError: the history does not have one row per finished epoch, the position is beyond the end of the
            training run or of an epoch, or the loss is not 0 before the first batch.
    """
    epoch, batch, loss = position.epoch, position.batch, position.loss
    for name, found in (("history", position.history), ("tensors", position.tensors)):
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
LIBRARIES = ("torch", "torchvision", "timm", "in4310repro")  # whose networks use all parameters in every step
TO_REMOVE = "; remove it, and the one before it is used"


def save(
    folder: Path,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    position: Position,
    config: Mapping[str, Any],
) -> Path:
    """Write a checkpoint and remove all but the last two; return the path of the written file."""
    return save_tensors(folder, tensors_of(model, optimizer), position, config)


def save_tensors(folder: Path, tensors: Tensors, position: Position, config: Mapping[str, Any]) -> Path:
    """Write a checkpoint like `save`, but from tensors named `model.NAME` and `optimizer.INDEX.NAME`."""
    data = tensor_bytes(tensors, {POSITION: json.dumps(asdict(position)), "config": json.dumps(config)})
    file = folder / names.checkpoint(position.epoch, position.batch, hashlib.sha256(data).hexdigest())
    files.write_file(file, data)
    for old in _list_files(folder)[:-KEPT]:
        old.unlink()
    return file


def pack(model: torch.nn.Module, optimizer: torch.optim.Optimizer, position: Position) -> bytes:
    """Return the content of a checkpoint as bytes, to be sent to another process."""
    return tensor_bytes(tensors_of(model, optimizer), {POSITION: json.dumps(asdict(position))})


def unpack(data: bytes, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Position:
    """Load a checkpoint from `pack` into network and optimizer; return the point reached in the training."""
    position = Position(**json.loads(metadata_of(data)[POSITION]))
    _load(safetensors.torch.load(data), model, optimizer, begun=position.begun)
    return position


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the optimizer's state tensors by `INDEX.NAME` (INDEX of the parameter), such as `0.exp_avg`."""
    states = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, state in states.items() for name, value in state.items()}


def write_kept_epoch(file: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write the weights and the optimizer state after an epoch; equal tensors give equal bytes."""
    files.write_file(file, tensor_bytes(tensors_of(model, optimizer)))


def kept_epoch_bytes(weights: Tensors, trainable: Collection[str], setting: settings.OptimizerSetting) -> int:
    """Return the approximate number of bytes that `write_kept_epoch` writes, not counting tensor names.

    Args:
        weights: the network's weights and buffers.
        trainable: names of the network's parameters.
        setting: the setting that trains the network.
    """
    copies = optimizers.state_copies(setting)
    return sum(value.nbytes * (1 + copies * (name in trainable)) for name, value in weights.items())


def read_kept_epoch(file: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Read a file that `write_kept_epoch` wrote; return the weights, and the optimizer state by `INDEX.NAME`.

    Raises:
        ValueError: the file does not exist, is not a regular file, or is damaged.
    """
    tensors = read_tensors(file)
    return _part(tensors, OF_MODEL), _part(tensors, OF_OPTIMIZER)


def load_into(
    weights: Tensors, state: Tensors, model: torch.nn.Module, optimizer: torch.optim.Optimizer, source: str
) -> None:
    """Load the weights and the optimizer state from `read_kept_epoch` into the network and the optimizer.

    Raises:
        ValueError: the state does not fit the network or the optimizer; the message names the source.
    """
    with _of_this_training(source):
        _load(_prefixed(weights, state), model, optimizer, begun=True)


def tensors_of(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return the weights and the optimizer state, named `model.NAME` and `optimizer.INDEX.NAME`."""
    return _prefixed(model.state_dict(), optimizer_tensors(optimizer))


def _prefixed(weights: Tensors, state: Tensors) -> dict[str, torch.Tensor]:
    parts = ((OF_MODEL, weights), (OF_OPTIMIZER, state))
    return {f"{prefix}{name}": value for prefix, part in parts for name, value in part.items()}


def _part(tensors: Tensors, prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


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
        data, source = files.read_bytes(file), f"checkpoint {file}"
        if hashlib.sha256(data).hexdigest()[: names.CHECKPOINT_DIGITS] != file.stem.rpartition("-")[2]:
            warnings.append(f"{source} is corrupt; the one before it is used")
            continue
        with _of_this_training(source, TO_REMOVE):
            tensors, metadata = safetensors.torch.load(data), metadata_of(data)
            begun_with, found = json.loads(metadata["config"]), json.loads(metadata[POSITION])
        if isinstance(begun_with, Mapping) and "preset" in begun_with:
            # Reading and writing it adds the defaults of newer settings, with which an older training was done.
            begun_with = configuration.to_json(configuration.from_json(begun_with, source))
            # Older versions wrote the checkpoints of a run of format 3 in format 4.
            begun_with["format"] = config.get("format")
        schema.refuse_other_configuration(begun_with, config, source)
        position = Position(**schema.check(found, PositionRecord, source))
        with _of_this_training(source, TO_REMOVE):
            check_position(position, config.get("epochs"), batches)
            _load(tensors, model, optimizer, begun=position.begun)
        return position, warnings
    return Position(), warnings


@contextmanager
def _of_this_training(source: str, advice: str = "") -> Iterator[None]:
    """Raise ValueError in place of what a file raises that is intact but belongs to a different training."""
    try:
        yield
    except UNUSABLE as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"{source} does not belong to this training ({what}){advice}") from None


def _list_files(folder: Path) -> list[Path]:
    """Return the paths of the checkpoints in a folder, sorted by epoch and batch; empty if there is no folder."""
    return sorted(folder.glob("[0-9]*.safetensors"))


def _load(tensors: Tensors, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, begun: bool) -> None:
    """Check tensors that are named as in a checkpoint, then load them into the network and the optimizer.

    `begun` is true if training has taken at least one step. There must then be an optimizer state, unless
    the optimizer keeps none.

    Raises:
        KeyError: a weight is missing.
        ValueError: a tensor is neither a weight nor an optimizer state, or has a wrong dtype, shape or
            value; or the optimizer state is missing or incomplete.
    """
    expected = _prefixed(model.state_dict(), {})
    for key, needed in expected.items():
        if ((value := tensors[key]).dtype, value.shape) != (needed.dtype, needed.shape):
            valid = f"{needed.dtype} of shape {tuple(needed.shape)} is valid"
            raise ValueError(f"{key} is {value.dtype} of shape {tuple(value.shape)}; {valid}")
    state = {key: value for key, value in tensors.items() if key not in expected}
    if surplus := [key for key in state if not key.startswith(OF_OPTIMIZER)]:
        raise ValueError(f"{surplus[0]} is no weight of the network and no state of the optimizer")
    of_all = bool(state) and type(model).__module__.partition(".")[0] in LIBRARIES
    states = optimizers.states_of(optimizer, _part(state, OF_OPTIMIZER), of_all=of_all)
    if begun and not states and any(optimizers.state_of(optimizer, group) for group in optimizer.param_groups):
        raise ValueError(f"it has no state of {type(optimizer).__name__}, which a training has after a step")
    weights = _part({key: tensors[key] for key in expected}, OF_MODEL)
    _check_values(weights, states, model, optimizer)
    load_state(model, weights)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def _check_values(
    weights: Tensors,
    states: Mapping[int, dict[str, torch.Tensor]],
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Raise ValueError if a value is impossible; bring the state into the memory layout that fused optimizers require.

    NaN weights and infinite averages of squared gradients are accepted, since they occur if training diverges.
    """
    for name, value in weights.items():
        if name.endswith("num_batches_tracked") and bool((value < 0).any()):
            raise ValueError(f"{OF_MODEL}{name} is {value.min().item()}; valid are 0 and more")
    named, pairs = {id(each): name for name, each in model.named_parameters()}, optimizers.parameters_of(optimizer)
    for index, state in states.items():
        group, parameter = pairs[index]
        kept, weight = optimizers.state_of(optimizer, group), weights[named[id(parameter)]]
        for name, value in state.items():
            if kept[name] is settings.Kept.SQUARES:
                for first in value[(value < 0) | (value.isnan() & ~weight.isnan())].tolist():
                    valid = "0 and more, and nan where the weight is nan"
                    raise ValueError(f"{index}.{name} is {first}; valid are {valid}")
            if value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter.detach(), dtype=value.dtype).copy_(value)
