"""Construction of networks, on the meta device if possible, with their weights, trained part and head."""

import contextlib
import functools
import itertools
import math

import torch
from torch import nn

from in4310repro.models.sources import FROM, Network
from in4310repro.system.numerics import generator_for
from in4310repro.system.tensors import Tensors, load_state
from in4310repro.system.text import first_of

# Modules whose weights are drawn by name; what others hold is what their network's constructor draws.
DRAWN = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)


def construct(network: Network, classes: int, seed: int = 0) -> nn.Module:
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
            others = (module for module in model.modules() if not isinstance(module, DRAWN))
            if not any([*each.parameters(recurse=False), *each.buffers(recurse=False)] for each in others):
                return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _create(network, classes).cpu()


def _create(network: Network, classes: int) -> nn.Module:
    model = network.create(classes)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{network.name} returned {type(model).__name__}; it must return a torch.nn.Module")
    for key, value in model.state_dict().items():
        if value.is_floating_point() and value.dtype != torch.float32:
            raise ValueError(f"{network.name}: {key} is {value.dtype}; it must be torch.float32")
    return model


@functools.cache
def head(network: Network) -> frozenset[str]:
    """Return the names of the weights whose shape depends on the number of classes, found by building two networks."""
    first, second = (construct(network, classes).state_dict() for classes in (2, 3))
    return frozenset(key for key, value in first.items() if value.shape != second[key].shape)


def fill(model: nn.Module, state: Tensors) -> nn.Module:
    """Give a constructed network these weights and buffers, in channels_last memory on the CPU."""
    if any(value.is_meta for value in model.state_dict().values()):
        model.to_empty(device="cpu")
    load_state(model, state)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def initial_state(model: nn.Module, seed: int) -> Tensors:
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
        if not isinstance(module, DRAWN):
            continue
        for name, value in module.state_dict(prefix=f"{prefix and prefix + '.'}").items():
            generator, shape = generator_for(seed, "weights", name), tuple(value.shape)
            if isinstance(module, nn.Linear):
                drawn = (generator.random(shape) * 2 - 1) * (1 / math.sqrt(module.in_features))
            elif isinstance(module, nn.Conv2d) and len(shape) == 4:
                drawn = generator.standard_normal(shape) * math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
            else:
                state[name] = torch.full(shape, 1 if name.endswith(("weight", "running_var")) else 0, dtype=value.dtype)
                continue
            state[name] = torch.from_numpy(drawn).to(value.dtype)
    return state


def fit_state(
    initial: Tensors,
    given: Tensors,
    source: str,
    network: Network | None = None,
    *,
    of_file: bool = True,
) -> Tensors:
    """Return the weights and buffers of a network, converted to its dtypes.

    Args:
        initial: every weight and buffer of the network.
        given: weights and buffers, as they were saved.
        source: their origin, for the error message.
        network: if it is given, its head keeps its initial weights where `given` has another number of classes, and
            the batch counters of batch norm may be missing.
        of_file: whether `given` was read from a file, which may be truncated.

    Raises:
        ValueError: a key is missing or extra or has a different shape (the message names up to eight of them), or
            a value is unusable, for example not finite, sparse or complex.
    """
    if not given:
        raise ValueError(f"{source} holds no tensors; it must hold the weights of the network")
    shapes, expected = ({name: tuple(value.shape) for name, value in state.items()} for state in (given, initial))
    needed = [*expected]
    if network:
        # Tensors of another shape; those of a new head may differ only in the first axis, the number of classes.
        resized = {name for name in expected.keys() & shapes if expected[name] != shapes[name]}
        if resized and all(expected[name][1:] == shapes[name][1:] for name in resized) and resized <= head(network):
            needed = [name for name in needed if name not in resized]
        # Counters of batches are not weights, and files of old torch versions lack them.
        needed = [name for name in needed if name in given or not name.endswith("num_batches_tracked")]
    mismatches = [f"{name} is missing" for name in needed if name not in given]
    mismatches += [f"{name} is extra" for name in sorted(given) if name not in expected]
    others = [name for name in needed if shapes.get(name, expected[name]) != expected[name]]
    mismatches += [f"{name} has shape {shapes[name]} for {expected[name]}" for name in others]
    if mismatches:
        raise ValueError(f"{source} does not fit the model: {first_of(mismatches, 8, '; ')}")
    return {**initial, **{name: _convert(name, given[name], initial[name], source, of_file) for name in needed}}


def _convert(name: str, value: torch.Tensor, expected: torch.Tensor, source: str, of_file: bool) -> torch.Tensor:
    """Return a weight or buffer converted to the dtype that the network has for it.

    Raises:
        ValueError: the values are not dense, not finite, or of the wrong kind (whole or floating-point); or all
            are 0, as in a file that was not written completely. Only floating-point weights of a file with two or
            more axes are refused for that, unless they are all 0 in the network too.
    """
    floating = expected.is_floating_point()
    if value.layout != torch.strided or value.is_quantized or value.is_nested:
        problem = f"{name} is a sparse, quantized or nested tensor; it must be dense"
    elif value.is_meta:
        problem = f"{name} has a shape and no values (device meta); save the weights themselves"
    elif value.is_floating_point() != floating or value.is_complex() or value.dtype == torch.bool:
        problem = f"{name} holds {f'{value.dtype}'[6:]}; {'floating-point' if floating else 'whole'} numbers are needed"
    else:
        converted = value.to(expected.dtype)
        if wrong := int((~converted.isfinite()).sum()):
            what = "too large for float32" if value.double().isfinite().all() else "nan or infinite"
            problem = f"{wrong} of {value.numel()} values of {name} are {what}"
        elif name.endswith("running_var") and (converted < 0).any():
            problem = f"{name} has values below 0, which a variance cannot be"
        elif of_file and floating and value.ndim > 1 and not converted.any() and (expected.is_meta or expected.any()):
            problem = f"all values of {name} are 0, as in a file that was not written completely"
        else:
            return converted
    raise ValueError(f"{source}: {problem}")


def frozen_modules(model: nn.Module, part: str) -> list[nn.Module]:
    """Return the modules that are not trained, in the network's order; an empty list if `part` is `all`.

    These are the modules before the first trained layer, without the modules that contain this layer.

    Args:
        model: the network.
        part: `all`, or `from:LAYER` with the name of the first trained layer.

    Raises:
        ValueError: the network has no such layer.
    """
    if not part.startswith(FROM):
        return []
    layer, named = part.removeprefix(FROM), dict(model.named_modules())
    if layer not in named:
        raise ValueError(
            f"no layer {layer!r} to train from; the network has {', '.join(dict(model.named_children()))}, and modules "
            "inside of these"
        )
    before = itertools.takewhile(layer.__ne__, named)
    return [named[name] for name in before if name and not layer.startswith(f"{name}.")]


def last_layer(model: nn.Module, network: Network) -> tuple[str, nn.Linear]:
    """Return the linear layer that computes the scores, with its name.

    Raises:
        ValueError: the network does not end in a linear layer.
    """
    names = sorted({each.rpartition(".")[0] for each in head(network)})
    layer = model.get_submodule(names[0]) if len(names) == 1 else None
    if not isinstance(layer, nn.Linear):
        raise ValueError(
            f"{network.name} does not end in one linear layer but in {', '.join(names)}; fitting a head and finding "
            "doubtful labels need the inputs of such a layer as features: resnet18 has one, and --train all needs none"
        )
    return names[0], layer
