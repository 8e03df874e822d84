"""A trace that is read is the one that was written; a damaged one is refused by the number of its line."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from in4310repro.trace import Event, Step, read_trace
from in4310repro.trace.records import Tensor, Writer

HEADER = {"modules": [["", "Net"], ["fc", "Linear"]], "environment": {"torch": "2.9"}}
MAPS = Tensor("forward", "fc.output", (2, 3), "float32", (3, 1))
LOSS = Tensor("loss", "loss", (), "float32", ())
SKETCH = "AACAPwAAAEAAAEBAAACAQAAAoEAAAMBAAADgQAAAAEE="  # 1 to 8, by struct.pack
STEPS = (
    Step(
        0,
        "te",
        '[{"lr": 0.1}]',
        None,
        (Event(MAPS, "0123456789abcdef", 2.5, 3.25, 1, SKETCH),),
        {},
        {"frozen": ["fc.bias"]},
    ),
    Step(
        3,
        "tt",
        "[]",
        ("a.jpg", "b.jpg"),
        (Event(MAPS, "f" * 16, 0.0, 0.0), Event(LOSS, "0" * 16, 1e300, 1.0)),
        {"loss": -0.1, "other": math.inf},
        {"frozen": ["fc.bias"]},
    ),
)


def written(folder: Path) -> Path:
    file = folder / "a.trace"
    writer = Writer(file, HEADER)
    for step in STEPS:
        writer.write(step)
    writer.close()
    return file


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    found = read_trace(written(tmp_path))
    assert found.steps == STEPS
    assert found.modules == HEADER["modules"]
    assert found.header["environment"] == HEADER["environment"]
    assert not found.cut


def test_the_largest_finite_number_is_a_valid_norm_and_magnitude(tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write_text(file.read_text().replace("2.5,3.25", f"{sys.float_info.max!r},{sys.float_info.max!r}"))
    assert read_trace(file).steps[0].events[0][2:4] == (sys.float_info.max, sys.float_info.max)


def test_each_line_is_json_that_names_a_tensor_once(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in written(tmp_path).read_text().splitlines()]
    assert [next(iter(line)) for line in lines] == ["trace", "tensors", "step", "tensors", "step"]
    assert [tensor[1] for line in lines for tensor in line.get("tensors", [])] == ["fc.output", "loss"]


@pytest.mark.parametrize("size", [1, 30, 200])
def test_a_file_that_ends_amid_a_line_has_the_whole_steps_before(size: int, tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write_bytes(file.read_bytes()[:-size])
    found = read_trace(file)
    assert found.cut
    assert found.steps == STEPS[:1]


def test_a_file_without_a_whole_line_is_no_trace(tmp_path: Path) -> None:
    for content in (b"", b'{"trace": 1'):
        (tmp_path / "a.trace").write_bytes(content)
        with pytest.raises(ValueError, match="is not a trace: it has no header line"):
            read_trace(tmp_path / "a.trace")


Damage = Callable[[list[Any]], Any]
DAMAGED: dict[str, tuple[Damage, str]] = {
    "another format": (lambda lines: lines[0].update(trace=3), "line 1: trace: Input should be 1 or 2, not 3"),
    "no modules": (lambda lines: lines[0].pop("modules"), "line 1: modules: Field required"),
    "modules without class": (
        lambda lines: lines[0].update(modules=[["a"]]),
        "line 1: modules.0: List should have at least 2 items",
    ),
    "no environment": (
        lambda lines: lines[0].update(environment=[]),
        "line 1: environment: Input should be an object, not",
    ),
    "no object": (lambda lines: lines.__setitem__(2, [1]), "line 3: it should be an object"),
    "unknown phase": (
        lambda lines: lines[1]["tensors"][0].__setitem__(0, "dream"),
        "line 2: tensors.0.0: Input should be 'data', .*, not dream",
    ),
    "negative size": (
        lambda lines: lines[1]["tensors"][0].__setitem__(2, [-1, 3]),
        "line 2: tensors.0.2.0: Input should be greater than or equal to 0, not -1",
    ),
    "strides missing": (
        lambda lines: lines[1]["tensors"][0].__setitem__(4, [1]),
        "line 2: a tensor has another number of strides than of axes",
    ),
    "name with escape": (
        lambda lines: lines[1]["tensors"][0].__setitem__(1, "\x1b[2J"),
        "line 2: tensors.0.1: .* printable characters are needed",
    ),
    "half a character": (lambda lines: lines[1]["tensors"][0].__setitem__(1, "\ud800"), "line 2: Invalid JSON"),
    "step as text": (lambda lines: lines[2].update(step="0"), "line 3: step: Input should be a valid integer, not 0"),
    "step as truth": (
        lambda lines: lines[2].update(step=True),
        "line 3: step: Input should be a valid integer, not True",
    ),
    "modes too short": (lambda lines: lines[2].update(modes="t"), "line 3: modes is t; t or e .* each of 2 modules"),
    "other modes": (lambda lines: lines[2].update(modes="tx"), "line 3: modes: String should match pattern .*, not tx"),
    "groups as text": (lambda lines: lines[2].update(groups="[]"), "line 3: groups: Input should be a valid array"),
    "paths as text": (
        lambda lines: lines[4].update(paths="a.jpg"),
        "line 5: paths: Input should be a valid array, not a.jpg",
    ),
    "loss as text": (
        lambda lines: lines[4].update(losses={"loss": "much"}),
        "line 5: losses.loss: .*hexadecimal .*, not much",
    ),
    "loss too large": (
        lambda lines: lines[4].update(losses={"loss": "0x1p9999"}),
        "line 5: hexadecimal value too large",
    ),
    "unknown tensor": (
        lambda lines: lines[2]["events"][0].__setitem__(0, 9),
        "line 3: events has the tensor 9, which no line before it describes",
    ),
    "tensor from the end": (
        lambda lines: lines[2]["events"][0].__setitem__(0, -1),
        "line 3: events.0.0: Input should be greater than or equal to 0, not -1",
    ),
    "tensor of a later line": (
        lambda lines: lines[2]["events"][0].__setitem__(0, 1),
        "line 3: events has the tensor 1, which no line before it describes",
    ),
    "short hash": (
        lambda lines: lines[2]["events"][0].__setitem__(1, "abc"),
        "line 3: events.0.1: String should match pattern .*, not abc",
    ),
    "capital hash": (
        lambda lines: lines[2]["events"][0].__setitem__(1, "A" * 16),
        "line 3: events.0.1: String should match pattern",
    ),
    "negative norm": (
        lambda lines: lines[2]["events"][0].__setitem__(3, -1.0),
        "line 3: events.0.3: Input should be greater than or equal to 0, not -1.0",
    ),
    "infinite magnitude": (
        lambda lines: lines[2]["events"][0].__setitem__(2, math.inf),
        "line 3: events.0.2: Input should be a finite number, not inf",
    ),
    "infinite norm": (
        lambda lines: lines[2]["events"][0].__setitem__(3, math.inf),
        "line 3: events.0.3: Input should be a finite number, not inf",
    ),
    "norm of NaN": (
        lambda lines: lines[2]["events"][0].__setitem__(3, math.nan),
        "line 3: events.0.3: Input should be a finite number, not nan",
    ),
    "a seventh value": (lambda lines: lines[2]["events"][0].append(0), "line 3: events.0: .* at most 6 items"),
    "negative count": (
        lambda lines: lines[2]["events"][0].__setitem__(4, -1),
        "line 3: events.0.4: Input should be greater than or equal to 0, not -1",
    ),
    "no events": (lambda lines: lines[2].pop("events"), "line 3: events: Field required"),
    "step again": (lambda lines: lines[4].update(step=0), "line 5: step 0 after 0; numbers must rise"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_line_is_refused_by_its_number(kind: str, tmp_path: Path) -> None:
    damage, message = DAMAGED[kind]
    file = written(tmp_path)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    damage(lines)
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(ValueError, match=f"a.trace, {message}"):
        read_trace(file)


@pytest.mark.parametrize(
    "line", [b"no JSON", b"[" * 100_000, b"\xff\xfe", b"9" * 5000], ids=["text", "deep", "bytes", "digits"]
)
def test_a_line_that_is_no_json_is_refused(line: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.trace").write_bytes(line + b"\n")
    with pytest.raises(ValueError, match=r"a\.trace, line 1: (Invalid JSON|it should be an object)"):
        read_trace(tmp_path / "a.trace")


def test_a_line_that_is_too_long_is_refused_before_it_is_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "a.trace").open("wb") as file:
        file.truncate(2**27)
    with pytest.raises(ValueError, match=r"a\.trace, line 1 has more than 67,108,864 bytes; it is not a line"):
        read_trace(tmp_path / "a.trace")


def test_random_damage_gives_a_trace_or_one_clear_error(tmp_path: Path) -> None:
    file = written(tmp_path)
    content, draw = file.read_bytes(), random.Random(0)
    messages = []
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(draw.randrange(1, 4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        file.write_bytes(damaged)
        try:
            read_trace(file)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 200
    assert all("a.trace" in message for message in messages)


def test_facts_are_written_where_they_change(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in written(tmp_path).read_text().splitlines()]
    assert [line.get("facts") for line in lines if "step" in line] == [{"frozen": ["fc.bias"]}, None]


def test_a_sketch_is_eight_numbers_and_absent_in_format_1(tmp_path: Path) -> None:
    file = written(tmp_path)
    (first, *_), (other, *_) = (step.events for step in read_trace(file).steps)
    found = first.projections()
    assert found is not None
    assert found.tolist() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert other.projections() is None
    old = file.read_text().replace('"trace":2', '"trace":1').replace(f',1,"{SKETCH}"]', ",1]")
    file.write_text(old)
    assert read_trace(file).steps[0].events[0][:5] == first[:5]
    assert read_trace(file).steps[0].events[0].projections() is None


def test_modules_that_come_later_are_added_to_those_of_the_header(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a.trace", HEADER)
    writer.write(STEPS[0])
    writer.add_modules([["late", "Linear"]])
    writer.write(Step(1, "tet", "[]", None, (), {}))
    writer.close()
    found = read_trace(tmp_path / "a.trace")
    assert found.modules[-1] == ["late", "Linear"]
    assert [len(step.modes) for step in found.steps] == [2, 3]
