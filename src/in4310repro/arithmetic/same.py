"""Convolution with TensorFlow's "same" padding, as a layer of torch; `layers.Conv2dSame` computes it by the kernels."""

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
