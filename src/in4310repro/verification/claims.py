"""The statements of a run that a verification recomputes, and those that it does not (claims), from `CHECKS`."""

from __future__ import annotations

from collections.abc import Iterable

from in4310repro.verification.check import SHOWN_BY, Circumstances, Claim
from in4310repro.verification.checks import CHECKS

MATCHES = "every file matches the manifest; whoever changes a file can rewrite the manifest too"


def computed_again(circumstances: Circumstances) -> list[str]:
    """Return the statements of a run that a verification without differences has confirmed, as texts."""
    return [words for check in CHECKS for each in check.computes for words in each.words(circumstances)]


def claims(circumstances: Circumstances) -> list[Claim]:
    """Return the statements of a run that its verification does not recompute, in the order of `SHOWN_BY`."""
    listed = [
        Claim(words, shown_by)
        for check in CHECKS
        for shown_by, each in check.leaves
        for words in each.words(circumstances)
    ]
    return sorted(listed, key=lambda claim: SHOWN_BY.index(claim.shown_by))


def by_what_shows_them(listed: Iterable[Claim]) -> dict[str, list[str]]:
    """Group the texts of claims by the kind of evidence that would confirm them."""
    grouped: dict[str, list[str]] = {}
    for claim in listed:
        grouped.setdefault(claim.shown_by, []).append(claim.what)
    return grouped
