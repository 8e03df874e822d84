"""Sentences on the modes of a trace's modules."""

from __future__ import annotations

import pytest

from in4310repro.trace.modes import describe_module, mode_findings
from in4310repro.trace.records import Step, TraceFile

MODULES = [["", "Net"], ["1", "BatchNorm2d"], ["2", "ReLU"], ["3", "Linear"]]


def make_trace(*modes: str) -> TraceFile:
    steps = (Step(number, each, "[]", None, ()) for number, each in enumerate(modes))
    return TraceFile("a.trace", {"modules": MODULES}, tuple(steps))


def test_a_tensor_is_described_by_the_class_of_its_module_and_the_mode_in_the_first_step() -> None:
    trace = make_trace("ttte", "teet")
    assert describe_module(trace, "1.output") == " (BatchNorm2d in training mode)"
    assert describe_module(trace, "3.input[0]") == " (Linear in evaluation mode)"


@pytest.mark.parametrize(
    ("modes", "found"),
    [
        (("tttt", "tttt"), []),
        (("tttt", "tttt", "tett"), ["1 changed to evaluation mode between step 0 and step 2"]),
        (("eeee", "ttte"), ["model, 1, 2 changed to training mode between step 0 and step 1"]),
        (("eeee", "tttt"), ["model, 1, 2 and others changed to training mode between step 0 and step 1"]),
    ],
)
def test_modules_whose_mode_changes_between_steps_are_named(modes: tuple[str, ...], found: list[str]) -> None:
    assert list(mode_findings(make_trace(*modes))) == found
