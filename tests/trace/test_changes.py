"""The changes that are tried, what they set in a worker, where they are possible, and what holds them."""

from __future__ import annotations

import importlib
import inspect

import pytest

from in4310repro.trace import worker
from in4310repro.trace.causes import assert_same_training, explain
from in4310repro.trace.changes import CHANGES, FIXES, LOWER, Variant, choose
from in4310repro.trace.execution import CALLED, COMPUTED
from in4310repro.trace.runner import Request
from in4310repro.trace.surroundings import READ

# Options that the worker itself looks at.
OWN = {"again", "generators as before", *CALLED}


def test_each_option_of_a_worker_is_that_of_a_change_or_of_a_fix() -> None:
    variants = [each for change in CHANGES for each in change.variants]
    asked = {option for each in variants for option in (*each.options, *each.against)}
    assert asked | {each.option for each in FIXES} == {*READ, *COMPUTED} | OWN


def test_a_change_is_compared_with_a_plain_run_or_with_one_that_differs_from_it_in_a_single_thing() -> None:
    found = {each.name: [(one.options, one.against) for one in each.variants] for each in CHANGES}
    more = {name: pairs for name, pairs in found.items() if any(len(a) + len(b) > 1 for a, b in pairs)}
    assert more == {
        "memory": [(("filled memory",), ()), (("filled tensors",), ("deterministic algorithms",))],
        "again": [(("again", "generators as before"), ())],
        "unseeded again": [(("again",), ("again", "generators as before"))],
        "batch size": [(("half a batch",), ("first half",))],
    }
    assert [name for name, pairs in found.items() if pairs == [((), ())]] == ["library order", "threads", *LOWER]


def test_what_holds_a_change_is_the_fix_of_its_cause_or_of_what_each_training_and_worker_draws_anew() -> None:
    held = {each.name: {*each.held_by} for each in CHANGES if each.held_by}
    by_cause = {change.name: {fix.option} for change in CHANGES for fix in FIXES if change.cause == fix.cause}
    anew = {name: {"fixed entropy"} for name in ("again", "workers")}
    seeds = {fix.option for fix in FIXES if fix.cause.endswith("global generator has no seed")}
    assert len(seeds) == 3
    assert held == by_cause | anew | {"unseeded again": {"fixed entropy", *seeds}}
    assert {*by_cause} == {"listing", "clock", "memory"}


def test_changes_need_a_system_a_card_or_a_compiler_where_they_are_impossible_without() -> None:
    needs = {each.name: each.needs for each in CHANGES if each.needs}
    assert needs == {"memory": "linux", "TF32": "cuda", "compile": "compiler"}


@pytest.mark.parametrize(
    ("name", "avx512", "avx2"),
    [
        ("ATEN_CPU_CAPABILITY", "avx2", "default"),
        ("ONEDNN_MAX_CPU_ISA", "AVX2", "SSE41"),
        ("MKL_CBWR", "AVX2", "COMPATIBLE"),
    ],
)
def test_vector_instructions_are_one_level_older_by_the_words_of_each_library(
    name: str, avx512: str, avx2: str
) -> None:
    (change,) = choose([name])
    assert (change.variables, LOWER[name]) == ((name,), {"AVX512": avx512, "AVX2": avx2})


@pytest.mark.parametrize(
    ("option", "note"),
    [
        ("fixed entropy", "entropy of the system is read"),
        ("fixed entropy", "a generator gets no seed"),
        ("fixed entropy", "the process number is read"),
        ("stopped clock", "the clock is read"),
        ("sorted listing", "a folder is listed"),
        ("ordered results", "results are taken in the order in which they end"),
        ("one thread", "threads are started"),
    ],
)
def test_a_line_that_is_noted_belongs_to_one_fix(option: str, note: str) -> None:
    assert [each.option for each in FIXES if note.startswith(each.notes)] == [option]


def test_libraries_are_imported_before_torch_and_jobs_served_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ((variant,),) = (each.variants for each in choose(["library order"]))
    called: list[str] = []
    monkeypatch.setattr(importlib, "import_module", called.append)
    monkeypatch.setattr(worker, "serve", lambda: called.append("serve"))
    assert variant.words[0] == "-c"
    exec(variant.words[1], {})  # noqa: S102
    assert called == ["scipy.linalg", "sklearn", "cv2", "numba", "serve"]
    assert Variant().words == ("-m", worker.__name__)


def test_runs_in_three_equal_processes_are_plain_and_have_two_steps_so_that_the_optimizers_state_enters() -> None:
    assert {str(Request(each)) for each in ("first", "second", "third")} == {"a plain run"}
    assert [inspect.signature(each).parameters["steps"].default for each in (explain, assert_same_training)] == [2, 2]
