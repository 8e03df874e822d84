"""Record everything that passes through a training step: inputs, maps, gradients, parameters and optimizer state."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from in4310repro.trace import records
from in4310repro.trace.environment import environment
from in4310repro.trace.hashing import Digest, digest, digests
from in4310repro.trace.records import BACKWARD, DATA, FORWARD, LOSS, UPDATE, Event, Step, Writer
from in4310repro.trace.values import KeptValues

Keep = Mapping[str, Any]


@dataclass
class _Current:
    """The step that is being recorded."""

    number: int
    events: list[tuple[records.Tensor, Digest]] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    paths: tuple[str, ...] | None = None


class Trace:
    """Records the steps of a training, for any model, optimizer and loop.

    Args:
        model: the model; modules that are shared or called more than once are recorded at each call.
        optimizer: the optimizer, or several.
        path: the file to write; a file that is there is replaced.
        steps: numbers of the steps to record; None: all.
        every: record each step whose number is a multiple of this.
        keep: `{"step": NUMBER, "tensors": [NAME, ...]}`, or a list of such: tensors whose values are written beside the
            trace, for `diff --values`.
        modules: False records no maps, only what a step reads, its losses, gradients and state; a compiled model needs
            that.
        rows: record only so many images of each map in the forward pass; None: all.

    Raises:
        ValueError: the model cannot be recorded (compiled, scripted, or copied to several cards by DataParallel), or a
            name in `keep` has no step.

    Examples:
        >>> import tempfile
        >>> from torch import nn
        >>> model = nn.Linear(4, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> file = Path(tempfile.mkdtemp()) / "a.trace"
        >>> with Trace(model, optimizer, file) as trace:
        ...     for images in torch.ones(3, 8, 4):
        ...         with trace.step(images=images) as step:
        ...             loss = model(images).square().mean()
        ...             optimizer.zero_grad(); loss.backward(); optimizer.step()
        ...             step.record(loss=loss)
        >>> from in4310repro.trace import read_trace
        >>> [event.tensor.name for event in read_trace(file).steps[0].events][:5]
        ['images', 'images[0]', 'images[1]', 'images[2]', 'images[3]']
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None,
        path: Path | str,
        *,
        steps: Collection[int] | None = None,
        every: int = 1,
        keep: Keep | Sequence[Keep] = (),
        modules: bool = True,
        rows: int | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"every is {every}; it must be at least 1")
        self.model, self.path = model, Path(path)
        self._optimizers = [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer or ())
        self._steps, self._every, self._rows, self._modules = steps, every, rows, modules
        self._kept = KeptValues(self.path, [keep] if isinstance(keep, Mapping) else list(keep))
        self._number, self._last_recorded = -1, -2
        self._current: _Current | None = None
        self._handles = ExitStack()
        self._writer: Writer | None = None
        self._seen: dict[int, tuple[weakref.ref[Tensor], int, Digest]] = {}
        self._watched: dict[int, tuple[weakref.ref[Tensor], int]] = {}

    def __enter__(self) -> Self:
        if self._modules:
            _refuse(self.model)
        named = list(self.model.named_modules())
        first = next(self.model.parameters(), None)
        device = torch.device("cpu") if first is None else first.device
        header = {
            "modules": [[name, type(module).__qualname__] for name, module in named],
            "optimizers": [type(each).__qualname__ for each in self._optimizers],
            "environment": environment(device),
        }
        self._writer = Writer(self.path, header)
        for name, module in named if self._modules else ():
            self._handles.callback(module.register_forward_pre_hook(self._before(name), with_kwargs=True).remove)
            self._handles.callback(module.register_forward_hook(self._after(name)).remove)
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                hook = self._accumulated(name)
                self._handles.callback(parameter.register_post_accumulate_grad_hook(hook).remove)
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self._handles.close()
        if self._writer:
            self._writer.close()

    @contextmanager
    def step(
        self,
        *,
        images: Tensor | None = None,
        labels: Tensor | None = None,
        indices: Iterable[int] | None = None,
        paths: Iterable[str | PurePath] | None = None,
        number: int | None = None,
    ) -> Iterator[Recorded]:
        """Record what happens in the block as one training step.

        Args:
            images: the batch; each image gets a hash of its own.
            labels: the labels of the batch.
            indices: the images' places in their data set.
            paths: the images' files, of which the names without folders are recorded.
            number: of the step; None: one more than the last one's, from 0.

        Raises:
            RuntimeError: the trace is not open, or a step is being recorded.
            ValueError: the number does not rise.
        """
        if self._writer is None or self._current is not None:
            raise RuntimeError("a step can be recorded inside of `with Trace(...)`, one at a time")
        if number is not None and number <= self._number:
            raise ValueError(f"step {number} after {self._number}; numbers must rise")
        self._number = self._number + 1 if number is None else number
        wanted = self._steps is None or self._number in self._steps
        if not wanted or self._number % self._every:
            yield Recorded(None)
            return
        self._current = _Current(self._number)
        try:
            if self._last_recorded != self._number - 1:
                self._add_all(DATA, [(f"start.{name}", values) for name, values in self._state()])
            self._record_data(images, labels, indices, paths)
            modes = "".join("te"[not module.training] for module in self.model.modules())
            yield Recorded(self._add)
            self._add_all(UPDATE, self._state())
            self._write(modes)
            self._last_recorded = self._number
        finally:
            self._current = None
            self._seen.clear()
            self._watched.clear()

    def _write(self, modes: str) -> None:
        assert self._current is not None and self._writer is not None  # noqa: S101, PT018 - for the type checker
        groups = [
            {key: value for key, value in group.items() if key != "params" and _is_plain(value)}
            for optimizer in self._optimizers
            for group in optimizer.param_groups
        ]
        events = tuple(Event(tensor, *found) for tensor, found in self._current.events)
        text = json.dumps(groups, sort_keys=True)
        self._writer.write(Step(self._current.number, modes, text, self._current.paths, events))
        self._kept.write(self._current.number)

    def _record_data(
        self,
        images: Tensor | None,
        labels: Tensor | None,
        indices: Iterable[int] | None,
        paths: Iterable[str | PurePath] | None,
    ) -> None:
        if images is not None:
            self._add_all(DATA, [("images", images), *((f"images[{i}]", each) for i, each in enumerate(images))])
        if labels is not None:
            self._add(DATA, "labels", labels)
        if indices is not None:
            self._add(DATA, "indices", torch.tensor(list(indices)))
        if paths is not None and self._current:
            self._current.paths = tuple(PurePath(each).name for each in paths)
        for name, state in _generator_states():
            self._add(DATA, f"generator.{name}", state)

    def _state(self) -> list[tuple[str, Tensor]]:
        """Return parameters, buffers and optimizer state by name."""
        named = {id(parameter): name for name, parameter in self.model.named_parameters()}
        tensors = list(self.model.named_parameters())
        tensors += self.model.named_buffers()
        for optimizer in self._optimizers:
            for parameter, state in optimizer.state.items():
                name = named.get(id(parameter), "other")
                tensors += [
                    (f"optimizer.{name}.{key}", value if isinstance(value, Tensor) else torch.tensor(value))
                    for key, value in state.items()
                    if isinstance(value, Tensor | int | float)
                ]
        return tensors

    def _add(self, phase: str, name: str, values: Tensor) -> None:
        """Record a tensor, if a step is being recorded."""
        if self._current is None:
            return
        if self._rows is not None and phase == FORWARD and values.ndim:
            values = values[: self._rows]
        number = self._current.calls[name]
        self._current.calls[name] += 1
        full = f"{name}@{number + 1}" if number else name
        self._current.events.append((_describe(phase, full, values), self._digest(values, full)))
        self._kept.keep(self._current.number, full, values)

    def _add_all(self, phase: str, named: Sequence[tuple[str, Tensor]]) -> None:
        """Record several tensors, which are hashed together."""
        if self._current is None:
            return
        for (name, values), found in zip(named, digests([values for _, values in named]), strict=True):
            self._current.events.append((_describe(phase, name, values), found))
            self._kept.keep(self._current.number, name, values)

    def _digest(self, values: Tensor, name: str) -> Digest:
        """Return the digest of a tensor, which is computed once for each version of it."""
        known = self._seen.get(id(values))
        version = _version(values)
        if known and known[0]() is values and known[1] == version >= 0:
            return known[2]
        try:
            found = digest(values)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        self._seen[id(values)] = (weakref.ref(values), version, found)
        return found

    def _before(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
            if self._current is not None:
                for path, values in _tensors((*args, *([kwargs] if kwargs else ()))):
                    self._add(_phase(), f"{name or 'model'}.input{path}", values)

        return hook

    def _after(self, name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: tuple[object, ...], output: object) -> None:
            if self._current is not None:
                for path, values in _tensors(output):
                    label = f"{name or 'model'}.output{path}"
                    self._add(_phase(), label, values)
                    self._watch(label, values)

        return hook

    def _watch(self, label: str, values: Tensor) -> None:
        """Record the gradient of an output when it is computed; a tensor that several modules return counts once."""
        watched = self._watched.get(id(values))
        version = _version(values)
        if not values.requires_grad or (watched and watched[0]() is values and watched[1] == version):
            return
        self._watched[id(values)] = (weakref.ref(values), version)
        current = self._current

        def hook(gradient: Tensor) -> None:
            if self._current is current:
                self._add(BACKWARD, f"{label}.grad", gradient)

        values.register_hook(hook)

    def _accumulated(self, name: str) -> Callable[[Tensor], None]:
        def hook(parameter: Tensor) -> None:
            if self._current is not None and parameter.grad is not None:
                self._add(BACKWARD, f"{name}.grad", parameter.grad)

        return hook


class Recorded:
    """What a loop can add to the step that is being recorded."""

    def __init__(self, add: Callable[[str, str, Tensor], None] | None) -> None:
        self._add = add

    def record(self, **values: Tensor | float) -> None:
        """Record a loss or another number by name."""
        for name, value in values.items():
            if self._add:
                self._add(LOSS, name, value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64))


