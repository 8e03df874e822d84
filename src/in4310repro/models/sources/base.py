"""Interface of a source of networks, such as torchvision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from in4310repro.data.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch

    from in4310repro.models.content import Content

# The modules whose feature maps the report measures; the five ResNets have them.
FIVE_MODULES = ("conv1", "layer1.1.conv1", "layer2.1.conv1", "layer3.1.conv1", "layer4.1.conv1")


@dataclass(frozen=True)
class Facts:
    """Facts about a network: number of parameters, smallest image side in pixels, and its ImageNet weights."""

    parameters: int
    smallest: int
    weights: str


class Source(ABC):
    """A library or other origin of networks: their names, construction, preprocessing and ImageNet weights.

    A source imports torch and other libraries only where a method needs them. Unless stated otherwise, each `name` is
    the whole name of one of its networks.
    """

    pattern: str  # regular expression that fits its names and no name of a source before it in the table
    example: str  # how a message shows its names
    # Whether others wrote the code: it is called as it is, not on the meta device, and its exceptions are wrong input.
    foreign = False
    # Whether the code is run only where the user names it, since a name that stands in a file must not run code.
    named_by_user = False

    def names(self) -> list[str]:
        """List all names; empty if only `check` can find out whether a network exists."""
        return []

    def check(self, name: str) -> None:  # noqa: B027 - names that are listed need no more
        """Raise ValueError if the network does not exist or may not be built here."""

    @abstractmethod
    def create(self, name: str, classes: int) -> object:
        """Construct the network; the result should be a torch.nn.Module with `classes` outputs.

        Raises:
            ValueError: the constructor is not found or fails.
        """

    def is_resnet(self, name: str) -> bool:  # noqa: ARG002
        """Return whether the name is one of the report's five ResNets.

        They are known to have `FIVE_MODULES` and portable arithmetic and to draw nothing while they are trained.
        """
        return False

    def facts(self, name: str) -> Facts:
        """Return number of parameters, smallest image and ImageNet weights of a listed network."""
        raise ValueError(f"{name} is not listed")

    def imagenet_file(self, name: str) -> Path | None:  # noqa: ARG002
        """Return the path of the network's ImageNet weights, even before a download; None if they are not a file."""
        return None

    def read_imagenet(self, name: str) -> Content:
        """Read the network's ImageNet weights, after downloading them if necessary.

        Raises:
            ValueError: the network has no such weights, or they can be neither read nor downloaded.
        """
        raise ValueError(f"there are no ImageNet weights of {name}; give --weights none or --weights FILE")

    def adapt(self, name: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:  # noqa: ARG002
        """Return published weights under the names that this network uses."""
        return dict(tensors)

    def evaluation(self, name: str) -> Preprocessing:
        """Return the preprocessing by which the authors of the ImageNet weights evaluate them."""
        raise ValueError(f"{name} has no ImageNet weights of torchvision; --weights none or --weights FILE")

    def top_1(self, name: str) -> float:  # noqa: ARG002
        """Return the published top-1 accuracy of the ImageNet weights, in [0, 1]; 0 if unknown."""
        return 0.0
