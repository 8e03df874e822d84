"""torchvision's networks with batch norm, sum and ReLU computed in one pass, unless a hook needs their results.

In evaluation without gradients, a convolution, the batch norm after it and its ReLU are one pass in a
sequence.

A hook on one of these modules makes them separate passes; the bits are equal in both cases.
"""

from __future__ import annotations

from typing import cast

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import mobilenetv2, resnet

from in4310repro.arithmetic import pooling
from in4310repro.arithmetic.layers import BatchNorm2d, Conv2d, ReLU, ReLU6


class Sequential(nn.Sequential):
    """torch.nn.Sequential that computes batch norm and a following ReLU or ReLU6 in one pass."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Pass the input through all modules in order; return the last one's output."""
        return _in_sequence(list(self), input)


class ConvNormActivation(torchvision.ops.misc.Conv2dNormActivation):  # type: ignore[misc]
    """torchvision's Conv2dNormActivation with batch norm and activation in one pass."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Apply convolution, batch norm and activation to maps [image, channel, height, width]."""
        return _in_sequence(list(self), input)


def _in_sequence(modules: list[nn.Module], values: Tensor) -> Tensor:
    place = 0
    while place < len(modules):
        module, *following = modules[place : place + 3]
        if following and _can_fuse(module, following[0]):
            fused = len(following) == 2 and _fusible(following[0], following[1])
            activation = _activation(following[1]) if fused else "none"
            values = cast("Conv2d", module).normalise_after(values, cast("BatchNorm2d", following[0]), activation)
            place += 3 if fused else 2
        elif following and _fusible(module, following[0]):
            values = normalise(module, following[0], values)
            place += 2
        else:
            values = module(values)
            place += 1
    return values


class BasicBlock(resnet.BasicBlock):  # type: ignore[misc]
    """torchvision's BasicBlock with batch norm, sum and ReLU in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply two convolutions with batch norm to maps [image, ...]; add the input, then apply ReLU."""
        x, identity = pooling.fork(x)
        maps = normalise(self.bn1, self.relu, self.conv1(x))
        maps = self.conv2(maps)
        identity = identity if self.downsample is None else self.downsample(identity)
        return normalise(self.bn2, self.relu, maps, identity)


class Bottleneck(resnet.Bottleneck):  # type: ignore[misc]
    """torchvision's Bottleneck with batch norm, sum and ReLU in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply three convolutions with batch norm to maps [image, ...]; add the input, then apply ReLU."""
        x, identity = pooling.fork(x)
        maps = normalise(self.bn1, self.relu, self.conv1(x))
        maps = normalise(self.bn2, self.relu, self.conv2(maps))
        maps = self.conv3(maps)
        identity = identity if self.downsample is None else self.downsample(identity)
        return normalise(self.bn3, self.relu, maps, identity)


class ResNet(resnet.ResNet):  # type: ignore[misc]
    """torchvision's ResNet with batch norm and ReLU in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores [image, class] for images [image, channel, height, width]."""
        maps = self.maxpool(normalise(self.bn1, self.relu, self.conv1(x)))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = layer(maps)
        scores: Tensor = self.fc(torch.flatten(self.avgpool(maps), 1))
        return scores


class InvertedResidual(mobilenetv2.InvertedResidual):  # type: ignore[misc]
    """torchvision's InvertedResidual, with the sum computed by the kernels."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block's convolutions to maps [image, ...]; add the input if the block has a residual connection."""
        if not self.use_res_connect:
            maps: Tensor = self.conv(x)
            return maps
        x, identity = pooling.fork(x)
        return pooling.add(identity, self.conv(x))


class MobileNetV2(mobilenetv2.MobileNetV2):  # type: ignore[misc]
    """torchvision's MobileNetV2, with the final pooling computed by the kernels."""

    def forward(self, x: Tensor) -> Tensor:
        """Return scores [image, class] for images [image, channel, height, width]."""
        maps = pooling.adaptive_average_pool(self.features(x), (1, 1))
        scores: Tensor = self.classifier(torch.flatten(maps, 1))
        return scores


def normalise(norm: nn.Module, relu: nn.Module, maps: Tensor, other: Tensor | None = None) -> Tensor:
    """Return relu(norm(maps) + other), in one pass unless a hook needs an intermediate result."""
    if isinstance(norm, BatchNorm2d) and _fusible(norm, relu, other):
        return norm.normalise(maps, _activation(relu), other)
    maps = norm(maps)
    if other is not None:
        maps += other
    result: Tensor = relu(maps)
    return result


def _activation(relu: nn.Module) -> str:
    return "relu6" if isinstance(relu, nn.ReLU6) else "relu"


def _can_fuse(convolution: nn.Module, norm: nn.Module) -> bool:
    """Return whether a convolution and the batch norm after it can be computed in one pass."""
    if torch.is_grad_enabled() or type(convolution) is not Conv2d or type(norm) is not BatchNorm2d:
        return False
    return norm.is_fixed() and not _is_observed(convolution) and not _is_observed(norm)


def _fusible(norm: nn.Module, relu: nn.Module, other: Tensor | None = None) -> bool:
    follows = type(relu) is ReLU or (type(relu) is ReLU6 and other is None)
    return type(norm) is BatchNorm2d and follows and not _is_observed(norm) and not _is_observed(relu)


def _is_observed(module: nn.Module) -> bool:
    """Return whether a hook, or a forward() replaced on the object, can see the module's inputs or outputs."""
    registered = torch.nn.modules.module
    return "forward" in vars(module) or bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or registered._global_forward_hooks
        or registered._global_forward_pre_hooks
        or registered._global_backward_hooks
        or registered._global_backward_pre_hooks
    )
