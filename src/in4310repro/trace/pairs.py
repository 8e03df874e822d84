"""The steps and tensors that two traces have in common."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from in4310repro.trace.records import BACKWARD, DATA, GRADIENT, UPDATE, Event, Step, TraceFile

START = "start."  # of the names of parameters, buffers and optimizer state before a step
OPTIMIZER = "optimizer"  # of the names of optimizer state
MODE = "mode"  # phase of a difference between modules in training and in evaluation mode
State = Mapping[str, Event]


@dataclass(frozen=True)
class Pair:
    """The same step of two traces, with its matching tensors in the first trace's order of execution."""

    first: Step
    second: Step
    events: tuple[tuple[Event, Event], ...]
    alone: tuple[tuple[Event, ...], tuple[Event, ...]] = ((), ())  # tensors of the start that one of them lacks

    @property
    def number(self) -> int:
        """Number of the step."""
        return self.first.number

    def facts(self, name: str, default: Any = None) -> tuple[Any, Any]:
        """Return a fact of both steps, such as the options of modules."""
        return self.first.facts.get(name, default), self.second.facts.get(name, default)


@dataclass(frozen=True)
class Difference:
    """First difference of two traces: a tensor, or a module in training mode in only one of them."""

    step: int
    phase: str  # data, mode, forward, loss, backward, gradient or update
    name: str  # of the first trace
    first: Event | None  # None for a mode, and for a tensor of the start that only the second trace has
    second: Event | None
    equal_steps: int  # common steps before this one
    equal_tensors: int  # of this step, before it

    def to_json(self) -> dict[str, Any]:
        """Return the difference as JSON values."""
        first, second = (each and each.to_json() for each in (self.first, self.second))
        return {**vars(self), "first": first, "second": second}


def is_evidence(event: Event) -> bool:
    """Return whether a tensor is an index list or a generator state. Such tensors only help to explain differences."""
    name = event.tensor.name.partition("@")[0]
    return (event.tensor.phase == DATA and name == "indices") or is_generator(name)


def is_generator(name: str) -> bool:
    """Return whether a tensor is the state of a random generator, before the step or at a module."""
    return name.startswith("generator.") or name.partition("@")[0].endswith(".generator")


def differ(first: Event, second: Event) -> bool:
    """Return whether two recorded tensors differ in shape, dtype or bits."""
    return layout(first) != layout(second) or first.hash != second.hash


def layout(event: Event) -> tuple[tuple[int, ...], str]:
    """Return the shape and dtype of a recorded tensor."""
    return event.tensor.shape, event.tensor.dtype


def relative_difference(first: Event, second: Event) -> float:
    """Return the relative difference between two recorded tensors: an estimate of |a - b| / max(|a|, |b|).

    It comes from the sketches, or is the relative difference of norms or largest magnitudes where that is larger or a
    trace has no sketches.
    """
    pairs = ((first.norm, second.norm), (first.largest, second.largest))
    by_norm = max(abs(a - b) / max(a, b) if max(a, b) else 0.0 for a, b in pairs)
    return max(by_norm, distance(first, second) / (max(first.norm, second.norm) or 1.0))


def distance(first: Event, second: Event) -> float:
    """Return an estimate of the Euclidean distance of two tensors by their sketches; 0 without sketches."""
    a, b = first.projections(), second.projections()
    return 0.0 if a is None or b is None else float(np.linalg.norm(a - b))


def factor(first: Event, second: Event) -> float | None:
    """Return the number by which the second tensor is a multiple of the first; None if it is not one.

    A tensor of one value is a multiple of any other: for these too the answer is None.
    """
    a, b = first.projections(), second.projections()
    if a is None or b is None or np.count_nonzero(a) < 2 or layout(first) != layout(second) or not first.norm:
        return None
    ratio = second.norm / first.norm
    if float(a @ b) < 0:
        ratio = -ratio
    return ratio if np.linalg.norm(b - ratio * a) < 1e-5 * np.linalg.norm(b) and abs(ratio - 1) > 1e-4 else None


def match_steps(first: TraceFile, second: TraceFile) -> tuple[list[Pair], str]:
    """Return a `Pair` for each step that both traces have, with the matching tensors, and how steps were matched.

    Steps are matched by number. Where the second trace begins with the parameters that the first has after a later
    step (or the other way round), the text says so, and steps are matched from there.

    Raises:
        ValueError: the traces have no step in common.
    """
    first, second, text = _align(first, second)
    steps = [{step.number: step for step in _with_starts(trace)} for trace in (first, second)]
    common = [number for number in steps[0] if number in steps[1]]
    if not common:
        spans = " and ".join(_span(each) for each in (first, second))
        raise ValueError(f"{first.place} and {second.place} have no step in common: {spans}")
    bare = [{step.number: step for step in trace.steps} for trace in (first, second)]
    formats = {trace.header.get("trace", 2) for trace in (first, second)}
    pairs = []
    for number in common:
        has_start = [_has_whole_start(each[number]) for each in bare]
        of = bare if not any(has_start) else steps
        pairs.append(_pair(of[0][number], of[1][number], one_sided=formats == {2}))
    return pairs, text


def _span(trace: TraceFile) -> str:
    if not trace.steps:
        return f"{trace.place} has no whole step"
    return f"{trace.place} has steps {trace.steps[0].number} to {trace.steps[-1].number}"


def is_start(phase: str, name: str) -> bool:
    """Return whether a tensor is of the state before a step; a module may be called `start` too."""
    return phase == DATA and name.startswith(START)


