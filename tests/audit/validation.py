"""Measures the audit: false accusations on consistent reports, detection of planted errors, beside mlscorecheck.

Run as `python -m tests.audit.validation`: writes docs/audit-validation.json and a table of docs/audit-rules.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from in4310repro.audit.examine import audit
from in4310repro.audit.verdicts import Audit, Rank
from tests.audit import peer, validation_page
from tests.audit.habits import HABITS, report
from tests.audit.planted import KINDS
from tests.audit.reports import Report

DOCS = Path(__file__).parents[2] / "docs"
# Upper ends of the groups of decimals, as shares: 93.4 % has three.
GROUPS = {"1 to 2": 2, "3": 3, "4": 4, "5 to 8": 8, "9 and more": 99}
# mlscorecheck takes no values of classes together with their mean, and no counts.
UNSEEN_BY_PEER = (
    "wrong class dropped from a mean",
    "mean of other numbers",
    "count and percentage disagree",
    "a cell of the confusion matrix",
    "a line beside a report or matrix",
)


@dataclass(frozen=True, kw_only=True)
class Consistent:
    """Outcome of the audit of one consistent report."""

    habit: str
    seed: int
    given: bool  # its class sizes, which it does not print
    expected: int  # class values printed
    peer: bool | None  # whether mlscorecheck accuses it; None where it has nothing to check
    rank: str | None = None  # the worst rank
    messages: tuple[str, ...] = ()  # of what is impossible
    refused: str = ""  # the error, or "nothing understood"
    read: int = 0  # class values
    unread: int = 0  # lines that were not understood


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Outcome of the audit of one report with one planted error."""

    kind: str
    decimals: str
    sizes: str  # "unknown" or "known"
    rank: str | None
    peer: bool | None


