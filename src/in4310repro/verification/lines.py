"""The output lines of a verification: verdict, notes, claims, recomputed statements and tolerance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from in4310repro.verification.claims import MATCHES, by_what_shows_them
from in4310repro.verification.routine import Verification
from in4310repro.verification.scores import LOGIT_TOLERANCE
from in4310repro.verification.unchecked import describe

BITWISE = "bit for bit"
NUMERICAL = f"within tolerances (logits {LOGIT_TOLERANCE:g} of their size), in another numeric class"


def verdict_of_differences(folder: Path, differences: int) -> str:
    """Return the first output line of a verification that found differences."""
    return f"{folder}: not verified, {differences} difference{'s' * (differences > 1)}"


def verdict_of_agreement(folder: Path, verified: Verification, more: str = "") -> str:
    """Return the first output line of a verification without differences, with `more` appended."""
    return f"{folder}: verified, no difference, {_tier(verified)}{more}"


def verdict_of_nothing(folder: Path) -> str:
    """Return the first output line of a verification that could not be carried out."""
    return f"{folder}: neither verified nor refuted; the error says what is missing"


def last_lines(folder: Path, verified: Verification, report: Path | None = None) -> Iterator[str]:
    """Yield the output lines below the verdict of a verification without differences.

    Args:
        folder: the run folder.
        verified: the result, which has no differences.
        report: the report that was also compared with the run; None if none was.
    """
    yield from (f"note: {note}" for note in verified.notes)
    if sentence := describe(verified.not_checked):
        yield f"{folder}: {sentence}"
    for shown_by, claims in by_what_shows_them(verified.claimed).items():
        yield f"claimed and not computed again, {shown_by}: {'; '.join(claims)}"
    yield MATCHES
    computed = [*verified.computed_again, *([f"JSON files and pages of {report}"] if report else [])]
    yield f"{folder}: computed again, {_tier(verified)}: {', '.join(computed)}; sha256 {verified.manifest_sha256}"


def _tier(verified: Verification) -> str:
    return BITWISE if verified.bitwise else NUMERICAL
