"""Sentences on what is in one of two traces alone, and so cannot be compared."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence

from in4310repro.trace.pairs import Pair, is_start
from in4310repro.trace.records import TraceFile

MOST = 8  # names in a sentence


def shorten(names: Sequence[str], most: int = 3) -> str:
    """Return the names joined by commas.

    If there are more than `most`, return the first `most` and the number of the others.
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def describe_gaps(first: TraceFile, second: TraceFile, pairs: Sequence[Pair]) -> Iterator[str]:
    """Yield sentences on steps, modules and tensors that only one trace has, so that they cannot be compared."""
    for trace in (first, second):
        if trace.cut:
            yield f"{trace.place} ends within a line, as its process was stopped: that step is not compared"
    common = {pair.number for pair in pairs}
    alone = [sum(step.number not in common for step in trace.steps) for trace in (first, second)]
    if any(alone):
        yield (
            f"{len(pairs)} steps are in both traces; {alone[0]} more are in {first.place} alone, "
            f"{alone[1]} in {second.place} alone"
        )
    for what in ("modules", "optimizers"):
        a, b = ([json.dumps(each) for each in trace.header.get(what, [])] for trace in (first, second))
        if a != b:
            names = [*(Counter(a) - Counter(b)), *(Counter(b) - Counter(a))]
            yield f"the {what} of the heads differ: {shorten(names, MOST) if names else 'they have another order'}"
    unhashed = {name: why for pair in pairs for each in pair.facts("not hashed", {}) for name, why in each.items()}
    if unhashed:
        yield f"not hashed: {shorten([f'{name} ({why})' for name, why in unhashed.items()])}"
    yield from _notes_on_names(first, second, pairs)


def _notes_on_names(first: TraceFile, second: TraceFile, pairs: Sequence[Pair]) -> Iterator[str]:
    renamed = {
        (a.tensor.name, b.tensor.name): None for pair in pairs for a, b in pair.events if a.tensor.name != b.tensor.name
    }
    if renamed:
        shown = shorten([f"{a} and {b}" for a, b in renamed], MOST)
        yield f"tensors have other names, and are compared by their place in the order of execution: {shown}"
    for trace, which in ((first, 0), (second, 1)):
        both = {each[which].tensor.name for pair in pairs for each in pair.events}
        tensors = [each.tensor for pair in pairs for each in (pair.first, pair.second)[which].events]
        names = dict.fromkeys(each.name for each in tensors if not is_start(each.phase, each.name))
        if alone := [name for name in names if name not in both]:
            yield f"only {trace.place} has {shorten(alone, MOST)}"
    for pair in pairs:
        places = {(b.tensor.phase, b.tensor.name): i for i, b in enumerate(pair.second.events)}
        order = [(places[b.tensor.phase, b.tensor.name], a.tensor.name) for a, b in pair.events]
        if moved := next((name for (i, _), (j, name) in itertools.pairwise(order) if j < i), None):
            yield f"in step {pair.number} tensors are computed in another order, from {moved} on"
            return
