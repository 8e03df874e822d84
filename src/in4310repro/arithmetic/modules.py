"""portable(model): the same modules, names and state dicts, computed by the compiled kernels.

The class of each module is exchanged for one of the same fields. Batch norm, a sum and ReLU that follow each other in
torchvision's blocks become one pass, unless a hook is attached to one of them; the bits are equal either way.
"""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import mobilenetv2, resnet

from in4310repro.arithmetic import convolutions, functions, library, matrices, pooling


class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d by convolutions.convolution."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Maps [image, channel, height, width]."""
        return convolutions.convolution(input, self.weight, self.bias, _pair(self.stride), _padding(self), self.groups)


class Linear(nn.Linear):
    """torch.nn.Linear by matrices.linear."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Rows [image, feature]."""
        return matrices.linear(input, self.weight, self.bias)


class BatchNorm2d(nn.BatchNorm2d):
    """torch.nn.BatchNorm2d by functions.batch_norm."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Maps [image, channel, height, width]."""
        return self.normalise(input)

    def normalise(self, maps: Tensor, activation: str = "none", other: Tensor | None = None) -> Tensor:
        """activation(forward(maps) + other) in one pass."""
        momentum = self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            momentum = 1 / int(self.num_batches_tracked) if momentum is None else momentum
        moved = not self.training or self.track_running_stats
        return functions.batch_norm(
            maps,
            self.running_mean if moved else None,
            self.running_var if moved else None,
            self.weight,
            self.bias,
            training=self.training or self.running_mean is None,
            momentum=0.0 if momentum is None else momentum,
            epsilon=self.eps,
            activation=activation,
            other=other,
        )


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """torch.nn.AdaptiveAvgPool2d by pooling.adaptive_average_pool."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Maps [image, channel, height, width]."""
        sizes = self.output_size if isinstance(self.output_size, tuple) else (self.output_size, self.output_size)
        height, width = (
            size if wanted is None else wanted for wanted, size in zip(sizes, input.shape[2:], strict=True)
        )
        return pooling.adaptive_average_pool(input, (height, width))


class MaxPool2d(nn.MaxPool2d):
    """torch.nn.MaxPool2d by pooling.max_pool."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Maps [image, channel, height, width]."""
        kernel, padding = _pair(self.kernel_size), _pair(self.padding)
        return pooling.max_pool(input, kernel, _pair(self.stride), padding, self.ceil_mode)


def _pair(sizes: int | tuple[int, ...]) -> tuple[int, int]:
    rows, columns = (sizes, sizes) if isinstance(sizes, int) else sizes
    return rows, columns


class Dropout(nn.Dropout):
    """torch.nn.Dropout in evaluation and with p = 0; what it drops in training has no portable arithmetic."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """The input.

        Raises:
            ValueError: in training with p > 0.
        """
        if self.training and self.p > 0:
            raise ValueError(
                f"dropout with p={self.p} has no portable arithmetic in training; set p to 0 or train native"
            )
        return input


class Sequential(nn.Sequential):
    """torch.nn.Sequential with batch norm and the ReLU or ReLU6 after it in one pass."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """What the last module makes of it."""
        return _in_sequence(list(self), input)


class ConvNormActivation(torchvision.ops.misc.Conv2dNormActivation):  # type: ignore[misc]
    """torchvision's Conv2dNormActivation, likewise."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Maps [image, channel, height, width]."""
        return _in_sequence(list(self), input)


def _in_sequence(modules: list[nn.Module], values: Tensor) -> Tensor:
    place = 0
    while place < len(modules):
        following = modules[place + 1] if place + 1 < len(modules) else None
        if following is not None and _fusible(modules[place], following):
            values = normalise(modules[place], following, values)
            place += 2
        else:
            values = modules[place](values)
            place += 1
    return values


class BasicBlock(resnet.BasicBlock):  # type: ignore[misc]
    """torchvision's BasicBlock with batch norm, the sum and ReLU in one pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps [image, channel, height, width]."""
        x, identity = pooling.fork(x)
        maps = normalise(self.bn1, self.relu, self.conv1(x))
        maps = self.conv2(maps)
        identity = identity if self.downsample is None else self.downsample(identity)
        return normalise(self.bn2, self.relu, maps, identity)


class Bottleneck(resnet.Bottleneck):  # type: ignore[misc]
    """torchvision's Bottleneck, likewise."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps [image, channel, height, width]."""
        x, identity = pooling.fork(x)
        maps = normalise(self.bn1, self.relu, self.conv1(x))
        maps = normalise(self.bn2, self.relu, self.conv2(maps))
        maps = self.conv3(maps)
        identity = identity if self.downsample is None else self.downsample(identity)
        return normalise(self.bn3, self.relu, maps, identity)


class ResNet(resnet.ResNet):  # type: ignore[misc]
    """torchvision's ResNet, likewise."""

    def forward(self, x: Tensor) -> Tensor:
        """Scores [image, class] of images [image, channel, height, width]."""
        maps = self.maxpool(normalise(self.bn1, self.relu, self.conv1(x)))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = layer(maps)
        scores: Tensor = self.fc(torch.flatten(self.avgpool(maps), 1))
        return scores


