"""The last lines of a verification: what to look at, what is claimed, what was proven and how firmly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from in4310repro.verification.claims import MATCHES, by_what_shows_them
from in4310repro.verification.routine import Verification
from in4310repro.verification.scores import SCORE_TOLERANCE

BITWISE = "bit for bit"
NUMERICAL = f"within tolerances (scores {SCORE_TOLERANCE:g}), in another numeric class"


def last_lines(folder: Path, verified: Verification, report: Path | None = None) -> Iterator[str]:
    """The lines of a verification that found no difference.

    Args:
        folder: of the run.
        verified: without differences.
        report: whose JSON files and pages were compared with the run; None: none.
    """
    yield from (f"note: {note}" for note in verified.notes)
    for shown_by, claims in by_what_shows_them(verified.claimed).items():
        yield f"claimed and not proven, {shown_by}: {'; '.join(claims)}"
    yield MATCHES
    proven = [*verified.proven, *([f"JSON files and pages of {report}"] if report else [])]
    tier = BITWISE if verified.bitwise else NUMERICAL
    yield f"{folder}: computed again, {tier}: {', '.join(proven)}; sha256 {verified.manifest_sha256}"
