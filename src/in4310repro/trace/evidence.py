"""What two traces say beside their tensors: facts and generators that differ, and sizes of differences."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from in4310repro.trace.facts import different_lines
from in4310repro.trace.pairs import (
    OPTIMIZER,
    START,
    Difference,
    Pair,
    distance,
    is_generator,
    is_start,
    relative_difference,
    states,
)
from in4310repro.trace.records import DATA, FORWARD, UPDATE, Event, TraceFile

Environment = Mapping[str, tuple[Any, Any]]
# Relative difference below which other rounding is enough to explain it; of norms alone, by their nine digits.
ROUNDING = {"float64": 1e-8, "float32": 1e-4, "float16": 0.02, "bfloat16": 0.05}
PRECISION = 0.02  # where products are rounded to fewer bits in one of the trainings
# Entries of a head that decide how files become pixels.
PIXELS = ("pillow", "jpeg", "torchvision", "opencv-python", "albumentations", "kornia")
# Entries of a head that change no sum.
INERT = {"python", "system", "GPU", "CUDA of the driver", "numpy", "PYTHONHASHSEED", *PIXELS}
LARGEST_SEED = 2**32  # that people choose
LONGEST = 60  # characters of two texts that are printed as they are


@dataclass(frozen=True)
class Cause:
    """A cause of a difference: a stable code, and a phrase with the values."""

    code: str
    text: str


@dataclass(frozen=True)
class Findings:
    """Causes of a difference, likeliest first; `certain` if the first of them is a fact that makes this difference."""

    causes: tuple[Cause, ...]
    certain: bool = False


def fact(code: str, text: str) -> Findings:
    """Return a cause that is certain."""
    return Findings((Cause(code, text),), certain=True)


@dataclass(frozen=True)
class Context:
    """Two traces with their common steps and the first difference."""

    traces: tuple[TraceFile, TraceFile]
    pairs: Sequence[Pair]
    found: Difference
    environment: Environment

    @property
    def pair(self) -> Pair:
        """The step of the difference."""
        return self.pairs[self.found.equal_steps]

    @property
    def until(self) -> Sequence[Pair]:
        """The steps up to that of the difference."""
        return self.pairs[: self.found.equal_steps + 1]

    @property
    def shapes(self) -> str:
        """The two shapes of the first tensor that differs; empty if they are equal."""
        a, b = ([*each.tensor.shape] if each else None for each in (self.found.first, self.found.second))
        return "" if a == b else pair_of((a, b))

    @property
    def size(self) -> float:
        """Relative difference of the first tensor that differs; infinite without two of one shape."""
        a, b = self.found.first, self.found.second
        return relative_difference(a, b) if a and b and a.tensor.shape == b.tensor.shape else float("inf")

    @property
    def is_rounding(self) -> bool:
        """True if other rounding is enough to explain the size of the difference."""
        a, b = self.found.first, self.found.second
        if not a or not b or a.tensor.dtype != b.tensor.dtype or a.not_finite != b.not_finite:
            return False
        limit = ROUNDING.get(a.tensor.dtype, 0.0)
        if limit and any("precision" in name or "TF32" in name or "FPMATH" in name for name in self.environment):
            limit = max(limit, PRECISION)
        if self.size >= limit or min(a.norm, b.norm) == 0:
            return False
        # A parameter is much larger than its update.
        moved = self.moved(a)
        return moved is None or distance(a, b) < 1e-3 * moved or self.size < 1e-9

    def moved(self, event: Event) -> float | None:
        """Return by how much an update changed a tensor of the first trace; None where that is not known."""
        if event.tensor.phase != UPDATE or not event.sketch:
            return None
        state = next((state for step, state in states(self.traces[0]) if step.number == self.pair.first.number), {})
        before = state.get(event.tensor.name)
        return None if before is None else distance(before, event)

    def module_of(self, name: str) -> tuple[str, str]:
        """Return name and class of the module that owns a tensor; two empty texts if there is none."""
        plain = re.sub(
            rf"^{OPTIMIZER}\d*\.", "", name.removeprefix(START) if is_start(self.found.phase, name) else name
        )
        owners = [(each, kind) for each, kind in self.traces[0].modules if plain.startswith(f"{each or 'model'}.")]
        return max(owners, key=lambda each: len(each[0]), default=("", ""))

    def has(self, name: str, phases: Sequence[str]) -> bool:
        """Return whether one of the traces has a tensor of this name in one of the phases, in any common step."""
        return any(
            each.tensor.name == name and each.tensor.phase in phases
            for pair in self.pairs
            for step in (pair.first, pair.second)
            for each in step.events
        )


def pair_of(values: tuple[Any, Any]) -> str:
    """Return two values as a phrase."""
    return " and ".join("absent" if each is None else str(each) for each in values)


def different_generators(pairs: Sequence[Pair]) -> dict[str, int]:
    """Return the random generators whose states differ in the last step, by name, with the first such step.

    A generator that never moves in either trace decides nothing, and is left out.
    """
    seen: dict[str, list[tuple[int, Event, Event]]] = {}
    for pair in pairs:
        for a, b in pair.events:
            if a.tensor.phase == DATA and is_generator(a.tensor.name):
                seen.setdefault(a.tensor.name.removeprefix("generator."), []).append((pair.number, a, b))
    found = {}
    for name, rows in seen.items():
        moves = len({a.hash for _, a, _ in rows}) > 1 or len({b.hash for _, _, b in rows}) > 1
        if rows[-1][1].hash != rows[-1][2].hash and (moves or (len(rows) == 1 and name == "torch")):
            equal = [i for i, (_, a, b) in enumerate(rows) if a.hash == b.hash]
            found[name] = rows[equal[-1] + 1 if equal else 0][0]
    return found


def drawn_before(context: Context) -> str:
    """Return where torch's generator first differs within the step, up to the difference; empty if it does not.

    The text is a module's name, or `start` where the states differ before the step.
    """
    sides = []
    for step, until in ((context.pair.first, context.found.first), (context.pair.second, context.found.second)):
        states = {"start": ""}
        for each in step.events:
            if each is until:
                break
            if each.tensor.name == "generator.torch":
                states["start"] = each.hash
            elif is_generator(each.tensor.name) and each.tensor.phase == FORWARD:
                states[each.tensor.name.replace(".generator", "")] = each.hash
        sides.append(states)
    if sides[0] == sides[1]:
        return ""
    return next(name for name in [*sides[0], *sides[1]] if sides[0].get(name) != sides[1].get(name))


def describe_generators(pairs: Sequence[Pair]) -> str:
    """Return a clause on generators whose states differ; empty if there is none."""
    shown = ", ".join(f"{name} from step {step} on" for name, step in different_generators(pairs).items())
    return f"generator: {shown}" if shown else ""


def seeds(pair: Pair) -> str:
    """Return a clause on torch's seeds if they differ; otherwise an empty text."""
    values = pair.facts("seed")
    if None in values or values[0] == values[1]:
        return ""
    if min(values) > LARGEST_SEED:
        return "torch has no seed: each process drew its own"
    return f"torch's seeds are {pair_of(values)}"


