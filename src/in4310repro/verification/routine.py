"""The function `verify`, which recomputes what weights, images, seed and split determine, and its output lines."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context, accept_former_place
from in4310repro.verification import replay
from in4310repro.verification.checks import CHECKS, Verification
from in4310repro.verification.evidence import Claim, DamagedRunError, Evidence, Finding, Note
from in4310repro.verification.feature_checks import absent_sets, feature_tier
from in4310repro.verification.folder_checks import Unchecked, describe, unchecked_in

MATCHES = "every file matches the manifest; whoever changes a file can rewrite the manifest too"


@accept_former_place
def verify(
    folder: str | Path,
    data: str | None = None,
    opened: FinishedRun | None = None,
    *,
    context: Context | None = None,
) -> Verification:
    """Recompute a run's split, scores, metrics and feature maps from its weights, images and seed, and compare.

    The checks are those of `CHECKS`. Images are decoded again and scenes are generated again, so that no cache
    can hide a difference. Results must have equal bits in portable arithmetic, which has a fixed order of
    operations. In native arithmetic they must have equal bits only if this process has the numeric class of the
    run. A numeric class identifies the arithmetic of a process.

    Args:
        folder: the folder of the run.
        data: the folder where the run's images are now, if it is not the recorded one.
        opened: the run, if the caller has already read it from the folder. Weights that are read here are kept in
            this object.
        context: arithmetic and progress of the computation; None: this process alone, without progress.

    Raises:
        ValueError: the folder is not a run, the run is not finished, or an image of an intact run is missing.
    """
    folder, context = Path(folder), context or Context()
    evidence = Evidence(folder, context, data)
    if opened:
        evidence.run = opened
    found = make_checks(evidence)
    if differences := [finding for finding in found if isinstance(finding, str)]:
        return Verification(differences=[*dict.fromkeys(differences)])
    run, files = evidence.run, evidence.files
    return Verification(
        run=run,
        start=evidence.start_at_hand,
        bitwise=evidence.bitwise,
        fits_repeat=evidence.fits_repeat and evidence.bitwise,
        found=[finding for finding in found if isinstance(finding, Claim)],
        notes=[finding.sentence for finding in found if isinstance(finding, Note)],
        feature_tier=feature_tier(run.features, context.numerics),
        absent=absent_sets(evidence),
        bodies_compared=evidence.bodies_compared,
        not_checked=unchecked_in(
            folder, {*files.manifest(), names.MANIFEST}, {each.name: run.config.epochs for each in run.config.settings}
        ),
        manifest_sha256=files.manifest_sha256(),
    )


def make_checks(evidence: Evidence) -> list[Finding]:
    """Make the checks of `CHECKS` in order; return what they find.

    Stop after a check that cannot be completed. Also stop if a check on which later checks depend finds a
    difference; notes and claims do not stop it.

    Raises:
        ValueError: a check cannot be completed, and no check has found a difference before.
        OSError: likewise, because a file cannot be read.
    """
    found: list[Finding] = []
    for check in CHECKS.values():
        before = len(found)
        try:
            # Differences found before an error are kept.
            found.extend(check.find(evidence))
        except (DamagedRunError, ValueError, OSError) as error:
            # Damage is a difference. Other errors are not the run's fault, but differences found before are reported.
            if not (isinstance(error, DamagedRunError) or any(isinstance(each, str) for each in found)):
                raise
            found.append(f"{error}")
            break
        if check.needed and any(isinstance(each, str) for each in found[before:]):
            break
    return found


class Verdict(NamedTuple):
    """Lines of output, of which the first is the verdict, and the same as a JSON document."""

    lines: list[str]
    document: dict[str, Any]
    code: int = 0  # the exit code: 1 is a difference, 2 something that is missing
    error: str = ""  # a line on standard error


def answer(
    run: Path,
    verified: Verification,
    report: Path | None = None,
    in_report: Sequence[Unchecked] | None = None,
    replays: Sequence[replay.Replay] = (),
    fewer: Sequence[str] = (),
    ended: bool = True,
) -> Verdict:
    """Return the output of a verification, which may have trained epochs again.

    The exit code is 1 if there is a difference, and 2 if a replay did not end or if epochs could not be repeated.

    Args:
        run: the run folder.
        verified: the result.
        report: the report that was also compared with the run; None if none was.
        in_report: what lies in its folder and was compared with nothing.
        replays: the replays of the run, one a setting; those before an error, if one ended them.
        fewer: sentences on epochs that could not be drawn.
        ended: whether every planned setting was replayed.
    """
    found = [*verified.differences, *(each for result in replays for each in result.differences)]
    differences, of_replay = [f"difference: {each}" for each in found], replay.verdict_of_replay(replays)
    verdict = f"{run}: verified, no difference, {verified.tier}"
    if found:
        verdict = f"{run}: not verified, {len(found)} difference{'s' * (len(found) > 1)}"
    if verified.differences:
        return Verdict([verdict, *differences], {"differences": found}, 1)
    if not ended:
        verdict += f"{of_replay}; the replay did not end"
    elif not found:
        verdict += of_replay
        verified = replace(verified, replayed={each.plan.setting: each.replayed for each in replays})
    said = [
        (report, describe(in_report or ())),
        *(("note", note) for note in verified.notes),
        (run, describe(verified.not_checked)),
    ]
    computed = [*verified.computed_again, *([f"JSON files and pages of {report}"] if report else [])]
    lines = [
        verdict,
        *(f"{of}: {sentence}" for of, sentence in said if sentence),
        *(f"claimed and not computed again, {by}: {'; '.join(each)}" for by, each in verified.grouped_claims.items()),
        MATCHES,
        f"{run}: computed again, {verified.tier}: {', '.join(computed)}; sha256 {verified.manifest_sha256}",
        *differences,
    ]
    document = verified.to_json() | {"differences": found}
    if in_report is not None:
        document["not_checked_in_report"] = in_report
    missing = ""
    if replays and ended:
        # With one setting its epochs are beside the rest, as in versions that replayed only one.
        document |= replays[0].to_json() if len(replays) == 1 else {}
        document["replays"] = {result.plan.setting: result.to_json() for result in replays}
        lines += [*fewer, *(replay.difference_lines if found else replay.result_lines)(*replays)]
        missing = "; ".join(filter(None, map(replay.missing_line, replays)))
    return Verdict(lines, document, 1 if found else 2 if missing or not ended else 0, missing)
