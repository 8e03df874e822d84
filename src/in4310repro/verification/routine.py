"""The function `verify`, which recomputes what weights, images, seed and split determine, and its output lines."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.verification import replay, scores
from in4310repro.verification.check import SHOWN_BY, Check, Circumstances, Claim, Finding, Note
from in4310repro.verification.checks import CHECKS, wordings
from in4310repro.verification.evidence import DamagedRunError, Evidence
from in4310repro.verification.features import absent_sets, feature_tier
from in4310repro.verification.folder import Unchecked, describe, unchecked_in_run
from in4310repro.verification.replay.of_run import Replay, missing_line, verdict_of_replay

BITWISE = "bit for bit"
NUMERICAL = f"within tolerances (logits {scores.LOGIT_TOLERANCE:g} of their size), in another numeric class"
MATCHES = "every file matches the manifest; whoever changes a file can rewrite the manifest too"


def computed_again(circumstances: Circumstances) -> list[str]:
    """Return the statements about a run that a verification confirms if it finds no differences."""
    listed = [what for check in CHECKS.values() for what in check.computed]
    return [words for _, words in _words(listed, circumstances, True)]


def claims(circumstances: Circumstances) -> list[Claim]:
    """Return the statements about a run that a verification leaves unconfirmed, even if it finds no differences.

    They are sorted by the kind of evidence that would confirm them.
    """
    all_claims = {what: shown_by for check in CHECKS.values() for what, shown_by in check.claims.items()}
    listed = [Claim(words, all_claims[what]) for what, words in _words(all_claims, circumstances, False)]
    return sorted([*listed, *circumstances.found], key=lambda claim: SHOWN_BY.index(claim.shown_by))


def _words(statements: Iterable[str], circumstances: Circumstances, computed: bool) -> Iterator[tuple[str, str]]:
    special = wordings(circumstances)
    for what in statements:
        words = special.get(what, computed)
        yield from ((what, each) for each in (words if isinstance(words, list) else [what] * (words is computed)))


def by_what_shows_them(listed: Sequence[Claim]) -> dict[str, list[str]]:
    """Return the texts of unconfirmed statements, grouped by the evidence that would confirm them."""
    return {each.shown_by: [other.what for other in listed if other.shown_by == each.shown_by] for each in listed}


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of a verification: differences; if there are none, what was confirmed and what was not checked."""

    differences: list[str]
    bitwise: bool = False  # else within tolerances, in another numeric class than the run's
    computed_again: list[str] = field(default_factory=list)
    claimed: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what is no difference and worth a look
    not_checked: list[Unchecked] = field(default_factory=list)  # what lies in the folder and was compared with nothing
    manifest_sha256: str = ""  # of `RunFolder.manifest_sha256`; empty where it cannot be read
    circumstances: Circumstances | None = None  # which decide what was confirmed; None where anything differs

    @property
    def tier(self) -> str:
        """How exactly the values agree, in words."""
        return BITWISE if self.bitwise else NUMERICAL

    def to_json(self) -> dict[str, Any]:
        """Return all fields but `circumstances` as JSON values, with `computed_again` under the name `proven`."""
        values = asdict(replace(self, circumstances=None)).items()
        return {key.replace("computed_again", "proven"): value for key, value in values if key != "circumstances"}

    def with_replay(self, epochs: Mapping[str, Collection[int]]) -> Self:
        """Return what is confirmed and what is not after these epochs of settings were trained again, with equal bits.

        Raises:
            ValueError: the verification found differences.
        """
        if self.circumstances is None:
            raise ValueError("the verification found differences; nothing is confirmed by a replay")
        now = replace(self.circumstances, replayed=epochs)
        return replace(self, circumstances=now, computed_again=computed_again(now), claimed=claims(now))


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
    found = [finding for each in findings.values() for finding in each]
    if differences := [finding for finding in found if isinstance(finding, str)]:
        return Verification(differences=list(dict.fromkeys(differences)))
    run, files = evidence.run, evidence.files
    circumstances = Circumstances(
        run=run,
        start=evidence.start_at_hand,
        bitwise=evidence.bitwise,
        fits_repeat=evidence.bitwise and not any(isinstance(each, Note) for each in findings["head fits"]),
        found=tuple(finding for finding in found if isinstance(finding, Claim)),
        feature_tier=feature_tier(run.features, context.numerics),
        absent=absent_sets(evidence),
        bodies_compared=evidence.bodies_compared,
    )
    epochs = {each.name: run.config.epochs for each in run.config.settings}
    verified = Verification(
        differences=[],
        bitwise=evidence.bitwise,
        notes=[finding.sentence for finding in found if isinstance(finding, Note)],
        not_checked=unchecked_in_run(folder, {*files.manifest(), names.MANIFEST}, epochs),
        manifest_sha256=files.manifest_sha256(),
        circumstances=circumstances,
    )
    return verified.with_replay({})


def make_checks(evidence: Evidence, checks: Mapping[str, Check] = CHECKS) -> dict[str, list[Finding]]:
    """Run the checks in order; return a dict from the name of each check to its findings.

    Stop after a check that cannot be completed. Also stop if a check on which later checks depend finds a
    difference; notes and claims do not stop it.

    Raises:
        ValueError: a check cannot be completed, and no check has found a difference before.
        OSError: likewise, because a file cannot be read.
    """
    findings: dict[str, list[Finding]] = {}
    for name, check in checks.items():
        found = findings.setdefault(name, [])
        try:
            # Not as a list: what was found before an error counts too.
            for finding in check.find(evidence):
                found.append(finding)
        except (DamagedRunError, ValueError, OSError) as error:
            # Damage is a difference. Others are no fault of the run; differences before them are reported all the same.
            differs = any(isinstance(each, str) for listed in findings.values() for each in listed)
            if not (differs or isinstance(error, DamagedRunError)):
                raise
            found.append(str(error))
            break
        if check.needed and any(isinstance(each, str) for each in found):
            break
    return findings


def verdict_of_differences(folder: Path, differences: int) -> str:
    """Return the first output line of a verification that found differences."""
    return f"{folder}: not verified, {differences} difference{'s' * (differences > 1)}"


def verdict_of_agreement(folder: Path, verified: Verification, more: str = "") -> str:
    """Return the first output line of a verification without differences, with `more` appended."""
    return f"{folder}: verified, no difference, {verified.tier}{more}"


def last_lines(folder: Path, verified: Verification, report: Path | None = None) -> Iterator[str]:
    """Yield the output lines that follow the verdict of a verification without differences.

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
    computed = ", ".join([*verified.computed_again, *([f"JSON files and pages of {report}"] if report else [])])
    yield f"{folder}: computed again, {verified.tier}: {computed}; sha256 {verified.manifest_sha256}"


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
    lines += [*fewer, *(replay.of_run.difference_lines if differences else replay.of_run.result_lines)(*results)]
    return Verdict([verdict, *lines], document, 1 if differences else 2 if missing else 0, missing)
