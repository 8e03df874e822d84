"""Every number in README and the pages of docs/ agrees with the file that it comes from."""

from typing import Any

import pytest

from in4310repro.verification.replay import chance_to_find
from tests.docs import caught, claims

CLAIMS = claims.read()["claim"]
OTHER = claims.read()["other"]


@pytest.mark.parametrize("claim", CLAIMS, ids=[f"{place}" for place in range(len(CLAIMS))])
def test_a_claim_is_what_its_file_holds_and_stands_on_its_pages(claim: dict[str, Any]) -> None:
    assert claims.expected(claim) == claim["numbers"], claim["claim"]
    for page in claim["pages"]:
        assert set(claim["numbers"]) - claims.numbers_on(page) == set(), page


@pytest.mark.parametrize("page", claims.pages())
def test_every_number_on_a_page_has_a_file_or_a_reason(page: str) -> None:
    listed = {number for claim in CLAIMS if page in claim["pages"] for number in claim["numbers"]}
    listed |= {number for each in OTHER if page in each["pages"] for number in each["numbers"]}
    assert sorted(claims.numbers_on(page) - listed) == []


def test_no_reason_is_given_for_a_number_that_no_page_has() -> None:
    for each in OTHER:
        there = [claims.numbers_on(page) for page in each["pages"]]
        assert sorted(set(each["numbers"]) - set().union(*there)) == []
        assert [page for page, on in zip(each["pages"], there, strict=True) if not on & set(each["numbers"])] == []


def test_a_number_that_its_file_does_not_hold_is_found() -> None:
    claim = CLAIMS[1]
    assert claims.expected(claim | {"numbers": ["0.9981", "0.9998"]}) != ["0.9981", "0.9998"]
    assert claims.numbers_in("so it has .9988 of `123`, [it](b789.md), AVX-512 and 2^-126") == {".9988"}
    assert claims.numbers_in("7 errors, 30 of 31, 91 %, 1.4 times, 3e-8 and 12 more") == {
        "30",
        "31",
        "91",
        "1.4",
        "3e-8",
    }


def test_the_chances_of_a_draw_are_those_of_its_formula() -> None:
    page = (claims.ROOT / "docs/verification.md").read_text(encoding="utf-8")
    draws = [1, 3, 4, 5, 8]
    rows = [
        f"| m = {false} | {' | '.join(_percent(chance_to_find(false, 17, k)) for k in draws)} |" for false in (1, 5, 10)
    ]
    assert [row for row in rows if row not in page] == []


def _percent(chance: float) -> str:
    return "> 99 %" if 0.995 <= chance < 1 else f"{100 * chance:.0f} %"


def test_the_file_of_claims_is_what_the_list_gives() -> None:
    assert caught.file_of("claims").read_text(encoding="utf-8") == caught.text_of(claims.COLUMNS, claims.rows())


def test_the_results_and_costs_of_feature_statistics_are_those_of_their_files() -> None:
    text = claims.FEATURES.read_text(encoding="utf-8")
    assert claims.with_tables(text) == text
    assert claims.with_tables(text.replace("1.018", "1.008")) == text
    assert claims.with_tables(text.replace("18.9", "18.8")) == text
    rows = [row.split("|") for row in claims.result_table().splitlines()[2:]]
    shares, ranks = ([float(row[column]) for row in rows] for column in (3, 4))
    assert 0.45 < min(shares) <= max(shares) < 0.55  # "about half"
    assert ranks == sorted(ranks)  # "rises with depth"
