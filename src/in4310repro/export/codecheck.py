"""Export for CODECHECK: `codecheck.yml`, with a manifest of the outputs that a codechecker creates again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import yaml

from in4310repro.export import facts, verified
from in4310repro.export.extras import Extras
from in4310repro.report.page import make_record
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.runs.names import RECORD

VERSION = "https://codecheck.org.uk/spec/config/1.0/"
FILE = "codecheck.yml"
# What another run of the command writes anew, since they say when or where it ran.
NOT_RECREATED = {
    *(f"{facts.RUN}/{name}" for name in (names.CONFIG, names.FINGERPRINT, names.MANIFEST)),
    f"{facts.REPORT}/{RECORD}",
}
# With the same bytes in portable arithmetic; the others hold the speed.
REPEATED = (
    names.SPLIT,
    names.PIXELS,
    names.SCORES,
    names.METRICS,
    names.TENSORS,
    names.BEST_WEIGHTS,
    names.LAST_WEIGHTS,
)
TO_ADD = """\
# What a run cannot know is added by hand: the authors add `paper` with `title`, `authors` and `reference`; the
# codechecker adds `codechecker` and `report`.
"""


def contents(run: FinishedRun, extras: Extras) -> dict[str, bytes | Path]:
    """Return `codecheck.yml` beside a copy of the run and, where it is given, of its report."""
    files = facts.run_files(run) | facts.report_files(run, extras.report)
    configuration = yaml.safe_dump(
        _configuration(run, extras, files), sort_keys=False, allow_unicode=True, width=math.inf
    )
    text = f"%YAML 1.1\n---\n{TO_ADD}{configuration}"
    return {FILE: text.encode(), **{name: file.place for name, file in files.items()}}


def _configuration(run: FinishedRun, extras: Extras, files: dict[str, facts.File]) -> dict[str, Any]:
    left_out, recreated = facts.left_out(run, extras), {n: f for n, f in files.items() if n not in NOT_RECREATED}
    of_run: dict[str, Any] = {
        "command": make_record(run)["command"],
        "verify": facts.verify_commands(run, copied=True),
        "numerics": run.fingerprint["numerics"],
        "numeric_class": run.fingerprint["numeric_class"],
        "versions": run.fingerprint["versions"],
        "sha256": {name: file.sha256 for name, file in recreated.items() if name.endswith(REPEATED)},
    }
    if extras.verification is None:
        left_out.append(verified.LEFT_OUT)
    else:
        of_run["verification"] = verified.publishable(extras.verification)
    return {
        "version": VERSION,
        "manifest": [{"file": name, "comment": file.what} for name, file in recreated.items()],
        # The specification asks for one node, named after where it comes from.
        facts.PACKAGE: of_run | ({"left_out": left_out} if left_out else {}),
    }