def start_of(step: Step) -> dict[str, Event]:
    """Return the recorded state before a step, by names without `start.`."""
    return {
        each.tensor.name.removeprefix(START): each
        for each in step.events
        if is_start(each.tensor.phase, each.tensor.name)
    }


def _has_whole_start(step: Step) -> bool:
    """Return whether a step has all of the state before it, and not only what was changed since the step before."""
    ended = {each.tensor.name for each in step.events if each.tensor.phase == UPDATE and "@" not in each.tensor.name}
    parameters = {name for name in ended if not name.startswith(OPTIMIZER)}
    return bool(parameters) and parameters <= {*start_of(step)}


def states(trace: TraceFile) -> Iterator[tuple[Step, State]]:
    """Yield each step with the state before it, as far as the trace knows it."""
    state: dict[str, Event] = {}
    last = -2
    for step in trace.steps:
        if step.number != last + 1:
            state = {}
        state = state | start_of(step)
        yield step, state
        state = state | {
            each.tensor.name.partition("@")[0]: each for each in step.events if each.tensor.phase == UPDATE
        }
        last = step.number


def _with_starts(trace: TraceFile) -> list[Step]:
    """Return the steps, each with all of the state before it that is known."""
    return [_started(step, state) for step, state in states(trace)]


def _started(step: Step, state: State) -> Step:
    missing = {name: each for name, each in state.items() if name not in start_of(step)}
    start = [
        each._replace(tensor=each.tensor._replace(phase="data", name=f"{START}{name}"))
        for name, each in missing.items()
    ]
    return replace(step, events=(*start, *step.events))


def _align(first: TraceFile, second: TraceFile) -> tuple[TraceFile, TraceFile, str]:
    """Renumber the steps of a trace that begins with the parameters that the other has after a later step."""
    for one, other in ((first, second), (second, first)):
        if not one.steps or not other.steps or one.steps[0].number != other.steps[0].number:
            continue
        begin = _parameters(start_of(other.steps[0]))
        for step, state in [*states(one)][1:]:
            if begin and _parameters(state) == begin and _parameters(start_of(one.steps[0])) != begin:
                by = step.number - other.steps[0].number
                moved = replace(other, steps=tuple(replace(each, number=each.number + by) for each in other.steps))
                text = f"{other.place} begins with the parameters of {one.place} before step {step.number}"
                return (first, moved, text) if other is second else (moved, second, text)
    return first, second, ""


def _parameters(state: State) -> dict[str, str]:
    """Return the hashes of parameters and buffers."""
    return {name: each.hash for name, each in state.items() if not name.startswith(OPTIMIZER)}


def _pair(first: Step, second: Step, *, one_sided: bool) -> Pair:
    """Pair the tensors of two steps by name. If the steps differ only in the names, pair them by order."""
    if _names(first) != _names(second) and _sequence(first) == _sequence(second):
        return Pair(first, second, tuple(zip(first.events, second.events, strict=True)))
    names, others = _names(first), _names(second)
    events = tuple((each, others[key]) for key, each in names.items() if key in others)
    if not one_sided:
        return Pair(first, second, events)
    sides = ((names, others), (others, names))
    alone = [tuple(mine[key] for key in mine if key not in theirs and is_start(*key)) for mine, theirs in sides]
    return Pair(first, second, events, (alone[0], alone[1]))


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
    alone = [(each, None) for each in pair.alone[0]] + [(None, each) for each in pair.alone[1]]
    start = [each for each in pair.events if is_start(each[0].tensor.phase, each[0].tensor.name)]
    rest = pair.events[len(start) :] if pair.events[: len(start)] == tuple(start) else pair.events
    events: Sequence[tuple[Event | None, Event | None]] = [*start, *alone, *rest]
    for first, second in events:
        tensor = (first or second).tensor  # type: ignore[union-attr]
        if tensor.phase != DATA and not mode_checked:
            mode_checked = True
            if changed := different_modes(traces, pair):
                return Difference(pair.number, MODE, changed[0], None, None, equal_steps, equal)
        if first and is_evidence(first):
            continue
        if tensor.phase in (BACKWARD, GRADIENT, UPDATE) and (name := _frozen_in_one(pair)):
            return Difference(pair.number, BACKWARD, name, None, None, equal_steps, equal)
        if not first or not second or differ(first, second):
            return Difference(pair.number, tensor.phase, tensor.name, first, second, equal_steps, equal)
        equal += 1
    return None


def _frozen_in_one(pair: Pair) -> str:
    """Return a gradient that one step lacks because the parameter is frozen; empty if there is none."""
    a, b = (
        {each.tensor.name for each in step.events if each.tensor.phase == BACKWARD}
        for step in (pair.first, pair.second)
    )
    frozen = set(pair.facts("frozen", [])[0]) ^ set(pair.facts("frozen", [])[1])
    return next((name for each in sorted(frozen) if (name := f"{each}.grad") in a ^ b), "")


def different_modes(traces: tuple[TraceFile, TraceFile], pair: Pair) -> list[str]:
    """Return the modules that are in training mode in one trace and in evaluation mode in the other."""
    modes = [
        {name: mode for (name, _), mode in zip(trace.modules, step.modes, strict=False)}
        for trace, step in zip(traces, (pair.first, pair.second), strict=True)
    ]
    return [name or "model" for name, mode in modes[0].items() if modes[1].get(name, mode) != mode]
