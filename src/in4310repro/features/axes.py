"""The channel axis of a module's output: by the module's type, or by the layers before it; else it is refused.

No function of torch is watched. Between layers a model can move axes by any code. So besides types this rests on two
things: a tensor that is still the one which a layer returned, and sizes that one order of the axes alone explains.
"""

import re
import weakref
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from in4310repro.features.hooks import Modules, is_compiled
from in4310repro.features.outputs import Args, iterate_values

# Classes whose code is known; a subclass with its own forward() may do anything.
KNOWN_CODE = ("torch.nn.", "torch.ao.nn.", "torchvision.ops.", "in4310repro.arithmetic.")
# What these modules change in place, as by a sum with a branch, keeps its axes; other code may do `y.copy_(y.mT)`.
KEEPING_CODE = ("torchvision.", *KNOWN_CODE)
# Axes of layers by the names of torch's classes, the negative ones from the end.
LAYERS = {
    re.compile(names): axis
    for names, axis in (
        (r"Linear|Bilinear|Embedding(Bag)?|RNN|LSTM|GRU|MultiheadAttention|Transformer((En|De)coder(Layer)?)?", -1),
        (r"((Sync|Frozen)?BatchNorm|InstanceNorm)([123]d)?|GroupNorm|LocalResponseNorm", 1),
        (r"ChannelShuffle|Upsample|Fold|Unfold", 1),
        (r"PixelShuffle|PixelUnshuffle", -3),
        *((rf"((Deform)?Conv|ConvTranspose|\w*Pool|MaxUnpool|\w*Pad){n}d", -1 - n) for n in (1, 2, 3)),
    )
}
# Attributes with a layer's number of channels, which a subclass with its own forward() has too.
NUMBERS = {nn.Linear: "out_features", nn.GroupNorm: "num_channels", nn.LayerNorm: "normalized_shape"}
NUMBERS |= {nn.modules.conv._ConvNd: "out_channels", nn.modules.batchnorm._NormBase: "num_features"}


class Known(NamedTuple):
    """Channel axis of a tensor, as long as the tensor has this layout."""

    tensor: weakref.ref[Tensor]
    layout: tuple[Any, ...]
    axis: int
    assumed: bool = False  # by the convention for what the model is given; no layer has said so


Shape = tuple[int, ...]
Given = tuple[Shape, Known | None]  # shape of a first argument, and what is known of it


