"""The first thing in which two trainings differ, and what the traces say of its cause."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from in4310repro.trace.records import BACKWARD, DATA, FORWARD, LOSS, UPDATE, Event, Step, TraceFile

# What of the environment decides pixels, and what decides how numbers are computed.
PIXELS = ("pillow", "jpeg", "torchvision", "opencv-python", "albumentations", "kornia")
NEAR = 0.02  # relative difference of two norms of the same picture, decoded by two libraries
MOST = 8  # names in a sentence


@dataclass(frozen=True)
class Difference:
    """The first tensor, or module's mode, that differs."""

    step: int
    phase: str  # of the step: data, mode, forward, loss, backward or update
    name: str
    first: Event | None  # None: only the other trace has it
    second: Event | None
    equal_steps: int  # steps before
    equal_tensors: int  # of the step, before


@dataclass(frozen=True)
class Growth:
    """How far two trainings are apart after a step."""

    step: int
    tensors: int  # in both
    differing: int
    loss: tuple[float, float] | None
    loss_ulps: int | None  # of float32
    relative: float  # largest relative difference of the norms of a parameter


@dataclass(frozen=True)
class Comparison:
    """What two traces have in common."""

    places: tuple[str, str]
    steps: int  # with a number that is in both
    difference: Difference | None
    sentences: tuple[str, ...]  # what was equal, how far apart, and what may be the cause
    notes: tuple[str, ...]  # what could not be compared
    environment: dict[str, tuple[Any, Any]]  # entries of the heads that differ
    growth: tuple[Growth, ...]

    @property
    def equal(self) -> bool:
        """True if all that both traces have is equal."""
        return self.difference is None

    def paragraph(self) -> str:
        """Return the result in a paragraph."""
        return " ".join(self.sentences)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        found = asdict(self.difference) if self.difference else None
        return {
            "first": self.places[0],
            "second": self.places[1],
            "equal": self.equal,
            "steps": self.steps,
            "difference": found,
            "text": self.paragraph(),
            "notes": list(self.notes),
            "environment": {name: list(values) for name, values in self.environment.items()},
            "growth": [asdict(each) for each in self.growth],
        }


def compare(first: TraceFile, second: TraceFile) -> Comparison:
    """Compare two traces step by step, in the order of execution of the first.

    Raises:
        ValueError: they have no step in common.
    """
    others = {step.number: step for step in second.steps}
    pairs = [(step, others[step.number]) for step in first.steps if step.number in others]
    if not pairs:
        numbers = " and ".join(_span(each) for each in (first, second))
        raise ValueError(f"{first.place} and {second.place} have no step in common: {numbers}")
    environment = _different_entries(first, second)
    found = next((each for i, pair in enumerate(pairs) if (each := _first_difference(first, pair, i))), None)
    notes = tuple(_notes(first, second, pairs))
    growth = tuple(_growth(*pair) for pair in pairs)
    if found is None:
        sentences: list[str] = [_equal_sentence(pairs), *_of_heads(environment)]
    else:
        sentences = list(_explain(first, second, pairs, found, environment))
    return Comparison(
        (first.place, second.place), len(pairs), found, tuple(sentences), notes, environment, growth
    )


def _span(trace: TraceFile) -> str:
    if not trace.steps:
        return f"{trace.place} has no whole step"
    return f"{trace.place} has {len(trace.steps)}, {trace.steps[0].number} to {trace.steps[-1].number}"


def _different_entries(first: TraceFile, second: TraceFile) -> dict[str, tuple[Any, Any]]:
    a, b = first.header["environment"], second.header["environment"]
    return {name: (a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)}


