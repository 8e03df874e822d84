"""The networks, ResNet-18 to 152, with drawn initial weights, torchvision's ImageNet weights or those of a file."""

from __future__ import annotations

import math
import urllib.error
from pathlib import Path
from typing import Any

import torch
import torchvision.models

from in4310repro.config import check_choice
from in4310repro.randomness import generator_for
from in4310repro.tensors import read_tensors

HEAD = ("fc.weight", "fc.bias")  # the last layer, from features to classes
State = dict[str, torch.Tensor]


def build(name: str, classes: int, seed: int, weights: str = "none") -> torch.nn.Module:
    """A torchvision ResNet in channels_last memory, on the CPU.

    torch's global random generator is not used.

    Args:
        name: one of `config.MODELS`.
        classes: number of outputs of the head.
        seed: of the drawn weights: all of them, or the head where the loaded one has another number of classes.
        weights: `none`, `imagenet` (torchvision's IMAGENET1K_V1) or a .safetensors or .pth file.

    Raises:
        ValueError: an unknown name, weights that are missing or unreadable, or keys or shapes that differ from the
            network's.

    Examples:
        >>> model = build("resnet18", classes=6, seed=0)
        >>> model(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 6])
    """
    model = _build_on_meta(name, classes)
    state = initial_state(model, seed)
    if weights != "none":
        loaded, source = read_weights(name, weights)
        state = merge_weights(state, loaded, source)
    return _fill(model, state)


def from_state(name: str, classes: int, state: State, source: str) -> torch.nn.Module:
    """A torchvision ResNet in channels_last memory, on the CPU, with all weights and buffers given.

    Args:
        name: one of `config.MODELS`.
        classes: number of outputs of the head.
        state: every weight and buffer of the network, as a run saved them.
        source: where they come from, for the error message.

    Raises:
        ValueError: an unknown name, or keys or shapes that differ from the network's.
    """
    model = _build_on_meta(name, classes)
    expected = model.state_dict()
    _refuse_mismatches(_shapes(expected), _shapes(state), list(expected), source)
    return _fill(model, state)


def _build_on_meta(name: str, classes: int) -> torch.nn.Module:
    """The network without memory for its weights, so that torchvision draws none from torch's global generator."""
    check_choice("model", name)
    with torch.device("meta"):
        model: torch.nn.Module = getattr(torchvision.models, name)(weights=None, num_classes=classes)
    return model


def _fill(model: torch.nn.Module, state: State) -> torch.nn.Module:
    model.to_empty(device="cpu")
    model.load_state_dict(state)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def initial_state(model: torch.nn.Module, seed: int) -> State:
    """Initial weights and buffers, each drawn from a generator of (seed, name).

    Convolutions: normal with mean 0 and variance 2 / (outputs x kernel area), as torchvision does (He et al., "Delving
    deep into rectifiers", ICCV 2015, fan out). Batch norm: weight 1, bias 0. Head: uniform within +-1 / sqrt(inputs),
    torch's default.

    Args:
        model: gives names, shapes and dtypes; it may lie on the meta device.
        seed: of the weights.
    """
    state = model.state_dict()
    inputs = state[HEAD[0]].shape[1]
    return {name: _initial_value(name, value, inputs, seed) for name, value in state.items()}


def _initial_value(name: str, value: torch.Tensor, inputs: int, seed: int) -> torch.Tensor:
    generator = generator_for(seed, "weights", name)
    shape = tuple(value.shape)
    if len(shape) == 4:
        standard_deviation = math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
        return torch.from_numpy(generator.standard_normal(shape) * standard_deviation).to(value.dtype)
    if name in HEAD:
        return torch.from_numpy((generator.random(shape) * 2 - 1) / math.sqrt(inputs)).to(value.dtype)
    return torch.full(shape, 1 if name.endswith(("weight", "running_var")) else 0, dtype=value.dtype)


def merge_weights(initial: State, loaded: State, source: str) -> State:
    """The loaded weights, with the initial head where the loaded one has another number of classes.

    Args:
        initial: every weight and buffer of the network.
        loaded: the weights of a file; counters of batches may be missing.
        source: where they come from, for the error message.

    Raises:
        ValueError: a key is missing, extra or of another shape; the message names up to eight of them.
    """
    expected, given = _shapes(initial), _shapes(loaded)
    new_head = all(name in given and given[name][1:] == expected[name][1:] for name in HEAD)
    needed = [name for name in expected if not (new_head and name in HEAD and given[name] != expected[name])]
    # Counters of batches are no weights, and files of old torch versions lack them.
    needed = [name for name in needed if name in given or not name.endswith("num_batches_tracked")]
    _refuse_mismatches(expected, given, needed, source)
    return initial | {name: loaded[name].to(initial[name].dtype) for name in needed}


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items()}


def _refuse_mismatches(
    expected: dict[str, tuple[int, ...]], given: dict[str, tuple[int, ...]], needed: list[str], source: str
) -> None:
    mismatches = [f"{name} is missing" for name in needed if name not in given]
    mismatches += [f"{name} is extra" for name in sorted(given) if name not in expected]
    mismatches += [
        f"{name} has shape {given[name]} for {expected[name]}"
        for name in needed
        if given.get(name, expected[name]) != expected[name]
    ]
    if mismatches:
        more = f" and {len(mismatches) - 8} more" if len(mismatches) > 8 else ""
        raise ValueError(f"{source} does not fit the model: {'; '.join(mismatches[:8])}{more}")


def read_weights(name: str, weights: str) -> tuple[State, str]:
    """Weights, and the file that they come from.

    Args:
        name: one of `config.MODELS`.
        weights: `imagenet`, which is downloaded where torchvision's cache lacks it, or a .safetensors or .pth file.

    Raises:
        ValueError: no such file, a download that failed, or a file that holds no weights.
    """
    if weights == "imagenet":
        return _read_imagenet(name)
    file = Path(weights)
    if not file.is_file():
        raise ValueError(f"no weights {weights!r}; valid are none, imagenet or a .safetensors or .pth file")
    if file.suffix == ".safetensors":
        return read_tensors(file), str(file)
    return _read_pickled(file), str(file)


def _read_imagenet(name: str) -> tuple[State, str]:
    url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rsplit("-", 1)[1], progress=False)
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            raise ValueError(
                f"torchvision's ImageNet weights of {name} are not in its cache and cannot be downloaded ({error}). "
                f"Get {url} on a machine with access and put it at {file}, or give --weights none or --weights FILE"
            ) from None
    return _read_pickled(file), str(file)


def _read_pickled(file: Path) -> State:
    """A .pth state dict, read by torch's restricted unpickler, which builds tensors and runs no code."""
    try:
        loaded: Any = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch.load raises a dozen kinds of exception for a corrupt file.
        raise ValueError(f"{file} holds no weights that can be read: {str(error).splitlines()[0]}") from None
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ValueError(f"{file} is no state dict: a dictionary of tensors is valid")
    return loaded
