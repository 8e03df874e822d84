"""EfficientNet-Lite0, with depth-wise convolutions and no squeeze-and-excitation; torchvision does not have it.

Tan and Le, "EfficientNet", ICML 2019; the Lite variant is TensorFlow's. Its ImageNet weights come in a package of
their own. Dropout and drop-connect are left out: nothing in the network is drawn while it is trained.
"""

import torch
from torch import Tensor, nn

from in4310repro.arithmetic.same import Conv2dSame

# Kernel, stride of the first block, expansion, channels, blocks: Table 1 of the paper.
STAGES = [
    [int(number) for number in stage.split()]
    for stage in ("3 1 1 16 1", "3 2 6 24 2", "5 2 6 40 2", "3 2 6 80 3", "5 1 6 112 3", "5 2 6 192 4", "3 1 6 320 1")
]
STEM, HEAD = 32, 1280  # channels


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0: stem, inverted residual blocks, 1 x 1 convolution, average pooling and linear layer.

    It takes images of at least 32 pixels a side.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = _convolution(3, STEM, 3, 2)
        blocks, channels = [], STEM
        for kernel, first_stride, expansion, width, repeats in STAGES:
            for stride in (first_stride, *[1] * (repeats - 1)):
                blocks.append(InvertedResidual(channels, width, kernel, stride, expansion))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.last = _convolution(channels, HEAD)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(HEAD, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores [image, class] of images [image, channel, height, width]."""
        maps = self.last(self.blocks(self.stem(images)))
        scores: Tensor = self.classifier(torch.flatten(self.pool(maps), 1))
        return scores


class InvertedResidual(nn.Module):
    """Expansion, depth-wise convolution and projection; adds the input if input and output have equal shapes."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = nn.Identity() if expansion == 1 else _convolution(inputs, inner)
        self.depthwise = _convolution(inner, inner, kernel, stride, inner)
        self.project = _convolution(inner, outputs)[:2]
        self.residual = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        """Apply the block to maps [image, channel, height, width]; the result has the same axes."""
        result: Tensor = self.project(self.depthwise(self.expand(maps)))
        return maps + result if self.residual else result


def _convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Return a module of convolution, batch norm and activation."""
    # With stride 1, TensorFlow's padding is the same at both ends, which torch needs no copy for.
    convolution = (
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
        if stride == 1
        else Conv2dSame(inputs, outputs, kernel, stride, groups, bias=False)
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01), nn.ReLU6(inplace=True))
