"""What `explain` accuses, holds and says of trainings whose bits follow from a rule, and that nothing runs."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from in4310repro.trace.causes import assert_same_training, explain
from in4310repro.trace.changes import FIXES
from in4310repro.trace.explanation import Explanation, Finding
from in4310repro.trace.processes import Run
from in4310repro.trace.records import Event, Step, Tensor, TraceFile

FRESH = itertools.count(1)
IMAGES = Tensor("data", "images", (1,), "float32", (1,))
MOVED, SAME, HELD = "moves first images, step 0, data", "moves nothing", "not tried: held fixed: stopped clock"
Rule = Callable[[Any], object]


def simulated(rule: Rule, vectors: str = "AVX2") -> Any:
    """Return processes whose runs have the bits that a rule gives for place, options, variables, threads and number."""
    numbers: Counter[object] = Counter()

    def run(place: str, options: tuple[str, ...], variables: dict[str, str], threads: int) -> Run:
        numbers[place, options] += 1
        number = numbers[place, options]
        asked = SimpleNamespace(place=place, options={*options}, variables=variables, threads=threads, number=number)
        head = {"modules": [], "environment": {"vectors": vectors, "threads": threads or 4}}
        step = Step(0, "", "[]", None, (Event(IMAGES, repr(rule(asked)), 1.0, 1.0),))
        return Run(TraceFile(f"{place} {number}", head, (step,)), ())

    return SimpleNamespace(open=lambda place, *_: SimpleNamespace(run=lambda _, *asked: run(place, *asked)))


def explained(rule: Rule, *only: str, vectors: str = "AVX2") -> Explanation:
    return explain(["-m", "train"], steps=1, only=only, processes=simulated(rule, vectors))


def clock(run: Any) -> int:
    return 0 if "stopped clock" in run.options else next(FRESH)


def either_seed(run: Any) -> int:
    """Repeat with one of two seeds, and with fixed entropy alone once in each process."""
    seeded = {"seeded Python", "seeded torch"} & run.options
    return 0 if seeded or (run.options == {"fixed entropy"} and run.number == 1) else next(FRESH)


RULES: dict[str, tuple[Rule, str, str, str, list[str]]] = {
    "nothing": (lambda _: 0, "clock", "", "", [SAME]),
    "the clock": (clock, "clock, environment", "stopped clock", "clock", [HELD, SAME]),
    "not two plain runs": (lambda run: run.options and clock(run), "environment", "stopped clock", "clock", [SAME]),
    "one of two seeds": (either_seed, "clock", "seeded Python", "Python's seed", [SAME]),
    "what is not held": (lambda _: next(FRESH), "clock", "", "repeat", []),
    "the hash seed": (lambda run: "=" in run.place, "hash seed", "", "hash seed", [MOVED]),
    "addresses": (lambda run: run.place.replace("second", "first"), "hash seed", "", "addresses", []),
    "addresses, again": (lambda run: "again" in run.options and run.place, "clock, unseeded again", "", "", [SAME] * 2),
}


@pytest.mark.parametrize(("rule", "only", "held", "causes", "effects"), RULES.values(), ids=RULES.keys())
def test_what_moves_bits_is_accused_and_nothing_else(
    rule: Rule, only: str, held: str, causes: str, effects: list[str]
) -> None:
    found = explained(rule, *only.split(", "))
    assert ", ".join(each.name for each in found.findings) == causes
    assert (", ".join(found.held), [each.describe() for each in found.effects]) == (held, effects)


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_each_source_of_differences_is_named_where_it_can_be_held(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    for fix in FIXES:
        option = fix.option
        found = explained(lambda run: 0 if option in run.options else next(FRESH), "clock")  # noqa: B023
        there = platform == "linux" or fix.name != "memory"
        assert [each.name for each in found.findings] == [fix.name if there else "repeat"]


@pytest.mark.parametrize(("vectors", "lower"), [("AVX512", "AVX2"), ("AVX2", "COMPATIBLE")])
def test_rounding_is_told_from_mistakes_with_what_prevents_it(vectors: str, lower: str) -> None:
    def rule(run: Any) -> object:
        return "portable" if "portable arithmetic" in run.options else (run.threads, run.variables.get("MKL_CBWR"))

    found = explained(rule, "threads", "MKL_CBWR", "portable arithmetic", vectors=vectors)
    assert found.lines()[-3:] == [
        "cause: none found",
        "rounding, which moves most trainings: threads, MKL_CBWR, portable arithmetic; equal bits need the same of "
        "each",
        "with portable arithmetic: threads, MKL_CBWR move nothing",
    ]
    assert found.to_json()["together"] == list(found.together) != []
    lowered = explained(lambda run: run.variables == {"MKL_CBWR": lower}, "MKL_CBWR", vectors=vectors)
    assert [each.describe() for each in lowered.effects] == [MOVED]


def test_what_this_machine_lacks_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, said in ((False, "not tried: there is no CUDA device"), (True, SAME)):
        monkeypatch.setattr("torch.cuda.is_available", lambda there=there: there)
        assert [each.describe() for each in explained(lambda _: 0, "TF32").effects] == [said]
    (effect,) = explained(lambda _: 0, "MKL_CBWR", vectors="NEON").effects
    assert effect.describe() == "not tried: torch uses NEON here; AVX2 and AVX512 have something below them"


def test_an_explanation_is_json_values() -> None:
    document = explained(clock, "clock", "environment").to_json()
    assert (document["plain"]["first"], document["plain"]["second"]) == ("first 1", "second 1")
    assert document["causes"] == ["clock: the clock enters, as a seed or a setting"]
    effects = document["effects"]
    assert [(each["change"], each["text"]) for each in effects] == [("clock", HELD), ("environment", SAME)]
    assert [each["comparison"] and each["comparison"]["equal"] for each in effects] == [None, True]


def test_of_many_lines_of_a_cause_three_are_named_and_the_others_counted() -> None:
    assert str(Finding("clock", "it enters", tuple("abcde"))) == "clock: it enters (a, b, c and 2 more)"


def test_a_helper_for_tests_refuses_a_training_that_repeats_only_with_what_is_held() -> None:
    said = "^-m train: two plain runs differ first in images, step 0, data; cause: clock: the clock enters"
    with pytest.raises(AssertionError, match=said):
        assert_same_training(["-m", "train"], ["environment"], steps=1, processes=simulated(clock))
