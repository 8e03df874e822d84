"""Modes of modules in a trace: batch norm that trains where nothing else does, and modes that change between steps."""

from collections.abc import Iterator

from in4310repro.trace.records import TraceFile

NAMES = 3  # of modules in a sentence


def describe_module(trace: TraceFile, tensor: str) -> str:
    """Return class and mode of the module that has `tensor` as input or output; empty if there is none."""
    module = tensor.partition(".input")[0].partition(".output")[0]
    names = [name or "model" for name, _ in trace.modules]
    if module == tensor or module not in names:
        return ""
    number = names.index(module)
    mode = "training" if trace.steps[0].modes[number] == "t" else "evaluation"
    return f" ({trace.modules[number][1]} in {mode} mode)"


def mode_findings(trace: TraceFile) -> Iterator[str]:
    """Yield sentences on module modes that look wrong, such as frozen batch norm in training mode."""
    first = trace.steps[0]
    named = {each.tensor.name for each in first.events}
    for (name, kind), mode in zip(trace.modules, first.modes, strict=True):
        frozen = f"{name}.weight" in named and f"{name}.weight.grad" not in named
        if "BatchNorm" in kind and mode == "t" and frozen:
            yield (
                f"{name} ({kind}) is in training mode, and its parameters get no gradient: images of a batch depend on "
                "each other, and the statistics of a frozen network move"
            )
    for step in trace.steps[1:]:
        modes = zip(trace.modules, first.modes, step.modes, strict=True)
        moved = [(name or "model", now) for (name, _), before, now in modes if before != now]
        if moved:
            names = ", ".join(name for name, _ in moved[:NAMES]) + (" and others" if len(moved) > NAMES else "")
            mode = "training" if moved[0][1] == "t" else "evaluation"
            yield f"{names} changed to {mode} mode between step {first.number} and step {step.number}"
            break
