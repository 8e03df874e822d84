"""Recomputed and merely claimed values: one list, on the terminal, on the page and in the docs."""

import pytest

from in4310repro.verification.check import Claim
from in4310repro.verification.checks import CHECKS
from in4310repro.verification.claims import by_what_shows_them
from tests.verification import table

PAGE = table.PAGE


def test_the_tables_of_the_docs_are_those_of_the_checks() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert table.with_tables(text) == text


@pytest.mark.parametrize("check", CHECKS, ids=[check.name for check in CHECKS])
def test_a_check_that_is_left_out_or_says_something_else_is_missed_on_the_page(check: object) -> None:
    without = [each for each in CHECKS if each is not check]
    text = PAGE.read_text(encoding="utf-8")
    assert table.with_tables(text, without) != text


def test_claims_are_put_together_by_what_would_show_them() -> None:
    claims = [Claim("a", "x"), Claim("b", "y"), Claim("c", "x")]
    assert by_what_shows_them(claims) == {"x": ["a", "c"], "y": ["b"]}


def test_checks_have_names_of_their_own() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