class AxisFinder:
    """Finder of the channel axis of the outputs of a model's modules. Only its methods change its attributes.

    Args:
        model: the model whose forward passes are followed, unless it is compiled.
        modules: the measured modules, by name.
        told: channel axes given by the caller, by the name of a module, of a part of its output, or of its class.
        needed: whether outputs are divided into channels. Passes are followed only then, and only if a measured module
            has no axis by its definition.

    Raises:
        ValueError: an axis was given for a module that is not measured.
    """

    def __init__(self, model: nn.Module, modules: Modules, told: Mapping[str, int], needed: bool) -> None:
        names = {*modules, *(type(module).__name__ for module in modules.values())}
        if unknown := sorted(name for name in told if name.partition("[")[0] not in names):
            raise ValueError(f"channel_axis names {unknown}; the modules are {sorted(modules)}, or name their classes")
        self._model, self._modules, self._told, self._needed = model, modules, told, needed
        unknown_axes = any(own_axis(module, "", 5) is None for module in modules.values())
        self._watching = needed and unknown_axes and not is_compiled(model)
        self._members = {id(module) for module in model.modules()}
        # For each module that runs: whether its code keeps axes in place, and its first argument.
        self._given: dict[int, tuple[bool, Given | None]] = {}
        self._clear()

    def _clear(self) -> None:
        self._given.clear()
        self._known: dict[int, Known] = {}
        self._sizes: dict[Shape, set[tuple[Shape, int]]] = {}  # sorted -> shapes, axes of layers
        self._by_convention: dict[str, int] = {}  # modules that were measured by it -> channels
        self._confirmed = False  # a layer has taken as many channels

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Record channel axes in all forward passes until the end of the `with` block."""
        with ExitStack() as stack:
            if self._watching:
                stack.callback(self._clear)
                assume = self._model.register_forward_pre_hook
                stack.enter_context(assume(lambda *call: self._assume(call[2]), with_kwargs=True))
                stack.enter_context(register_module_forward_pre_hook(self._before))
                stack.enter_context(register_module_forward_hook(self._after))
            yield

    def axis_of(self, name: str, path: str, output: Any) -> int:
        """Return the channel axis of the output of module `name` at `path`; raise ValueError where it is not certain.

        Raises:
            ValueError: the axis is unknown, does not exist, or is axis 0, the axis of the images; or the caller gave
                an axis whose size is not the number of channels.
        """
        module, title, shape = self._modules[name], f"{name}{path}", tuple(output.shape)
        told = next((self._told[key] for key in (title, name, type(module).__name__) if key in self._told), None)
        axis = own_axis(module, path, len(shape))
        if not self._needed:
            # The order of values affects only the last bits of the spectrum of flattened maps.
            return told or axis or (2 if len(shape) == 3 else 1)
        known = self._look_up(output)
        if axis is None and known and not known.assumed:
            axis = known.axis
        if told is not None:
            if axis is not None and 0 < told < len(shape) and shape[told] != shape[axis]:
                raise ValueError(
                    f"its output has shape {shape}, and {shape[axis]} channels on axis {axis}; channel_axis says axis "
                    f"{told}, which has {shape[told]}: it must be {axis}"
                )
            axis = told
            self._set(output, told)
        elif axis is None and len(shape) <= 2:
            axis = 1
        elif axis is None and known:
            axis = known.axis
            self._by_convention[title] = shape[axis]
        elif axis is None:
            raise ValueError(
                f"its output has shape {shape}, and no layer that it follows says which axis holds the channels: "
                f"channel_axis={{{title!r}: AXIS}} does, or {{{type(module).__name__!r}: AXIS}} for all of its class, "
                f"with an axis from 1 to {len(shape) - 1}"
                f"{'; in a model that was compiled, only layers say it' if is_compiled(self._model) else ''}"
            )
        if not 0 < axis < len(shape):
            raise ValueError(
                f"its output has shape {shape}; axis 0 must be images and axis {axis} channels: channel_axis can be "
                f"{{{title!r}: 1}} to {{{title!r}: {len(shape) - 1}}}"
            )
        return axis

    def _look_up(self, tensor: Tensor, keeps: bool = False) -> Known | None:
        """Return what is known of a tensor; None if its values, shape, strides or memory have changed since."""
        known, layout = self._known.get(id(tensor)), _layout(tensor)
        if known and known.tensor() is tensor and layout[:3] == known.layout[:3] and (keeps or layout == known.layout):
            return known
        return None

    def _set(self, tensor: Tensor, axis: int, assumed: bool = False) -> None:
        self._known.pop(id(tensor), None)
        if layout := _layout(tensor):
            self._known[id(tensor)] = Known(weakref.ref(tensor), layout, axis, assumed)

    def _assume(self, given: object) -> None:
        """Assume channels on the last axis of what has three axes, such as tokens, and on axis 1 of all else."""
        for *_, value in iterate_values(given):
            if isinstance(value, Tensor):
                self._set(value, 2 if value.ndim == 3 else 1, True)

    def _before(self, module: nn.Module, args: Args) -> None:
        if id(module) not in self._members:
            return
        # Every pass anew: control flow can depend on values that no shape shows.
        if not self._given or module is self._model:
            self._clear()
            self._assume(args)
        first = args[0] if args else None
        caller, _ = next(reversed(self._given.values()), (False, None))
        given = (tuple(first.shape), self._look_up(first, caller)) if isinstance(first, Tensor) else None
        self._given[id(module)] = _place_of_code(module).startswith(KEEPING_CODE), given

    def _after(self, module: nn.Module, _args: Args, output: object) -> None:
        """Record the axes of a module's output.

        Raises:
            ValueError: the module, or the end of the pass, contradicts the axis that another one was measured by.
        """
        if id(module) not in self._members:
            return
        keeps, given = self._given.pop(id(module), (False, None))
        for path, value in [(path, value) for path, _, value in iterate_values(output) if isinstance(value, Tensor)]:
            shape, assumed = tuple(value.shape), False
            alike = self._sizes.setdefault(tuple(sorted(shape[1:])), set())
            if (axis := own_axis(module, path, len(shape))) is not None:
                self._check_convention(module, given)
            if axis is not None or (axis := _declared_axis(module, shape)) is not None:
                alike.add((shape, axis))
            elif known := self._look_up(value, keeps and bool(module._modules)):
                axis, assumed = known.axis, known.assumed
            elif given and (known := given[1]) and (moved := _moved_axis(module, known.axis, given[0], shape)):
                axis, assumed = moved, known.assumed
            elif own_axis(module, "", len(shape)) is None:
                # The axis of the layers' outputs of these sizes, if no order of the sizes allows another one.
                axes = (each for each, size in enumerate(shape) if each and shape[1:].count(size) == 1)
                axis = next((each for each in axes if alike == {(shape, each)}), None)
            if axis is None:
                self._known.pop(id(value), None)
            else:
                self._set(value, axis, assumed)
        left = self._by_convention and not self._confirmed and not self._given
        if left and next(self._model.parameters(), None) is not None:
            self._contradict("no layer that follows takes as many channels")

    def _check_convention(self, module: nn.Module, given: Given | None) -> None:
        """Compare the axis and number of the channels that a layer takes with what was assumed before it."""
        if not self._by_convention or given is None or (axis := own_axis(module, "", len(given[0]))) is None:
            return
        (shape, known), channels = given, {*self._by_convention.values()}
        if (known and known.assumed and known.axis != axis) or (not self._confirmed and channels != {shape[axis]}):
            self._contradict(f"a layer that follows takes them from axis {axis} of shape {shape}")
        self._confirmed = True

    def _contradict(self, reason: str) -> None:
        name = next(iter(self._by_convention))
        raise ValueError(
            f"module {name!r} was measured as what the model is given: images with channels on axis 1, tokens with "
            f"channels on the last; {reason}: channel_axis={{{name!r}: AXIS}} says which it is"
        )


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    """Return a tensor's shape, strides, address and number of changes in place, which inference mode does not count.

    It is empty for tensors without memory or strides, such as sparse ones.
    """
    try:
        changes = 0 if tensor.is_inference() else tensor._version
        return tuple(tensor.shape), tensor.stride(), tensor.data_ptr(), changes
    except (RuntimeError, NotImplementedError):
        return ()


def _moved_axis(module: nn.Module, axis: int, given: Shape, shape: Shape) -> int | None:
    """Return where a layer that only moves, drops or changes values puts an axis; None where that is not known."""
    if not _runs_known_code(module) or module._modules:
        return None
    if type(module).__name__ == "Permute":
        dims: Any = module.dims
        return [each % len(given) for each in dims].index(axis)
    return axis if given == shape else None


def _declared_axis(module: nn.Module, shape: Shape) -> int | None:
    """Return the one axis that has as many channels as a layer with a forward() of its own was made for."""
    number = next((getattr(module, name) for kind, name in NUMBERS.items() if isinstance(module, kind)), None)
    number = number[0] if isinstance(number, tuple) and len(number) == 1 else number
    return 1 + shape[1:].index(number) if shape[1:].count(number) == 1 else None


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
        known = kind.__name__ if kind.__module__.startswith(("torch.", "torchvision.ops.")) else ""
        for names, axis in LAYERS.items():
            if names.fullmatch(known):
                return axis if axis > 0 else ndim + axis
    portable = _place_of_code(module) == "in4310repro.arithmetic.networks"
    # Blocks of torchvision's networks for maps [image, channel, height, width], whose sums no layer shows.
    return 1 if portable and ndim == 4 and not isinstance(module, nn.Sequential) else None


def _runs_known_code(module: nn.Module) -> bool:
    return "forward" not in vars(module) and _place_of_code(module).startswith(KNOWN_CODE)


def _place_of_code(module: nn.Module) -> str:
    """Return the name of the Python module that defines a module's forward(); empty for a traced program."""
    forward = next(vars(kind)["forward"] for kind in type(module).__mro__ if "forward" in vars(kind))
    return str(getattr(forward, "__module__", ""))
