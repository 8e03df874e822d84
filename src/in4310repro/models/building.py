"""Construction of networks, on the meta device if possible; their weights are then drawn, loaded or restored."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping

import torch
from torch import nn

from in4310repro.models.fitting import State, convert_state, merge_weights
from in4310repro.models.initial import DRAWN, initial_state
from in4310repro.models.network import Network
from in4310repro.models.weights import Weights
from in4310repro.system.tensors import load_state


def build(network: Network, classes: int, seed: int, weights: Weights | None = None) -> nn.Module:
    """Build a network with its initial weights; see `Network.build`."""
    model = construct(network, classes, seed)
    state = initial_state(model, seed)
    if weights and weights.tensors is not None:
        state = merge_weights(state, weights.tensors, weights.source, network.head)
    return _fill(model, state)


def restore(
    network: Network, classes: int, state: Mapping[str, torch.Tensor], source: str, *, of_file: bool = True
) -> nn.Module:
    """Build a network with these weights and buffers, which must be complete; see `Network.restore`."""
    model = construct(network, classes)
    return _fill(model, convert_state(model.state_dict(), dict(state), source, of_file=of_file))


def construct(network: Network, classes: int, seed: int = 0) -> nn.Module:
    """Construct a float32 network: on the meta device if `initial_state` draws all its values, otherwise on the CPU.

    Values that `initial_state` does not draw (positions of a transformer, say) come from the constructor. It
    draws them from torch's generator, seeded by `seed`; the generator's state is restored afterwards.

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


def _create(network: Network, classes: int) -> nn.Module:
    model = network.source.create(network.name, classes)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{network.name} returned {type(model).__name__}; a torch.nn.Module is valid")
    for key, value in model.state_dict().items():
        if value.is_floating_point() and value.dtype != torch.float32:
            raise ValueError(f"{network.name}: {key} is {value.dtype}; torch.float32 is valid")
    return model


def _holds_values(module: nn.Module) -> bool:
    return any(True for values in (module.parameters(recurse=False), module.buffers(recurse=False)) for _ in values)


@functools.cache
def head(network: Network) -> frozenset[str]:
    """Return the names of the weights whose shape depends on the number of classes, found by building two networks."""
    first, second = (construct(network, classes).state_dict() for classes in (2, 3))
    return frozenset(key for key, value in first.items() if value.shape != second[key].shape)


def _fill(model: nn.Module, state: State) -> nn.Module:
    if any(value.is_meta for value in model.state_dict().values()):
        model.to_empty(device="cpu")
    load_state(model, state)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