def different_options(pair: Pair) -> dict[str, tuple[str, str]]:
    """Return the modules whose class, options or plain attributes differ, with both texts."""
    a, b = pair.facts("options", {})
    return {name or "model": (a[name], b[name]) for name in a if name in b and a[name] != b[name]}


def changed_words(first: str, second: str) -> str:
    """Return what differs in two texts such as `Dropout(p=0.25, inplace=False)`, with the rest left out."""
    a, b = (_parts(each) for each in (first, second))
    if a[0] != b[0]:
        return f"{a[0]} and {b[0]}" if len(first) + len(second) > LONGEST else f"{first} and {second}"
    names = dict.fromkeys([*a, *b])
    shown = [each for each in names if each not in a or each not in b]
    alone = [[each for each in shown if each in side] for side in (a, b)]
    return f"{', '.join(alone[0][:3]) or 'nothing'} and {', '.join(alone[1][:3]) or 'nothing'}"


def _parts(text: str) -> list[str]:
    """Return class and options of a text such as `Dropout(p=0.25, inplace=False)`."""
    kind, _, rest = text.partition("(")
    # Transforms of torchvision stand on lines of their own, and options between commas.
    parts = re.split(r",\s*(?![^(]*\))|(?<=\))\s+(?=\w)", rest.strip().removesuffix(")"))
    return [kind, *(each.strip() for each in parts if each.strip())]


