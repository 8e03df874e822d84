"""Follows the axis of the channels through the forward passes of a model, from layers that have one to all others."""

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from in4310repro.features.axis_rules import Axes, Call, Convention, rule_of
from in4310repro.features.nesting import iterate_values
from in4310repro.features.outputs import is_elementwise, own_axis

# They compute by other kernels while anybody watches functions.
UNWATCHED = (nn.MultiheadAttention, nn.TransformerEncoder, nn.TransformerEncoderLayer)


class AxisFinder(TorchFunctionMode):
    """Knows on which axis each tensor of a forward pass has its channels.

    While a pass runs, it sees every function of torch that the model calls, and every module, and changes nothing. Only
    its methods write its attributes.

    Args:
        model: with the modules that are measured.
        watching: whether passes are watched; if not, only layers with an axis of their own are known.
    """

    def __init__(self, model: nn.Module, *, watching: bool) -> None:
        super().__init__()
        self._model = model
        self._modules = {id(module) for module in model.modules()}
        self._watching = watching
        self._clear()

    def fresh(self) -> "AxisFinder":
        """Another one for the same model."""
        return AxisFinder(self._model, watching=self._watching)

    def _clear(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], Axes | None]] = {}
        self._convention = Convention()
        self._depth = 0  # of modules that are running
        self._thread = 0
        self._paused = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch all passes until the end of the block."""
        if not self._watching:
            yield
            return
        module = torch.nn.modules.module
        handles = [
            module.register_module_forward_pre_hook(self._begin),
            module.register_module_forward_hook(self._end, always_call=True),
            self._model.register_forward_pre_hook(self._look_at_inputs, with_kwargs=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            _leave(self)
            self._clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """See nothing of what is computed in the block."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def axis_of(self, name: str, path: str, module: nn.Module, value: Tensor, told: int | None) -> int:
        """The axis of the channels in an output of a module.

        Args:
            name: of the module.
            path: of the output in what it returned.
            module: that returned it.
            value: the output.
            told: the axis by the caller, who may know better where nothing else is known.

        Raises:
            ValueError: it is not known, or the caller has told one that has another number of channels.
        """
        shape = tuple(value.shape)
        known, axes = own_axis(module, path, len(shape)), self._look_up(value)
        if known is None and axes is not None and axes.convention is None and len(axes.axes) == 1:
            (known,) = axes.axes
        if told is not None:
            if known is not None and 0 < told < len(shape) and shape[told] != shape[known]:
                raise ValueError(
                    f"its output has shape {shape}, and {shape[known]} channels on axis {known}; channel_axis says "
                    f"axis {told}, which has {shape[told]}: leave it out, or {known} is valid"
                )
            self._set(value, Axes(frozenset({told})))
            return told
        if known is not None or len(shape) <= 2:
            return 1 if known is None else known
        if axes is not None and axes.convention is not None and len(axes.axes) == 1:
            axes.convention.modules.append(f"{name}{path}")
            return next(iter(axes.axes))
        raise ValueError(
            f"its output has shape {shape}, and no layer that it follows says which axis holds the channels: "
            f"channel_axis={{{name + path!r}: AXIS}} does, with an axis from 1 to {len(shape) - 1}"
        )

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, and note where the channels of its result are."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        # A compiler that looks into this method sees the call alone.
        if torch.compiler.is_compiling() or self._paused:
            return result
        if result is None and getattr(func, "__name__", "") == "__setitem__":
            result = args[0]
            self._note("", args, kwargs, [result])
            return None
        if not isinstance(result, Tensor | tuple | list | Iterator):
            return result
        name = getattr(func, "__name__", "")
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", "")
        if name == "__iter__":
            name, result = "unbind", list(result)
            self._note(name, args, kwargs, result)
            return iter(result)
        self._note(name, args, kwargs, [result] if isinstance(result, Tensor) else result)
        return result

    def _note(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], results: Any) -> None:
        rule = rule_of(name)
        for position, output in enumerate(results):
            if not isinstance(output, Tensor):
                continue
            call = Call(args, kwargs, output, position, self._look_up, self._is_constant)
            if all(map(self._is_constant, call.tensors)):
                continue
            self._set(output, rule(call) if rule else None)

    def _look_up(self, tensor: Tensor) -> Axes | None:
        reference, axes = self._known.get(id(tensor), (None, None))
        return axes if reference is not None and reference() is tensor else None

    def _is_constant(self, tensor: Tensor) -> bool:
        known = self._known.get(id(tensor))
        return known is None or known[0]() is not tensor

    def _set(self, tensor: Tensor, axes: Axes | None) -> None:
        self._known[id(tensor)] = (weakref.ref(tensor), axes)

    def _begin(self, module: nn.Module, args: tuple[object, ...]) -> None:
        """Before a module: watch from the outermost one of the model on."""
        if self._depth and self._thread != threading.get_ident():
            return
        if not self._depth:
            if id(module) not in self._modules:
                return
            self._thread = threading.get_ident()
            self._convention = Convention()
            self._known = {key: entry for key, entry in self._known.items() if entry[0]() is not None}
            self._look_at_inputs(module, args, {})
        self._depth += 1
        if isinstance(module, UNWATCHED) and not _avoids_fast_kernels(module):
            _leave(self)
        elif self not in _get_current_function_mode_stack():
            self.__enter__()

    def _end(self, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        """After a module, also if it raised an error."""
        if not self._depth or self._thread != threading.get_ident():
            return
        self._depth -= 1
        if self._depth and self not in _get_current_function_mode_stack():
            self.__enter__()
        with self.paused():
            for path, value in iterate_values(output):
                if isinstance(value, Tensor) and self._look_up(value) is None:
                    self._set(value, self._by_module(module, args, path, value))
        if not self._depth:
            _leave(self)

    def _by_module(self, module: nn.Module, args: tuple[object, ...], path: str, value: Tensor) -> Axes | None:
        """The axes of an output of which functions said nothing."""
        axis = own_axis(module, path, value.ndim)
        if axis is not None:
            return Axes(frozenset({axis}))
        given = args[0] if args and not path else None
        if isinstance(given, Tensor) and given.shape == value.shape and is_elementwise(module):
            return self._look_up(given)
        return None

    def _look_at_inputs(self, _module: nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Images have their channels on axis 1, until a layer says something else; of three axes nothing is known."""
        with self.paused():
            for _, value in iterate_values((args, dict(kwargs))):
                if isinstance(value, Tensor) and self._is_constant(value):
                    images = value.ndim == 2 or value.ndim > 3
                    self._set(value, Axes(frozenset({1}), self._convention) if images else None)


def _leave(mode: TorchFunctionMode) -> None:
    """Take a mode from those that are active, whatever came after it."""
    if mode not in _get_current_function_mode_stack():
        return
    later = []
    while (last := _get_current_function_mode_stack()[-1]) is not mode:
        last.__exit__(None, None, None)
        later.append(last)
    mode.__exit__(None, None, None)
    for other in reversed(later):
        other.__enter__()


def _avoids_fast_kernels(module: nn.Module) -> bool:
    """Whether a module does without its fast kernels anyway: an encoder layer does where a part of it has hooks."""
    return isinstance(module, nn.TransformerEncoderLayer) and any(
        part._forward_hooks or part._forward_pre_hooks for part in module.modules()
    )
