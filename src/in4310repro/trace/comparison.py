"""Comparison of two traces: the first difference, its causes, and how it grows over the steps."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from in4310repro.trace.evidence import Context, pair_of
from in4310repro.trace.gaps import describe_gaps
from in4310repro.trace.pairs import (
    OPTIMIZER,
    Difference,
    Pair,
    differ,
    find_difference,
    is_evidence,
    is_start,
    layout,
    match_steps,
    relative_difference,
)
from in4310repro.trace.records import LOSS, UPDATE, TraceFile, read_trace
from in4310repro.trace.values import ElementDifference, compare_values, ordered, read_values, values_file
from in4310repro.trace.verdict import Verdict, judge


@dataclass(frozen=True)
class Growth:
    """Difference between two trainings after one step: differing tensors, losses and parameters."""

    step: int
    tensors: int  # recorded by both
    differing: int
    loss: tuple[float, float] | None  # the first that both recorded
    loss_ulps: int | None  # None: no loss, or one that is not finite
    relative: float  # largest relative difference of the norm, or largest magnitude, of a parameter or buffer

    @property
    def relative_loss(self) -> float | None:
        """Relative difference of the two losses; None if no loss was recorded or one is not finite."""
        if not self.loss or not all(map(math.isfinite, self.loss)):
            return None
        return abs(self.loss[0] - self.loss[1]) / (max(map(abs, self.loss)) or 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object; a loss that is not finite is None."""
        losses = [each if math.isfinite(each) else None for each in self.loss or ()]
        return asdict(self) | {"loss": losses or None, "relative_loss": self.relative_loss}


@dataclass(frozen=True)
class Comparison:
    """Result of comparing two traces."""

    places: tuple[str, str]
    steps: int  # that are in both traces
    difference: Difference | None
    verdict: Verdict | None  # on the difference
    tensors: int  # that are in both traces, of all steps
    notes: tuple[str, ...]  # on what could not be compared
    environment: dict[str, tuple[Any, Any]]  # entries of the heads that differ; None: absent
    growth: tuple[Growth, ...]  # one for each common step

    @property
    def equal(self) -> bool:
        """True if everything that both traces recorded is equal to the bit."""
        return self.difference is None

    def paragraph(self) -> str:
        """Return one paragraph of text on the first difference and its causes, or on what is equal."""
        heads = "; ".join(f"{name} {pair_of(values)}" for name, values in self.environment.items())
        if not self.verdict:
            more = f" The heads differ in: {heads}." if heads else ""
            return f"Everything recorded is equal to the bit: {self.tensors:,} tensors in {self.steps:,} steps.{more}"
        return " ".join((f"First difference: {self.verdict.place}.", *self.verdict.why))

    def text(self) -> str:
        """Return the answer: CAUSE, WHERE and TRY, or a sentence that everything is equal."""
        return self.verdict.text() if self.verdict else self.paragraph()

    def keep(self) -> list[dict[str, Any]]:
        """Return the argument `keep` for `Trace`, with which a repeated run records the first differing tensor.

        The list has one entry, or two if the traces name this tensor differently. It is empty if the traces are
        equal. It is also empty if they first differ in a module's mode, in a shape or dtype, or in the state before a
        step later than step 0.
        """
        found = self.difference
        if not found or not found.first or not found.second or layout(found.first) != layout(found.second):
            return []
        if is_start(found.phase, found.name) and found.step:
            return []
        names = dict.fromkeys((found.first.tensor.name, found.second.tensor.name))
        return [{"step": found.step, "tensors": [name]} for name in names]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {
            "first": self.places[0],
            "second": self.places[1],
            "equal": self.equal,
            "steps": self.steps,
            "difference": self.difference and self.difference.to_json(),
            **(self.verdict.to_json() if self.verdict else {"certain": True, "causes": [], "where": None, "why": []}),
            "text": self.text(),
            "notes": list(self.notes),
            "environment": {name: list(values) for name, values in self.environment.items()},
            "keep": self.keep(),
            "growth": [each.to_json() for each in self.growth],
        }


