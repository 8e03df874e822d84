"""Tensors in inputs, outputs and records of modules: how many images they hold, and which can be measured."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING
from typing import Any, TypeVar, get_args

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from in4310repro.arithmetic.signatures import PLAIN, in_memory

FeatureMaps = Float[Tensor, "image channel height width"]
SingleMaps = Float32[Tensor, "image channel height width"]
Values = Float[Tensor, "..."]
Shift = Float32[Tensor, " channel"]
Vector = Float64[Tensor, " channel"]
ImageMeans = Float64[Tensor, "image channel"]
BinCounts = Int64[Tensor, " bin"]
Keys = Int64[Tensor, "channel place"]
ImageCounter = Callable[..., int]
Args = tuple[object, ...]
State = dict[str, Tensor]  # saved


R = TypeVar("R", bound="Record")


@dataclasses.dataclass(frozen=True)
class Record:
    """Values that JSON restores exactly: numbers, tensors and other records. One with a default can be absent."""

    def to_json(self) -> dict[str, Any]:
        """Return the values as numbers, lists and None, also for -inf, from which `from_json` restores them."""
        content: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            if (value := getattr(self, field.name)) is not None or field.default is MISSING:
                if isinstance(value, Tensor):
                    value = np.where(value.numpy() == -np.inf, np.array(None), value.numpy()).tolist()
                content[field.name] = value.to_json() if isinstance(value, Record) else value
        return content

    @classmethod
    def from_json(cls: type[R], content: Mapping[str, Any]) -> R:
        """Return what a record from `to_json` describes; the dtypes of tensors are those of the annotations.

        Raises:
            ValueError: a name is missing or unknown.
        """
        fields = [field for field in dataclasses.fields(cls) if field.name in content or field.default is MISSING]
        if wrong := sorted(content.keys() ^ {field.name for field in fields}):
            raise ValueError(
                f"{', '.join(wrong)}: missing or unknown; a result has {', '.join(sorted(f.name for f in fields))}"
            )
        values = {}
        for field in fields:
            kind: Any = (get_args(field.type) or (field.type,))[0]  # of a value or None
            if (value := content[field.name]) is not None and hasattr(kind, "from_json"):
                value = kind.from_json(value)
            elif value is not None and hasattr(kind, "dtypes"):
                parts = np.array(value, dtype=object)
                parts = np.where(parts == None, -np.inf, parts).tolist()  # noqa: E711 - of each element
                value = torch.tensor(parts, dtype=getattr(torch, kind.dtypes[0]))
            values[field.name] = value
        return cls(**values)


HINT = "say how many there are: count_images=FUNCTION, which gets the arguments of the model and returns their number"


def count_images(args: Args, kwargs: Mapping[str, object]) -> tuple[int, bool]:
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
            first = next(value for value in (*args, *kwargs.values()) if _count(value) is not None)
            return count, isinstance(first, Tensor | PackedSequence)
    raise ValueError(f"no input of the model is a tensor or holds one, so that nothing tells its images; {HINT}")


def _count(argument: object) -> int | None:
    """Return the number of images in an argument; None if it contains no tensor with an axis."""
    if isinstance(argument, Tensor):
        return int(argument.size(0)) if argument.dim() else None
    if isinstance(argument, PackedSequence):
        return int(argument.batch_sizes[0])
    parts = [part for *_, part in children(argument) or []]
    plain_list = isinstance(argument, list | tuple) and not hasattr(argument, "_fields")
    of_images = (isinstance(part, Mapping) or (isinstance(part, Tensor) and part.dim() == 3) for part in parts)
    if parts and plain_list and all(of_images):
        return len(parts)
    counts = {count for part in parts if (count := _count(part)) is not None}
    if len(counts) > 1:
        raise ValueError(f"the parts of the model's nested input look like {sorted(counts)} images; {HINT}")
    return next(iter(counts), None)


# Constants beside tensors, which are not measured.
CONSTANTS = (type(None), bool, int, float, complex, str, bytes)


def children(value: object) -> list[tuple[str, str, object]] | None:
    """Return the elements of a container as (path, exact path, element); None if `value` is not a container.

    A path is `[key]` in a mapping, `.field` in a dataclass, and `[0]`, `[1]`, ... in a list or tuple. An exact path
    has the `repr` of a key: the keys 0 and "0" have one path, and two exact ones.
    """
    if isinstance(value, Tensor | PackedSequence):
        return None
    if isinstance(value, Mapping):
        return [(f"[{key!s}]", f"[{key!r}]", part) for key, part in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {f".{field.name}": getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, tuple | list):
        parts = {f"[{position}]": part for position, part in enumerate(value)}
    else:
        return None
    return [(step, step, part) for step, part in parts.items()]


def iterate_values(value: object, path: str = "", exact: str = "") -> Iterator[tuple[str, str, object]]:
    """Yield (path, exact path, value) of all values in `value`, except containers, None, numbers and strings.

    Paths are strings such as "[0]", "[hidden][1]" or ".logits"; the path is "" if `value` is not a container.
    """
    parts = children(value)
    if parts is not None:
        for step, exact_step, part in parts:
            yield from iterate_values(part, path + step, exact + exact_step)
    elif not isinstance(value, CONSTANTS):
        yield path, exact, value


# Layers by the number of axes of their images besides channels, by the names of torch's classes.
SPATIAL = re.compile(r"(?:Conv|ConvTranspose|(?:Max|Avg|LP)Pool|BatchNorm(?=[23]))([123])d")
# Magnitudes of float64 values: the shift is a float32 number, and no deviation of like numbers has a square of 0.
RANGE = (1e-120, torch.finfo(torch.float32).max)


def plain_tensor(output: object) -> Tensor:
    """Return an output as a plain tensor that the kernel can read; tensor subclasses are viewed, not copied.

    Raises:
        ValueError: the output is not a tensor of floating-point values in memory.
    """
    if isinstance(output, PackedSequence):
        wrong = "a packed sequence, whose rows are not images"
    elif not isinstance(output, Tensor):
        wrong = f"of type {type(output).__name__}, in which statistics find no tensors"
    elif torch._C._functorch.is_functorch_wrapped_tensor(output):
        wrong = "inside of torch.func or vmap, and shows its values to no hook"
    elif output.is_nested:
        wrong = "a nested tensor, whose images have different shapes"
    elif type(output).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        wrong = f"of type {type(output).__name__}, which holds no plain values"
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


def images_of(module: nn.Module, path: str, values: Tensor, images: int | None, settings: str, told: bool) -> int:
    """Return the number of images in an output, given that of the batch; outside of a forward pass, that is None.

    Without `settings`, values are counted all together, and axis 0 may be anything. Else axis 0 must be the images of
    the batch. The error messages suggest `settings`, such as `samples=None`, with which axis 0 may be anything. Only
    the message on a single image without a batch axis suggests to add this axis.

    Raises:
        ValueError: the output is a single image without a batch axis, whose images the caller has not counted
            (`told`); or axis 0 is not the images of the batch, or there is no channel axis.
    """
    shape = tuple(values.shape)
    layers = filter(None, (SPATIAL.fullmatch(kind.__name__) for kind in type(module).__mro__))
    if len(shape) in {1 + int(layer[1]) for layer in layers} and (settings or not told):
        raise ValueError(f"its output has shape {shape}, of one image without a batch axis: add it, image[None]")
    if not settings:
        return images if images is not None else shape[0] if shape else 1
    # Outputs of recurrent and attention modules can have layers or steps on axis 0. Includes torch.ao's quantised
    # recurrent ones, which do not derive from RNNBase.
    recurrent = hasattr(module, "hidden_size") and hasattr(module, "batch_first")
    sequence = recurrent or (isinstance(module, nn.MultiheadAttention) and path == "[0]")
    if recurrent and path.startswith("[1]"):
        wrong = ", and axis 0 is the layers of a hidden state"
    elif sequence and not getattr(module, "batch_first", True):
        wrong = ", and axis 0 is the steps of the sequence (batch_first is False)"
    elif len(shape) < 2:
        wrong = ", without channels"
    elif images not in (None, shape[0]):
        wrong = f"; axis 0 must be the {images} images of the batch"
    else:
        return shape[0]
    raise ValueError(f"its output has shape {shape}{wrong}; {settings} counts its values")


def check_range(output: Values, axis: int | None) -> None:
    """Check that float64 values are near to a float32, and with an axis of channels have squares with all digits.

    Raises:
        ValueError: the largest finite magnitude, in a channel if there are any, is outside of RANGE and not 0.
    """
    if output.dtype != torch.float64 or not output.numel():
        return
    magnitudes = torch.nan_to_num(output, nan=0.0, posinf=0.0, neginf=0.0).abs()
    peak = (magnitudes.movedim(axis, 0).flatten(1) if axis else magnitudes.reshape(1, -1)).amax(dim=1)
    smallest = RANGE[0] if axis else 0.0
    outside = (peak != 0) & ((peak < smallest) | (peak > RANGE[1]))
    if bool(outside.any()):
        channel = int(outside.nonzero()[0])
        raise ValueError(
            f"the largest magnitude{f' in channel {channel}' if axis else ''} is {float(peak[channel]):.3g}, in "
            f"float64; {smallest:g} to {RANGE[1]:g} is needed: scale them"
            f"{', or count them with samples=None' if axis else ''}"
        )
