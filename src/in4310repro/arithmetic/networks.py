"""Replacement of a model's modules by ones that use the compiled kernels, with the same state dict.

Only the class of each module object is exchanged; its attributes stay. In torchvision's networks and in sequences, one
function computes a convolution, the batch norm after it, the sum with a second map, and the ReLU. A hook on one of
these modules makes them separate functions; the bits are equal in both cases.
"""

from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import mobilenetv2, resnet

from in4310repro.arithmetic import compiler, functions, layers, library, pooling, residuals, same
from in4310repro.arithmetic.layers import BatchNorm2d, Conv2d, Conv2dSame, ReLU, ReLU6
from in4310repro.arithmetic.residuals import is_observed

compiler.leave_uncompiled_later()


class Sequential(nn.Sequential):
    """torch.nn.Sequential that computes a convolution, batch norm and a following ReLU or ReLU6 in one pass."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Pass the input through all modules in order; return the last one's output."""
        return in_sequence(tuple(self), input)


class ConvNormActivation(torchvision.ops.misc.Conv2dNormActivation):  # type: ignore[misc]
    """torchvision's Conv2dNormActivation with batch norm and activation in one pass."""

    forward = Sequential.forward


SEQUENCES = (Sequential, ConvNormActivation, nn.Identity)  # nn.Identity holds nothing


def in_sequence(modules: tuple[Any, ...], maps: Tensor, other: Tensor | None = None) -> Tensor:
    """Pass maps through modules in order, and add `other`, where given, before the last one, a ReLU.

    One function computes a convolution, the batch norm after it, the sum, and ReLU or ReLU6, as far as it supports
    the modules and no hook needs an intermediate result.
    """
    while modules:
        first = modules[0]
        convolves = type(first) in (Conv2d, Conv2dSame) and not is_observed(first)
        norm, relu = (*modules[convolves:], None, None)[:2]
        normalises = type(norm) is BatchNorm2d and not is_observed(norm)
        is_relu = type(relu) is ReLU or (type(relu) is ReLU6 and other is None and not layers.reason(relu))
        acts, number = normalises and is_relu and not is_observed(relu), 1
        if acts or (normalises and convolves):
            activation = "none" if not acts else "relu6" if type(relu) is ReLU6 else "relu"
            arguments = norm.arguments(activation, other if acts else None)
            maps = first.forward(maps, arguments) if convolves else functions.batch_norm(maps, arguments)
            number += convolves + acts
        else:
            if other is not None and len(modules) == 1:
                maps += other
            maps = first(maps)
        modules = modules[number:]
    return maps


class BasicBlock(resnet.BasicBlock):  # type: ignore[misc]
    """torchvision's BasicBlock with batch norm, sum and ReLU in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply two convolutions with batch norm to maps [image, ...]; add the input, then apply ReLU."""
        return _add_to_input(self, x, self.conv1, self.bn1, self.relu, self.conv2, self.bn2, self.relu)


class Bottleneck(resnet.Bottleneck):  # type: ignore[misc]
    """torchvision's Bottleneck with batch norm, sum and ReLU in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply three convolutions with batch norm to maps [image, ...]; add the input, then apply ReLU."""
        first = self.conv1, self.bn1, self.relu, self.conv2, self.bn2, self.relu
        return _add_to_input(self, x, *first, self.conv3, self.bn3, self.relu)


def _add_to_input(block: Any, x: Tensor, *modules: nn.Module) -> Tensor:
    maps, identity = pooling.fork(x)
    maps = in_sequence(modules[:-3], maps)
    identity = identity if block.downsample is None else block.downsample(identity)
    return in_sequence(modules[-3:], maps, identity)


class ResNet(resnet.ResNet):  # type: ignore[misc]
    """torchvision's ResNet with batch norm and ReLU in one pass."""

    def _forward_impl(self, x: Tensor) -> Tensor:
        """Return scores [image, class] for images [image, channel, height, width]."""
        maps = self.maxpool(in_sequence((self.conv1, self.bn1, self.relu), x))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = layer(maps)
        return self.fc(torch.flatten(self.avgpool(maps), 1))  # type: ignore[no-any-return]


