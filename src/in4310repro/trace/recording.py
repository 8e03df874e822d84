"""One step of a training while it is recorded."""

import json
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

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
Found = Digest | Row


class Recording:
    """Step in progress: the tensors recorded so far, in the order of execution.

    Args:
        number: of the step.
        layouts: descriptions of the tensors of earlier steps, which are added to.
        keep: called with every tensor; None: no values are kept.
    """

    def __init__(self, number: int, layouts: Layouts, keep: Keep | None = None) -> None:
        self.number = number
        self.modes: list[str] = []
        self.groups: dict[int, list[dict[str, Any]]] = {}  # options of each optimizer, by its number
        self.facts: dict[str, Any] = {}
        self.paths: tuple[str, ...] | None = None
        self.module_was_called = False
        self.rows: int | None = None  # number of images of a map in the forward pass that are recorded; None: all
        self._layouts, self._keep = layouts, keep
        self._events: list[tuple[records.Tensor, Found]] = []
        self._losses: dict[str, float] = {}
        self._calls: Counter[str] = Counter()
        self._unhashed: dict[str, str] = {}  # reasons by name
        # By id: inputs and outputs that were hashed, and outputs whose gradients are awaited, each at a version.
        self._seen: dict[int, tuple[weakref.ref[Tensor], int, Found]] = {}
        self._watched: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._handles: list[RemovableHandle] = []
        self._generator = b""

    def add(self, phase: str, name: str, values: Tensor, *, again: bool = False) -> str:
        """Record a tensor; return its unique name, such as `fc.output@2` for the second `fc.output`.

        A tensor that cannot be hashed, such as a nested one, is noted with the reason.

        Args:
            phase: phase of the step.
            name: name of the tensor.
            values: the tensor.
            again: whether to reuse an earlier hash if the same tensor, unchanged, was recorded under another name.
        """
        full = self._unique(name)
        try:
            if self.rows and phase == FORWARD and values.ndim:
                values = values[: self.rows]
            found = self._measure(values, full, again=again)
            self._append(phase, full, values, found)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            self._unhashed[records.printable(full)] = records.printable(str(error).partition("\n")[0][:200])
        return full

    def _unique(self, name: str) -> str:
        self._calls[name] += 1
        return name if self._calls[name] == 1 else f"{name}@{self._calls[name]}"

    def _measure(self, values: Tensor, name: str, *, again: bool) -> Found:
        if not again:
            return measure([values], [name])[0]
        version = -1 if values.is_inference() else values._version
        known = self._seen.get(id(values))
        if known and known[0]() is values and known[1] == version >= 0:
            return known[2]
        (found,) = measure([values], [name])
        self._seen[id(values)] = (weakref.ref(values), version, found)
        return found

    def add_all(self, phase: str, named: Sequence[Named]) -> list[Found]:
        """Record several tensors in one pass; return their digests, none where one of them cannot be hashed."""
        names, tensors = [name for name, _ in named], [values for _, values in named]
        try:
            digests = measure(tensors, names)
        except ValueError:
            for name, values in named:
                self.add(phase, name, values)
            return []
        for name, values, found in zip(names, tensors, digests, strict=True):
            self._append(phase, self._unique(name), values, found)
        return digests

    def add_loss(self, name: str, value: Tensor | float) -> None:
        """Record a loss as a tensor, and also its value if it is a single number."""
        values = value.detach() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
        before = len(self._events)
        name = self.add(LOSS, name, values)
        if len(self._events) > before:
            self._events.insert(self._place_of_loss(), self._events.pop())
            if values.numel() == 1 and not values.is_complex():
                self._losses[name] = float(values)

    def _place_of_loss(self) -> int:
        """Return the index at which the loss that was recorded last belongs in the order of execution.

        Loops often record a loss only after the backward pass and the step, but it belongs before the events of that
        pass. If a loop records the losses of several passes together, they are all before the last one.
        """
        place = len(self._events) - 1
        while place and self._events[place - 1][0].phase not in (records.DATA, FORWARD, LOSS):
            place -= 1
        return place

    def _append(self, phase: str, name: str, values: Tensor, found: Found) -> None:
        key = (phase, name, values.shape, values.dtype, values.stride())
        if key not in self._layouts:
            dtype = str(values.dtype).removeprefix("torch.")
            shape, strides = tuple(values.shape), tuple(values.stride())
            self._layouts[key] = records.Tensor(phase, records.printable(name), shape, dtype, strides)  # type: ignore[arg-type]
        self._events.append((self._layouts[key], found))
        if self._keep:
            self._keep(name, values)

    def watch(self, name: str, values: Tensor, record: Callable[[str, Tensor], None]) -> None:
        """Register a hook that calls `record` with the name and gradient of an output tensor.

        A tensor that several modules return gets only one hook.
        """
        if not values.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(values):
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

    def note_generator(self, name: str) -> None:
        """Record the state of torch's generator if numbers were drawn since it was recorded last."""
        state = torch.get_rng_state()
        try:
            content = state.numpy().tobytes()
        except RuntimeError:  # inside of torch.func
            return
        if content != self._generator:
            if self._generator:
                self.add(FORWARD, name, state)
            self._generator = content

    def finish(self) -> Step:
        """Return the completed step."""
        digests = read([found for _, found in self._events])
        content = tuple([Event(tensor, *found) for (tensor, _), found in zip(self._events, digests, strict=True)])
        options = [each for _, groups in sorted(self.groups.items()) for each in groups]
        facts = {**self.facts, "not hashed": self._unhashed}
        groups = json.dumps(options, sort_keys=True)
        return Step(self.number, "".join(self.modes), groups, self.paths, content, self._losses, facts)

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
