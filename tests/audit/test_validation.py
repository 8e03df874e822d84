"""The published validation: its table agrees with its data, and a small sample is repeated here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from in4310repro.audit.verdicts import Rank
from tests.audit import peer, validation, validation_page
from tests.audit.habits import HABITS, report
from tests.audit.planted import KINDS
from tests.docs.marks import replaced

DOCS = Path(__file__).parents[2] / "docs"


def test_the_committed_table_is_what_the_committed_data_says() -> None:
    result = json.loads((DOCS / "audit-validation.json").read_text(encoding="utf-8"))
    page = (DOCS / "audit-rules.md").read_text(encoding="utf-8")
    assert replaced(page, validation_page.NAME, validation_page.table(result)) == page


def test_the_committed_validation_accuses_nobody_wrongly() -> None:
    result = json.loads((DOCS / "audit-validation.json").read_text(encoding="utf-8"))
    assert result["consistent"]["reports"] >= 2000
    assert result["consistent"]["false_accusations"] == 0
    assert result["habits"] == len(HABITS)


def test_a_hundred_consistent_reports_are_read_and_not_accused() -> None:
    cases = [answer for case in validation.cases(100, first_seed=777) for answer in validation.consistent(case)]
    assert [(case.habit, case.messages) for case in cases if case.messages] == []
    assert [(case.habit, case.refused) for case in cases if case.refused] == []


def test_planted_errors_are_found_where_sizes_and_decimals_allow_it() -> None:
    answers = [
        answer
        for kind in ("second decimal replaced", "value copied to the wrong row", "mean of other numbers")
        for seed in range(3)
        for answer in validation.planted(("classification_report, 4 digits", seed, kind))
    ]
    assert sum(answer.rank == Rank.IMPOSSIBLE for answer in answers) >= 7


def test_counts_of_the_result_come_from_the_cases() -> None:
    good = [
        validation.Consistent(
            habit="a",
            seed=0,
            given=False,
            rank="impossible",
            messages=("x",),
            refused="",
            expected=3,
            read=2,
            unread=1,
            peer=True,
        ),
        validation.Consistent(
            habit="b",
            seed=0,
            given=False,
            rank=None,
            messages=(),
            refused="no",
            expected=3,
            read=0,
            unread=0,
            peer=None,
        ),
    ]
    bad = [
        validation.Planted(kind="two digits swapped", decimals="3", sizes="known", rank="impossible", peer=False),
        validation.Planted(kind="two digits swapped", decimals="3", sizes="known", rank=None, peer=True),
    ]
    result = validation.measured(good, bad)
    assert result["consistent"]["false_accusations"] == 1
    assert result["consistent"]["class_values_read"] == 2
    assert result["detection"][0]["tried"] == 2
    assert "| two digits swapped | 2 | 50 % | 0 % | 50 % |" in validation_page.table(result)
    assert "| two digits swapped | 2 | 50 % | 0 % | 50 % |" in validation_page.table(result)


def test_mlscorecheck_rejects_what_no_counts_give() -> None:
    made = report("classification_report, 4 digits", 0)
    wrong = KINDS["second decimal replaced"](made, np.random.default_rng(0))
    assert wrong is not None
    assert peer.rejects(made) is False
    assert peer.rejects(wrong) is True


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="validation: begin"):
        replaced("# A page", validation_page.NAME, "table")
