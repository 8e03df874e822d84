"""Checkpoints: files named by their hashes, with all that is needed to continue a training exactly.

Order, augmentation and learning rate are functions of (seed, epoch, image, step), so there is no generator to save.
A file's name ends with the sha256 of its bytes: a corrupt one is recognised without a second file.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import get_type_hints

import safetensors
import safetensors.torch
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer
from typing_extensions import TypedDict

from in4310repro.runs import config as configuration, names, record_types, settings
from in4310repro.system import files, schema
from in4310repro.system.tensors import Tensors, load_state, metadata_of, read_tensors, tensor_bytes, tensors_sha256
from in4310repro.training import optimizers

State = dict[str, Tensor]


@dataclass
class Position:
    """Point reached in a training; with network and optimizer state, it determines all further results."""

    epoch: schema.Count = 0  # epochs that are finished
    batch: schema.Count = 0  # batches of the next epoch that are done
    loss: schema.NonNegative = 0.0  # summed over the images of those batches
    history: record_types.History = field(default_factory=list)
    tensors: record_types.Chain = field(default_factory=list)  # after each epoch

    @property
    def begun(self) -> bool:
        """True if the training has taken a step."""
        return bool(self.epoch or self.batch)


# As JSON in a checkpoint.
PositionRecord = TypedDict("PositionRecord", get_type_hints(Position, include_extras=True))  # type: ignore[misc]


def check_position(position: Position, epochs: float, batches: float) -> None:
    """Check that `position`, a point reached in a training run, has possible and consistent values.

    Raises:
        ValueError: the history does not have one row per finished epoch, the position is beyond the end of the
            training run or of an epoch, or the loss is not 0 before the first batch.
    """
    epoch, batch, loss = position.epoch, position.batch, position.loss
    for name in ("history", "tensors"):
        numbers = [each["epoch"] for each in getattr(position, name)]
        if len(numbers) != epoch or numbers != [*range(1, epoch + 1)]:
            raise ValueError(f"epoch is {epoch}, {name} has epochs {numbers[:9]}; they must be 1 to {epoch} in order")
    if (epoch, min(batch, 1)) > (epochs, 0):
        raise ValueError(f"epoch is {epoch} and batch {batch}; they must be at most {epochs} and 0, the end")
    if batch > batches:
        raise ValueError(f"batch is {batch}; it must be at most {batches}, as in an epoch")
    if loss and not batch:
        raise ValueError(f"loss is {loss} before the first batch of an epoch; it must be 0")


KEPT, FILES = 2, "[0-9]*.safetensors"  # in the order of epoch and batch
# What the content of a file that `save` did not write can raise.
UNUSABLE = (safetensors.SafetensorError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError)
OF_MODEL, OF_OPTIMIZER = "model.", "optimizer."  # begin the names of the tensors
POSITION = "position"  # in the metadata
LIBRARIES = ("torch", "torchvision", "timm", "in4310repro")  # whose networks use all parameters in every step
TO_REMOVE = "; remove it, and the one before it is used"


def save(folder: Path, tensors: Tensors, position: Position, config: configuration.Values) -> Path:
    """Write a checkpoint and remove all but the last two; return the path of the written file.

    The tensors are named as by `tensors_of`.
    """
    data = tensor_bytes(tensors, {POSITION: json.dumps(asdict(position)), "config": json.dumps(config)})
    digits = files.bytes_sha256(data)[: names.CHECKPOINT_DIGITS]
    file = files.write_file(folder / f"{position.epoch:06d}-{position.batch:08d}-{digits}.safetensors", data)
    for old in sorted(folder.glob(FILES))[:-KEPT]:
        old.unlink()
    return file


def pack(model: Module, optimizer: Optimizer, position: Position) -> bytes:
    """Return the content of a checkpoint as bytes, to be sent to another process."""
    return tensor_bytes(tensors_of(model, optimizer), {POSITION: json.dumps(asdict(position))})


def unpack(data: bytes, model: Module, optimizer: Optimizer) -> Position:
    """Load a checkpoint from `pack` into network and optimizer; return the point reached in the training."""
    position = Position(**json.loads(metadata_of(data)[POSITION]))
    _load(safetensors.torch.load(data), model, optimizer, position.begun)
    return position


def optimizer_tensors(optimizer: Optimizer) -> State:
    """Return the optimizer's state tensors by `INDEX.NAME` (INDEX of the parameter), such as `0.exp_avg`."""
    states = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, state in states.items() for name, value in state.items()}


