"""The class `Network`, a network identified by name: methods to build it, load weights and list modules.

Methods import torch only when they need it, so that configurations and help texts work without it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from in4310repro.data.preprocessing import Preprocessing
from in4310repro.models.sources import RESNETS, SOURCES, TRUSTED, Facts, Source, valid_names
from in4310repro.system.text import as_function, did_you_mean, shell_word

if TYPE_CHECKING:
    import torch
    from torch import nn

    from in4310repro.models.building import Weights
    from in4310repro.models.modules import Output

# What is trained: the last layer alone, which is fitted; everything; or a layer and those after it.
HEAD, ALL, FROM = "head", "all", "from:"


@functools.lru_cache(maxsize=1000)
def open_network(name: str) -> Network:
    """Return the network with this name. Only the form of the name is checked, and no code of the network runs.

    Raises:
        ValueError: no kind of network has names of this form.
    """
    for source in SOURCES:
        if re.fullmatch(source.pattern, name):
            return Network(source(name))
    near = as_function(name[:100])
    meant = f"; did you mean {near}?" if near else did_you_mean(name, RESNETS)
    raise ValueError(f"no model {name[:100]!r}; {valid_names()} are valid{meant}")


@dataclass(frozen=True)
class Network:
    """A network identified by its name, which can be built with any number of classes."""

    source: Source

    @property
    def name(self) -> str:
        """Name of the network, such as `resnet18` or `timm:NAME`."""
        return self.source.name

    @property
    def option(self) -> str:
        """Command-line option that allows the user's own network code to run; empty for networks of libraries."""
        return f" --model {shell_word(self.name)}" if self.source.named_by_user else ""

    @property
    def foreign(self) -> bool:
        """True if a third party or the user wrote the network's code; its exceptions then count as wrong input."""
        return self.source.foreign

    @property
    def is_resnet(self) -> bool:
        """True for the five ResNets of the original report; see `Source.is_resnet`."""
        return self.source.is_resnet

    def code_sha256(self) -> str:
        """Return the sha256 of the file that holds the user's function; empty for networks of libraries."""
        return self.source.code_sha256()

    def trust(self) -> None:
        """Allow the network's code to run, because the user has named it."""
        if self.source.named_by_user:
            TRUSTED.add(self.name)

    def check(self) -> None:
        """Raise ValueError if the network does not exist, timm is missing, or the user has not allowed its code."""
        self.source.check()

    def facts(self) -> Facts:
        """Return the network's parameter count, its smallest image side and facts on its ImageNet weights.

        The network must be one of `known_names`.
        """
        return self.source.facts()

    def read_weights(self, weights: str) -> Weights:
        """Read weights with their preprocessing and hash, opening their file once.

        Args:
            weights: `none`, `imagenet` (downloaded if necessary), or a .safetensors or .pth file.

        Raises:
            ValueError: the file does not exist or contains no weights, or a download failed.
        """
        from in4310repro.models.building import read_weights

        return read_weights(self.source, weights)

    def has_weights(self, weights: str) -> bool:
        """Return whether the weights need no download: `none`, an existing file, or downloaded `imagenet` weights."""
        if weights == "imagenet":
            file = self.source.imagenet_file()
            return file is not None and file.is_file()
        return weights == "none" or Path(weights).is_file()

    def imagenet_evaluation(self) -> Preprocessing:
        """Return the preprocessing by which the authors of the ImageNet weights evaluate them."""
        return self.source.imagenet_evaluation()

    def imagenet_preprocessing(self) -> Preprocessing:
        """Return the preprocessing for the ImageNet weights: that of `imagenet_evaluation`, without cropping."""
        return self.source.imagenet_preprocessing()

    def imagenet_top_1(self) -> float:
        """Return the published top-1 accuracy of the ImageNet weights, in [0, 1]; 0 if unknown."""
        return self.source.imagenet_top_1()

    def build(self, classes: int, seed: int, weights: Weights | None = None) -> torch.nn.Module:
        """Build the network on the CPU in channels_last memory layout.

        The state of torch's global random generator is unchanged afterwards.

        Args:
            classes: number of outputs of the head.
            seed: seed for the weights that are drawn: all of them, or only the head if `weights` have a different
                number of classes.
            weights: the result of `read_weights`; None to draw all weights.

        Raises:
            ValueError: the network does not exist, or keys, shapes or values of the weights do not fit it.
        """
        from in4310repro.models import building

        return building.build(self.source, classes, seed, weights)

    def restore(
        self, classes: int, state: Mapping[str, torch.Tensor], source: str, *, of_file: bool = True
    ) -> torch.nn.Module:
        """Build the network on the CPU, in channels_last memory layout, with the weights and buffers of `state`.

        Args:
            classes: number of outputs of the head.
            state: every weight and buffer of the network, as a run saved them.
            source: the origin of the weights, for the error message.
            of_file: whether `state` was read from a file, which may be truncated.

        Raises:
            ValueError: the network does not exist, or keys, shapes or values of the state do not fit it.
        """
        from in4310repro.models import building

        return building.restore(self.source, classes, state, source, of_file=of_file)

    def head(self) -> frozenset[str]:
        """Return the names of the weights whose shape depends on the number of classes."""
        from in4310repro.models import building

        return building.head(self.source)

    def outputs(self, model: nn.Module, side: int) -> list[Output]:
        """List the outputs of all modules for one image; see `modules.outputs`."""
        from in4310repro.models import modules

        return modules.outputs(model, self.name, side)

    def check_scores(self, model: nn.Module, classes: int, side: int) -> None:
        """Check that a built network returns one finite score for each class.

        It is tested with one image of `side` x `side` pixels.

        Raises:
            ValueError: the number of scores is wrong, or a score is infinite or nan.
        """
        from in4310repro.models import modules

        modules.check_scores(model, self.name, classes, side)

    def default_modules(self, model: nn.Module, side: int, seen: Sequence[Output] | None = None) -> tuple[str, ...]:
        """Return the names of up to five modules whose feature maps are measured by default.

        Args:
            model: the built network.
            side: width and height of an image in pixels.
            seen: the result of `outputs`, if it is known already.
        """
        from in4310repro.models import modules

        return modules.default_modules(model, self.name, side, seen)

    def obstacle(self, side: int) -> str:
        """Return the reason why the network cannot run in portable arithmetic at this image size; empty if it can."""
        from in4310repro.models import modules

        return modules.obstacle(self.source, side)
