"""Workloads of the benchmark of arithmetic: training steps and inference of whole networks, and single layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn

from in4310repro import models
from in4310repro.arithmetic.library import Shape, library
from in4310repro.models.building import construct
from in4310repro.models.sources import open_network
from in4310repro.runs.settings import OptimizerSetting
from in4310repro.system.numerics import Numerics
from in4310repro.training import optimizers

CLASSES = 6
Forward = Callable[[Tensor], Tensor]
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
SGD = OptimizerSetting(name="sgd", optimizer="SGD", learning_rate=1e-3, momentum=0.9)


@dataclass(frozen=True)
class Workload:
    """A training step or inference of a network without dropout, on one batch that stays in memory."""

    model: str
    image_size: int  # pixels
    batch_size: int  # images
    training: bool  # a step with SGD, otherwise inference

    @property
    def name(self) -> str:
        """Name of the workload in the table."""
        what = "training step" if self.training else "inference"
        images = f"{self.batch_size} image{'s' if self.batch_size > 1 else ''}"
        return f"{self.model}, {self.image_size} px, {images}, {what}"

    def network(self) -> nn.Module:
        """Return the network with the weights that all programs have, in training or evaluation mode."""
        model = models.build(self.model, CLASSES, seed=0)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # so that all programs compute the same
        return model.train(self.training)

    def images(self) -> Tensor:
        """Return the batch: image, channel, height, width."""
        values = torch.linspace(-2, 2, self.batch_size * 3 * self.image_size**2)
        return values.reshape(self.batch_size, 3, self.image_size, self.image_size)

    def prepare(
        self, numerics: Numerics, *, memory_format: str = "channels_last", bfloat16: bool = False, folded: bool = False
    ) -> Callable[[], object]:
        """Return a function without arguments that does the work once; in inference it returns the scores.

        Args:
            numerics: the arithmetic.
            memory_format: that of images and weights, one of `FORMATS`.
            bfloat16: whether forward passes are under torch's autocast.
            folded: whether batch norm is part of the convolutions before it, for inference.
        """
        model = numerics.place(fold(self.network()) if folded else self.network())
        model.to(memory_format=FORMATS[memory_format])  # type: ignore[call-overload]
        images = self.images().contiguous(memory_format=FORMATS[memory_format])
        labels = torch.arange(self.batch_size) % CLASSES
        forward: Forward = torch.autocast("cpu", torch.bfloat16)(model.forward) if bfloat16 else model
        if not self.training:
            return lambda: _infer(forward, images)
        optimizer = optimizers.build(SGD, model.parameters(), portable=numerics.portable)
        return lambda: _step(forward, optimizer, images, labels, numerics)

    def operations(self) -> float:
        """Return the floating-point operations in the definition of convolutions and head; a multiply-add is two."""
        first, *others = convolution_operations(self.model, self.image_size)
        # Gradients of maps and of weights cost a forward pass each; images have no gradient.
        each = 2 * first + 3 * sum(others) if self.training else first + sum(others)
        return each * self.batch_size


def fold(model: nn.Module) -> nn.Module:
    """Fold each batch norm into the convolution that its parent has just before it, and return the network.

    In all networks of the benchmark a convolution is followed by the batch norm that is applied to it.
    """
    for parent in list(model.modules()):
        before, convolution = "", None
        for name, module in list(parent.named_children()):
            if isinstance(module, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
                setattr(parent, before, nn.utils.fuse_conv_bn_eval(convolution, module))
                setattr(parent, name, nn.Identity())
            before, convolution = name, module
    return model


def _infer(forward: Forward, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return forward(images)


def _step(
    forward: Forward, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, numerics: Numerics
) -> None:
    optimizer.zero_grad()
    numerics.cross_entropy(forward(images), labels).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def convolution_operations(name: str, image_size: int) -> list[float]:
    """Return the floating-point operations of each convolution and linear layer of a network, for one image."""
    operations: list[float] = []

    def count(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        operations.append(2.0 * weight[0].numel() * output.numel())

    model = construct(open_network(name), CLASSES).to("meta").eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(count)
    model(torch.empty(1, 3, image_size, image_size, device="meta"))
    return operations


@dataclass(frozen=True)
class Layer:
    """A convolution of ResNet-18, and how often it occurs in the network."""

    channels: int
    outputs: int
    kernel: int
    stride: int
    size: int  # of its maps, pixels
    times: int

    @property
    def name(self) -> str:
        """Name of the layer in the table."""
        return f"{self.kernel}x{self.kernel}, {self.channels} to {self.outputs}, stride {self.stride}, {self.size} px"

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels that a training needs; images have no gradient."""
        return tuple(kernel for kernel in KERNELS if self.channels != 3 or kernel != KERNELS[1])

    def method(self, kernel: str) -> str:
        """Return the name of the method by which portable arithmetic computes one of the kernels."""
        padding = self.kernel // 2
        window = (self.kernel, self.kernel, self.stride, self.stride, *4 * [padding])
        shape = Shape(1, self.channels, self.size, self.size, self.outputs, *window, 1)
        return METHODS[library().functions["method"](shape, KERNELS.index(kernel))]


def layers(image_size: int) -> list[Layer]:
    """Return the convolutions of ResNet-18 with distinct shapes, in the order of the network."""
    counts: dict[tuple[int, int, int, int, int], int] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        shape = (module.in_channels, module.out_channels, module.kernel_size[0], module.stride[0], inputs[0].shape[2])
        counts[shape] = counts.get(shape, 0) + 1

    with torch.device("meta"):
        model = torchvision.models.resnet18(weights=None)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(note)
        model(torch.empty(2, 3, image_size, image_size))
    return [Layer(*shape, times) for shape, times in counts.items()]


# In the order of the enums Result and Method in winograd.hpp.
KERNELS = ("forward", "gradient of the maps", "gradient of the weights")
METHODS = ("direct", "F(2x2)", "F(2x4)", "2x2 maps", "F(4x4)")


def prepare_layer(layer: Layer, batch_size: int, kernel: str, numerics: Numerics) -> Callable[[], object]:
    """Return a function without arguments that runs a convolution forward, or one of its two gradients, once."""
    module = nn.Conv2d(layer.channels, layer.outputs, layer.kernel, layer.stride, padding=layer.kernel // 2, bias=False)
    convolution = numerics.place(nn.Sequential(module))
    maps = torch.randn(batch_size, layer.channels, layer.size, layer.size, generator=torch.Generator().manual_seed(0))
    maps = maps.contiguous(memory_format=torch.channels_last)
    if kernel == KERNELS[0]:
        return lambda: _infer(convolution, maps)
    wanted = maps.requires_grad_() if kernel == KERNELS[1] else module.weight
    module.weight.requires_grad_(wanted is module.weight)
    result = convolution(maps)
    gradient = torch.ones_like(result)

    def backward() -> None:
        torch.autograd.grad(result, wanted, gradient, retain_graph=True)

    return backward