def examined(made: Report, sizes: Mapping[str, int] | None = None) -> Audit:
    """Write a generated report to a file and audit it, as a user would."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"report{made.suffix}"
        path.write_bytes(made.text.encode(made.encoding))
        return audit(path, sizes=sizes or {}, power=False)


def worst(result: Audit) -> str | None:
    return min((finding.rank for finding in result.findings), key=list(Rank).index, default=None)


def consistent(case: tuple[str, int]) -> list[Consistent]:
    """Audit a consistent report without class sizes; if it does not print them, audit it again with them."""
    habit, seed = case
    made = report(habit, seed)
    settings: list[Mapping[str, int]] = [{}]
    if made.sizes and not made.sizes_printed:
        settings.append(made.sizes)
    return [_consistent(made, seed, sizes) for sizes in settings]


def _consistent(made: Report, seed: int, sizes: Mapping[str, int]) -> Consistent:
    expected = len(made.of_role("class"))
    answer = Consistent(habit=made.habit, seed=seed, given=bool(sizes), expected=expected, peer=_peer(made, sizes))
    try:
        result = examined(made, sizes)
    except Exception as error:  # any error is a refusal, and is counted
        return replace(answer, refused=f"{type(error).__name__}: {error}")
    values = [value for table in result.document.tables for value in table.values if value.class_name is not None]
    return replace(
        answer,
        rank=worst(result),
        messages=tuple(finding.message for finding in result.contradictions),
        refused="nothing understood" if result.exit_code == 2 else "",
        read=len(values),
        unread=len(result.document.unread),
    )


def _peer(made: Report, sizes: Mapping[str, int]) -> bool | None:
    return peer.rejects(made) if sizes or made.sizes_printed else None


def group_of(decimals: int) -> str:
    return next(name for name, most in GROUPS.items() if decimals <= most)


def settings_of(made: Report) -> list[tuple[str, Mapping[str, int]]]:
    """Return the class sizes to pass to the audit, as pairs ("known" or "unknown", sizes)."""
    if made.sizes_printed:
        return [("known", {})]
    return [("unknown", {}), *([("known", made.sizes)] if made.sizes else [])]


def planted(case: tuple[str, int, str]) -> list[Planted]:
    """Plant one error in a report and audit it, without and with the class sizes."""
    habit, seed, kind = case
    made = report(habit, seed)
    wrong = with_error(habit, seed, kind)
    if wrong is None:
        return []
    answers = []
    for sizes, given in settings_of(made):
        try:
            rank = worst(examined(wrong, given))
        except Exception:  # a refusal detects nothing
            rank = None
        answers.append(
            Planted(
                kind=kind,
                decimals=group_of(made.decimals),
                sizes=sizes,
                rank=rank,
                peer=peer.rejects(wrong) if sizes == "known" and kind not in UNSEEN_BY_PEER else None,
            )
        )
    return answers


def cases(count: int, first_seed: int = 0) -> list[tuple[str, int]]:
    """Return `count` pairs (printing style, seed); the seed grows by one after each pass through all styles."""
    names = [str(name) for name in np.random.default_rng(0).permutation(list(HABITS))]
    return [(names[number % len(names)], first_seed + number // len(names)) for number in range(count)]


def with_errors(count: int, first_seed: int) -> list[tuple[str, int, str]]:
    """Return `count` triples (printing style, seed, error) per error, with styles that can contain the error."""
    wanted: list[tuple[str, int, str]] = []
    for kind in KINDS:
        names = [name for name, seed in cases(len(HABITS)) if with_error(name, seed, kind)]
        wanted += [(names[n % len(names)], first_seed + n // len(names), kind) for n in range(count)]
    return wanted


def with_error(habit: str, seed: int, kind: str) -> Report | None:
    return KINDS[kind](report(habit, seed), np.random.default_rng([seed, zlib.crc32(kind.encode())]))


def measured(good: Sequence[Consistent], bad: Iterable[Planted]) -> dict[str, Any]:
    """Return the numbers of reports by outcome of the audit, and the detection rates, as a JSON value."""
    compared = [case for case in good if case.peer is not None]
    return {
        "habits": len(HABITS),
        "consistent": {
            "reports": sum(not case.given for case in good),
            "audits": len(good),
            "false_accusations": sum(case.rank == Rank.IMPOSSIBLE for case in good),
            "impossible_as_read": sum(case.rank == Rank.AS_READ for case in good),
            "impossible_unless": sum(case.rank == Rank.UNLESS for case in good),
            "odd": sum(case.rank == Rank.ODD for case in good),
            "refused": sum(bool(case.refused) for case in good),
            "class_values": sum(case.expected for case in good),
            "class_values_read": sum(min(case.read, case.expected) for case in good),
            "lines_not_understood": sum(case.unread for case in good),
            "compared_with_mlscorecheck": len(compared),
            "false_accusations_there": sum(case.rank == Rank.IMPOSSIBLE for case in compared),
            "false_accusations_by_mlscorecheck": sum(bool(case.peer) for case in compared),
        },
        "detection": list(_detection(bad)),
    }


def _detection(bad: Iterable[Planted]) -> Iterator[dict[str, Any]]:
    answers: dict[tuple[str, str, str], Counter[str]] = {}
    for case in bad:
        counts = answers.setdefault((case.kind, case.sizes, case.decimals), Counter())
        counts["tried"] += 1
        counts["impossible"] += case.rank == Rank.IMPOSSIBLE
        counts["impossible_as_read"] += case.rank == Rank.AS_READ
        counts["impossible_unless"] += case.rank == Rank.UNLESS
        counts["compared"] += case.peer is not None
        counts["impossible_of_compared"] += case.peer is not None and case.rank == Rank.IMPOSSIBLE
        counts["as_read_of_compared"] += case.peer is not None and case.rank == Rank.AS_READ
        counts["mlscorecheck"] += bool(case.peer)
    for kind in KINDS:
        for sizes in ("unknown", "known"):
            for decimals in GROUPS:
                if (kind, sizes, decimals) in answers:
                    yield {"kind": kind, "sizes": sizes, "decimals": decimals, **answers[kind, sizes, decimals]}


def run(count: int, errors: int, jobs: int, first_seed: int = 0) -> tuple[list[Consistent], list[Planted]]:
    """Audit `count` consistent reports, and `errors` reports for each type of error, in `jobs` processes."""
    good: list[Consistent] = []
    bad: list[Planted] = []
    wrong = with_errors(errors, first_seed + 10_000)
    with ProcessPoolExecutor(jobs) as pool:
        for number, case in enumerate(pool.map(consistent, cases(count, first_seed), chunksize=8), start=1):
            good += case
            if number % 200 == 0:
                sys.stderr.write(f"{number} of {count} consistent reports\n")
        for number, answers in enumerate(pool.map(planted, wrong, chunksize=8), start=1):
            bad += answers
            if number % 500 == 0:
                sys.stderr.write(f"{number} of {len(wrong)} planted errors\n")
    return good, bad


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the validation, and print and write its results; return 1 if a consistent report was called impossible."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=2000, help="consistent reports")
    parser.add_argument("--errors", type=int, default=80, help="reports for each kind of error")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--faults", type=Path, help="write each accusation and refusal to this file")
    parser.add_argument("--dry", action="store_true", help="write nothing to docs/")
    options = parser.parse_args(arguments)
    good, bad = run(options.reports, options.errors, options.jobs, options.seed)
    result = measured(good, bad)
    if options.faults:
        faults = [asdict(case) for case in good if case.messages or case.refused or case.read < case.expected]
        options.faults.write_text(json.dumps(faults, indent=1, ensure_ascii=False), encoding="utf-8")
    if not options.dry:
        (DOCS / "audit-validation.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        validation_page.update(DOCS / "audit-rules.md", result)
    sys.stdout.write(validation_page.table(result) + "\n")
    return int(result["consistent"]["false_accusations"] > 0)


if __name__ == "__main__":
    sys.exit(main())
