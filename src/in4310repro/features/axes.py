"""Tracking of the channel axis through a model's forward pass, from layers with a known axis to all other tensors."""

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from in4310repro.features.axis_moves import Axes, Call, Convention, Rule
from in4310repro.features.axis_rules import ContradictionError, own_axis, rule_of
from in4310repro.features.hooks import is_compiled
from in4310repro.features.tensors import iterate_values

active_modes: Callable[[], list[TorchFunctionMode]] = torch.overrides._get_current_function_mode_stack
# These modules use other kernels while functions are being watched.
UNWATCHED = (nn.MultiheadAttention, nn.TransformerEncoder, nn.TransformerEncoderLayer)


class AxisFinder(TorchFunctionMode):
    """Finder of the channel axis of every tensor in a forward pass.

    During a forward pass it observes every module and torch function that the model calls, without changing them. Only
    its methods change its attributes.

    Args:
        model: the model whose forward passes are followed, unless it is compiled.
        modules: the measured modules, by name.
        told: channel axes given by the caller, by the name of a module or of a part of its output.
        needed: whether outputs are divided into channels. Passes are followed only then, and only if a measured module
            has no axis by its definition.

    Raises:
        ValueError: an axis was given for a module that is not measured.
    """

    def __init__(
        self, model: nn.Module, modules: Mapping[str, nn.Module], told: Mapping[str, int], *, needed: bool
    ) -> None:
        super().__init__()
        if unknown := sorted(name for name in told if name.partition("[")[0] not in modules):
            raise ValueError(f"channel_axis names {unknown}; the modules are {sorted(modules)}")
        self._model, self._modules, self._told, self._needed = model, modules, told, needed
        following = any(own_axis(module, "", 5) is None for module in modules.values())
        # Every pass is watched, even one like an earlier one: control flow can depend on values that no shape shows.
        self._watching = needed and following and not is_compiled(model)
        self._members = {id(module) for module in model.modules()}
        self._clear()

    def fresh(self) -> "AxisFinder":
        """Return a new finder for the same model, without recorded axes."""
        return AxisFinder(self._model, self._modules, self._told, needed=self._needed)

    def _clear(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], Axes | None, object]] = {}  # with the layout of then
        self._convention = Convention()
        self._depth = 0  # of modules that are running
        self._thread = 0
        self._above = 0  # modes that were entered after this one, when it was left
        self._paused = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Record channel axes in all forward passes until the end of the `with` block."""
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
            self._leave()
            self._clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop recording channel axes until the end of the `with` block."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def axis_of(self, name: str, path: str, output: object, values: Tensor) -> int:
        """Return the channel axis of a module's output; raise ValueError if it is unknown or impossible.

        Args:
            name: the module's name.
            path: the path of the output within the value that the module returned.
            output: the output.
            values: the output as a plain tensor.

        Raises:
            ValueError: the axis is unknown, does not exist, or is axis 0, the axis of the images; or the caller gave
                an axis whose size is not the number of channels.
        """
        told = self._told.get(f"{name}{path}", self._told.get(name))
        if not self._needed:
            # The order of values affects only the last bits of the spectrum of flattened maps.
            return told or own_axis(self._modules[name], path, values.ndim) or (2 if values.ndim == 3 else 1)
        tensor = output if isinstance(output, Tensor) else values
        axis = self._find(name, path, tensor) if told is None else self._check_told(name, path, tensor, told)
        if not 0 < axis < values.ndim:
            valid = f"channel_axis can be {{{name + path!r}: 1}} to {{{name + path!r}: {values.ndim - 1}}}"
            shape = tuple(values.shape)
            raise ValueError(f"its output has shape {shape}; axis 0 must be images and axis {axis} channels: {valid}")
        return axis

    def _certain_axis(self, name: str, path: str, output: Tensor) -> int | None:
        """Return the channel axis given by the module's type or by earlier layers; None if neither gives it."""
        axis, axes = own_axis(self._modules[name], path, output.ndim), self._look_up(output)
        if axis is None and axes is not None and axes.convention is None and len(axes.axes) == 1:
            (axis,) = axes.axes
        return axis

    def _check_told(self, name: str, path: str, output: Tensor, told: int) -> int:
        axis, shape = self._certain_axis(name, path, output), tuple(output.shape)
        if axis is not None and 0 < told < len(shape) and shape[told] != shape[axis]:
            raise ValueError(
                f"its output has shape {shape}, and {shape[axis]} channels on axis {axis}; channel_axis says axis "
                f"{told}, which has {shape[told]}: {axis} is valid"
            )
        self._set(output, Axes(frozenset({told})))
        return told

    def _find(self, name: str, path: str, output: Tensor) -> int:
        axis, axes, shape = self._certain_axis(name, path, output), self._look_up(output), tuple(output.shape)
        if axis is not None or len(shape) <= 2:
            return 1 if axis is None else axis
        if axes is not None and axes.convention is not None and len(axes.axes) == 1:
            axes.convention.modules.append(f"{name}{path}")
            return next(iter(axes.axes))
        compiled = "; in a model that was compiled, only layers say it" if is_compiled(self._model) else ""
        raise ValueError(
            f"its output has shape {shape}, and no layer that it follows says which axis holds the channels: "
            f"channel_axis={{{name + path!r}: AXIS}} does, with an axis from 1 to {len(shape) - 1}{compiled}"
        )

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, and record the channel axes of its results."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        # A compiler that traces this method sees only the call.
        if torch.compiler.is_compiling() or self._paused:
            return result
        name = getattr(func, "__name__", "")
        if name in ("__get__", "__set__"):
            name += getattr(getattr(func, "__self__", None), "__name__", "")
        if name == "__setitem__":
            self._note("", args, kwargs, [args[0]])
        elif name == "__set__data":
            # set_() makes it a different tensor from here on.
            self._note("data", args[1:], {}, [args[0]])
        if not isinstance(result, Tensor | tuple | list | Iterator):
            return result
        name = name.removeprefix("__get__")
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
            if all(map(self._is_constant, [*call.tensors, output])):
                continue
            self._set(output, _apply(rule, call) if rule else None)

    def _look_up(self, tensor: Tensor) -> Axes | None:
        """Return a tensor's recorded axes; None if its shape, strides or memory have changed since the recording."""
        reference, axes, layout = self._known.get(id(tensor), (None, None, None))
        return axes if reference is not None and reference() is tensor and layout == _layout(tensor) else None

    def _is_constant(self, tensor: Tensor) -> bool:
        known = self._known.get(id(tensor))
        return known is None or known[0]() is not tensor

    def _set(self, tensor: Tensor, axes: Axes | None) -> None:
        self._known[id(tensor)] = (weakref.ref(tensor), axes, _layout(tensor))

    def _enter(self, above: int = 0) -> None:
        """Become one of torch's active modes, below a number of those that were entered last."""
        _restore_modes([*_remove_modes(above), self])

    def _leave(self) -> None:
        """Stop being an active mode, even if others have been entered since; their number is kept."""
        modes = active_modes()
        if self in modes:
            self._above = len(modes) - 1 - modes.index(self)
            *later, _ = _remove_modes(self._above + 1)
            _restore_modes(later)

    def _begin(self, module: nn.Module, args: tuple[object, ...]) -> None:
        """Start recording when the outermost module begins to run.

        Recording pauses in modules that would give different results while recorded.
        """
        if self._depth and self._thread != threading.get_ident():
            return
        if not self._depth:
            if id(module) not in self._members:
                return
            self._thread = threading.get_ident()
            self._convention = Convention()
            self._known = {key: entry for key, entry in self._known.items() if entry[0]() is not None}
            self._look_at_inputs(module, args, {})
        self._depth += 1
        if isinstance(module, UNWATCHED) and not _avoids_fast_kernels(module):
            self._leave()
        elif self not in active_modes():
            self._enter()

    def _end(self, module: nn.Module, _args: tuple[object, ...], output: object) -> None:
        """Record the axes of a module's output; stop recording after the outermost module."""
        if not self._depth or self._thread != threading.get_ident():
            return
        self._depth -= 1
        if self._depth and self not in active_modes():
            self._enter(self._above)
        with self.paused():
            for path, value in iterate_values(output):
                if isinstance(value, Tensor) and self._look_up(value) is None:
                    axis = own_axis(module, path, value.ndim)
                    self._set(value, None if axis is None else Axes(frozenset({axis})))
        if not self._depth:
            self._leave()

    def _look_at_inputs(self, _module: nn.Module, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Record an assumed channel axis for each input tensor that was not recorded before.

        It is the last axis of inputs with three axes, such as tokens, and axis 1 of all other inputs, such as
        images. A layer may contradict the assumption later.
        """
        with self.paused():
            for _, value in iterate_values((args, dict(kwargs))):
                if isinstance(value, Tensor) and self._is_constant(value):
                    self._set(value, Axes(frozenset({2 if value.ndim == 3 else 1}), self._convention))


def _apply(rule: Rule, call: Call) -> Axes | None:
    """Return a rule's result for a call; None if the rule raises an error other than ContradictionError.

    A fault in a rule must not end the forward pass.

    Raises:
        ContradictionError: a layer's channel axis differs from the assumed one.
    """
    try:
        return rule(call)
    except ContradictionError:
        raise
    except Exception:
        return None


def _layout(tensor: Tensor) -> object:
    """Return a tensor's shape, strides and address, to detect changes by set_(); None for sparse tensors."""
    try:
        return tuple(tensor.shape), tensor.stride(), tensor.data_ptr()
    except (RuntimeError, NotImplementedError):
        return None


def _remove_modes(number: int) -> list[Any]:
    """Remove the modes that were entered last; return them, the last first."""
    removed: list[Any] = []
    for _ in range(number):
        removed.append(active_modes()[-1])
        removed[-1].__exit__(None, None, None)
    return removed


def _restore_modes(modes: Sequence[Any]) -> None:
    for mode in reversed(modes):
        mode.__enter__()


def _avoids_fast_kernels(module: nn.Module) -> bool:
    """Return whether hooks on a transformer encoder layer already keep torch from using its fused kernels."""
    return isinstance(module, nn.TransformerEncoderLayer) and any(
        part._forward_hooks or part._forward_pre_hooks for part in module.modules()
    )
