"""The steps and tensors that two traces have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from in4310repro.trace.records import DATA, UPDATE, Event, Step, TraceFile

START = "start."  # of the names of parameters, buffers and optimizer state before a step
OPTIMIZER = "optimizer."  # of the names of optimizer state
MODE = "mode"  # phase of a difference between modules in training and in evaluation mode


@dataclass(frozen=True)
class Pair:
    """The same step of two traces, with its matching tensors in the first trace's order of execution."""

    first: Step
    second: Step
    events: tuple[tuple[Event, Event], ...]

    @property
    def number(self) -> int:
        """Number of the step."""
        return self.first.number


@dataclass(frozen=True)
class Difference:
    """First difference of two traces: a tensor, or a module in training mode in only one of them."""

    step: int
    phase: str  # data, mode, forward, loss, backward or update
    name: str  # of the first trace
    first: Event | None  # None for a mode
    second: Event | None
    equal_steps: int  # common steps before this one
    equal_tensors: int  # of this step, before it

    def to_json(self) -> dict[str, Any]:
        """Return the difference as JSON values."""
        first, second = (each and each.to_json() for each in (self.first, self.second))
        return {**vars(self), "first": first, "second": second}


def is_evidence(event: Event) -> bool:
    """Return whether a tensor is an index list or a generator state. Such tensors only help to explain differences."""
    return event.tensor.phase == DATA and (event.tensor.name == "indices" or event.tensor.name.startswith("generator."))


def differ(first: Event, second: Event) -> bool:
    """Return whether two recorded tensors differ in shape, dtype or bits."""
    return layout(first) != layout(second) or first.hash != second.hash


def layout(event: Event) -> tuple[tuple[int, ...], str]:
    """Return the shape and dtype of a recorded tensor."""
    return event.tensor.shape, event.tensor.dtype


def relative_difference(first: Event, second: Event) -> float:
    """Return the relative difference between two recorded tensors.

    The value is the larger of the relative differences of their norms and of their largest magnitudes.
    """
    pairs = ((first.norm, second.norm), (first.largest, second.largest))
    return max(abs(a - b) / max(a, b) if max(a, b) else 0.0 for a, b in pairs)


def match_steps(first: TraceFile, second: TraceFile) -> list[Pair]:
    """Return a `Pair` for each step number that both traces have, with the matching tensors.

    Raises:
        ValueError: the traces have no step number in common.
    """
    steps = [{step.number: step for step in trace.steps} for trace in (first, second)]
    common = [number for number in steps[0] if number in steps[1]]
    if not common:
        spans = " and ".join(_span(each) for each in (first, second))
        raise ValueError(f"{first.place} and {second.place} have no step in common: {spans}")
    return [
        _pair(*_with_start([each[number] for each in steps], [each.get(number - 1) for each in steps]))
        for number in common
    ]


def _span(trace: TraceFile) -> str:
    if not trace.steps:
        return f"{trace.place} has no whole step"
    return f"{trace.place} has steps {trace.steps[0].number} to {trace.steps[-1].number}"


def is_start(phase: str, name: str) -> bool:
    """Return whether a tensor is of the state before a step; a module may be called `start` too."""
    return phase == DATA and name.startswith(START)


def _with_start(steps: Sequence[Step], before: Sequence[Step | None]) -> list[Step]:
    """Return the two steps. If only one of them has an initial state, add an initial state to the other.

    The added state is the end state of the preceding step (see `before`), if that step was recorded.
    """
    has_start = [any(is_start(each.tensor.phase, each.tensor.name) for each in step.events) for step in steps]
    if has_start[0] == has_start[1]:
        return list(steps)
    return [
        step if has or not last else _started(step, last)
        for step, has, last in zip(steps, has_start, before, strict=True)
    ]


def _started(step: Step, last: Step) -> Step:
    state = [each for each in last.events if each.tensor.phase == UPDATE]
    start = [
        each._replace(tensor=each.tensor._replace(phase=DATA, name=f"{START}{each.tensor.name}")) for each in state
    ]
    return replace(step, events=(*start, *step.events))


def _pair(first: Step, second: Step) -> Pair:
    """Pair the tensors of two steps by name. If the steps differ only in the names, pair them by order."""
    if _names(first) != _names(second) and _sequence(first) == _sequence(second):
        return Pair(first, second, tuple(zip(first.events, second.events, strict=True)))
    others = _names(second)
    return Pair(first, second, tuple((each, others[key]) for key, each in _names(first).items() if key in others))


def _names(step: Step) -> dict[tuple[str, str], Event]:
    return {(each.tensor.phase, each.tensor.name): each for each in step.events}


def _sequence(step: Step) -> list[tuple[object, ...]]:
    return [(each.tensor.phase, *layout(each)) for each in step.events]


def find_difference(traces: tuple[TraceFile, TraceFile], pair: Pair, equal_steps: int) -> Difference | None:
    """Return the first difference within a step, in the order of execution; None if there is none.

    `equal_steps` is the number of equal steps before this one. It is stored in the difference.
    """
    mode_checked = False
    equal = 0
    for first, second in pair.events:
        if first.tensor.phase != DATA and not mode_checked:
            mode_checked = True
            if changed := different_modes(traces, pair):
                return Difference(pair.number, MODE, changed[0], None, None, equal_steps, equal)
        if is_evidence(first):
            continue
        if differ(first, second):
            return Difference(pair.number, first.tensor.phase, first.tensor.name, first, second, equal_steps, equal)
        equal += 1
    return None


def different_modes(traces: tuple[TraceFile, TraceFile], pair: Pair) -> list[str]:
    """Return the modules that are in training mode in one trace and in evaluation mode in the other."""
    modes = [
        {name: mode for (name, _), mode in zip(trace.modules, step.modes, strict=False)}
        for trace, step in zip(traces, (pair.first, pair.second), strict=True)
    ]
    return [name or "model" for name, mode in modes[0].items() if modes[1].get(name, mode) != mode]
