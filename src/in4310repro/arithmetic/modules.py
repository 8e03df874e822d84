"""Replacement of a model's modules by ones that use the compiled kernels, with the same state dict.

Only the class of each module object is exchanged; its attributes stay.
"""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import mobilenetv2, resnet

from in4310repro.arithmetic import layers, library, networks

EXCHANGED: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: layers.Conv2d,
    nn.Linear: layers.Linear,
    nn.BatchNorm2d: layers.BatchNorm2d,
    nn.AdaptiveAvgPool2d: layers.AdaptiveAvgPool2d,
    nn.MaxPool2d: layers.MaxPool2d,
    nn.ReLU: layers.ReLU,
    nn.ReLU6: layers.ReLU6,
    nn.Dropout: layers.Dropout,
    nn.Sequential: networks.Sequential,
    torchvision.ops.misc.Conv2dNormActivation: networks.ConvNormActivation,
    resnet.BasicBlock: networks.BasicBlock,
    resnet.Bottleneck: networks.Bottleneck,
    resnet.ResNet: networks.ResNet,
    mobilenetv2.InvertedResidual: networks.InvertedResidual,
    mobilenetv2.MobileNetV2: networks.MobileNetV2,
}
KEPT = (nn.Flatten, nn.Identity)


def portable(model: nn.Module) -> nn.Module:
    """Replace a model's modules, in place, by ones that use the compiled kernels; return the model.

    Names, parameters, buffers, state dict, hooks and training mode stay; parameters are laid out in channels_last.
    A module that only calls other modules is kept; functions that its forward() calls are computed by torch.

    Raises:
        ValueError: modules have no portable arithmetic; the message names them and what to do.
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
    """Return the modules that the kernels cannot compute, with reasons; ignores functions called in forward()."""
    return [
        f"{name or 'the model'} ({reason})" for name, module in model.named_modules() if (reason := _reason(module))
    ]


def _reason(module: nn.Module) -> str | None:
    """Return the reason why a module has no portable arithmetic; None if it has."""
    kind = type(module)
    wrong = [value for value in (*module.parameters(recurse=False), *module.buffers(recurse=False)) if _foreign(value)]
    if wrong:
        return f"{kind.__name__} with {wrong[0].dtype} on {wrong[0].device}; valid is torch.float32 on the CPU"
    if "forward" in vars(module):
        return f"{kind.__name__} with a forward() of its own"
    if isinstance(module, nn.Conv2d) and kind in (nn.Conv2d, layers.Conv2d):
        return _reason_of_convolution(module)
    if isinstance(module, nn.MaxPool2d) and (layers.pair(module.dilation) != (1, 1) or module.return_indices):
        return "MaxPool2d with dilation or return_indices; valid are 1 and False"
    if kind in EXCHANGED or kind in EXCHANGED.values() or kind in KEPT:
        return None
    calls_others = next(module.children(), None) is not None and next(module.parameters(recurse=False), None) is None
    return None if calls_others else kind.__name__


def _foreign(value: Tensor) -> bool:
    return value.device.type != "cpu" or (value.is_floating_point() and value.dtype != torch.float32)


def _reason_of_convolution(module: nn.Conv2d) -> str | None:
    if module.padding_mode != "zeros":
        return f"Conv2d with padding_mode={module.padding_mode!r}; valid is 'zeros'"
    if tuple(module.dilation) != (1, 1):
        return f"Conv2d with dilation={module.dilation}; valid is 1"
    if module.padding == "same" and any(size % 2 == 0 for size in module.kernel_size):
        return f"Conv2d with padding='same' and an even kernel {module.kernel_size}; valid are numbers"
    return None
