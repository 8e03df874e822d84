"""ResNet-18 with an eighth of its channels under its name, for the run that most tests share: 2 MB, trained in .5 s.

Tests that ask for `finished_run` see it, and so do the processes that make that run; all others see resnet18 itself.
`python -m tests.narrow COMMAND` runs a command of the package with it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from in4310repro import cli
from in4310repro.models.sources import Torchvision

_create = Torchvision.create


def narrow_resnet18(classes: int) -> nn.Module:
    """Return a ResNet of torchvision with 8 to 64 channels in place of 64 to 512, and equal names of modules."""
    model = ResNet.__new__(ResNet)
    nn.Module.__init__(model)
    model._norm_layer, model.inplanes, model.dilation, model.groups, model.base_width = nn.BatchNorm2d, 8, 1, 1, 64
    model.conv1 = nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=False)
    model.bn1, model.relu, model.maxpool = nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
    for index in range(4):
        setattr(model, f"layer{index + 1}", model._make_layer(BasicBlock, 8 << index, 2, stride=2 if index else 1))
    model.avgpool, model.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(64, classes)
    return model  # type: ignore[no-any-return]


def _narrow(self: Torchvision, classes: int) -> object:
    return narrow_resnet18(classes) if self.name == "resnet18" else _create(self, classes)


def use(*, narrow: bool) -> None:
    """Choose which network `resnet18` names in this process."""
    Torchvision.create = _narrow if narrow else _create  # type: ignore[method-assign]


@contextmanager
def used(*, narrow: bool) -> Iterator[None]:
    """Choose it during a `with` block."""
    before = Torchvision.create is _narrow
    use(narrow=narrow)
    try:
        yield
    finally:
        use(narrow=before)


if __name__ == "__main__":
    use(narrow=True)
    cli.main(sys.argv[1:])
