"""Checks of module outputs: whether they can be measured, and which of their axes hold channels and images."""

import re

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from in4310repro.arithmetic.signatures import in_memory

# Classes whose code is known; a subclass with its own forward() may do anything.
KNOWN_CODE = ("torch.nn.", "torch.ao.nn.", "in4310repro.arithmetic.")
# Modules with channels on the last axis, by the names of torch's classes.
LAST = {
    *("Linear", "Bilinear", "Embedding", "EmbeddingBag", "RNN", "LSTM", "GRU", "MultiheadAttention", "Transformer"),
    *("TransformerEncoder", "TransformerEncoderLayer", "TransformerDecoder", "TransformerDecoderLayer"),
}
SECOND = re.compile(
    r"(?:Sync)?BatchNorm(?:[123]d)?|InstanceNorm[123]d|GroupNorm|LocalResponseNorm|ChannelShuffle|Upsample|Fold|Unfold"
)
# Layers by their number of axes after the channel axis.
BEFORE_SPACE = re.compile(r"(?:Conv|ConvTranspose|\w*Pool|MaxUnpool)([123])d")
# Layers by the number of axes of their images besides channels, by the names of torch's classes.
SPATIAL = re.compile(r"Conv([123])d|ConvTranspose([123])d|(?:Max|Avg|LP)Pool([123])d|BatchNorm([23])d")
# Magnitudes of float64 values: the shift is a float32 number, and no deviation of like numbers has a square of 0.
RANGE = (1e-120, torch.finfo(torch.float32).max)
WITHOUT_STORAGE = torch.Tensor.__torch_dispatch__


def own_axis(module: nn.Module, path: str, ndim: int) -> int | None:
    """Return the channel axis that a layer's definition fixes; None if it depends on the input.

    Args:
        module: the layer.
        path: the path of the output within the value that the layer returned.
        ndim: the output's number of axes.
    """
    if ndim < 2 or path not in ("", "[0]") or not _runs_known_code(module):
        return None
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        return ndim - 1 if len(module.normalized_shape) == 1 else None
    for kind in type(module).__mro__:
        name = kind.__name__ if kind.__module__.startswith("torch.") else ""
        if name in LAST:
            return ndim - 1
        if SECOND.fullmatch(name):
            return 1
        if name in ("PixelShuffle", "PixelUnshuffle"):
            return ndim - 3
        if (spatial := BEFORE_SPACE.fullmatch(name)) and ndim > int(spatial[1]) + 1:
            return ndim - 1 - int(spatial[1])
    portable = _place_of_code(module) == "in4310repro.arithmetic.networks"
    # Blocks of torchvision's networks for maps [image, channel, height, width], whose sums no function of torch shows.
    return 1 if portable and ndim == 4 and not isinstance(module, nn.Sequential) else None


def is_elementwise(module: nn.Module) -> bool:
    """Return whether a module is an activation or dropout of torch, whose output has the axes of its input."""
    places = ("torch.nn.modules.activation", "torch.nn.modules.dropout")
    kinds = [kind for kind in type(module).__mro__ if kind.__module__ in places or kind is nn.Identity]
    return bool(kinds) and _runs_known_code(module)


def _runs_known_code(module: nn.Module) -> bool:
    return "forward" not in vars(module) and _place_of_code(module).startswith(KNOWN_CODE)


def _place_of_code(module: nn.Module) -> str:
    """Return the name of the Python module that defines a module's forward(); empty for a traced program."""
    forward = next(vars(kind)["forward"] for kind in type(module).__mro__ if "forward" in vars(kind))
    return str(getattr(forward, "__module__", ""))


