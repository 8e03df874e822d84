"""Fuzzing of 100 damaged files (nox -s soak: 200), and known mistakes that the fuzzing must find."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fuzz import FIRST
from in4310repro.system.files import json_bytes
from tests.docs import caught
from tests.fuzzing import cases
from tests.fuzzing.cases import Bases, Ways, run_case

CASES, BATCH = 200, 20


@pytest.fixture(scope="module")
def bases(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bases]:
    made = cases.make_bases(finished_run, tmp_path_factory.mktemp("bases"))
    with cases.skip_long_work(drawing=False):
        yield made


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(first, marks=pytest.mark.slow if first < CASES // 4 else pytest.mark.soak)
        for first in range(0, CASES, BATCH)
    ],
)
def test_damaged_files_never_end_in_a_traceback_a_hang_or_a_changed_file(
    first: int, bases: Bases, tmp_path: Path
) -> None:
    done = [run_case(number, bases, tmp_path) for number in range(first, first + BATCH)]
    assert [
        (case.number, case.kind, case.command, *case.faults, case.outcome.err) for case in done if case.faults
    ] == []


def test_the_cases_of_the_suite_are_not_those_of_the_session() -> None:
    assert CASES <= FIRST


@pytest.mark.parametrize("command", cases.WORDS)
def test_what_is_damaged_is_accepted_undamaged(command: str, bases: Bases, tmp_path: Path) -> None:
    case = run_case(1, bases, tmp_path, Ways((command,), keep))
    assert (case.outcome.code, case.outcome.err, case.faults) == (0, case.outcome.err, ())


def test_a_verification_that_ignores_the_manifest_is_found(bases: Bases, tmp_path: Path) -> None:
    ways = Ways(("verify",), raise_speed, "chosen/history.json")
    done = [run_case(number, bases, tmp_path, ways, main=lambda: sys.exit(0)) for number in range(1, 5)]
    assert any("calls a damaged run intact" in case.faults for case in done)


def raise_speed(_name: str, data: bytes, _generator: Any) -> bytes:
    """Damage a value that no verification recomputes, so that only a hash shows it."""
    rows = json.loads(data)
    rows[0]["images_per_second"] += 1.0
    return json_bytes(rows)


def keep(_name: str, data: bytes, _generator: Any) -> bytes:
    return data


def fail(*_arguments: object) -> None:
    raise KeyError("a key")


def test_a_reader_that_fails_on_a_missing_key_is_found(bases: Bases, tmp_path: Path) -> None:
    assert run_case(1, bases, tmp_path, Ways(("verify",), keep), main=fail).faults


def test_a_command_that_writes_elsewhere_is_found(bases: Bases, tmp_path: Path) -> None:
    case = run_case(1, bases, tmp_path, main=lambda: Path("../victim/index.html").write_text("ours now"))
    assert any("changed victim/index.html" in fault for fault in case.faults)


def test_the_table_has_the_counts_of_2000_cases() -> None:
    rows = caught.read("fuzz")
    assert sum(int(row["cases"]) for row in rows) == 2000
    assert {row["faults"] for row in rows} == {"0"}
