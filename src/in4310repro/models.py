"""ResNet-18 to 152 with a new head; initial weights from NumPy, or from torchvision's cache or a file."""

from __future__ import annotations

import math
import urllib.error
from pathlib import Path
from typing import Any

import torch
import torchvision.models

from in4310repro.numerics import generator_for
from in4310repro.presets import MODELS
from in4310repro.runs import read_tensor_file

HEAD = ("fc.weight", "fc.bias")
State = dict[str, torch.Tensor]


def build(name: str, classes: int, seed: int, weights: str = "none") -> torch.nn.Module:
    """A torchvision ResNet in channels_last memory, on the CPU.

    Args:
        name: one of `presets.MODELS`.
        classes: outputs of the head.
        seed: of the initial weights; the head is new wherever the loaded one has another number of classes.
        weights: `none`, `imagenet` (torchvision's IMAGENET1K_V1) or a .safetensors or .pth file.

    Raises:
        ValueError: an unknown name, weights that are not there, or keys and shapes that differ.
    """
    if name not in MODELS:
        raise ValueError(f"no model {name!r}; valid are {', '.join(MODELS)}")
    # On "meta" nothing is drawn: torch's global generator stays as it was.
    with torch.device("meta"):
        model: torch.nn.Module = getattr(torchvision.models, name)(weights=None, num_classes=classes)
    state = initial_state(model, seed)
    if weights != "none":
        loaded, source = read_weights(name, weights)
        state = merged(state, loaded, source)
    model.to_empty(device="cpu")
    model.load_state_dict(state)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def initial_state(model: torch.nn.Module, seed: int) -> State:
    """Initial weights and buffers, drawn from a generator of (seed, name) each.

    Convolutions: normal with variance 2 / (outputs x kernel area), He et al. 2015 (fan out). Batch norm: weight 1,
    bias 0. Head: uniform within 1 / root(inputs), torch's default.
    """
    state = model.state_dict()
    inputs = state[HEAD[0]].shape[1]
    return {name: _initial_value(name, value, inputs, seed) for name, value in state.items()}


def _initial_value(name: str, value: torch.Tensor, inputs: int, seed: int) -> torch.Tensor:
    generator = generator_for(seed, "weights", name)
    shape = tuple(value.shape)
    if len(shape) == 4:
        deviation = math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
        return torch.from_numpy(generator.standard_normal(shape) * deviation).to(value.dtype)
    if name in HEAD:
        return torch.from_numpy((generator.random(shape) * 2 - 1) / math.sqrt(inputs)).to(value.dtype)
    return torch.full(shape, 1 if name.endswith(("weight", "running_var")) else 0, dtype=value.dtype)


def merged(initial: State, loaded: State, source: str) -> State:
    """The loaded weights, with the initial head where theirs has another number of classes.

    Raises:
        ValueError: names every key that is missing, extra or of another shape.
    """
    wanted = {name: tuple(value.shape) for name, value in initial.items()}
    found = {name: tuple(value.shape) for name, value in loaded.items()}
    new_head = all(name in found and found[name][1:] == wanted[name][1:] for name in HEAD)
    kept = [name for name in wanted if not (new_head and name in HEAD and found[name] != wanted[name])]
    # Counters of batches are no weights, and files of old torch versions lack them.
    kept = [name for name in kept if name in found or not name.endswith("num_batches_tracked")]
    wrong = [f"{name} is missing" for name in kept if name not in found]
    wrong += [f"{name} is extra" for name in sorted(found) if name not in wanted]
    wrong += [
        f"{name} is {found[name]} for {wanted[name]}" for name in kept if found.get(name, wanted[name]) != wanted[name]
    ]
    if wrong:
        more = f" and {len(wrong) - 8} more" if len(wrong) > 8 else ""
        raise ValueError(f"{source} does not fit the model: {'; '.join(wrong[:8])}{more}")
    return initial | {name: loaded[name].to(initial[name].dtype) for name in kept}


def read_weights(name: str, weights: str) -> tuple[State, str]:
    """Weights and where they come from.

    Raises:
        ValueError: no such file, no such download, or a file that holds no weights.
    """
    if weights == "imagenet":
        return _read_imagenet(name)
    file = Path(weights)
    if not file.is_file():
        raise ValueError(f"no weights {weights!r}; valid are none, imagenet or a .safetensors or .pth file")
    if file.suffix == ".safetensors":
        return read_tensor_file(file), str(file)
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
        # torch.load raises a dozen kinds of exception for a damaged file.
        raise ValueError(f"{file} holds no weights that can be read: {str(error).splitlines()[0]}") from None
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ValueError(f"{file} is no state dict: a dictionary of tensors is valid")
    return loaded