def optimizer_options(pair: Pair) -> dict[str, tuple[Any, Any]]:
    """Return the options of the optimizers' groups that differ in a step, such as `lr`, with both values."""
    groups = [json.loads(each.groups) for each in (pair.first, pair.second)]
    if len(groups[0]) != len(groups[1]):
        return {"groups": (len(groups[0]), len(groups[1]))}
    return {
        key: (a.get(key), b.get(key))
        for a, b in zip(*groups, strict=True)
        for key in dict.fromkeys([*a, *b])
        if a.get(key) != b.get(key)
    }


def of_the_programs(traces: tuple[TraceFile, TraceFile]) -> Iterator[Cause]:
    """Yield what differs in the commands and programs of two trainings; facts, not causes by themselves."""
    words = [list(trace.header.get("arguments", []))[1:] for trace in traces]
    if words[0] != words[1] and all("arguments" in trace.header for trace in traces):
        yield Cause("arguments", f"arguments {_different_words(*words)}")
    files = [trace.header.get("sources", {}) for trace in traces]
    if files[0] and files[1] and (lines := list(different_lines(*files))):
        more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
        yield Cause("source", f"code {', '.join(lines[:3])}{more}")


def _different_words(first: Sequence[str], second: Sequence[str]) -> str:
    """Return the words of two commands that differ, each with the option before it."""
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    shown = []
    for kind, start, end, from_, to in matcher.get_opcodes():
        if kind != "equal":
            before = f"{first[start - 1]} " if start and first[start - 1].startswith("-") else ""
            parts = (" ".join(first[start:end]) or None, " ".join(second[from_:to]) or None)
            shown.append(f"{before if None not in parts else ''}{pair_of(parts)}")
    return "; ".join(shown[:3])


def numeric_environment(environment: Environment) -> dict[str, tuple[Any, Any]]:
    """Return the entries of the heads that differ and can change how numbers are rounded."""
    return {name: values for name, values in environment.items() if name not in INERT and not name.isupper()} or {
        name: values for name, values in environment.items() if name not in INERT
    }


def rounding_causes(context: Context) -> Iterator[Cause]:
    """Yield what gives other rounding: differing entries of the heads, memory formats, or no fixed order."""
    entries = numeric_environment(context.environment)
    if entries:
        text = "; ".join(f"{name} {pair_of(values)}" for name, values in [*entries.items()][:3])
        yield Cause("threads" if "threads" in entries else "environment", f"other rounding by {text}")
    if strides := _other_strides(context):
        yield Cause("memory-format", f"other memory format, from {strides} on")
    yield Cause("rounding", "an operation without a fixed order (threads, atomic sums), or uninitialised memory")


def _other_strides(context: Context) -> str:
    """Return the name of the first tensor with other strides, up to the first that differs; empty if there is none."""
    for first, second in context.pair.events:
        sizes = first.tensor.shape
        # Strides of axes of one element mean nothing.
        strides = [
            [n for n, size in zip(each.tensor.strides, sizes, strict=False) if size > 1] for each in (first, second)
        ]
        if first.tensor.shape == second.tensor.shape and strides[0] != strides[1]:
            return first.tensor.name
        if first is context.found.first:
            break
    return ""
