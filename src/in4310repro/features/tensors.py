"""Tensors in the inputs and outputs of modules: how many images they hold, and which of them can be measured."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping

import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from in4310repro.arithmetic.signatures import PLAIN, in_memory

FeatureMaps = Float[Tensor, "image channel height width"]
SingleMaps = Float32[Tensor, "image channel height width"]
Values = Float[Tensor, "..."]
Shift = Float32[Tensor, " channel"]
ImageMeans = Float64[Tensor, "image channel"]
BinCounts = Int64[Tensor, " bin"]
Keys = Int64[Tensor, "channel place"]
ImageCounter = Callable[..., int]
HINT = "say how many there are: count_images=FUNCTION, which gets the arguments of the model and returns their number"


def count_images(args: tuple[object, ...], kwargs: Mapping[str, object]) -> tuple[int, bool]:
    """Return the number of images in the first argument that contains a tensor, and whether it is certain.

    Positional arguments are searched first, one by one. All keyword arguments together count as one mapping.

    * A tensor has its images on axis 0; a packed sequence has one image per sequence.
    * A list or tuple of mappings, or of tensors with three axes, has one image per entry, as in
      torchvision's detection.
    * All parts of any other list or tuple, of a mapping or of a dataclass must have the same number of
      images.

    The number is certain if the argument is a tensor or packed sequence. A container of tensors leaves doubt.

    Raises:
        ValueError: there is no tensor, or the parts of an argument have different numbers of images.
    """
    for argument in (*args, kwargs):
        if (count := _count(argument)) is not None:
            values = kwargs.values() if argument is kwargs else (argument,)
            first = next(value for value in values if _count(value) is not None)
            return count, isinstance(first, Tensor | PackedSequence)
    raise ValueError(f"no input of the model is a tensor or holds one, so that nothing tells its images; {HINT}")


def check_count(count: object) -> int:
    """Return the number of images that a caller's function gave, after checking that it is an integer >= 0.

    Raises:
        ValueError: the value is not a possible number of images.
    """
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"count_images gave {count!r}; it has to give the number of images, an int from 0")
    return count


def check_output(images: int, output: object) -> None:
    """Check that the model's output has as many images as were counted in its nested input.

    Raises:
        ValueError: the output is not a list with one entry per image, and has no tensor with one row per image.
    """
    numbers = {int(value.size(0)) for _, value in iterate_values(output) if isinstance(value, Tensor) and value.dim()}
    if isinstance(output, list | tuple):
        numbers.add(len(output))
    if images not in numbers:
        raise ValueError(
            f"the nested input of the model looks like {images} images, and its output like {sorted(numbers)}; {HINT}"
        )


def _count(argument: object) -> int | None:
    """Return the number of images in an argument; None if it contains no tensor with an axis."""
    if isinstance(argument, Tensor):
        return int(argument.size(0)) if argument.dim() else None
    if isinstance(argument, PackedSequence):
        return int(argument.batch_sizes[0])
    parts = [part for _, part in children(argument) or []]
    plain_list = isinstance(argument, list | tuple) and not hasattr(argument, "_fields")
    if parts and plain_list and all(_is_one_image(part) for part in parts):
        return len(parts)
    counts = {count for part in parts if (count := _count(part)) is not None}
    if len(counts) > 1:
        raise ValueError(f"the parts of the model's nested input look like {sorted(counts)} images; {HINT}")
    return next(iter(counts), None)


def _is_one_image(part: object) -> bool:
    return isinstance(part, Mapping) or (isinstance(part, Tensor) and part.dim() == 3)


# Constants beside tensors, which are not measured.
CONSTANTS = (type(None), bool, int, float, complex, str, bytes)


def children(value: object, show: Callable[[object], str] = str) -> list[tuple[str, object]] | None:
    """Return the elements of a container as pairs (path, element); None if `value` is not a container.

    A path is `[key]` in a mapping, `.field` in a dataclass, and `[0]`, `[1]`, ... in a list or tuple. Keys are
    printed by `show`.
    """
    if isinstance(value, Tensor | PackedSequence):
        return None
    if isinstance(value, Mapping):
        return [(f"[{show(key)}]", part) for key, part in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple | list):
        return [(f"[{position}]", part) for position, part in enumerate(value)]
    return None


def iterate_values(value: object, path: str = "", show: Callable[[object], str] = str) -> Iterator[tuple[str, object]]:
    """Yield pairs (path, value) of all values nested in `value`, except containers, None, numbers and strings.

    Paths are strings such as "[0]", "[hidden][1]" or ".logits"; the path is "" if `value` is not a container. Keys
    of mappings are printed by `show`: the keys 0 and "0" have one path by `str`, and two by `repr`.
    """
    parts = children(value, show)
    if parts is not None:
        for step, part in parts:
            yield from iterate_values(part, path + step, show)
    elif not isinstance(value, CONSTANTS):
        yield path, value


# Layers by the number of axes of their images besides channels, by the names of torch's classes.
SPATIAL = re.compile(r"(?:Conv|ConvTranspose|(?:Max|Avg|LP)Pool|BatchNorm(?=[23]))([123])d")
# Magnitudes of float64 values: the shift is a float32 number, and no deviation of like numbers has a square of 0.
RANGE = (1e-120, torch.finfo(torch.float32).max)


def plain_tensor(output: object) -> Tensor:
    """Return an output as a plain tensor that the kernel can read; tensor subclasses are viewed, not copied.

    Raises:
        ValueError: the output is not a tensor of floating-point values in memory.
    """
    kind = type(output).__name__
    if isinstance(output, PackedSequence):
        wrong = "a packed sequence, whose rows are no images"
    elif not isinstance(output, Tensor):
        wrong = f"of type {kind}, in which statistics find no tensors"
    elif torch._C._functorch.is_functorch_wrapped_tensor(output):
        wrong = "inside of torch.func or vmap, and shows its values to no hook"
    elif output.is_nested:
        wrong = "a nested tensor, whose images have different shapes"
    elif type(output).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        wrong = f"of type {kind}, which holds no plain values"
    elif output.layout != torch.strided or output.device.type == "meta":
        wrong = f"{output.layout} on {output.device}; statistics are of dense values in memory"
    elif not output.is_floating_point():
        wrong = f"{output.dtype}; statistics are of floating-point values"
    else:
        wrong = ""
    if wrong or not isinstance(output, Tensor):
        raise ValueError(f"its output is {wrong}")
    if type(output) not in PLAIN:
        with torch._C.DisableTorchFunctionSubclass():
            output = output.as_subclass(Tensor)
    # Without the tangent that forward-mode differentiation gives it.
    return in_memory("its output", output.detach())


def is_unbatched(module: nn.Module, ndim: int) -> bool:
    """Return whether a module's output with `ndim` axes must be a single image without a batch axis.

    An example is an output of Conv2d with three axes.
    """
    names = (SPATIAL.fullmatch(kind.__name__) for kind in type(module).__mro__)
    return any(name is not None and ndim == 1 + int(name[1]) for name in names)


def rows_are_no_images(module: nn.Module, path: str) -> str | None:
    """Return a phrase that says what axis 0 holds instead of images; None if axis 0 of the output can hold images.

    The phrase is for outputs of recurrent and attention modules, which can have layers or steps on axis 0.
    """
    # Includes torch.ao's quantised ones, which do not derive from RNNBase.
    recurrent = hasattr(module, "hidden_size") and hasattr(module, "batch_first")
    if recurrent and path.startswith("[1]"):
        return "the layers of a hidden state"
    sequence = recurrent or (isinstance(module, nn.MultiheadAttention) and path == "[0]")
    steps_first = sequence and not getattr(module, "batch_first", True)
    return "the steps of the sequence (batch_first is False)" if steps_first else None


def images_of(
    module: nn.Module, path: str, values: Tensor, images: int | None, *, settings: str = "", told: bool = False
) -> int:
    """Return the number of images in an output, given that of the batch; outside of a forward pass, that is None.

    Without `settings`, values are counted all together, and axis 0 may be anything. Else axis 0 must be the images of
    the batch. The error messages suggest `settings`, such as `samples=None`, with which axis 0 may be anything. Only
    the message on a single image without a batch axis suggests to add this axis.

    Raises:
        ValueError: the output is a single image without a batch axis, whose images the caller has not counted
            (`told`); or axis 0 is not the images of the batch, or there is no channel axis.
    """
    shape = tuple(values.shape)
    text = f"its output has shape {shape}"
    if is_unbatched(module, len(shape)) and not (told and not settings):
        raise ValueError(f"{text}, of one image without a batch axis: add it, image[None]")
    if not settings:
        return images if images is not None else shape[0] if shape else 1
    if reason := rows_are_no_images(module, path):
        raise ValueError(f"{text}, and axis 0 is {reason}; {settings} counts its values")
    if len(shape) < 2:
        raise ValueError(f"{text}, without channels; {settings} counts its values")
    if images not in (None, shape[0]):
        raise ValueError(f"{text}; axis 0 must be the {images} images of the batch; {settings} counts its values")
    return shape[0]


def finite_magnitudes(values: Values) -> Values:
    """Return the magnitudes of values, and 0 for those that are not finite."""
    return torch.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).abs()


def check_range(maps: FeatureMaps) -> None:
    """Check that float64 values can be squared without overflow or loss of digits; float32 values always pass.

    Raises:
        ValueError: the largest finite magnitude in a channel is outside RANGE and not 0.
    """
    if maps.dtype != torch.float64 or not maps.numel():
        return
    peak = finite_magnitudes(maps).amax(dim=(0, 2, 3))
    outside = (peak != 0) & ((peak < RANGE[0]) | (peak > RANGE[1]))
    if bool(outside.any()):
        channel = int(outside.nonzero()[0])
        raise ValueError(
            f"the largest magnitude in channel {channel} is {float(peak[channel]):.3g}, in float64; "
            f"{RANGE[0]:g} to {RANGE[1]:g} is valid: scale them, or count them with samples=None"
        )
