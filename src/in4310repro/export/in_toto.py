"""Export as an in-toto statement: what was trained, from what, and what `verify` computed again."""

from __future__ import annotations

from typing import Any

from in4310repro.export import facts, verified
from in4310repro.export.extras import Extras
from in4310repro.metrics import class_metrics
from in4310repro.report import check_page
from in4310repro.report.page import PAGES, make_record
from in4310repro.runs import names
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.files import json_bytes

STATEMENT = "https://in-toto.io/Statement/v1"
# It leads nowhere, which in-toto allows: the project has no address. docs/export.md describes it.
PREDICATE = "tag:in4310repro,2026:run/v1"
FILE = "statement.json"


def contents(run: FinishedRun, extras: Extras) -> dict[str, bytes]:
    """Return an in-toto Statement v1 as plain JSON, which others' tools sign.

    Its subjects are the selected weights, the scores, the split, the metrics and the report.
    """
    subjects = (facts.selected_weights(run), names.SCORES, names.SPLIT, names.METRICS)
    files = {name: file.sha256 for name, file in facts.run_files(run).items()}
    listed = {f"{facts.RUN}/{name}": files[f"{facts.RUN}/{name}"] for name in subjects}
    of_report = facts.report_files(run, extras.report)
    listed |= {
        name: of_report[name].sha256
        for page in (*PAGES, check_page.PAGE)
        if (name := f"{facts.REPORT}/{page}") in of_report
    }
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in listed.items()],
        "predicateType": PREDICATE,
        "predicate": _predicate(run, extras),
    }
    return {FILE: json_bytes(statement)}


def _predicate(run: FinishedRun, extras: Extras) -> dict[str, Any]:
    record, fingerprint = make_record(run), run.fingerprint
    predicate: dict[str, Any] = {
        "command": record["command"],
        "configuration": record["config"],
        "selected": {name: record["metrics"][name] for name in ("setting", "epoch", "weights_sha256")},
        "classes": run.classes,
        "test_metrics": class_metrics(run.metrics),
        "chain_sha256": run.training_sha256,
        "manifest_sha256": run.files.manifest_sha256(),
        "numerics": fingerprint["numerics"],
        "numeric_class": fingerprint["numeric_class"],
        "versions": fingerprint["versions"],
        "git": fingerprint["git"],
        "verify": facts.verify_commands(run),
    }
    if unseen := run.metrics.get("unseen"):
        predicate["unseen_metrics"] = class_metrics(unseen)
    if extras.verification is None:
        return predicate | {"left_out": [verified.LEFT_OUT]}
    return predicate | {"verification": verified.publishable(extras.verification)}
