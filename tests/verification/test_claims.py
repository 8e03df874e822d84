"""What is proven and what is claimed: one list, on the terminal, on the page and in the docs."""

from pathlib import Path

from in4310repro.verification.claims import ALWAYS_CLAIMED, NOT_SHOWN, REPLAY, Claim, by_what_shows_them

PAGE = Path(__file__).parents[2] / "docs" / "verification.md"


def test_the_docs_list_every_claim_with_what_shows_it() -> None:
    page, shown = PAGE.read_text(encoding="utf-8"), {REPLAY: "`verify --replay`", NOT_SHOWN: "nothing in a run"}
    for claim in ALWAYS_CLAIMED:
        assert f"| {claim.what} | {shown[claim.shown_by]} |" in page


def test_claims_are_put_together_by_what_would_show_them() -> None:
    claims = [Claim("a", "x"), Claim("b", "y"), Claim("c", "x")]
    assert by_what_shows_them(claims) == {"x": ["a", "c"], "y": ["b"]}
