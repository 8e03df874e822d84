"""The answer on two trainings that differ: cause, place and what to try next, in at most sixty words."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from in4310repro.trace.evidence import (
    Cause,
    Context,
    describe_generators,
    numeric_environment,
    of_the_programs,
    pair_of,
)
from in4310repro.trace.gaps import shorten
from in4310repro.trace.inputs import differing_images
from in4310repro.trace.pairs import MODE, different_modes, is_evidence, is_start, layout
from in4310repro.trace.reasons import find_causes
from in4310repro.trace.records import BACKWARD, DATA, FORWARD, GRADIENT, LOSS, UPDATE, Event

MOST, LONGEST = 3, 60  # causes that are listed, words of the answer
FACTS = ("arguments", "source")
PHASES = {
    DATA: "its batch",
    MODE: "before the forward pass",
    FORWARD: "forward pass",
    LOSS: "loss",
    BACKWARD: "backward pass",
    GRADIENT: "gradients as the optimizer uses them",
    UPDATE: "after the update",
}
EQUAL = {
    DATA: "tensors that it starts from and reads",
    FORWARD: "of the forward pass",
    LOSS: "of the loss",
    BACKWARD: "of the backward pass",
    GRADIENT: "gradients that are used",
    UPDATE: "of the update",
}
RANDOM = {"seed", "order", "augmentation", "randomness"}
NUMERIC = {"threads", "environment", "rounding", "memory-format"}


@dataclass(frozen=True)
class Verdict:
    """Causes of a first difference, its place, and what to try."""

    causes: tuple[Cause, ...]
    certain: bool
    where: dict[str, Any]
    place: str  # `where` as text
    attempt: str
    why: tuple[str, ...]  # sentences

    def text(self) -> str:
        """Return the three blocks CAUSE, WHERE and TRY; long phrases are cut so that they have at most 60 words."""
        texts = (self._text(length) for length in (30, 20, 14, 10, 7, 5))
        return next((each for each in texts if len(each.split()) <= LONGEST), self._text(4))

    def _text(self, length: int) -> str:
        facts = [_cut(each.text, length) for each in self.causes if each.code in FACTS]
        shown = [_cut(each.text, length) for each in self.causes if each.code not in FACTS]
        cause = shown[0] if self.certain else f"one of: {'; '.join(shown)}"
        more = f" Differs: {'; '.join(facts)}." if facts else ""
        return f"CAUSE  {cause}.{more}\nWHERE  {_cut(self.place, 2 * length)}.\nTRY    {self.attempt}"

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        causes = [{"code": each.code, "text": each.text} for each in self.causes]
        return {"certain": self.certain, "causes": causes, "where": self.where, "try": self.attempt, "why": [*self.why]}


def _cut(text: str, length: int) -> str:
    words = text.split()
    return text if len(words) <= length else f"{' '.join(words[:length])} ..."


def judge(context: Context, alignment: str = "") -> Verdict:
    """Return the verdict on the first difference of two traces."""
    findings = find_causes(context)
    certain = findings.certain or len(findings.causes) == 1
    shown = findings.causes[: 1 if certain else MOST]
    causes = (*dict.fromkeys(shown), *of_the_programs(context.traces))
    found = context.found
    images = differing_images(context.pair) if found.phase == DATA and found.name.startswith("images") else []
    phase = "start" if is_start(found.phase, found.name) else found.phase
    where = {"step": found.step, "phase": phase, "tensor": found.name, "images": images}
    place = _describe_place(context, images)
    why = (*([f"{alignment}: compared from there."] if alignment else []), *_explain(context, findings.causes))
    return Verdict(
        causes, certain, where, f"{place}{f'; {alignment}' if alignment else ''}", _attempt(context, causes), why
    )


def _describe_place(context: Context, images: list[dict[str, Any]]) -> str:
    found = context.found
    _, kind = context.module_of(found.name)
    start = is_start(found.phase, found.name)
    phase = "at its start" if start else PHASES[found.phase]
    text = f"step {found.step}, {phase}: {found.name.removeprefix('start.') if start else found.name}"
    text += f" ({kind})" if kind and found.phase != DATA else ""
    if images:
        shown = [_describe_image(**each) for each in images]
        all_of = sum(1 for a, _ in context.pair.events if a.tensor.name.startswith("images["))
        text += f", images {shorten(shown, 2)}" if len(images) < all_of else f", all {all_of} images"
    return text


def _describe_image(place: int, index: int | None, file: str | None) -> str:
    return f"{place}" if index is None else f"{place} (index {index}{f', {file}' if file else ''})"


def _attempt(context: Context, causes: tuple[Cause, ...]) -> str:
    code = causes[0].code if causes else ""
    if code == "not-recorded":
        return "record every step from the first on."
    if code in RANDOM and not any(word in causes[0].text for word in ("sampler", "workers")):
        return "seed random, numpy and torch, and each generator, first in both; record again."
    if code in NUMERIC and numeric_environment(context.environment):
        name, values = next(iter(numeric_environment(context.environment).items()))
        return f"run both with the same {name} ({pair_of(values)}); record again."
    if code in NUMERIC:
        return "in4310repro explain -- COMMAND tries threads, memory and algorithms in turn."
    found = context.found
    is_kept = found.first and found.second and not context.shapes and not is_start(found.phase, found.name)
    if is_kept:
        return f"give both the same; or record both with --keep {found.step}:{found.name} and diff --values."
    return "give both the same, and record again."


def _explain(context: Context, causes: tuple[Cause, ...]) -> Iterator[str]:
    """Yield sentences on what was equal, how large the difference is, all causes and what else differs."""
    found = context.found
    yield _describe_equal(context)
    if found.phase == MODE:
        yield f"In training mode in one of them alone: {shorten(different_modes(context.traces, context.pair), 8)}."
    if found.first and found.second:
        yield _describe_distance(context, found.first, found.second)
    if causes:
        yield f"Possible causes: {'; '.join(each.text for each in causes)}."
    if found.phase == DATA and (drawn := describe_generators(context.until)):
        yield f"States of generators differ: {drawn.removeprefix('generator: ')}."
    if context.environment:
        shown = "; ".join(f"{name} {pair_of(values)}" for name, values in context.environment.items())
        yield f"The heads differ in: {shown}."


def _describe_equal(context: Context) -> str:
    """Return a sentence on the steps and tensors that are equal before the first difference."""
    found, pairs = context.found, context.pairs
    before = [first for first, _ in context.pair.events if not is_evidence(first)][: found.equal_tensors]
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


def _describe_distance(context: Context, first: Event, second: Event) -> str:
    """Return a sentence on how much two tensors differ in shape or values."""
    if layout(first) != layout(second):
        shapes = " and ".join(f"{list(each.tensor.shape)} of {each.tensor.dtype}" for each in (first, second))
        return f"It has the shape {shapes}."
    if first.not_finite or second.not_finite:
        return f"Of its values {first.not_finite} and {second.not_finite} are not finite."
    if max(first.norm, second.norm) == 0:
        return "All its values are zeros, of different signs."
    norms = f"norms {first.norm:.9g} and {second.norm:.9g}"
    how = "by its sketch" if first.sketch and second.sketch else "by norms alone, which can hide more"
    size = " as other rounding gives" if context.is_rounding else ""
    return f"Relative difference {context.size:.1e}, {how} ({norms}){',' * bool(size)}{size}."
