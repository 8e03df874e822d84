"""The function `verify`, which recomputes what follows from a run's weights, images, seed and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.verification.check import Check, Circumstances, Claim, Finding, Note
from in4310repro.verification.checks import CHECKS
from in4310repro.verification.claims import claims, computed_again
from in4310repro.verification.evidence import DamagedRunError, Evidence
from in4310repro.verification.features import absent_sets, feature_tier
from in4310repro.verification.unchecked import Unchecked, unchecked_in_run


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of a verification: messages on differences or, if there are none, what was and was not compared."""

    differences: list[str]
    bitwise: bool = False  # else within tolerances, in another numeric class than the run's
    computed_again: list[str] = field(default_factory=list)
    claimed: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what is no difference and worth a look
    not_checked: list[Unchecked] = field(default_factory=list)  # what lies in the folder and was compared with nothing
    manifest_sha256: str = ""  # of `RunFolder.manifest_sha256`; empty where it cannot be read

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values by name, with `computed_again` under the name `proven`."""
        return {"proven" if key == "computed_again" else key: value for key, value in asdict(self).items()}


def verify(folder: Path, context: Context, data: str | None = None, opened: FinishedRun | None = None) -> Verification:
    """Recompute everything that follows from a run's weights, images, seed and split, and compare it with the run.

    The checks are those of `CHECKS`. Images are decoded again and scenes are generated again, so that no cache
    can hide anything. Results must have equal bits in portable arithmetic (a fixed order of float operations),
    and in native arithmetic if the numeric class is that of the run.

    Args:
        folder: the folder of the run.
        context: arithmetic and progress of the computation.
        data: the present folder of the run's images, if they moved.
        opened: the run, if it has been read from the folder already; it keeps the weights that are read for it.

    Raises:
        ValueError: the folder is no run, the run is not finished, or an image of an intact run is missing.
    """
    evidence = Evidence(folder, context, data, opened)
    findings = make_checks(evidence)
    found = [finding for each in findings.values() for finding in each]
    if differences := [finding for finding in found if isinstance(finding, str)]:
        return Verification(differences=list(dict.fromkeys(differences)))
    run, files = evidence.run, evidence.files
    open_precisions = [finding for finding in found if isinstance(finding, Claim)]
    circumstances = Circumstances(
        run=run,
        start=evidence.start_at_hand,
        bitwise=evidence.bitwise,
        fits_repeat=evidence.bitwise and not findings["head fits"],
        open_precisions=bool(open_precisions),
        feature_tier=feature_tier(run.features, context.numerics),
        absent=absent_sets(evidence),
    )
    epochs = {each.name: run.config.epochs for each in run.config.settings}
    return Verification(
        differences=[],
        bitwise=evidence.bitwise,
        computed_again=computed_again(circumstances),
        claimed=[*claims(circumstances), *open_precisions],
        notes=[finding.sentence for finding in found if isinstance(finding, Note)],
        not_checked=unchecked_in_run(folder, {*files.manifest(), names.MANIFEST}, epochs),
        manifest_sha256=files.manifest_sha256(),
    )


def make_checks(evidence: Evidence, checks: Sequence[Check] = CHECKS) -> dict[str, list[Finding]]:
    """Run the checks and return the findings of each by its name; stop at the first check that cannot be completed.

    Raises:
        ValueError: a check cannot be completed, and no difference was found before.
    """
    findings: dict[str, list[Finding]] = {}
    for check in checks:
        found = findings.setdefault(check.name, [])
        try:
            # Not as a list: what was found before an error counts too.
            for finding in check.find(evidence):
                found.append(finding)
        except DamagedRunError as error:
            found.append(str(error))
            break
        except (ValueError, OSError) as error:
            # Not a fault of the run; the differences found so far are reported all the same.
            if not any(isinstance(finding, str) for each in findings.values() for finding in each):
                raise
            found.append(str(error))
            break
        if check.needed and found:
            break
    return findings
