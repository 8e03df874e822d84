"""The function `verify`, which recomputes what weights, images, seed and split determine, and its output lines."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.verification import scores
from in4310repro.verification.checks import CHECKS, Circumstances
from in4310repro.verification.evidence import Claim, DamagedRunError, Evidence, Finding, Note
from in4310repro.verification.features import absent_sets, feature_tier
from in4310repro.verification.folder import Unchecked, describe, unchecked_in_run
from in4310repro.verification.replay import of_run

BITWISE = "bit for bit"
NUMERICAL = f"within tolerances (logits {scores.LOGIT_TOLERANCE:g} of their size), in another numeric class"
MATCHES = "every file matches the manifest; whoever changes a file can rewrite the manifest too"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of a verification: differences; if there are none, what was confirmed and what was not checked."""

    differences: Sequence[str]
    bitwise: bool = False  # else within tolerances, in another numeric class than the run's
    notes: Sequence[str] = ()  # what is no difference and worth a look
    not_checked: Sequence[Unchecked] = ()  # what lies in the folder and was compared with nothing
    manifest_sha256: str = ""  # of `RunFolder.manifest_sha256`; empty where it cannot be read
    circumstances: Circumstances | None = None  # which decide what was confirmed; None where anything differs

    @property
    def tier(self) -> str:
        """How exactly the values agree, in words."""
        return BITWISE if self.bitwise else NUMERICAL

    @property
    def computed_again(self) -> list[str]:
        """The statements about the run that were confirmed."""
        return self.circumstances.computed_again if self.circumstances else []

    @property
    def claimed(self) -> list[Claim]:
        """The statements about the run that were not confirmed, and what would confirm them."""
        return self.circumstances.claims if self.circumstances else []

    def to_json(self) -> dict[str, Any]:
        """Return all that was found as JSON values, with `computed_again` under the name `proven`."""
        return {
            "differences": self.differences,
            "bitwise": self.bitwise,
            "proven": self.computed_again,
            "claimed": [*map(vars, self.claimed)],
            "notes": self.notes,
            "not_checked": self.not_checked,
            "manifest_sha256": self.manifest_sha256,
        }


def verify(folder: Path, context: Context, data: str | None = None, opened: FinishedRun | None = None) -> Verification:
    """Recompute everything that follows from a run's weights, images, seed and split, and compare it with the run.

    The checks are those of `CHECKS`. Images are decoded again and scenes are generated again, so that no cache
    can hide a difference. Results must have equal bits in portable arithmetic, which has a fixed order of
    operations. In native arithmetic they must have equal bits only if this process has the numeric class of the
    run. A numeric class identifies the arithmetic of a process.

    Args:
        folder: the folder of the run.
        context: arithmetic and progress of the computation.
        data: the folder where the run's images are now, if it is not the recorded one.
        opened: the run, if the caller has already read it from the folder. Weights that are read here are kept in
            this object.

    Raises:
        ValueError: the folder is no run, the run is not finished, or an image of an intact run is missing.
    """
    evidence = Evidence(folder, context, data)
    if opened:
        evidence.run = opened
    findings = make_checks(evidence)
    found = [*chain(*findings.values())]
    if differences := [finding for finding in found if isinstance(finding, str)]:
        return Verification(differences=[*dict.fromkeys(differences)])
    run, files = evidence.run, evidence.files
    return Verification(
        differences=[],
        bitwise=evidence.bitwise,
        notes=[finding.sentence for finding in found if isinstance(finding, Note)],
        not_checked=unchecked_in_run(
            folder,
            {*files.manifest(), names.MANIFEST},
            {each.name: run.config.epochs for each in run.config.settings},
        ),
        manifest_sha256=files.manifest_sha256(),
        circumstances=Circumstances(
            run=run,
            start=evidence.start_at_hand,
            bitwise=evidence.bitwise,
            fits_repeat=evidence.bitwise and not any(isinstance(each, Note) for each in findings["head fits"]),
            found=[finding for finding in found if isinstance(finding, Claim)],
            feature_tier=feature_tier(run.features, context.numerics),
            absent=absent_sets(evidence),
            bodies_compared=evidence.bodies_compared,
        ),
    )


def make_checks(evidence: Evidence) -> dict[str, list[Finding]]:
    """Make the checks of `CHECKS` in order; return a dict from the name of each check to its findings.

    Stop after a check that cannot be completed. Also stop if a check on which later checks depend finds a
    difference; notes and claims do not stop it.

    Raises:
        ValueError: a check cannot be completed, and no check has found a difference before.
        OSError: likewise, because a file cannot be read.
    """
    findings: dict[str, list[Finding]] = {}
    for name, check in CHECKS.items():
        found = findings.setdefault(name, [])
        try:
            # What was found before an error is there too.
            found.extend(check.find(evidence))
        except (DamagedRunError, ValueError, OSError) as error:
            # Damage is a difference. Others are no fault of the run; differences before them are reported all the same.
            differs = any(isinstance(each, str) for each in chain(*findings.values()))
            if not (differs or isinstance(error, DamagedRunError)):
                raise
            found.append(f"{error}")
            break
        if check.needed and any(isinstance(each, str) for each in found):
            break
    return findings


@dataclass(frozen=True)
class Verdict:
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
    replays: Sequence[of_run.Replay] = (),
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
    differences, of_replay = [f"difference: {each}" for each in found], of_run.verdict_of_replay(replays)
    verdict, circumstances = f"{run}: verified, no difference, {verified.tier}", verified.circumstances
    if found:
        verdict = f"{run}: not verified, {len(found)} difference{'s' * (len(found) > 1)}"
    if circumstances is None:
        return Verdict([verdict, *differences], {"differences": found}, 1)
    if not ended:
        verdict += f"{of_replay}; the replay did not end"
    elif not found:
        verdict += of_replay
        circumstances = replace(circumstances, replayed={each.plan.setting: each.replayed for each in replays})
    notes = [("note", note) for note in verified.notes]
    said = [(report, describe(in_report or ())), *notes, (run, describe(verified.not_checked))]
    of_report = [f"JSON files and pages of {report}"] if report else []
    computed = ", ".join([*circumstances.computed_again, *of_report])
    lines = [
        verdict,
        *(f"{of}: {sentence}" for of, sentence in said if sentence),
        *(f"claimed and not computed again, {by}: {'; '.join(each)}" for by, each in circumstances.claimed.items()),
        MATCHES,
        f"{run}: computed again, {verified.tier}: {computed}; sha256 {verified.manifest_sha256}",
        *differences,
    ]
    document = replace(verified, differences=found, circumstances=circumstances).to_json()
    if in_report is not None:
        document["not_checked_in_report"] = in_report
    missing = ""
    if replays and ended:
        # With one setting its epochs stand beside the rest, as before others could be replayed.
        document |= replays[0].to_json() if len(replays) == 1 else {}
        document["replays"] = {result.plan.setting: result.to_json() for result in replays}
        lines += [*fewer, *(of_run.difference_lines if found else of_run.result_lines)(*replays)]
        missing = "; ".join(filter(None, map(of_run.missing_line, replays)))
    return Verdict(lines, document, 1 if found else 2 if missing or not ended else 0, missing)