class InvertedResidual(mobilenetv2.InvertedResidual):  # type: ignore[misc]
    """torchvision's InvertedResidual, whose sum is an operator and no module."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps [image, channel, height, width]."""
        if not self.use_res_connect:
            maps: Tensor = self.conv(x)
            return maps
        x, identity = pooling.fork(x)
        return pooling.add(identity, self.conv(x))


class MobileNetV2(mobilenetv2.MobileNetV2):  # type: ignore[misc]
    """torchvision's MobileNetV2, whose pooling is a function and no module."""

    def forward(self, x: Tensor) -> Tensor:
        """Scores [image, class] of images [image, channel, height, width]."""
        maps = pooling.adaptive_average_pool(self.features(x), (1, 1))
        scores: Tensor = self.classifier(torch.flatten(maps, 1))
        return scores


def normalise(norm: nn.Module, relu: nn.Module, maps: Tensor, other: Tensor | None = None) -> Tensor:
    """relu(norm(maps) + other): one pass where nobody looks at what is between, module by module elsewhere."""
    if isinstance(norm, BatchNorm2d) and _fusible(norm, relu, other):
        return norm.normalise(maps, "relu6" if isinstance(relu, nn.ReLU6) else "relu", other)
    maps = norm(maps)
    if other is not None:
        maps += other
    result: Tensor = relu(maps)
    return result


def _fusible(norm: nn.Module, relu: nn.Module, other: Tensor | None = None) -> bool:
    follows = type(relu) is nn.ReLU or (type(relu) is nn.ReLU6 and other is None)
    return type(norm) is BatchNorm2d and follows and not _observed(norm) and not _observed(relu)


def _observed(module: nn.Module) -> bool:
    """Whether a hook would see the module's input, output or gradient."""
    registered = torch.nn.modules.module
    return bool(
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
    nn.Conv2d: Conv2d,
    nn.Linear: Linear,
    nn.BatchNorm2d: BatchNorm2d,
    nn.AdaptiveAvgPool2d: AdaptiveAvgPool2d,
    nn.MaxPool2d: MaxPool2d,
    nn.Dropout: Dropout,
    nn.Sequential: Sequential,
    torchvision.ops.misc.Conv2dNormActivation: ConvNormActivation,
    resnet.BasicBlock: BasicBlock,
    resnet.Bottleneck: Bottleneck,
    resnet.ResNet: ResNet,
    mobilenetv2.InvertedResidual: InvertedResidual,
    mobilenetv2.MobileNetV2: MobileNetV2,
}
# torch's own, exact or without arithmetic.
KEPT = (nn.ReLU, nn.ReLU6, nn.Flatten, nn.Identity)


def portable(model: nn.Module) -> nn.Module:
    """The model itself, prepared in place: every module computes by the kernels of this room.

    Names, parameters, buffers, state dict, hooks and training mode stay; parameters are laid out in channels_last.
    A module that only calls others is kept as it is: what its forward() computes by functions is torch's.

    Raises:
        ValueError: names every module without portable arithmetic, and what to do.
        RuntimeError: no kernel was built for this processor.
    """
    library.library()
    refused = [
        f"{name or 'the model'} ({reason})" for name, module in model.named_modules() if (reason := _reason(module))
    ]
    if refused:
        raise ValueError(
            f"no portable arithmetic for {'; '.join(refused)}. Use native arithmetic, or replace them: there are "
            f"kernels for {', '.join(kind.__name__ for kind in (*list(EXCHANGED)[:6], *KEPT))}"
        )
    for module in model.modules():
        module.__class__ = EXCHANGED.get(type(module), type(module))
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _reason(module: nn.Module) -> str | None:
    """Why a module has no portable arithmetic; None if it has."""
    kind = type(module)
    wrong = [value for value in (*module.parameters(recurse=False), *module.buffers(recurse=False)) if _foreign(value)]
    if wrong:
        return f"{kind.__name__} with {wrong[0].dtype} on {wrong[0].device}; valid is torch.float32 on the CPU"
    if kind in (nn.Conv2d, Conv2d):
        return _reason_of_convolution(module)
    if isinstance(module, nn.MaxPool2d) and (_pair(module.dilation) != (1, 1) or module.return_indices):
        return "MaxPool2d with dilation or return_indices; valid are 1 and False"
    if kind in EXCHANGED or kind in EXCHANGED.values() or kind in KEPT:
        return None
    calls_others = next(module.children(), None) is not None and next(module.parameters(recurse=False), None) is None
    return None if calls_others else kind.__name__


def _foreign(value: Tensor) -> bool:
    return value.device.type != "cpu" or (value.is_floating_point() and value.dtype != torch.float32)


def _reason_of_convolution(module: nn.Module) -> str | None:
    if not isinstance(module, nn.Conv2d):
        return None
    if module.padding_mode != "zeros":
        return f"Conv2d with padding_mode={module.padding_mode!r}; valid is 'zeros'"
    if tuple(module.dilation) != (1, 1):
        return f"Conv2d with dilation={module.dilation}; valid is 1"
    if module.padding == "same" and any(size % 2 == 0 for size in module.kernel_size):
        return f"Conv2d with padding='same' and an even kernel {module.kernel_size}; valid are numbers"
    return None


def _padding(module: nn.Conv2d) -> tuple[int, int]:
    """Rows above and below, columns left and right."""
    if module.padding == "valid":
        return 0, 0
    if isinstance(module.padding, str):
        return module.kernel_size[0] // 2, module.kernel_size[1] // 2
    return _pair(module.padding)
