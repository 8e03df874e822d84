"""Construction of networks, on the meta device if possible; their weights are then drawn, loaded or restored."""

from __future__ import annotations

import contextlib
import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from in4310repro.data.preprocessing import DECIDED_BY_WEIGHTS, METADATA, Preprocessing, from_json
from in4310repro.models.sources import Source, refuse_no_weights
from in4310repro.models.weights import Content, State, convert_state, merge_weights, read_content
from in4310repro.system.numerics import generator_for
from in4310repro.system.tensors import load_state

# Modules whose weights are drawn by name; what others hold is what their network's constructor draws.
DRAWN = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of a network, with their preprocessing, their origin and a hash."""

    source: str  # the file, for messages
    tensors: dict[str, torch.Tensor] | None  # by the network's names; None: all are drawn
    preprocessing: Preprocessing | None  # how images are prepared for them; None: the file does not say
    sha256: str  # of the file's bytes; of the tensors where timm has no file; empty where all are drawn


DRAWN_WEIGHTS = Weights(source="none", tensors=None, preprocessing=Preprocessing(), sha256="")


def read_weights(network: Source, weights: str) -> Weights:
    """Read weights given as `none`, `imagenet` or a file; see `Network.read_weights`."""
    if weights == "none":
        return DRAWN_WEIGHTS
    if weights == "imagenet":
        content = network.read_imagenet()
        preprocessing: Preprocessing | None = network.imagenet_preprocessing()
    else:
        refuse_no_weights(weights)
        file = Path(weights)
        content = read_content(file)
        preprocessing = _preprocessing_of(network, file, content)
    return Weights(
        source=content.source,
        tensors=network.adapt(content.tensors),
        preprocessing=preprocessing,
        sha256=content.sha256,
    )


def _preprocessing_of(network: Source, file: Path, content: Content) -> Preprocessing | None:
    """Return the preprocessing for the weights in a file; None if it is unknown.

    The preprocessing is read from the file's metadata. A file without metadata gets the preprocessing of the
    ImageNet weights if it has their file name, and if its hash begins with the digits at the end of that name.
    """
    if METADATA in content.metadata:
        return _parse(content.metadata[METADATA], file)
    known = network.imagenet_file()
    if known and file.name == known.name and content.sha256.startswith(file.stem.rsplit("-", 1)[1]):
        return network.imagenet_preprocessing()
    return None


def _parse(text: str, file: Path) -> Preprocessing:
    try:
        return from_json(json.loads(text))
    except (KeyError, TypeError, ValueError) as error:
        valid = f"JSON with {', '.join(DECIDED_BY_WEIGHTS)}"
        raise ValueError(f"{file}: preprocessing in its metadata is {text[:100]}; {valid} is valid ({error})") from None


def build(network: Source, classes: int, seed: int, weights: Weights | None = None) -> nn.Module:
    """Build a network with its initial weights; see `Network.build`."""
    model = construct(network, classes, seed)
    state = initial_state(model, seed)
    if weights and weights.tensors is not None:
        state = merge_weights(state, weights.tensors, weights.source, functools.partial(head, network))
    return _fill(model, state)


def restore(
    network: Source, classes: int, state: Mapping[str, torch.Tensor], source: str, *, of_file: bool = True
) -> nn.Module:
    """Build a network with these weights and buffers, which must be complete; see `Network.restore`."""
    model = construct(network, classes)
    return _fill(model, convert_state(model.state_dict(), dict(state), source, of_file=of_file))


def construct(network: Source, classes: int, seed: int = 0) -> nn.Module:
    """Construct a float32 network, either on the meta device or on the CPU.

    The meta device is used if `initial_state` draws all values of the network, unless the network is
    `foreign` or its constructor computes with values. Otherwise the network is on the CPU, and values that
    `initial_state` does not draw (positions of a transformer, say) come from the network's constructor. The
    constructor draws from torch's generator, seeded by `seed`; the state of this generator is restored
    afterwards.

    Raises:
        ValueError: the network does not exist, the user has not allowed its code to run, or the code fails.
    """
    network.check()
    # Constructors that compute with values cannot do so on the meta device.
    with contextlib.suppress(NotImplementedError):
        if not network.foreign:
            with torch.device("meta"):
                model = _create(network, classes)
            if all(isinstance(module, DRAWN) or not _holds_values(module) for module in model.modules()):
                return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _create(network, classes).cpu()


def _create(network: Source, classes: int) -> nn.Module:
    model = network.create(classes)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{network.name} returned {type(model).__name__}; a torch.nn.Module is valid")
    for key, value in model.state_dict().items():
        if value.is_floating_point() and value.dtype != torch.float32:
            raise ValueError(f"{network.name}: {key} is {value.dtype}; torch.float32 is valid")
    return model


def _holds_values(module: nn.Module) -> bool:
    return any(True for values in (module.parameters(recurse=False), module.buffers(recurse=False)) for _ in values)


@functools.cache
def head(network: Source) -> frozenset[str]:
    """Return the names of the weights whose shape depends on the number of classes, found by building two networks."""
    first, second = (construct(network, classes).state_dict() for classes in (2, 3))
    return frozenset(key for key, value in first.items() if value.shape != second[key].shape)


def _fill(model: nn.Module, state: State) -> nn.Module:
    if any(value.is_meta for value in model.state_dict().values()):
        model.to_empty(device="cpu")
    load_state(model, state)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def initial_state(model: nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Draw initial weights and buffers, each from its own generator, seeded by (seed, name).

    Convolutions: normal with mean 0 and variance 2 / (outputs x kernel area), as torchvision does for ResNets (He
    et al., "Delving deep into rectifiers", ICCV 2015, fan out), and no bias. Linear layers: uniform within +-1 /
    sqrt(inputs), torch's default. Batch norm: weight 1, bias 0. Values of other modules stay as they are.

    Args:
        model: the network, for names, shapes and dtypes; it may be on the meta device if only
            convolutions, linear layers and batch norms have values.
        seed: the seed of the weights.
    """
    state = model.state_dict()
    for prefix, module in model.named_modules():
        if isinstance(module, DRAWN):
            for name, value in module.state_dict(prefix=f"{prefix}." if prefix else "").items():
                state[name] = _initial_value(module, name, value, seed)
    return state


def _initial_value(module: nn.Module, name: str, value: torch.Tensor, seed: int) -> torch.Tensor:
    generator, shape = generator_for(seed, "weights", name), tuple(value.shape)
    if isinstance(module, nn.Linear):
        bound = 1 / math.sqrt(module.in_features)
        return torch.from_numpy((generator.random(shape) * 2 - 1) * bound).to(value.dtype)
    if isinstance(module, nn.Conv2d) and len(shape) == 4:
        standard_deviation = math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
        return torch.from_numpy(generator.standard_normal(shape) * standard_deviation).to(value.dtype)
    return torch.full(shape, 1 if name.endswith(("weight", "running_var")) else 0, dtype=value.dtype)
