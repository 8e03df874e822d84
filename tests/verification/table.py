"""The tables of docs/verification.md, written from `CHECKS`: python -m tests.verification.table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from in4310repro.verification.checks import CHECKS, Check
from in4310repro.verification.evidence import ELSEWHERE, IN_CLASS, NOT_SHOWN, REPLAY, SHOWN_BY
from tests.docs.marks import replaced

PAGE = Path(__file__).parents[2] / "docs" / "verification.md"
SHOWN = {
    REPLAY: "Shown by `verify --replay`, for the epochs that it trains again",
    NOT_SHOWN: "Nothing in a run shows",
    ELSEWHERE: "`verify` checks these if the files are there; otherwise they are claims",
    IN_CLASS: "Shown by `verify` in the run's numeric class",
}


def with_tables(page: str, checks: Mapping[str, Check] = CHECKS) -> str:
    return replaced(replaced(page, "checks", _checks(checks)), "claims", _claims(checks))


def _checks(checks: Mapping[str, Check]) -> str:
    lines = ["| of a run | is compared with |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {check.compares} |" for check in checks.values())])


def _claims(checks: Mapping[str, Check]) -> str:
    """Return a list of claims for each evidence that would show them."""
    lists: dict[str, list[str]] = {SHOWN[shown_by]: [] for shown_by in SHOWN_BY}
    for check in checks.values():
        for what, shown_by in check.claims.items():
            lists[SHOWN[shown_by]].append(f"* {what}")
    return "\n\n".join("\n".join([f"{heading}:\n", *claims]) for heading, claims in lists.items())


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
