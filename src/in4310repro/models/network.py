"""Network: opened by its name, it answers every question that depends on which network it is.

torch is imported where a method needs it: a configuration opens its network, and a help is printed without torch.
"""

from __future__ import annotations

import difflib
import fnmatch
import functools
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from in4310repro.models.sources import SOURCES, Facts, Source
from in4310repro.models.sources.functions import TRUSTED
from in4310repro.models.sources.torchvision import RESNETS
from in4310repro.preprocessing import Preprocessing
from in4310repro.text import as_function, did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import nn

    from in4310repro.models.modules import Output
    from in4310repro.models.weights import Weights


@functools.lru_cache(maxsize=1000)
def open_network(name: str) -> Network:
    """Return the network of a name, of which nothing but the form is checked; no code of it is run.

    Raises:
        ValueError: the name is of no form that a source has.
    """
    for source in SOURCES:
        if re.fullmatch(source.pattern, name):
            return Network(name, source)
    near = as_function(name[:100])
    meant = f"; did you mean {near}?" if near else did_you_mean(name[:100], RESNETS)
    raise ValueError(f"no model {name[:100]!r}; {_examples()} are valid{meant}")


def _examples() -> str:
    *first, last = (source.example for source in reversed(SOURCES))
    return f"{', '.join(first)} and {last}"


def known_names(pattern: str = "*") -> list[str]:
    """List the networks of all sources that list theirs and whose name fits a pattern, in alphabetical order."""
    return fnmatch.filter(sorted(name for source in SOURCES for name in source.names()), pattern)


@dataclass(frozen=True)
class Network:
    """A network that can be built with any number of classes."""

    name: str
    source: Source

    @property
    def option(self) -> str:
        """The option that names the user's own code again, since a run's files alone never have it run; else empty."""
        return f" --model {shlex.quote(self.name)}" if self.source.named_by_user else ""

    @property
    def foreign(self) -> bool:
        """Whether others wrote its code, so that what it raises is wrong input."""
        return self.source.foreign

    @property
    def is_resnet(self) -> bool:
        """Whether it is one of the report's five ResNets; see `Source.is_resnet`."""
        return self.source.is_resnet(self.name)

    def trust(self) -> None:
        """Allow its code to be run, since the user has named it."""
        if self.source.named_by_user:
            TRUSTED.add(self.name)

    def check(self) -> None:
        """Raise ValueError where there is no such network, timm is not installed, or it is code nobody has named."""
        listed = self.source.names()
        if listed and self.name not in listed:
            near = difflib.get_close_matches(self.name, known_names(), 1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"no model {self.name!r}; {meant}{_examples()} are valid")
        self.source.check(self.name)

    def facts(self) -> Facts:
        """Return parameters, smallest image and ImageNet weights of a network that `known_names` lists."""
        return self.source.facts(self.name)

    def read_weights(self, weights: str) -> Weights:
        """Read weights, their preprocessing and their hash; the file is opened once.

        Args:
            weights: `none`, `imagenet`, which is downloaded where it is unavailable, or a .safetensors or .pth file.

        Raises:
            ValueError: no such file, a download that failed, or a file that holds no weights.
        """
        from in4310repro.models.weights import read_weights

        return read_weights(self, weights)

    def has_weights(self, weights: str) -> bool:
        """Return whether weights are available without a download: `none`, a file, or `imagenet` on this machine."""
        if weights == "imagenet":
            file = self.source.imagenet_file(self.name)
            return file is not None and file.is_file()
        return weights == "none" or Path(weights).is_file()

    def imagenet_evaluation(self) -> Preprocessing:
        """Return how those who trained the ImageNet weights prepare images to evaluate them."""
        return self.source.evaluation(self.name)

    def imagenet_preprocessing(self) -> Preprocessing:
        """Return how images are prepared for the ImageNet weights: as in their evaluation, but uncropped.

        Crops differ between evaluations, and this package takes the largest square.
        """
        return replace(self.imagenet_evaluation(), crop_ratio=1.0)

    def imagenet_top_1(self) -> float:
        """Return the published top-1 accuracy of the ImageNet weights, in [0, 1]; 0 where none is known."""
        return self.source.top_1(self.name)

    def build(self, classes: int, seed: int, weights: Weights | None = None) -> torch.nn.Module:
        """Build it in channels_last memory, on the CPU; torch's global random generator is left as it was.

        Args:
            classes: number of outputs of the head.
            seed: of the drawn weights: all of them, or the head where `weights` have another number of classes.
            weights: of `read_weights`; None: all are drawn.

        Raises:
            ValueError: no such network, or keys, shapes or values of the weights that do not fit it.
        """
        from in4310repro.models import building

        return building.build(self, classes, seed, weights)

    def restore(
        self, classes: int, state: Mapping[str, torch.Tensor], source: str, *, of_file: bool = True
    ) -> torch.nn.Module:
        """Build it in channels_last memory, on the CPU, with all weights and buffers given.

        Args:
            classes: number of outputs of the head.
            state: every weight and buffer of the network, as a run saved them.
            source: where they come from, for the error message.
            of_file: whether they were read from a file, which may not have been written completely.

        Raises:
            ValueError: no such network, or keys or shapes that differ from its own.
        """
        from in4310repro.models import building

        return building.restore(self, classes, state, source, of_file=of_file)

    def head(self) -> frozenset[str]:
        """Return the names of the weights whose shape depends on the number of classes."""
        from in4310repro.models import building

        return building.head(self)

    def outputs(self, model: nn.Module, side: int) -> list[Output]:
        """List the outputs of all modules for one image, see `modules.outputs`."""
        from in4310repro.models import modules

        return modules.outputs(model, self.name, side)

    def check_scores(self, model: nn.Module, classes: int, side: int) -> None:
        """Raise ValueError unless a built network gives so many finite scores to an image of that size."""
        from in4310repro.models import modules

        modules.check_scores(model, self.name, classes, side)

    def default_modules(self, model: nn.Module, side: int, seen: Sequence[Output] | None = None) -> tuple[str, ...]:
        """Choose up to five modules to measure, see `modules.default_modules`."""
        from in4310repro.models import modules

        return modules.default_modules(model, self.name, side, seen)

    def obstacle(self, side: int) -> str:
        """Say in a clause why it has no portable arithmetic for images of that side; empty where it has."""
        from in4310repro.models import obstacles

        return obstacles.obstacle(self, side)
