"""Replacement of a model's modules by ones that use the compiled kernels, with the same state dict.

Only the class of each module object is exchanged; its attributes stay. In torchvision's networks and in sequences, one
function computes a convolution, the batch norm after it, the sum with a second map, and the ReLU. A hook on one of
these modules makes them separate functions; the bits are equal in both cases.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import mobilenetv2, resnet

from in4310repro.arithmetic import layers, library, pooling, same
from in4310repro.arithmetic.layers import BatchNorm2d, Conv2d, Conv2dSame, ReLU, ReLU6

library.leave_uncompiled()


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
        maps = convolve(self.conv1, self.bn1, self.relu, x)
        identity = identity if self.downsample is None else self.downsample(identity)
        return convolve(self.conv2, self.bn2, self.relu, maps, identity)


class Bottleneck(resnet.Bottleneck):  # type: ignore[misc]
    """torchvision's Bottleneck with batch norm, sum and ReLU in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply three convolutions with batch norm to maps [image, ...]; add the input, then apply ReLU."""
        x, identity = pooling.fork(x)
        maps = convolve(self.conv1, self.bn1, self.relu, x)
        maps = convolve(self.conv2, self.bn2, self.relu, maps)
        identity = identity if self.downsample is None else self.downsample(identity)
        return convolve(self.conv3, self.bn3, self.relu, maps, identity)


class ResNet(resnet.ResNet):  # type: ignore[misc]
    """torchvision's ResNet with batch norm and ReLU in one pass."""

    def _forward_impl(self, x: Tensor) -> Tensor:
        """Return scores [image, class] for images [image, channel, height, width]."""
        maps = self.maxpool(convolve(self.conv1, self.bn1, self.relu, x))
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

    def _forward_impl(self, x: Tensor) -> Tensor:
        """Return scores [image, class] for images [image, channel, height, width]."""
        maps = pooling.adaptive_average_pool(self.features(x), (1, 1))
        scores: Tensor = self.classifier(torch.flatten(maps, 1))
        return scores


def convolve(
    convolution: nn.Module, norm: nn.Module, relu: nn.Module, maps: Tensor, other: Tensor | None = None
) -> Tensor:
    """Return relu(norm(convolution(maps)) + other), or relu(norm(convolution(maps))) if `other` is None.

    One function computes all of it if it supports the modules and no hook needs an intermediate result.
    """
    fused = _fusible(norm, relu, other)
    if fused and _can_fuse(convolution, norm, other):
        return cast("Conv2d", convolution).normalise_after(maps, cast("BatchNorm2d", norm), _activation(relu), other)
    return normalise(norm, relu, convolution(maps), other)


def normalise(norm: nn.Module, relu: nn.Module, maps: Tensor, other: Tensor | None = None) -> Tensor:
    """Return relu(norm(maps) + other), or relu(norm(maps)) if `other` is None; one function if it supports both."""
    if isinstance(norm, BatchNorm2d) and _fusible(norm, relu, other):
        return norm.normalise(maps, _activation(relu), other)
    maps = norm(maps)
    if other is not None:
        maps += other
    result: Tensor = relu(maps)
    return result


def _activation(relu: nn.Module) -> str:
    return "relu6" if isinstance(relu, nn.ReLU6) else "relu"


def _can_fuse(convolution: nn.Module, norm: nn.Module, other: Tensor | None = None) -> bool:
    """Return whether one function can compute a convolution, the batch norm after it and the sum with a second map."""
    return (
        type(convolution) in (Conv2d, Conv2dSame)
        and type(norm) is BatchNorm2d
        and not _is_observed(convolution)
        and not _is_observed(norm)
        and (torch.is_grad_enabled() or (norm.is_fixed() and other is None))
    )


def _fusible(norm: nn.Module, relu: nn.Module, other: Tensor | None = None) -> bool:
    follows = type(relu) is ReLU or (type(relu) is ReLU6 and other is None and not layers.relu6_reason(relu))
    return type(norm) is BatchNorm2d and follows and not _is_observed(norm) and not _is_observed(relu)


def _is_observed(module: nn.Module) -> bool:
    """Return whether a hook, or a forward() assigned to this module object, can see the module's inputs or outputs."""
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


EXCHANGED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: layers.Conv2d,
    nn.Linear: layers.Linear,
    nn.BatchNorm2d: layers.BatchNorm2d,
    nn.AdaptiveAvgPool2d: layers.AdaptiveAvgPool2d,
    nn.MaxPool2d: layers.MaxPool2d,
    nn.ReLU: layers.ReLU,
    nn.ReLU6: layers.ReLU6,
    nn.Dropout: layers.Dropout,
    same.Conv2dSame: layers.Conv2dSame,
    nn.Sequential: Sequential,
    torchvision.ops.misc.Conv2dNormActivation: ConvNormActivation,
    resnet.BasicBlock: BasicBlock,
    resnet.Bottleneck: Bottleneck,
    resnet.ResNet: ResNet,
    mobilenetv2.InvertedResidual: InvertedResidual,
    mobilenetv2.MobileNetV2: MobileNetV2,
}
# Of layers whose attributes decide whether the kernels can compute them.
REASONS: dict[tuple[type[nn.Module], ...], Callable[[Any], str | None]] = {
    (nn.Conv2d, Conv2d, same.Conv2dSame, Conv2dSame): layers.convolution_reason,
    (nn.MaxPool2d, layers.MaxPool2d): layers.max_pool_reason,
    (nn.ReLU6, ReLU6): layers.relu6_reason,
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
            f"kernels for {', '.join(kind.__name__ for kind in (*list(EXCHANGED)[:8], *KEPT))}"
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
    wrong = [value for value in (*module.parameters(recurse=False), *module.buffers(recurse=False)) if _foreign(value)]
    if wrong:
        return f"{kind.__name__} with {wrong[0].dtype} on {wrong[0].device}; valid is torch.float32 on the CPU"
    if "forward" in vars(module):
        return f"{kind.__name__} with a forward() of its own"
    for kinds, reason in REASONS.items():
        if kind in kinds and (found := reason(module)):
            return found
    if kind in EXCHANGED or kind in EXCHANGED.values() or kind in KEPT:
        return None
    calls_others = next(module.children(), None) is not None and next(module.parameters(recurse=False), None) is None
    return None if calls_others else kind.__name__


def _foreign(value: Tensor) -> bool:
    return value.device.type != "cpu" or (value.is_floating_point() and value.dtype != torch.float32)
