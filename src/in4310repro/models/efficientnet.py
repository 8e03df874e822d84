"""EfficientNet-Lite0, with depth-wise convolutions and no squeeze-and-excitation; torchvision does not have it.

Tan and Le, "EfficientNet", ICML 2019; the Lite variant is TensorFlow's. Its ImageNet weights come in a package of
their own. Dropout and drop-connect are left out: nothing in the network is drawn while it is trained.
"""

import torch
from torch import Tensor, nn

from in4310repro.arithmetic.same import InvertedResidual, convolve_and_normalise

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
        self.stem = convolve_and_normalise(3, STEM, 3, 2)
        blocks, channels = [], STEM
        for kernel, first_stride, expansion, width, repeats in STAGES:
            for stride in (first_stride, *[1] * (repeats - 1)):
                blocks.append(InvertedResidual(channels, width, kernel, stride, expansion))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.last = convolve_and_normalise(channels, HEAD)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(HEAD, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores [image, class] of images [image, channel, height, width]."""
        maps = self.last(self.blocks(self.stem(images)))
        scores: Tensor = self.classifier(torch.flatten(self.pool(maps), 1))
        return scores
