"""Layers of EfficientNet-Lite that torch does not have; `layers` and `networks` compute them by the kernels.

The padding is TensorFlow's "same".
"""

from torch import Tensor, nn
from torch.nn import functional

Pair = tuple[int, int]


class Conv2dSame(nn.Conv2d):
    """torch.nn.Conv2d that pads maps so that ceil(size / stride) windows fit into each axis.

    If an odd number of rows or columns is added, the larger part goes to the bottom or right.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, groups=groups, bias=bias)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Convolve maps [image, channel, height, width]; the result has the same axes."""
        (top, bottom), (left, right) = self.ends(input)
        return super().forward(functional.pad(input, (left, right, top, bottom)))

    def ends(self, maps: Tensor) -> tuple[Pair, Pair]:
        """Return the padding of maps [..., height, width]: ((top, bottom), (left, right))."""
        sides = zip(maps.shape[-2:], self.kernel_size, self.stride, strict=True)
        added = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size, kernel, stride in sides)
        rows, columns = ((each // 2, each - each // 2) for each in added)
        return rows, columns


class InvertedResidual(nn.Module):
    """Expansion, depth-wise convolution and projection; adds the input if input and output have equal shapes."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = nn.Identity() if expansion == 1 else convolve_and_normalise(inputs, inner)
        self.depthwise = convolve_and_normalise(inner, inner, kernel, stride, inner)
        self.project = convolve_and_normalise(inner, outputs)[:2]
        self.residual = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        """Apply the block to maps [image, channel, height, width]; the result has the same axes."""
        result: Tensor = self.project(self.depthwise(self.expand(maps)))
        return maps + result if self.residual else result


def convolve_and_normalise(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return a module of convolution, batch norm and activation."""
    # With stride 1, TensorFlow's padding is the same at both ends, which torch needs no copy for.
    convolution = (
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
        if stride == 1
        else Conv2dSame(inputs, outputs, kernel, stride, groups, bias=False)
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01), nn.ReLU6(inplace=True))