def plain_tensor(output: object) -> Tensor:
    """Return an output as a plain tensor that the kernel can read; tensor subclasses are viewed, not copied.

    Raises:
        ValueError: the output is not a tensor of floating-point values in memory.
    """
    if isinstance(output, PackedSequence):
        raise ValueError("its output is a packed sequence, whose rows are no images")
    if not isinstance(output, Tensor):
        raise ValueError(f"its output is of type {type(output).__name__}, in which statistics find no tensors")
    if torch._C._functorch.is_functorch_wrapped_tensor(output):
        raise ValueError("its output is inside of torch.func or vmap, and shows its values to no hook")
    if output.is_nested:
        raise ValueError("its output is a nested tensor, whose images have different shapes")
    if type(output).__torch_dispatch__ is not WITHOUT_STORAGE:
        raise ValueError(f"its output is of type {type(output).__name__}, which holds no plain values")
    if output.layout != torch.strided or output.device.type == "meta":
        raise ValueError(f"its output is {output.layout} on {output.device}; statistics are of dense values in memory")
    if not output.is_floating_point():
        raise ValueError(f"its output is {output.dtype}; statistics are of floating-point values")
    if type(output) not in (Tensor, nn.Parameter):
        with torch._C.DisableTorchFunctionSubclass():
            output = output.as_subclass(Tensor)
    return in_memory("its output", output)


def is_unbatched(module: nn.Module, ndim: int) -> bool:
    """Return whether a module's output with `ndim` axes must be a single image without a batch axis."""
    names = (SPATIAL.fullmatch(kind.__name__) for kind in type(module).__mro__)
    return any(name is not None and ndim == 1 + int(name[name.lastindex or 0]) for name in names)


def rows_are_no_images(module: nn.Module, path: str) -> str | None:
    """Return a description of axis 0 if the module's definition says that it is not images; else None."""
    # Includes torch.ao's quantised ones, which do not derive from RNNBase.
    recurrent = hasattr(module, "hidden_size") and hasattr(module, "batch_first")
    if recurrent and path.startswith("[1]"):
        return "the layers of a hidden state"
    sequence = recurrent or (isinstance(module, nn.MultiheadAttention) and path == "[0]")
    return (
        "the steps of the sequence (batch_first is False)"
        if sequence and not getattr(module, "batch_first", True)
        else None
    )


def images_of_values(module: nn.Module, values: Tensor, images: int | None, *, told: bool) -> int:
    """Return the number of images in an output of which only values are counted.

    Outside of a forward pass, `images` is None, and the number is the length of axis 0.

    Raises:
        ValueError: the output is a single image without a batch axis, and the caller did not count the images.
    """
    shape = tuple(values.shape)
    if is_unbatched(module, len(shape)) and not told:
        raise ValueError(f"its output has shape {shape}, of one image without a batch axis: add it, image[None]")
    return images if images is not None else shape[0] if shape else 1


def images_of_samples(module: nn.Module, path: str, values: Tensor, images: int | None, settings: str) -> int:
    """Return the number of images on axis 0 of an output that is divided into samples, after checking it.

    `settings` is the text that error messages suggest: the settings that would only count values.

    Raises:
        ValueError: axis 0 is not the images of the batch.
    """
    shape = tuple(values.shape)
    if is_unbatched(module, len(shape)):
        raise ValueError(f"its output has shape {shape}, of one image without a batch axis: add it, image[None]")
    counted = f"{settings} counts its values"
    if reason := rows_are_no_images(module, path):
        raise ValueError(f"its output has shape {shape}, and axis 0 is {reason}; {counted}")
    if len(shape) < 2:
        raise ValueError(f"its output has shape {shape}, without channels; {counted}")
    if images not in (None, shape[0]):
        raise ValueError(f"its output has shape {shape}; axis 0 must be the {images} images of the batch; {counted}")
    return shape[0]


def check_range(maps: Float[Tensor, "image channel height width"]) -> None:
    """Check that the squares of float64 values neither overflow nor lose digits; float32 values always pass.

    Raises:
        ValueError: the largest finite magnitude in a channel is neither 0 nor within RANGE.
    """
    if maps.dtype != torch.float64 or not maps.numel():
        return
    peak = torch.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0).abs().amax(dim=(0, 2, 3))
    outside = (peak != 0) & ((peak < RANGE[0]) | (peak > RANGE[1]))
    if bool(outside.any()):
        channel = int(outside.nonzero()[0])
        raise ValueError(
            f"the largest magnitude in channel {channel} is {float(peak[channel]):.3g}, in float64; "
            f"{RANGE[0]:g} to {RANGE[1]:g} is valid: scale them, or count them with samples=None"
        )
