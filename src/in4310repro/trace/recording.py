"""One step of a training while it is recorded."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from in4310repro.trace import records
from in4310repro.trace.hashing import Digest, Row, measure, read
from in4310repro.trace.records import BACKWARD, FORWARD, LOSS, Event, Step
from in4310repro.trace.tensors import Named, iterate_tensors

# Description of a tensor by what it is made of; they are the same in most steps.
Layouts = dict[tuple[object, ...], records.Tensor]
# Gets the name of a tensor and the tensor.
Keep = Callable[[str, Tensor], None]


class Recording:
    """Step in progress: the tensors recorded so far, in the order of execution.

    Args:
        number: of the step.
        modes: `t` or `e` for each module.
        paths: names of the images' files, or None.
        layouts: descriptions of the tensors of earlier steps, which are added to.
        keep: called with every tensor; None: no values are kept.
        rows: number of images of a map in the forward pass that are recorded; None: all.
    """

    def __init__(
        self,
        number: int,
        modes: list[str],
        paths: tuple[str, ...] | None,
        layouts: Layouts,
        keep: Keep | None,
        rows: int | None,
    ) -> None:
        self.number, self.modes = number, modes
        self.module_was_called = False
        self._paths, self._layouts, self._keep, self._rows = paths, layouts, keep, rows
        self._events: list[tuple[records.Tensor, Digest | Row]] = []
        self._losses: dict[str, float] = {}
        self._calls: Counter[str] = Counter()
        # By id: inputs and outputs that were hashed, and outputs whose gradients are awaited, each at a version.
        self._seen: dict[int, tuple[weakref.ref[Tensor], int, Digest | Row]] = {}
        self._watched: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._handles: list[RemovableHandle] = []

    def add(self, phase: str, name: str, values: Tensor, *, again: bool = False) -> str:
        """Record a tensor; return its unique name, such as `fc.output@2` for the second `fc.output`.

        Args:
            phase: phase of the step.
            name: name of the tensor.
            values: the tensor.
            again: whether to reuse an earlier hash if the same tensor, unchanged, was recorded under another name.
        """
        if self._rows and phase == FORWARD and values.ndim:
            values = values[: self._rows]
        self._calls[name] += 1
        full = name if self._calls[name] == 1 else f"{name}@{self._calls[name]}"
        version = -1 if values.is_inference() else values._version
        known = self._seen.get(id(values)) if again else None
        if known and known[0]() is values and known[1] == version >= 0:
            found = known[2]
        else:
            (found,) = measure([values], [full])
            if again:
                self._seen[id(values)] = (weakref.ref(values), version, found)
        self._append(phase, full, values, found)
        return full

    def add_all(self, phase: str, named: Sequence[Named]) -> None:
        """Record tensors whose names occur only once in the step."""
        names, tensors = [name for name, _ in named], [values for _, values in named]
        for name, values, found in zip(names, tensors, measure(tensors, names), strict=True):
            self._append(phase, name, values, found)

    def add_loss(self, name: str, value: Tensor | float) -> None:
        """Record a loss as a tensor, and also its value if it is a single number."""
        values = value.detach() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
        name = self.add(LOSS, name, values)
        self._events.insert(self._place_of_loss(), self._events.pop())
        if values.numel() == 1 and not values.is_complex():
            self._losses[name] = float(values)

    def _place_of_loss(self) -> int:
        """Return the index at which the loss that was recorded last belongs in the order of execution.

        Loops often record a loss only after the backward pass, but it belongs before the events of that pass. If a
        loop records the losses of several passes together, they are all before the last one.
        """
        place = len(self._events) - 1
        while place and self._events[place - 1][0].phase == BACKWARD:
            place -= 1
        return place

    def _append(self, phase: str, name: str, values: Tensor, found: Digest | Row) -> None:
        key = (phase, name, values.shape, values.dtype, values.stride())
        if key not in self._layouts:
            dtype = str(values.dtype).removeprefix("torch.")
            shape, strides = tuple(values.shape), tuple(values.stride())
            self._layouts[key] = records.Tensor(phase, records.printable(name), shape, dtype, strides)
        self._events.append((self._layouts[key], found))
        if self._keep:
            self._keep(name, values)

    def watch(self, name: str, values: Tensor, record: Callable[[str, Tensor], None]) -> None:
        """Register a hook that calls `record` with the name and gradient of an output tensor.

        A tensor that several modules return gets only one hook.
        """
        if not values.requires_grad:
            return
        watched = self._watched.get(id(values))
        if watched and watched[0]() is values and watched[1] == values._version:
            return
        self._watched[id(values)] = (weakref.ref(values), values._version)
        handle: RemovableHandle = values.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: record(name, gradient)
        )
        self._handles.append(handle)

    def add_gradient(self, name: str, gradient: Tensor | None) -> None:
        """Record the gradient of an output or a parameter."""
        for path, values in iterate_tensors(gradient):
            self.add(BACKWARD, f"{name}.grad{path}", values)

    def finish(self, groups: str) -> Step:
        """Return the completed step.

        Args:
            groups: the options of the optimizers' parameter groups, as JSON text.
        """
        digests = read([found for _, found in self._events])
        content = tuple([Event(tensor, *found) for (tensor, _), found in zip(self._events, digests, strict=True)])
        return Step(self.number, "".join(self.modes), groups, self._paths, content, self._losses)

    def close(self) -> None:
        """Remove the gradient hooks, which would otherwise stay on tensors such as parameters."""
        for handle in self._handles:
            handle.remove()


class Recorded:
    """Handle of the step being recorded, through which a training loop adds losses.

    Args:
        recording: the step; None: the step is not recorded, and calls of `record` are ignored.
    """

    def __init__(self, recording: Recording | None) -> None:
        self._recording = recording

    def record(self, **values: Tensor | float) -> None:
        """Record losses or other results by name, such as `record(loss=loss)`."""
        for name, value in values.items():
            if self._recording:
                self._recording.add_loss(name, value)