def compare(first: TraceFile, second: TraceFile) -> Comparison:
    """Compare the steps that two traces have in common, tensor by tensor in the order of the trace `first`.

    Generator states, indices and file names do not count as differences; they serve to explain differences.

    Raises:
        ValueError: the traces have no step or no tensor in common.
    """
    pairs, alignment = match_steps(first, second)
    compared = sum(not is_evidence(each) for pair in pairs for each, _ in pair.events)
    if not compared:
        raise ValueError(f"{first.place} and {second.place} have no tensor in common; they are of other models")
    entries = (first.header["environment"], second.header["environment"])
    names = dict.fromkeys([*entries[0], *entries[1]])
    environment = {name: (a, b) for name in names if (a := entries[0].get(name)) != (b := entries[1].get(name))}
    found = next((each for i, pair in enumerate(pairs) if (each := find_difference((first, second), pair, i))), None)
    verdict = judge(Context((first, second), pairs, found, environment), alignment) if found else None
    return Comparison(
        places=(first.place, second.place),
        steps=len(pairs),
        difference=found,
        verdict=verdict,
        tensors=compared,
        notes=tuple(describe_gaps(first, second, pairs)),
        environment=environment,
        growth=tuple(map(_growth, pairs)),
    )


def compare_ranks(first: Sequence[Path], second: Sequence[Path]) -> Comparison:
    """Compare the traces of the processes of two trainings, rank by rank; return the one with the earliest difference.

    Raises:
        ValueError: a file is not a trace, or two have nothing in common.
        OSError: a file cannot be read.
    """
    found = [compare(*map(read_trace, pair)) for pair in zip(first, second, strict=False)]
    last = found[0].steps + max(each.growth[-1].step for each in found)
    return min(
        found,
        key=lambda each: (each.difference.step, each.difference.equal_tensors) if each.difference else (last + 1, 0),
    )


def compare_elements(comparison: Comparison) -> dict[str, ElementDifference | None]:
    """Return how the kept values of each tensor differ in the first differing step, by tensor name.

    A tensor with equal bits has the value None. The dict is empty if the traces are equal, or if
    `Comparison.keep` names no tensor.

    Raises:
        ValueError: a trace has no kept values of that step or of the differing tensor, or a file is damaged.
    """
    found = comparison.difference
    if not found or not found.first or not found.second or not comparison.keep():
        return {}
    names = found.first.tensor.name, found.second.tensor.name
    kept = [read_values(Path(place), found.step) for place in comparison.places]
    for place, name, values in zip(comparison.places, names, kept, strict=True):
        if name not in values:
            keep = json.dumps({"step": found.step, "tensors": [name]})
            raise ValueError(f"{values_file(Path(place), found.step)} has no tensor {name}; record it with keep={keep}")
    pairs = {names[0]: names[1]} | {name: name for name in kept[0] if name in kept[1] and name not in names}
    return {a: compare_values(kept[0][a], kept[1][b]) for a, b in pairs.items()}


def _growth(pair: Pair) -> Growth:
    compared = [each for each in pair.events if not is_evidence(each[0])]
    names = [name for name in pair.first.losses if name in pair.second.losses]
    loss = (pair.first.losses[names[0]], pair.second.losses[names[0]]) if names else None
    dtypes = {each.tensor.dtype for each, _ in compared if each.tensor.phase == LOSS and each.tensor.name in names[:1]}
    state = [each for each in compared if each[0].tensor.phase == UPDATE]
    model = [each for each in state if not each[0].tensor.name.startswith((f"{OPTIMIZER}.", f"{OPTIMIZER}2."))]
    return Growth(
        step=pair.number,
        tensors=len(compared),
        differing=sum(differ(*each) for each in compared),
        loss=loss,
        loss_ulps=_ulps(loss, dtypes) if loss else None,
        relative=max((relative_difference(*each) for each in model), default=0.0),
    )


def _ulps(loss: tuple[float, float], dtypes: set[str]) -> int | None:
    """Return the distance of two losses in ulps; None if one of the losses is not finite.

    The ulps are those of bfloat16 or float16 if both losses have that dtype, otherwise those of float32.
    """
    if not all(map(math.isfinite, loss)):
        return None
    # A loop may record `loss.item()`, whose dtype is float64.
    kind = torch.bfloat16 if dtypes == {"bfloat16"} else torch.float16 if dtypes == {"float16"} else torch.float32
    a, b = ordered(torch.tensor(loss, dtype=kind)).tolist()
    return abs(int(a) - int(b))