def _notes(first: TraceFile, second: TraceFile, pairs: Sequence[tuple[Step, Step]]) -> Iterator[str]:
    """Yield sentences on what cannot be compared."""
    for trace in (first, second):
        if trace.cut:
            yield f"{trace.place} ends amid a line: its process was stopped, and the last step is not there"
    missing = [sum(step.number not in {other.number for other in b.steps} for step in a.steps) for a, b in ((first, second), (second, first))]
    if any(missing):
        yield f"{missing[0]} steps are in {first.place} alone and {missing[1]} in {second.place} alone"
    if first.modules != second.modules:
        names = [each for each in first.modules if each not in second.modules] + [
            each for each in second.modules if each not in first.modules
        ]
        shown = ", ".join(f"{name or 'model'} ({kind})" for name, kind in names[:MOST]) or "their order"
        yield f"the models differ: {shown}"
    for a, b, place in ((0, 1, first.place), (1, 0, second.place)):
        alone = {each.tensor.name for pair in pairs for each in pair[a].events} - {
            each.tensor.name for pair in pairs for each in pair[b].events
        }
        if alone:
            more = f" and {len(alone) - MOST} more" if len(alone) > MOST else ""
            yield f"only {place} has {', '.join(sorted(alone)[:MOST])}{more}"


def _first_difference(trace: TraceFile, pair: tuple[Step, Step], equal_steps: int) -> Difference | None:
    first, second = pair
    others = {each.tensor.name: each for each in second.events}
    mode_checked = False
    equal = 0
    for event in first.events:
        if event.tensor.phase != DATA and not mode_checked:
            mode_checked = True
            if changed := _different_modes(trace, first, second):
                return Difference(first.number, "mode", changed[0], None, None, equal_steps, equal)
        other = others.get(event.tensor.name)
        # A generator that nobody draws from may have any state; one that is drawn from shows in what it decides.
        if other is None or event.tensor.name.startswith("generator."):
            continue
        same = (event.tensor.shape, event.tensor.dtype) == (other.tensor.shape, other.tensor.dtype)
        if not same or event.hash != other.hash or event.not_finite != other.not_finite:
            return Difference(first.number, event.tensor.phase, event.tensor.name, event, other, equal_steps, equal)
        equal += 1
    return None


def _different_modes(trace: TraceFile, first: Step, second: Step) -> list[str]:
    """Return the modules that are in training mode in one of the steps and in evaluation mode in the other."""
    if len(first.modes) != len(second.modes):
        return []
    return [
        name or "model"
        for (name, _), a, b in zip(trace.modules, first.modes, second.modes, strict=False)
        if a != b
    ]


def _equal_sentence(pairs: Sequence[tuple[Step, Step]]) -> str:
    events = sum(len(first.events) for first, _ in pairs)
    return f"All that was recorded is equal to the bit: {events:,} tensors in {len(pairs)} steps."


def _of_heads(environment: dict[str, tuple[Any, Any]]) -> Iterator[str]:
    if environment:
        shown = "; ".join(f"{name} {a} and {b}" for name, (a, b) in list(environment.items())[:MOST])
        yield f"The heads differ in: {shown}."


def _explain(
    first: TraceFile,
    second: TraceFile,
    pairs: Sequence[tuple[Step, Step]],
    found: Difference,
    environment: dict[str, tuple[Any, Any]],
) -> Iterator[str]:
    pair = next(pair for pair in pairs if pair[0].number == found.step)
    before = f"the {found.equal_steps} steps before it" if found.equal_steps else "no step before it"
    yield (
        f"The trainings differ first in step {found.step}, {_phase_words(found)}: {found.name}. "
        f"Equal to the bit: {before}, and {found.equal_tensors} tensors of this step."
    )
    if found.first and found.second:
        yield _apart(found.first, found.second)
    yield from _cause(first, pairs, pair, found, environment)


def _phase_words(found: Difference) -> str:
    return {
        DATA: "before the forward pass",
        "mode": "before the forward pass",
        FORWARD: "in the forward pass",
        LOSS: "in the loss",
        BACKWARD: "in the backward pass",
        UPDATE: "in the optimizer's update",
    }[found.phase]


