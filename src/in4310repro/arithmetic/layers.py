"""Subclasses of torch's layers, with the same parameters, that compute by the compiled kernels."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch._C import _are_functorch_transforms_active
from torch.nn import functional

from in4310repro.arithmetic import dropout, functions, library, pooling, products, same


class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d, computed by products.convolution."""

    def forward(self, input: Tensor, norm: functions.Norm | None = None) -> Tensor:  # noqa: A002 - torch's name
        """Convolve maps [image, channel, height, width], then apply `norm` if given; the result has the same axes."""
        return products.convolution(input, *self.arguments(input), norm)

    def arguments(self, maps: Tensor) -> tuple[Tensor, library.Maybe, products.Pair, products.Padding, int]:
        """Return the arguments of products.convolution after the maps: weight, bias, stride, padding and groups."""
        _refuse(self)
        return self.weight, self.bias, pair(self.stride), self._padding(maps), self.groups

    def _padding(self, _maps: Tensor) -> products.Padding:
        if isinstance(self.padding, str):
            rows, columns = self.weight.shape[2:]
            return (rows // 2, columns // 2) if self.padding == "same" else (0, 0)
        return pair(self.padding)


class Conv2dSame(Conv2d, same.Conv2dSame):
    """same.Conv2dSame, computed by products.convolution, which pads without a copy of the maps."""

    def _padding(self, maps: Tensor) -> products.Padding:
        return self.ends(maps)


class Linear(nn.Linear):
    """torch.nn.Linear, computed by products.linear."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return `input @ weight.T + bias`, of shape [image, output], for an input [image, feature]."""
        return products.linear(input, self.weight, self.bias)


class BatchNorm2d(nn.BatchNorm2d):
    """torch.nn.BatchNorm2d, computed by functions.batch_norm."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalise each channel of maps [image, channel, height, width], then scale and shift it."""
        return functions.batch_norm(input, self.arguments())

    def arguments(self, activation: str = "none", other: library.Maybe = None) -> functions.Norm:
        """Return the arguments of functions.batch_norm after the maps, for a pass that begins now: it is counted."""
        momentum = self.momentum
        if self.training and self.track_running_stats and (batches := self.num_batches_tracked) is not None:
            if _are_functorch_transforms_active():
                raise ValueError(f"batch norm counts no batches inside of torch.func; {library.NATIVE}")
            batches.add_(1)
            momentum = 1 / int(batches) if momentum is None else momentum
        moved = not self.training or self.track_running_stats
        mean, variance = (self.running_mean, self.running_var) if moved else (None, None)
        training = self.training or self.running_mean is None
        tensors = mean, variance, self.weight, self.bias
        return functions.Norm(*tensors, training, momentum or 0.0, self.eps, activation, other)


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """torch.nn.AdaptiveAvgPool2d, computed by pooling.adaptive_average_pool."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Average maps [image, channel, height, width] over windows; the result has the layer's output size."""
        sizes = (self.output_size,) * 2 if isinstance(self.output_size, int | None) else self.output_size
        pairs = zip(sizes, input.shape[2:], strict=True)
        height, width = (size if wanted is None else wanted for wanted, size in pairs)
        return pooling.adaptive_average_pool(input, (height, width))


class MaxPool2d(nn.MaxPool2d):
    """torch.nn.MaxPool2d, computed by pooling.max_pool."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return the maximum in each window of maps [image, channel, height, width]."""
        _refuse(self)
        stride: Any = self.stride  # None means the window, though torch's type does not say so
        kernel, padding = pair(self.kernel_size), pair(self.padding)
        return pooling.max_pool(input, kernel, kernel if stride is None else pair(stride), padding, self.ceil_mode)


class ReLU(nn.ReLU):
    """torch.nn.ReLU that returns 0 for -0; torch's returns 0 on ARM and -0 on x86."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return max(x, 0) element by element, with 0 instead of -0."""
        return functional.relu(input.add_(0.0) if self.inplace else input + 0.0, inplace=True)


class ReLU6(nn.ReLU6):
    """torch.nn.ReLU6 that returns 0 for -0, as `ReLU` does, and passes the gradient where the value is NaN."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Return min(max(x, 0), 6) element by element, with 0 instead of -0."""
        _refuse(self)
        # Torch's relu6 has a gradient at NaN that depends on the place in a vector of the processor. What is written in
        # place is not needed for the gradient: torch's ReLU keeps its result.
        if self.inplace:
            values = input.add_(0.0)
            return functional.relu(values.masked_fill_(values >= 6, 6.0), inplace=True)
        values = functional.relu(input + 0.0, inplace=True)
        return values.masked_fill(values >= 6, 6.0)


class _Dropout(nn.modules.dropout._DropoutNd):
    axes: int | None = None  # of values of which whole channels are drawn

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Drop a share `p` of the values or channels in training mode; in evaluation, return the input unchanged."""
        if not self.training or self.p == 0:
            return input
        result = dropout.dropout(input, self.p, self.axes)
        return input.copy_(result) if self.inplace else result


class Dropout(_Dropout, nn.Dropout):
    """torch.nn.Dropout, computed by dropout.dropout."""


class Dropout1d(_Dropout, nn.Dropout1d):
    """torch.nn.Dropout1d of values [image, channel, position], computed by dropout.dropout."""

    axes = 3


class Dropout2d(_Dropout, nn.Dropout2d):
    """torch.nn.Dropout2d of maps [image, channel, height, width], computed by dropout.dropout."""

    axes = 4


class Dropout3d(_Dropout, nn.Dropout3d):
    """torch.nn.Dropout3d of values [image, channel, depth, height, width], computed by dropout.dropout."""

    axes = 5


def pair(sizes: int | Sequence[int]) -> tuple[int, int]:
    """Return `sizes` as a pair (rows, columns); a single number is used for both rows and columns."""
    rows, columns = (sizes,) * 2 if isinstance(sizes, int) else (*sizes, *sizes) if len(sizes) == 1 else sizes
    return rows, columns


def _refuse(layer: nn.Module) -> None:
    """Raise ValueError if there is a reason: attributes can be changed after `portable` has checked them."""
    if wrong := reason(layer):
        raise ValueError(f"no portable arithmetic for {wrong}; otherwise {library.NATIVE}")


def reason(layer: nn.Module) -> str | None:
    """Return the reason why the kernels cannot compute a layer with its present attributes; None if they can."""
    if isinstance(layer, nn.ReLU6) and (layer.min_val, layer.max_val) != (0, 6):
        return f"ReLU6 with min_val={layer.min_val} and max_val={layer.max_val}; they must be 0 and 6"
    if isinstance(layer, nn.MaxPool2d) and (pair(layer.dilation) != (1, 1) or layer.return_indices):
        return "MaxPool2d with dilation or return_indices; they must be 1 and False"
    if not isinstance(layer, nn.Conv2d):
        return None
    kind = "Conv2dSame" if isinstance(layer, same.Conv2dSame) else "Conv2d"
    padding, sizes = layer.padding, tuple(layer.weight.shape[2:])
    if "_conv_forward" in vars(layer):
        wrong = "a _conv_forward() of its own"
    elif layer.padding_mode != "zeros":
        wrong = f"padding_mode={layer.padding_mode!r}; it must be 'zeros'"
    elif pair(layer.dilation) != (1, 1):
        wrong = f"dilation={layer.dilation}; it must be 1"
    elif kind == "Conv2dSame" and padding not in (0, (0, 0)):
        wrong = f"padding={padding!r}; it must be 0"
    elif isinstance(padding, str) and padding not in ("same", "valid"):
        wrong = f"padding={padding!r}; it must be 'same', 'valid' or numbers"
    elif padding == "same" and ((even := not all(size % 2 for size in sizes)) or pair(layer.stride) != (1, 1)):
        given = f"an even kernel {sizes}" if even else f"stride={layer.stride}"
        wrong = f"padding={padding!r} and {given}; it must be numbers"
    else:
        return None
    return f"{kind} with {wrong}"
