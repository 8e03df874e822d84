"""Rows of bad input: `diff`, which reads two traces of trainings."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.bad_input.row import each_of, refusals_of, rows_of
from tests.bad_input.sandbox import Sandbox
from tests.special_files import named_pipe

row = rows_of("traces of trainings")
refused = refusals_of("traces of trainings", "diff a.trace b.trace")
Lines = list[dict[str, Any]]
Make = Callable[[Sandbox], object]


def lines(*numbers: int, name: str = "fc.output", digest: str = "0" * 16) -> Lines:
    """Return a trace of a model of one layer, with an output in each step."""
    head = {"trace": 1, "modules": [["", "Net"], ["fc", "Linear"]], "optimizers": [], "environment": {"threads": 1}}
    steps = [
        {"step": number, "modes": "tt", "groups": [], "losses": {}, "events": [[0, digest, 1, 2]]} for number in numbers
    ]
    return [head, {"tensors": [["forward", name, [2, 2], "float32", [2, 1]]]}, *steps]


def write(path: str, content: Lines) -> Make:
    return lambda box: box.write(path, "".join(f"{json.dumps(each)}\n" for each in content))


def changed(place: int, **entries: Any) -> Make:
    """Write two traces; entries of a line of the first are replaced."""
    content = lines(0, 1)
    content[place] |= entries
    return each_of(write("a.trace", content), GOOD)


def event(*entry: Any) -> Make:
    return changed(2, events=[list(entry)])


def raw(content: str | bytes) -> Make:
    return each_of(lambda box: box.write("a.trace", content), GOOD)


def kept(content: bytes) -> Make:
    """Write two traces that differ in step 0, and a file of values beside the first."""
    parts = write("a.trace", lines(0)), write("b.trace", lines(0, digest="1" * 16))
    return each_of(*parts, lambda box: box.write("a.trace.step0.safetensors", content))


GOOD = write("b.trace", lines(0, 1))
VALUES = "diff a.trace b.trace --values"

ROWS = [
    refused("the trace is not there", "a.trace", make=GOOD),
    refused("it is a folder", "a.trace is a folder", make=each_of(lambda box: (box.work / "a.trace").mkdir(), GOOD)),
    refused("it is a named pipe", "a.trace is a named pipe",
        make=each_of(lambda box: named_pipe(box.work / "a.trace"), GOOD)),
    refused("it is empty", "a.trace is not a trace", "no header line", make=raw("")),
    refused("it is a text", "a.trace, line 1: Invalid JSON", make=raw("no trace\n")),
    refused("it is binary", "a.trace, line 1: Invalid JSON", make=raw(bytes(range(256)) * 4)),
    refused("its header was cut", "a.trace is not a trace", make=raw(json.dumps(lines()[0])[:-9])),
    refused("its only step was cut", "no step in common", "a.trace has no whole step",
        make=raw("\n".join(json.dumps(each) for each in lines(0))[:-9])),
    refused("it is other JSON", "line 1", "trace: Field required", make=raw('{"a": 1}\n')),
    refused("it is of another format", "line 1", "trace: Input should be 1 or 2, not 3", make=changed(0, trace=3)),
    refused("it has no environment", "line 1", "environment: Input should be an object",
        make=changed(0, environment=[])),
    refused("an entry of its environment is infinite", "line 1", "environment.threads",
        make=changed(0, environment={"threads": float("inf")})),
    refused("its optimizers are a number", "line 1", "optimizers: Input should be a valid array",
        make=changed(0, optimizers=1)),
    refused("a module has no class", "line 1", "modules.0: List should have at least 2 items",
        make=changed(0, modules=[["fc"]])),
    refused("a line is damaged", "a.trace, line 3: Invalid JSON",
        make=raw("\n".join(json.dumps(each) for each in lines(0, 1)).replace('{"step": 0', '{"step" 0') + "\n")),
    refused("a line is a list", "a.trace, line 2: it should be an object", make=raw(json.dumps(lines()[0]) + "\n[]\n")),
    refused("a shape is negative", "line 2", "-2", "tensors.0.2.0",
        make=changed(1, tensors=[["data", "x", [-2], "int8", [1]]])),
    refused("a phase is unknown", "line 2", "sideways", make=changed(1, tensors=[["sideways", "x", [], "int8", []]])),
    refused("a hash is too short", "line 3", "events.0.1", "not 123", make=event(0, "123", 1, 2)),
    refused("a norm is not a number", "line 3", "events.0.3", make=event(0, "0" * 16, 1, "two")),
    refused("a norm is too large", "line 3", "finite number", make=event(0, "0" * 16, 1, 10**400)),
    refused("an entry has no tensor", "line 3", "tensor 7", make=event(7, "0" * 16, 1, 2)),
    refused("a step has a number below the one before", "line 4: step 0 after 1",
        make=each_of(write("a.trace", lines(1, 0)), GOOD)),
    refused("a step has too few modes", "line 3", "modes is t", make=changed(2, modes="t")),
    refused("a loss is not a number", "line 3", "losses", make=changed(2, losses={"loss": "much"})),
    refused("no step is in both", "no step in common", "a.trace has steps 5 to 6", "b.trace has steps 0 to 1",
        make=each_of(write("a.trace", lines(5, 6)), GOOD)),
    refused("no tensor is in both", "no tensor in common",
        make=each_of(write("a.trace", [*lines(0, name="x")[:1], {"tensors": [["forward", "x", [3], "int8", [1]]]},
                                       *lines(0)[2:]]), GOOD)),
    row("no values were kept", VALUES, 2, "no values in a.trace.step0.safetensors", 'keep={"step": 0, "tensors": [',
        make=each_of(write("a.trace", lines(0)), write("b.trace", lines(0, digest="1" * 16)))),
    row("the values are not safetensors", VALUES, 2, "a.trace.step0.safetensors holds no values",
        make=kept(b"no archive")),
    row("the values are empty", VALUES, 2, "a.trace.step0.safetensors holds no values", make=kept(b"")),
    row("the drawing is not SVG", "diff a.trace b.trace --figure f.png", 2, "f.png", ".svg"),
    row("the drawing is a folder", "diff a.trace b.trace --figure f.svg", 2, "f.svg is a folder",
        make=each_of(write("a.trace", lines(0)), GOOD, lambda box: (box.work / "f.svg").mkdir())),
]  # fmt: skip