def _refuse(model: nn.Module) -> None:
    """Raise ValueError if hooks would not see what a model computes."""
    for name, module in model.named_modules():
        where = f"module {name!r} ({type(module).__name__})" if name else f"the model ({type(module).__name__})"
        if isinstance(module, nn.DataParallel) and len(module.device_ids) > 1:
            raise ValueError(f"{where} copies itself to {len(module.device_ids)} cards; trace the model on one of them")
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError(f"{where} was scripted, and calls no hooks; trace the model that it was made of")
        if hasattr(module, "_orig_mod") or module._compiled_call_impl is not None:
            raise ValueError(f"{where} is compiled, and calls no hooks; trace the model before torch.compile, or modules=False")


def _phase() -> str:
    """Return the phase of a module's call: inside of a backward pass, checkpointing computes maps again."""
    return BACKWARD if torch._C._current_graph_task_id() != -1 else FORWARD


def _version(values: Tensor) -> int:
    """Return how often a tensor was written to; -1 in inference mode, which does not count."""
    return -1 if values.is_inference() else values._version


def _describe(phase: str, name: str, values: Tensor) -> records.Tensor:
    dtype = str(values.dtype).removeprefix("torch.")
    return records.Tensor(phase, name, tuple(values.shape), dtype, tuple(values.stride()))


def _tensors(value: object, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of an argument or result with their paths, in order."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _tensors(each, f"{path}.{key}")
    elif isinstance(value, tuple | list):
        for i, each in enumerate(value):
            # One argument needs no number.
            yield from _tensors(each, path if len(value) == 1 else f"{path}[{i}]")


def _generator_states() -> Iterator[tuple[str, Tensor]]:
    """Yield the states of the generators that a step may draw from, as bytes."""
    yield "torch", torch.get_rng_state()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        yield "cuda", torch.cuda.get_rng_state()
    if "numpy.random" in sys.modules:
        yield "numpy", _hashed(repr(np.random.get_state()))  # noqa: NPY002 - what older code draws from
    yield "python", _hashed(repr(random.getstate()))


def _hashed(text: str) -> Tensor:
    return torch.frombuffer(bytearray(hashlib.sha256(text.encode()).digest()), dtype=torch.uint8)


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str) or (
        isinstance(value, tuple | list) and all(isinstance(each, bool | int | float) for each in value)
    )