def _inverted_residual(block: nn.Module, maps: Tensor, adds: bool, *parts: nn.Module) -> Tensor:
    """Pass maps through the parts of an inverted residual; add the maps to the result if `adds`."""
    if (result := residuals.compute(block, maps, adds, parts, SEQUENCES)) is not None:
        return result
    maps, identity = pooling.fork(maps) if adds else (maps, maps)
    for part in parts:
        maps = part(maps)
    return pooling.add(identity, maps) if adds else maps


class InvertedResidual(mobilenetv2.InvertedResidual):  # type: ignore[misc]
    """torchvision's InvertedResidual, computed by one kernel, in evaluation strip by strip."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block's convolutions to maps [image, ...]; add the input if the block has a residual connection."""
        return _inverted_residual(self, x, self.use_res_connect, self.conv)


class NamedInvertedResidual(same.InvertedResidual):
    """same.InvertedResidual, computed as `InvertedResidual` is."""

    def forward(self, maps: Tensor) -> Tensor:
        """Apply the block to maps [image, channel, height, width]; the result has the same axes."""
        return _inverted_residual(self, maps, self.residual, self.expand, self.depthwise, self.project)


class MobileNetV2(mobilenetv2.MobileNetV2):  # type: ignore[misc]
    """torchvision's MobileNetV2, with the final pooling computed by the kernels."""

    def _forward_impl(self, x: Tensor) -> Tensor:
        """Return scores [image, class] for images [image, channel, height, width]."""
        maps = pooling.adaptive_average_pool(self.features(x), (1, 1))
        return self.classifier(torch.flatten(maps, 1))  # type: ignore[no-any-return]


# The layers' classes first, by the class that each computes.
EXCHANGED: dict[type[nn.Module], type[nn.Module]] = {
    kind.__bases__[-1]: kind
    for kind in (
        *(layers.Conv2d, layers.Linear, layers.BatchNorm2d, layers.AdaptiveAvgPool2d, layers.MaxPool2d, layers.ReLU),
        *(layers.ReLU6, layers.Dropout, layers.Dropout1d, layers.Dropout2d, layers.Dropout3d, layers.Conv2dSame),
        *(Sequential, ConvNormActivation, BasicBlock, Bottleneck, ResNet, InvertedResidual, MobileNetV2),
        NamedInvertedResidual,
    )
}
KEPT = (nn.Flatten, nn.Identity)


def portable(model: nn.Module) -> nn.Module:
    """Make the modules of a model use the compiled kernels, by changing their classes in place; return the model.

    The names, parameters, buffers, state dict, hooks and training mode are unchanged. Parameters with four axes
    get the memory layout channels_last. A module that only calls other modules stays as it is. Functions that
    its forward() calls are computed by torch.

    Raises:
        ValueError: modules have no portable arithmetic; the message names them and says what to use instead.
        RuntimeError: no kernel was built for this processor.
    """
    library.library()
    if refused := refused_modules(model):
        raise ValueError(
            f"no portable arithmetic for {'; '.join(refused)}. Use native arithmetic, or replace them: there are "
            f"kernels for {', '.join(kind.__name__ for kind in (*list(EXCHANGED)[:11], *KEPT))}"
        )
    for module in model.modules():
        module.__class__ = EXCHANGED.get(type(module), type(module))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def refused_modules(model: nn.Module) -> list[str]:
    """Return `NAME (REASON)` for each module that the kernels cannot compute. Code in forward() is not checked."""
    return [
        f"{name or 'the model'} ({reason})" for name, module in model.named_modules() if (reason := _reason(module))
    ]


def _reason(module: nn.Module) -> str | None:
    """Return the reason why a module cannot be used in portable arithmetic; None if it can."""
    kind = type(module)
    for value in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if value.device.type != "cpu" or (value.is_floating_point() and value.dtype != torch.float32):
            return f"{kind.__name__} with {value.dtype} on {value.device}; it must be torch.float32 on the CPU"
    if "forward" in vars(module):
        return f"{kind.__name__} with a forward() of its own"
    if kind in EXCHANGED or kind in EXCHANGED.values() or kind in KEPT:
        return layers.reason(module)
    calls_others = next(module.children(), None) is not None and next(module.parameters(recurse=False), None) is None
    return None if calls_others else kind.__name__
