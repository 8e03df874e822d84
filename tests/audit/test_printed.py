"""Results printed by real projects: each is read correctly, and its findings are true."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Audit, Rank

FOLDER = Path(__file__).parent / "printed"
SHARED = Path(os.environ.get("IN4310REPRO_DATA", Path(__file__).parents[3] / "shared" / "data")) / "printed_results"
ENTRIES: list[dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))


def named(entries: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("entry", entries, ids=[entry["file"] for entry in entries])


@cache
def judged(path: Path) -> Audit:
    return audit(path, power=False)


@named(ENTRIES)
def test_a_printed_result_is_judged_as_it_is(entry: dict[str, Any]) -> None:
    result = judged(FOLDER / entry["file"])
    assert [finding.message for finding in result.contradictions] == [] or entry["exit_code"] in (1, 3)
    assert result.exit_code == entry["exit_code"], entry["reason"]


def test_of_the_five_contradictory_results_four_are_read_with_certainty() -> None:
    codes = [entry["exit_code"] for entry in ENTRIES if entry["expected"] == "inconsistent"]
    assert sorted(codes) == [1, 1, 1, 1, 3]


@named(ENTRIES)
def test_a_printed_result_is_read_whole(entry: dict[str, Any]) -> None:
    tables = judged(FOLDER / entry["file"]).document.tables
    names = [{value.class_name for value in table.values if value.class_name is not None} for table in tables]
    assert max(map(len, names), default=0) >= entry["classes"] * bool(entry["values"])
    assert sum(value.class_name is not None for table in tables for value in table.values) >= entry["values"]


@named([entry for entry in ENTRIES if entry["expected"].startswith("consistent only if")])
def test_the_condition_of_a_conditional_result_is_printed(entry: dict[str, Any]) -> None:
    conditions = [
        text for finding in judged(FOLDER / entry["file"]).of_rank(Rank.UNLESS) for text in finding.conditions
    ]
    word = "truncat" if "truncated" in entry["expected"] else "class"
    assert any(word in text for text in conditions), conditions


def test_the_manifest_and_the_folder_agree() -> None:
    assert sorted(entry["file"] for entry in ENTRIES) == sorted(path.name for path in FOLDER.glob("*.txt"))
    assert len(ENTRIES) >= 20


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no printed results in {SHARED}")
def test_the_shared_results_give_their_exit_codes() -> None:
    entries = json.loads((SHARED / "manifest.json").read_text(encoding="utf-8")) if SHARED.is_dir() else []
    wrong = {
        entry["file"]: (result.exit_code, [finding.message for finding in result.inconsistencies])
        for entry in entries
        for result in [judged(SHARED / entry["file"])]
        if bool(result.contradictions) != (entry["exit_code"] == 1)
    }
    assert wrong == {}