def _apart(first: Event, second: Event) -> str:
    a, b = first.tensor, second.tensor
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return f"Its shape is {list(a.shape)} of {a.dtype} and {list(b.shape)} of {b.dtype}."
    if first.not_finite or second.not_finite:
        return f"{first.not_finite} and {second.not_finite} of its values are not finite."
    if max(first.norm, second.norm) == 0:
        return "Both have only zeros, of different signs."
    relative = abs(first.norm - second.norm) / max(first.norm, second.norm)
    return f"Norms: {first.norm:.6g} and {second.norm:.6g}, relative difference {relative:.1e}."


def _cause(
    trace: TraceFile,
    pairs: Sequence[tuple[Step, Step]],
    pair: tuple[Step, Step],
    found: Difference,
    environment: dict[str, tuple[Any, Any]],
) -> Iterator[str]:
    """Yield sentences on what may be the cause, as far as the traces can tell."""
    if found.phase == "mode":
        changed = _different_modes(trace, *pair)
        more = f" and {len(changed) - MOST} more" if len(changed) > MOST else ""
        yield f"In training mode in one of them and in evaluation mode in the other: {', '.join(changed[:MOST])}{more}."
    elif found.name.startswith("start."):
        yield "Parameters, buffers or optimizer state differ before the first step: their seed, or the file they are from."
    elif found.phase == DATA:
        yield from _cause_of_data(pairs, pair, found, environment)
    else:
        yield from _cause_of_computation(trace, pair, found, environment)


def _cause_of_data(
    pairs: Sequence[tuple[Step, Step]],
    pair: tuple[Step, Step],
    found: Difference,
    environment: dict[str, tuple[Any, Any]],
) -> Iterator[str]:
    generators = [name for name in _differing(pair, DATA) if name.startswith("generator.")]
    if not found.name.startswith("images"):
        yield "The images are equal, and not what belongs to them: labels, or the order in which they are looked up."
        return
    a, b = (_image_hashes([each]) for each in pair)
    total_a, total_b = (_image_hashes([each[i] for each in pairs]) for i in (0, 1))
    changed = sum(x.hash != y.hash for x, y in zip(_images(pair[0]), _images(pair[1]), strict=False))
    yield f"{changed} of {sum(a.values())} images of the batch differ."
    if a and a == b:
        yield "They are the same images in another order: the order within the batch."
    elif total_a and total_a == total_b:
        yield "Over all steps the same images are read, in another order: the order of images (sampler, listing of files, or seed)."
    elif (known := _same_places(pair)) is not None:
        if known:
            yield from _cause_of_pixels(pair, environment)
        else:
            yield "Other images were chosen: the order of images (sampler, listing of files, or seed)."
    elif 2 * sum((total_a & total_b).values()) > sum(total_a.values()):
        yield "Most images are read by both, in another order: the order of images (sampler, listing of files, or seed)."
    else:
        yield (
            "One of: order of images, decoding, augmentation, or a generator; "
            "`trace.step(images=..., indices=...)` or `paths=` tells them apart."
        )
    if generators:
        yield f"The generators differ as well: {', '.join(generators)}."


def _cause_of_pixels(pair: tuple[Step, Step], environment: dict[str, tuple[Any, Any]]) -> Iterator[str]:
    """Yield the cause if the same files were read and their pixels differ."""
    near = all(
        x.tensor.shape == y.tensor.shape and abs(x.norm - y.norm) <= NEAR * max(x.norm, y.norm)
        for x, y in zip(_images(pair[0]), _images(pair[1]), strict=False)
    )
    libraries = {name: environment[name] for name in PIXELS if name in environment}
    shown = "; ".join(f"{name} {a} and {b}" for name, (a, b) in libraries.items())
    if near and libraries:
        yield f"The same files with nearly the same pixels: decoding or resizing, by {shown}."
    elif libraries:
        yield f"The same files with other pixels: augmentation, or decoding by {shown}."
    else:
        yield "The same files with other pixels, by the same libraries: augmentation, or the generator that it draws from."


