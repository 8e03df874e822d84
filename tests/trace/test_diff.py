"""The command `diff`: what it prints, its exit codes, its JSON, its picture."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import Call
from tests.trace.recording import batches, record


@pytest.fixture
def traces(tmp_path: Path) -> tuple[str, str]:
    """Write the traces of two trainings with different learning rates; return the file names."""
    record(tmp_path / "a.trace")
    record(tmp_path / "b.trace", learning_rate=0.02)
    return "a.trace", "b.trace"


def test_a_difference_is_a_cause_a_place_and_what_to_try_in_at_most_sixty_words(
    call: Call, traces: tuple[str, str]
) -> None:
    code, printed, _ = call("diff", *traces)
    assert code == 1
    assert [line.split()[0] for line in printed.splitlines()] == ["CAUSE", "WHERE", "TRY"]
    assert printed.startswith("CAUSE  lr 0.01 and 0.02.\nWHERE  step 0, after the update: 0.weight (Conv2d).\n")
    assert len(printed.split()) <= 60


def test_why_adds_sizes_a_table_and_the_line_that_keeps_the_elements(call: Call, traces: tuple[str, str]) -> None:
    lines = [line for line in call("diff", *traces, "--why")[1].splitlines() if line]
    assert lines[:3] == call("diff", *traces)[1].splitlines()
    assert lines[3].startswith("Equal to the bit before it: of step 0, ")
    assert lines[4].startswith("Relative difference 1.1e-01, by its sketch (norms ")
    (start,) = [i for i, line in enumerate(lines) if line.strip().startswith("step ")]
    assert re.split(r" {2,}", lines[start].strip()) == [
        *("step", "tensors that differ", "relative: parameters", "loss", "loss, ulps"),
    ]
    cells = [re.split(r" {2,}", row.strip()) for row in lines[start + 1 : -1]]
    assert [each[0] for each in cells] == ["0", "1", "2", "3"]
    assert all(re.fullmatch(r"\d\.\de[+-]\d\d", each[3]) for each in cells)
    assert lines[-1] == (
        'Its elements: record both again by Trace(..., keep={"step": 0, "tensors": ["0.weight"]}), and add --values.'
    )


def test_equal_traces_end_with_0_and_why_says_what_is_not_in_both(call: Call, tmp_path: Path) -> None:
    record(tmp_path / "a.trace")
    record(tmp_path / "b.trace", steps=range(3))
    code, printed, _ = call("diff", "a.trace", "b.trace", "--values", "--why")
    equal, note = printed.splitlines()
    assert code == 0
    assert equal.startswith("Everything recorded is equal to the bit: ")
    assert note == "Not compared: 3 steps are in both traces; 1 more are in a.trace alone, 0 in b.trace alone."
    assert call("diff", "a.trace", "b.trace")[1].splitlines() == [equal]


def test_the_printed_line_records_what_values_then_compares(
    call: Call, traces: tuple[str, str], tmp_path: Path
) -> None:
    code, _, error = call("diff", *traces, "--values")
    assert (code, 'a.trace.step0.safetensors; record them with keep={"step": 0' in error) == (2, True)
    line = re.search(r"keep=(\{.*?\})\)", call("diff", *traces, "--why")[1])
    assert line
    keep = json.loads(line[1])
    record(tmp_path / "a.trace", keep=keep)
    record(tmp_path / "b.trace", keep=keep, learning_rate=0.02)
    code, printed, _ = call("diff", *traces, "--values")
    (found,) = (row for row in printed.splitlines() if row.startswith("0.weight: "))
    assert code == 1
    assert found.startswith("0.weight: 108 of 108 elements differ, by ")
    assert re.search(r" ulps \(median\) to [\d,]+ ulps\. .* axis 0: 4 of 4 \(0 to 3\)", found)
    document = json.loads(call("diff", *traces, "--values", "--json")[1])
    assert document["elements"]["0.weight"]["differing"] == 108


def test_values_of_another_tensor_are_missed_by_name(call: Call, traces: tuple[str, str], tmp_path: Path) -> None:
    for name, rate in zip(traces, (0.01, 0.02), strict=True):
        record(tmp_path / name, learning_rate=rate, keep={"step": 0, "tensors": ["5.weight"]})
    code, _, error = call("diff", *traces, "--values")
    assert (code, 'has no tensor 0.weight; record it with keep={"step": 0, "tensors": ["0.weight"]}' in error) == (
        2,
        True,
    )


def test_json_has_the_difference_and_every_step(call: Call, traces: tuple[str, str]) -> None:
    code, printed, _ = call("diff", *traces, "--json")
    document = json.loads(printed)
    assert code == 1
    assert (document["equal"], document["difference"]["name"], document["steps"]) == (False, "0.weight", 4)
    assert (document["causes"], document["certain"]) == (
        [{"code": "optimizer-option", "text": "lr 0.01 and 0.02"}],
        True,
    )
    assert document["where"] == {"step": 0, "phase": "update", "tensor": "0.weight", "images": []}
    assert [row["step"] for row in document["growth"]] == [0, 1, 2, 3]
    assert json.loads(call("diff", traces[0], traces[0], "--json")[1])["difference"] is None


def test_the_picture_has_a_point_for_each_step_and_line(call: Call, traces: tuple[str, str], tmp_path: Path) -> None:
    code, printed, _ = call("diff", *traces, "--figure", "growth.svg")
    assert (code, printed.splitlines()[-1]) == (1, "wrote growth.svg")
    drawing = ElementTree.fromstring((tmp_path / "growth.svg").read_text())  # noqa: S314  # written by this package
    shapes = [each.get("class") for each in drawing.iter() if (each.get("class") or "").startswith(("m", "l"))]
    assert (shapes.count("m0") - 2, shapes.count("m1") - 1) == (2 * 4, 4)
    texts = [each.text for each in drawing.iter() if each.tag.endswith("text")]
    assert {"relative difference", "share of tensors that differ", "loss", "parameters", "1e0"} <= {*texts}


def test_a_long_table_has_steps_at_growing_distances(call: Call, tmp_path: Path) -> None:
    read = batches(1) * 20
    record(tmp_path / "a.trace", read=read, modules=False)
    record(tmp_path / "b.trace", read=read, modules=False, learning_rate=0.02)
    rows = call("diff", "a.trace", "b.trace", "--why")[1].splitlines()
    assert [int(row.split()[0]) for row in rows if re.match(r" *\d+ ", row)] == [0, 1, 2, 4, 8, 16, 19]