def kept_epoch_bytes(model: Module, setting: settings.OptimizerSetting) -> int:
    """Return the approximate number of bytes that are kept of an epoch, not counting tensor names."""
    state = settings.OPTIMIZERS[setting.optimizer].state_with(setting.momentum)
    copies = sum(kept.has_shape_of_parameter for kept in state.values())
    return sum(each.nbytes for each in (*model.state_dict().values(), *[*model.parameters()] * copies))


def read_kept_epoch(file: Path, entry: record_types.EpochHashes | None = None) -> tuple[State, State]:
    """Read the file of a kept epoch; return the weights, and the optimizer state by `INDEX.NAME`.

    Args:
        file: the file.
        entry: the entry of the epoch in the hash chain, with which the state is compared; None: it is not.

    Raises:
        ValueError: the file does not exist, is not a regular file, is damaged, or has other hashes than the entry.
    """
    tensors = read_tensors(file)
    weights, state = _part(tensors, OF_MODEL), _part(tensors, OF_OPTIMIZER)
    for what, part in (("weights", weights), ("optimizer state", state)):
        if entry and tensors_sha256(part) != entry[f"{what.split()[0]}_sha256"]:  # type: ignore[literal-required]
            committed = f"{names.TENSORS} commits to after epoch {entry['epoch']}"
            raise ValueError(f"{file} holds other {what} than {committed}")
    return weights, state


def load_into(weights: Tensors, state: Tensors, model: Module, optimizer: Optimizer, source: str) -> None:
    """Load the weights and the optimizer state from `read_kept_epoch` into the network and the optimizer.

    Raises:
        ValueError: the state does not fit the network or the optimizer; the message names the source.
    """
    with _of_this_training(source):
        _load(_prefixed(weights, state), model, optimizer, True)


def tensors_of(model: Module, optimizer: Optimizer) -> State:
    """Return the weights and the optimizer state, named `model.NAME` and `optimizer.INDEX.NAME`."""
    return _prefixed(model.state_dict(), optimizer_tensors(optimizer))


def _prefixed(weights: Tensors, state: Tensors) -> State:
    parts = ((OF_MODEL, weights), (OF_OPTIMIZER, state))
    return {f"{prefix}{name}": value for prefix, part in parts for name, value in part.items()}


def _part(tensors: Tensors, prefix: str) -> State:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def restore(
    folder: Path, model: Module, optimizer: Optimizer, config: configuration.Values, batches: float = math.inf
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
    for file in sorted(folder.glob(FILES), reverse=True):
        data, source = files.read_bytes(file), f"checkpoint {file}"
        if files.bytes_sha256(data)[: names.CHECKPOINT_DIGITS] != file.stem.rpartition("-")[2]:
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
            check_position(position, config.get("epochs", math.inf), batches)
            _load(tensors, model, optimizer, position.begun)
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


def _load(tensors: Tensors, model: Module, optimizer: Optimizer, begun: bool) -> None:
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
            valid = f"it must be {needed.dtype} of shape {tuple(needed.shape)}"
            raise ValueError(f"{key} is {value.dtype} of shape {tuple(value.shape)}; {valid}")
        # NaN weights are accepted, since they occur if training diverges.
        if key.endswith("num_batches_tracked") and (value < 0).any():
            raise ValueError(f"{key} is {value.min().item()}; it must be 0 or more")
    state = _part(tensors, OF_OPTIMIZER)
    if surplus := [key for key in tensors if key not in expected and not key.startswith(OF_OPTIMIZER)]:
        raise ValueError(f"{surplus[0]} is neither a weight of the network nor a state of the optimizer")
    of_all = bool(state) and type(model).__module__.partition(".")[0] in LIBRARIES
    new = {parameter: tensors[OF_MODEL + name] for name, parameter in model.named_parameters()}
    states = optimizers.states_of(optimizer, state, new, begun, of_all)
    load_state(model, _part({key: tensors[key] for key in expected}, OF_MODEL))
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