def _images(step: Step) -> list[Event]:
    return [each for each in step.events if each.tensor.name.startswith("images[")]


def _image_hashes(steps: Sequence[Step]) -> Counter[str]:
    return Counter(each.hash for step in steps for each in _images(step))


def _same_places(pair: tuple[Step, Step]) -> bool | None:
    """Return whether both steps read the same places of the data set; None if that was not recorded."""
    first, second = pair
    indices = [next((each.hash for each in step.events if each.tensor.name == "indices"), None) for step in pair]
    if None not in indices:
        return indices[0] == indices[1]
    if first.paths is not None and second.paths is not None:
        return first.paths == second.paths
    return None


def _differing(pair: tuple[Step, Step], phase: str) -> list[str]:
    others = {each.tensor.name: each.hash for each in pair[1].events}
    return [
        each.tensor.name
        for each in pair[0].events
        if each.tensor.phase == phase and others.get(each.tensor.name, each.hash) != each.hash
    ]


def _cause_of_computation(
    trace: TraceFile, pair: tuple[Step, Step], found: Difference, environment: dict[str, tuple[Any, Any]]
) -> Iterator[str]:
    module = found.name.partition(".input")[0].partition(".output")[0]
    kind = next((kind for name, kind in trace.modules if name == module), "")
    if found.phase == FORWARD and ".output" in found.name:
        yield f"What {module} ({kind or type(trace).__name__}) was given is equal, and what it computed is not." if kind else ""
        if "Drop" in kind:
            yield "It draws at random: from a generator that is not recorded, or not seeded."
    elif found.phase == FORWARD:
        yield f"All outputs before are equal, and not what {module} is given: what is computed between modules."
    elif found.phase == BACKWARD:
        yield "The forward pass and the loss are equal: the difference is in how a gradient is computed."
    elif found.phase == LOSS:
        yield "The model's outputs are equal: the difference is in how the loss is computed."
    elif pair[0].groups != pair[1].groups:
        yield f"The gradients are equal, and not the optimizer's options: {_different_options(pair)}."
    else:
        yield "The gradients are equal: the difference is in the optimizer's update, or in a buffer that a module changes."
    if environment:
        yield from _of_heads(environment)
    else:
        yield (
            "Nothing in the heads differs: an operation without a fixed order (threads, atomic sums), memory that was not "
            "initialised, or state outside of the model; `in4310repro explain` tries one after the other."
        )


def _different_options(pair: tuple[Step, Step]) -> str:
    groups = [json.loads(each.groups) for each in pair]
    shown = [
        f"{key} {a.get(key)} and {b.get(key)}"
        for a, b in zip(*groups, strict=False)
        for key in dict.fromkeys([*a, *b])
        if a.get(key) != b.get(key)
    ]
    return ", ".join(dict.fromkeys(shown)) or "their number"


def _growth(first: Step, second: Step) -> Growth:
    others = {each.tensor.name: each for each in second.events}
    pairs = [(each, others[each.tensor.name]) for each in first.events if each.tensor.name in others]
    losses = [each for each in pairs if each[0].tensor.phase == LOSS]
    loss = (losses[0][0].norm, losses[0][1].norm) if losses else None
    parameters = [pair for pair in pairs if pair[0].tensor.phase == UPDATE]
    return Growth(
        step=first.number,
        tensors=len(pairs),
        differing=sum(a.hash != b.hash for a, b in pairs),
        loss=loss,
        loss_ulps=_ulps(*loss) if loss else None,
        relative=max((_relative(a.norm, b.norm) for a, b in parameters), default=0.0),
    )


def _relative(first: float, second: float) -> float:
    return abs(first - second) / max(first, second) if max(first, second) else 0.0


def _ulps(first: float, second: float) -> int | None:
    """Return how many float32 numbers two losses are apart; None if one is not finite."""
    if not math.isfinite(first) or not math.isfinite(second):
        return None
    a, b = np.array([first, second], dtype=np.float32).view(np.int32)
    return abs(int(a) - int(b))
