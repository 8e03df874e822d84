"""Export for CODECHECK: `codecheck.yml`, with a manifest of the outputs that a codechecker creates again."""

import math

import yaml

from in4310repro.export import facts
from in4310repro.export.table import Contents, Extras
from in4310repro.report.page import make_record
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun

VERSION = "https://codecheck.org.uk/spec/config/1.0/"
FILE = "codecheck.yml"
# What another run of the command writes anew, since they say when or where it ran.
NOT_RECREATED = {
    *(f"{facts.RUN}/{name}" for name in (names.CONFIG, names.FINGERPRINT, names.MANIFEST)),
    f"{facts.REPORT}/{names.RECORD}",
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


def contents(run: FinishedRun, extras: Extras) -> Contents:
    """Return `codecheck.yml` beside a copy of the run and, where it is given, of its report."""
    files = facts.files(run, extras)
    recreated = {name: file for name, file in files.items() if name not in NOT_RECREATED}
    fingerprint = dict(run.fingerprint)
    of_run = {
        "command": make_record(run)["command"],
        "verify": facts.verify_commands(run, copied=True),
        **{name: fingerprint[name] for name in ("numerics", "numeric_class", "versions")},
        "sha256": {name: file.sha256 for name, file in recreated.items() if name.endswith(REPEATED)},
        **facts.verification(extras),
    }
    if left_out := facts.left_out(run, extras):
        of_run["left_out"] = left_out
    described = {
        "version": VERSION,
        "manifest": [{"file": name, "comment": file.what} for name, file in recreated.items()],
        # The specification asks for one node, named after where it comes from.
        facts.PACKAGE: of_run,
    }
    configuration = yaml.safe_dump(described, sort_keys=False, allow_unicode=True, width=math.inf)
    text = f"%YAML 1.1\n---\n{TO_ADD}{configuration}"
    return {FILE: text.encode(), **{name: file.place for name, file in files.items()}}
