"""The report generator computes as users do, and each planted error is what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from tests.audit import printings
from tests.audit.habits import HABITS, report, reports
from tests.audit.planted import KINDS
from tests.audit.reports import number


@pytest.mark.parametrize(
    ("printing", "correct", "size", "text"),
    [
        ("torch 100. * correct / total", 422, 463, "91.14470672607422 %"),
        ("torch 100 * mean", 229, 242, "94.62810516357422"),
        ("torch 1 - err", 432, 463, "0.9330453872680664"),
        ("repr of (1 - err)*100", 226, 235, "96.17021276595746 %"),
        ("share to 30 decimals", 1400, 1999, "0.700350175087543824758995469892"),
        ("percent cut by %d", 45, 58, "77 %"),
        ("round(x, 4)", 93, 100, "0.93"),
        ("share to 4 decimals", 93, 100, "0.9300"),
    ],
)
def test_printed_numbers_are_those_of_users(printing: str, correct: int, size: int, text: str) -> None:
    assert printings.PRINTINGS[printing](correct, size) == text


def test_half_up_half_even_and_truncation_differ_where_they_should() -> None:
    assert printings.fixed(1)(0.25) == "0.2"
    assert printings.half_up(1)(0.25) == "0.3"
    assert printings.truncated(1)(0.29) == "0.2"


def test_there_are_at_least_sixty_habits_under_their_own_names() -> None:
    assert len(HABITS) >= 60
    assert all(made.habit == name for name, made in zip(HABITS, reports(len(HABITS)), strict=True))


def test_the_same_seed_gives_the_same_text() -> None:
    assert [made.text for made in reports(150)] == [made.text for made in reports(150)]
    assert report("torch .item()", 0).text != report("torch .item()", 1).text


def test_cells_are_where_they_say() -> None:
    for made in reports(2 * len(HABITS)):
        assert all(made.text[cell.start : cell.start + len(cell.text)] == cell.text for cell in made.cells)
        assert made.cells or made.habit in WITHOUT_CELLS


# Reports in which no error is planted, and errors that change the scores of a whole row.
WITHOUT_CELLS = (
    "accuracy of tokens above entities",
    "a report of several labels",
    "JSON with scores beside a report",
    "spaCy's evaluation",
    "spaCy's metrics as JSON",
    "a card with entities and tokens",
    "scores with equals signs",
    "two models in a notebook",
    "JSON with branches",
    "subgroups",
    "differences",
    "nested lists in code",
)
OF_ROWS = ("precision beyond the other images", "rows of another network")


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_error_changes_one_value_or_row_and_nothing_else(kind: str) -> None:
    applied = 0
    for made in reports(len(HABITS)):
        wrong = KINDS[kind](made, np.random.default_rng(3))
        if wrong is None:
            continue
        applied += 1
        changed = [before for before, after in zip(made.cells, wrong.cells, strict=True) if before.text != after.text]
        words = sum(a != b for a, b in zip(made.text.split(), wrong.text.split(), strict=True))
        assert len(changed) >= 1
        if kind in OF_ROWS:
            assert {cell.role for cell in changed} == {"class"}
            assert words <= len(changed)
        else:
            assert len(changed) == words == 1
    assert applied >= 2


def test_the_first_decimal_of_a_percentage_is_its_tens() -> None:
    made = report("percent to 2 decimals", 1)
    wrong = KINDS["first decimal replaced"](made, np.random.default_rng(0))
    assert wrong is not None
    before, after = next((a.text, b.text) for a, b in zip(made.cells, wrong.cells, strict=True) if a.text != b.text)
    assert before[1:] == after[1:]
    assert number(after) <= 100
