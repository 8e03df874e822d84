"""Output of `verify`: lines that start with the verdict, a JSON document, and the exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from in4310repro.verification import describe, last_lines, verdict_of_agreement, verdict_of_differences
from in4310repro.verification.folder import Unchecked
from in4310repro.verification.replay.of_run import (
    Replay,
    difference_lines,
    missing_line,
    result_lines,
    verdict_of_replay,
)
from in4310repro.verification.routine import Verification


@dataclass(frozen=True)
class Verdict:
    """Lines of output, of which the first is the verdict, and the same as a JSON document."""

    lines: list[str]
    document: dict[str, Any]
    code: int = 0  # the exit code: 1 is a difference, 2 something that is missing
    error: str = ""  # a line on standard error


def differing(run: Path, differences: list[str]) -> Verdict:
    """Return the output of a verification that found differences."""
    lines = [verdict_of_differences(run, len(differences)), *(f"difference: {each}" for each in differences)]
    return Verdict(lines, {"differences": differences}, 1)


def agreeing(
    run: Path,
    verified: Verification,
    report: Path | None = None,
    in_report: list[Unchecked] | None = None,
    replays: Sequence[Replay] = (),
) -> Verdict:
    """Return the output of a verification without differences.

    Args:
        run: the run folder.
        verified: the result, which has no differences.
        report: the report that was also compared with the run; None if none was.
        in_report: what lies in its folder and was compared with nothing.
        replays: replays of the run, which have no differences either.
    """
    if replays:
        verified = verified.with_replay({each.plan.setting: each.replayed for each in replays})
    of_report = [f"{report}: {sentence}"] if (sentence := describe(in_report or [])) else []
    verdict = verdict_of_agreement(run, verified, verdict_of_replay(replays))
    document = {} if in_report is None else {"not_checked_in_report": in_report}
    return Verdict([verdict, *of_report, *last_lines(run, verified, report)], verified.to_json() | document)


def replayed(
    run: Path,
    agree: Callable[[Sequence[Replay]], Verdict],
    results: Sequence[Replay],
    fewer: Sequence[str] = (),
    ended: bool = True,
) -> Verdict:
    """Return the output of a verification whose epochs were trained again.

    The exit code is 1 if the replay found a difference, and 2 if it did not end or if epochs could not be repeated.

    Args:
        run: the run folder.
        agree: returns the output of the verification with replays that agree, as `agreeing` does.
        results: the replays, one a setting; those before an error, if one ended them.
        fewer: sentences on epochs that could not be drawn.
        ended: whether every planned setting was replayed.
    """
    differences = [each for result in results for each in result.differences]
    before = agree(() if differences or not ended else results)
    verdict = verdict_of_differences(run, len(differences)) if differences else before.lines[0]
    lines = [*before.lines[1:], *(f"difference: {each}" for each in differences)]
    document = before.document | ({"differences": differences} if differences or not ended else {})
    if not ended:
        verdict = f"{verdict}{verdict_of_replay(results)}; the replay did not end"
        return Verdict([verdict, *lines], document, 1 if differences else 2)
    missing = "; ".join(filter(None, map(missing_line, results)))
    # With one setting its epochs stand beside the rest, as before others could be replayed.
    document |= results[0].to_json() if len(results) == 1 else {}
    document["replays"] = {result.plan.setting: result.to_json() for result in results}
    lines += [*fewer, *(difference_lines if differences else result_lines)(*results)]
    return Verdict([verdict, *lines], document, 1 if differences else 2 if missing else 0, missing)
