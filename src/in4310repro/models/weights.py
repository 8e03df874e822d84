"""Weights from which a training starts, read once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from in4310repro.data.preprocessing import DECIDED_BY_WEIGHTS, METADATA, Preprocessing, from_json
from in4310repro.models.content import Content, read_content
from in4310repro.system.text import did_you_mean

if TYPE_CHECKING:
    from in4310repro.models.network import Network


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of a network, with their preprocessing, their origin and a hash."""

    source: str  # the file, for messages
    tensors: dict[str, torch.Tensor] | None  # by the network's names; None: all are drawn
    preprocessing: Preprocessing | None  # how images are prepared for them; None: the file does not say
    sha256: str  # of the file's bytes; of the tensors where timm has no file; empty where all are drawn


DRAWN = Weights(source="none", tensors=None, preprocessing=Preprocessing(), sha256="")


def read_weights(network: Network, weights: str) -> Weights:
    """Read weights given as `none`, `imagenet` or a file; see `Network.read_weights`."""
    if weights == "none":
        return DRAWN
    if weights == "imagenet":
        content = network.source.read_imagenet(network.name)
        preprocessing: Preprocessing | None = network.imagenet_preprocessing()
    else:
        file = Path(weights)
        if not file.exists():
            near = did_you_mean(weights, ("none", "imagenet"))
            raise ValueError(f"no weights {weights!r}; valid are none, imagenet or a .safetensors or .pth file{near}")
        content = read_content(file)
        preprocessing = _preprocessing_of(network, file, content)
    return Weights(
        source=content.source,
        tensors=network.source.adapt(network.name, content.tensors),
        preprocessing=preprocessing,
        sha256=content.sha256,
    )


def _preprocessing_of(network: Network, file: Path, content: Content) -> Preprocessing | None:
    """Return the preprocessing in a file's metadata, or that of ImageNet weights if the file holds them; else None.

    The file holds them if it has their file name, which ends in the first digits of its hash.
    """
    if METADATA in content.metadata:
        return _parse(content.metadata[METADATA], file)
    known = network.source.imagenet_file(network.name)
    if known and file.name == known.name and content.sha256.startswith(file.stem.rsplit("-", 1)[1]):
        return network.imagenet_preprocessing()
    return None


def _parse(text: str, file: Path) -> Preprocessing:
    try:
        return from_json(json.loads(text))
    except (KeyError, TypeError, ValueError) as error:
        valid = f"JSON with {', '.join(DECIDED_BY_WEIGHTS)}"
        raise ValueError(f"{file}: preprocessing in its metadata is {text[:100]}; {valid} is valid ({error})") from None
