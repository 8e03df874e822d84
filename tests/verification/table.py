"""The tables of docs/verification.md, written from `CHECKS`: python -m tests.verification.table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from in4310repro.verification.checks import CHECKS, Check
from in4310repro.verification.evidence import ELSEWHERE, IN_CLASS, NOT_SHOWN, REPLAY, SHOWN_BY
from tests.docs.marks import replaced

PAGE = Path(__file__).parents[2] / "docs" / "verification.md"
SHOWN = {
    REPLAY: "`verify --replay`, for the epochs that it trains again",
    NOT_SHOWN: "nothing in a run",
    ELSEWHERE: "`verify` where the files are available",
    IN_CLASS: "`verify` in the run's numeric class",
}


def with_tables(page: str, checks: Mapping[str, Check] = CHECKS) -> str:
    return replaced(replaced(page, "checks", _checks(checks)), "claims", _claims(checks))


def _checks(checks: Mapping[str, Check]) -> str:
    lines = ["| of a run | is compared with | computed again where nothing differs |", "| --- | --- | --- |"]
    for check in checks.values():
        computed = "; ".join(check.computed)
        lines.append(f"| {check.compares} | {computed} |")
    return "\n".join(lines)


def _claims(checks: Mapping[str, Check]) -> str:
    left = [claim for check in checks.values() for claim in check.claims.items()]
    lines = ["| claim | shown by |", "| --- | --- |"]
    ordered = sorted(left, key=lambda claim: SHOWN_BY.index(claim[1]))
    return "\n".join([*lines, *(f"| {what} | {SHOWN[shown_by]} |" for what, shown_by in ordered)])


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
