"""No number on README or a page that its file does not hold."""

from typing import Any

import pytest

from tests.docs import claims

CLAIMS = claims.read()["claim"]
OTHER = claims.read()["other"]


@pytest.mark.parametrize("claim", CLAIMS, ids=[f"{place}" for place in range(len(CLAIMS))])
def test_a_claim_is_what_its_file_holds_and_stands_on_its_pages(claim: dict[str, Any]) -> None:
    assert claims.expected(claim) == claim["numbers"], claim["claim"]
    for page in claim["pages"]:
        text = (claims.ROOT / page).read_text(encoding="utf-8")
        assert [each for each in claim["numbers"] if each not in text] == [], page


@pytest.mark.parametrize("page", claims.pages())
def test_every_number_on_a_page_has_a_file_or_a_reason(page: str) -> None:
    listed = {number for claim in CLAIMS if page in claim["pages"] for number in claim["numbers"]}
    listed |= {number for each in OTHER if page in each.get("pages", [page]) for number in each["numbers"]}
    assert sorted(claims.numbers_on(page) - listed) == []


def test_no_reason_is_given_for_a_number_that_no_page_has() -> None:
    for each in OTHER:
        there = set().union(*map(claims.numbers_on, each.get("pages", claims.pages())))
        assert sorted(set(each["numbers"]) - there) == []


def test_a_number_that_its_file_does_not_hold_is_found() -> None:
    claim = CLAIMS[1]
    assert claims.expected(claim | {"numbers": [".9987", ".9998"]}) != [".9987", ".9998"]
    assert claims.numbers_in("so it has .9988 of `123`, [it](b789.md), AVX-512 and 2^-126") == {".9988"}


def test_the_page_of_claims_is_what_the_list_gives() -> None:
    assert claims.PAGE.read_text(encoding="utf-8") == claims.table()


def test_the_costs_of_feature_statistics_are_those_of_the_bench() -> None:
    text = claims.FEATURES.read_text(encoding="utf-8")
    assert claims.with_cost_table(text) == text
    assert claims.with_cost_table(text.replace("1.018", "1.008")) == text
