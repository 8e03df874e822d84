"""What of a network is measured on a folder of images, as options of the command line name it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from in4310repro.data.preprocessing import Preprocessing
from in4310repro.features import FeatureStatistics
from in4310repro.features.hooks import ModuleChoice
from in4310repro.models.sources import Network, open_network

IMAGES = 3  # of a channel, those with the largest responses


@dataclass(frozen=True, kw_only=True)
class Request:
    """Images, network and statistics to measure; for `samples`, `precision`, `calls` see `FeatureStatistics`."""

    data: str  # folder
    model: str = "resnet18"
    weights: str = "imagenet"
    modules: str | None = None  # as `parse_modules` reads it; the network's five where none are named
    samples: Literal["images", "positions", "flat"] | None = "images"
    precision: Literal["fast", "exact"] = "fast"
    calls: Literal["pool", "keep"] = "pool"
    images: int = 200  # in the sample; all, if there are fewer
    image_size: int = 224  # side, pixels
    preprocessing: Preprocessing = field(default_factory=Preprocessing)  # what the weights say, once they are read
    batch_size: int = 16  # images
    eigenvalues: int = 15  # how many are listed, the largest first
    seed: int = 0  # of the sample, and of the weights where they are "none"
    channel_axis: Mapping[str, int] = field(default_factory=dict)  # of modules of which nothing else tells it

    @property
    def network(self) -> Network:
        """Network with the name `model`.

        Raises:
            ValueError: there is no such network.
        """
        return open_network(self.model)

    def statistics(self, model: torch.nn.Module, first_image: int = 0) -> FeatureStatistics:
        """Return empty statistics of the chosen modules, ready to measure the first batch.

        Args:
            model: the built network.
            first_image: index of the first image that this process measures.

        Raises:
            ValueError: `modules` has an empty name, a pattern that is not a regular expression, or a module that the
                network lacks.
        """
        return FeatureStatistics(
            model,
            parse_modules(self.modules or ""),
            self.samples,
            self.precision,
            calls=self.calls,
            first_image=first_image,
            channel_axis=self.channel_axis,
            histogram=True,
            # What is not cut into images has no channels either.
            top_images=IMAGES if self.samples else 0,
        )


def parse_modules(modules: str) -> ModuleChoice:
    """Parse a choice of modules as given on the command line.

    Three forms are valid: names separated by commas; `leaves`, for all modules without submodules; and a regular
    expression between slashes (`/PATTERN/`), for all modules whose whole name matches it.

    Raises:
        ValueError: a name is empty, or a pattern is not a regular expression.
    """
    if modules == "leaves":
        return "leaves"
    if len(modules) > 2 and modules[0] == modules[-1] == "/":
        try:
            return re.compile(modules[1:-1])
        except re.error as error:
            raise ValueError(f"modules {modules} is no regular expression: {error}") from None
    names = [name.strip() for name in modules.split(",")]
    if "" in names:
        raise ValueError(f"modules is {modules!r}; NAME,NAME or leaves or /PATTERN/ is valid")
    return names


def parse_axes(options: Sequence[str]) -> dict[str, int]:
    """Parse channel axes as given on the command line: one `NAME=AXIS` for each module.

    Raises:
        ValueError: the name is missing, the axis is not 1 to 9, or a name is repeated.

    Examples:
        >>> parse_axes(["features.1.0.block.4=3", "attention[1]=1"])
        {'features.1.0.block.4': 3, 'attention[1]': 1}
    """
    axes: dict[str, int] = {}
    for option in options:
        name, _, axis = option.rpartition("=")
        if not name or not re.fullmatch(r"[1-9]", axis):
            raise ValueError(f"channel axis {option!r}; NAME=AXIS is valid, with an axis from 1 to 9")
        if name in axes:
            raise ValueError(f"channel axis {option!r} comes after {name}={axes[name]}; each name is given once")
        axes[name] = int(axis)
    return axes
