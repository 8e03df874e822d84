"""Sentences on the first difference of two traces: where it is, what was equal before, and what may have caused it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from in4310repro.trace.gaps import shorten
from in4310repro.trace.inputs import PIXELS, describe_generators, describe_inputs, different_generators
from in4310repro.trace.pairs import (
    MODE,
    OPTIMIZER,
    START,
    Difference,
    Pair,
    different_modes,
    is_evidence,
    is_start,
    layout,
    relative_difference,
)
from in4310repro.trace.records import BACKWARD, DATA, FORWARD, LOSS, UPDATE, Event, TraceFile

# Relative difference of two norms, written with nine digits, below which other rounding is enough to explain it.
ROUNDING = {"float64": 1e-8, "float32": 1e-4, "float16": 0.02, "bfloat16": 0.05}
PHASES = {
    DATA: "before the forward pass",
    MODE: "before the forward pass",
    FORWARD: "in the forward pass",
    LOSS: "in the loss",
    BACKWARD: "in the backward pass",
    UPDATE: "in the optimizer's update",
}
# Parts of the names of those classes of torch.nn that draw random numbers in training.
DRAWING = ("Drop", "RReLU", "FractionalMaxPool")
# Parts of the names of classes that draw if they were made with dropout.
MAY_DRAW = ("RNN", "LSTM", "GRU", "Attention", "Transformer")
EQUAL = {
    DATA: "tensors that it starts from and reads",
    FORWARD: "of the forward pass",
    LOSS: "of the loss",
    BACKWARD: "of the backward pass",
    UPDATE: "of the update",
}
UNEXPLAINED = (
    "No entry of the heads that decides how numbers are computed differs. That leaves an operation without a fixed "
    "order (threads, atomic sums), memory that was not initialised, other code, or a state that is not recorded; "
    "`in4310repro explain` tries one after the other."
)
COMPUTED = {
    LOSS: "The model's outputs are equal: the difference is in how the loss is computed, or in labels not recorded.",
    BACKWARD: "All before it is equal: the difference is in how a gradient is computed, or in one left from before.",
}
Environment = Mapping[str, tuple[Any, Any]]


def describe_equality(pairs: Sequence[Pair], environment: Environment) -> Iterator[str]:
    """Yield a sentence which says that two traces are equal.

    Then yield sentences on differences between the environments in which the traces were recorded.
    """
    tensors = sum(not is_evidence(each) for pair in pairs for each, _ in pair.events)
    yield f"Everything that both traces recorded is equal to the bit: {tensors:,} tensors in {len(pairs):,} steps."
    yield from _describe_heads(environment)


def describe_difference(
    traces: tuple[TraceFile, TraceFile], pairs: Sequence[Pair], found: Difference, environment: Environment
) -> Iterator[str]:
    """Yield sentences on the first difference of two traces and on its possible causes."""
    pair = pairs[found.equal_steps]
    of_start = is_start(found.phase, found.name)
    module, kind = _owner(traces[0], found.name.removeprefix(START) if of_start else found.name)
    named = f"{found.name}{f' ({kind})' if kind else ''}"
    yield f"The trainings differ first in step {found.step}, {PHASES[found.phase]}: {named}."
    yield _describe_equal(pairs, found)
    if found.first and found.second:
        yield _describe_distance(found.first, found.second)
    if found.phase == MODE:
        names = shorten(different_modes(traces, pair))
        yield f"In training mode in one of them, and in evaluation mode in the other: {names}."
    elif of_start:
        yield _describe_start(pairs, found)
    elif found.phase == DATA or (found.name.startswith("model.input") and not _reads_images(pair)):
        yield from describe_inputs(pairs, found, environment)
    else:
        yield from _describe_computation(traces, pairs, found, module)
        kind = "" if found.phase != FORWARD or ".input" in found.name else dict(traces[0].modules).get(module, "")
        yield from _describe_randomness(pairs[: found.equal_steps + 1], kind)
        if not (_draws(kind) or _different_options(pair)) and set(environment) <= set(PIXELS):
            yield UNEXPLAINED
    yield from _describe_heads(environment)


def _owner(trace: TraceFile, name: str) -> tuple[str, str]:
    """Return name and class of the module that owns the tensor; two empty texts if there is none."""
    plain = name.removeprefix(OPTIMIZER)
    owners = [(module, kind) for module, kind in trace.modules if plain.startswith(f"{module or 'model'}.")]
    return max(owners, key=lambda each: len(each[0]), default=("", ""))


def _reads_images(pair: Pair) -> bool:
    return any(first.tensor.phase == DATA and first.tensor.name.startswith("images") for first, _ in pair.events)


def _describe_equal(pairs: Sequence[Pair], found: Difference) -> str:
    """Return a sentence on the steps and tensors that are equal before the first difference."""
    pair = pairs[found.equal_steps]
    before = [first for first, _ in pair.events if not is_evidence(first)][: found.equal_tensors]
    counts = Counter(each.tensor.phase for each in before)
    equal = [f"{count} {EQUAL[phase]}" for phase, count in counts.items()]
    if equal:
        equal = [f"of step {found.step}, {', '.join(equal)}, the last of them {before[-1].tensor.name}"]
    if found.equal_steps:
        first, last = pairs[0].number, pairs[found.equal_steps - 1].number
        equal = [f"step {first}" if first == last else f"{found.equal_steps} steps ({first} to {last})", *equal]
    if not equal:
        return "It is the first tensor that both traces recorded."
    return f"Equal to the bit before it: {'; '.join(equal)}."


def _describe_distance(first: Event, second: Event) -> str:
    """Return a sentence on how much two tensors differ in shape, norm and largest magnitude."""
    if layout(first) != layout(second):
        shapes = " and ".join(f"{list(each.tensor.shape)} of {each.tensor.dtype}" for each in (first, second))
        return f"It has the shape {shapes}."
    if first.not_finite or second.not_finite:
        return f"Of its values {first.not_finite} and {second.not_finite} are not finite."
    if max(first.norm, second.norm) == 0:
        return "All its values are zeros, of different signs."
    distance = relative_difference(first, second)
    norms = (
        f"norms {first.norm:.9g} and {second.norm:.9g}, largest magnitudes {first.largest:.9g} and {second.largest:.9g}"
    )
    if distance == 0:
        return f"Its summaries agree to nine digits ({norms}): few last bits, signs, or places of values differ."
    limit = ROUNDING.get(first.tensor.dtype, 0.0)
    size = "" if not limit else " as other rounding gives" if distance < limit else " more than other rounding gives"
    return f"Its summaries differ by {distance:.1e} ({norms}){',' * bool(size)}{size}."


def _describe_start(pairs: Sequence[Pair], found: Difference) -> str:
    if not found.equal_steps and found.step == 0:
        return (
            "The state before the first step differs: the seed that weights are drawn from, or the file that has them."
        )
    if not found.equal_steps:
        return f"The trainings differ before step {found.step}, the first that both recorded; record earlier steps."
    last = pairs[found.equal_steps - 1].number
    return (
        f"State is equal after step {last}, the one recorded before: the trainings part in between; "
        f"steps=range({last + 1}, {found.step + 1}) records those steps."
    )


def _describe_computation(
    traces: tuple[TraceFile, TraceFile], pairs: Sequence[Pair], found: Difference, module: str
) -> Iterator[str]:
    """Yield sentences on a tensor that differs although everything computed before it is equal."""
    pair = pairs[found.equal_steps]
    if found.phase == FORWARD:
        yield from _describe_forward(traces[0], found, module)
    elif found.phase in COMPUTED:
        yield COMPUTED[found.phase]
    elif options := _different_options(pair):
        yield f"The gradients are equal; the optimizer's options differ: {options}."
    elif found.name.startswith(OPTIMIZER) or any(a.tensor.name == f"{found.name}.grad" for a, _ in pair.events):
        yield (
            "The gradients are equal as the backward pass left them: the difference is in what changes them afterwards "
            "(such as clipping), or in the update."
        )
    else:
        yield "It has no gradient: a buffer or parameter that a module or the loop changes."
    yield from _describe_layout(pair, found)


def _describe_forward(trace: TraceFile, found: Difference, module: str) -> Iterator[str]:
    shown = module or "the model"
    if found.name.startswith(f"{module or 'model'}.input"):
        if module:
            yield f"All outputs before are equal: the difference is in what is computed between modules before {shown}."
        else:
            yield "The images are equal: the difference is in what the loop does to them before the model."
    elif any(name.startswith(f"{module}." if module else "") and name != module for name, _ in trace.modules):
        yield f"The modules inside of {shown} gave equal outputs: the difference is in what its own forward computes."
    else:
        yield f"The input of {shown} is equal, and its parameters and buffers were when they were last recorded."


def _draws(kind: str) -> bool:
    return any(part in kind for part in DRAWING)


def _describe_randomness(until: Sequence[Pair], kind: str) -> Iterator[str]:
    """Yield a sentence if modules of class `kind` draw random numbers, as dropout does.

    The sentence also says whether the recorded states of the random generators differ in the steps `until`.
    For a class that may draw random numbers, yield a sentence only if these states differ.
    """
    if _draws(kind) and different_generators(until):
        yield f"It draws random numbers, and {describe_generators(until)}."
    elif _draws(kind):
        yield "It draws random numbers, but the recorded generators have equal states: it draws from another one."
    elif (
        kind and (not hasattr(torch.nn, kind) or any(part in kind for part in MAY_DRAW)) and different_generators(until)
    ):
        yield f"If it draws random numbers, they are others: {describe_generators(until)}."


def _describe_layout(pair: Pair, found: Difference) -> Iterator[str]:
    """Yield a sentence if the strides (memory format) of an earlier tensor differ between the traces."""
    for first, second in pair.events:
        if first is found.first:
            return
        sizes = first.tensor.shape
        # Strides of axes of one element mean nothing.
        strides = [
            [n for n, size in zip(each.tensor.strides, sizes, strict=True) if size > 1] for each in (first, second)
        ]
        if strides[0] != strides[1]:
            yield (
                f"The memory format differs from {first.tensor.name} on: strides {list(first.tensor.strides)} and "
                f"{list(second.tensor.strides)}."
            )
            return


def _describe_heads(environment: Environment) -> Iterator[str]:
    if environment:
        shown = "; ".join(f"{name} {_value(a)} and {_value(b)}" for name, (a, b) in environment.items())
        yield f"The heads differ in: {shown}."


def _value(value: object) -> str:
    return "absent" if value is None else str(value)


def _different_options(pair: Pair) -> str:
    """Return, as text, the optimizer options (such as the learning rate) that differ in this step."""
    groups = [json.loads(each.groups) for each in (pair.first, pair.second)]
    if len(groups[0]) != len(groups[1]):
        return f"{len(groups[0])} and {len(groups[1])} groups of parameters"
    shown = [
        f"{key} {_value(a.get(key))} and {_value(b.get(key))}"
        for a, b in zip(*groups, strict=True)
        for key in dict.fromkeys([*a, *b])
        if a.get(key) != b.get(key)
    ]
    return ", ".join(dict.fromkeys(shown))
