"""Export as an in-toto statement: what was trained, from what, and what `verify` computed again."""

from in4310repro.export import facts
from in4310repro.export.table import Extras
from in4310repro.metrics import class_metrics
from in4310repro.report import check_page, page
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
    files, of_report = facts.files(run, extras), (*page.PAGES, check_page.PAGE)
    of_run = (run.best_weights, names.SCORES, names.SPLIT, names.METRICS)
    subjects = [*(f"{facts.RUN}/{name}" for name in of_run), *(f"{facts.REPORT}/{name}" for name in of_report)]
    record = page.make_record(run)
    fingerprint = dict(run.fingerprint)
    predicate = {
        "command": record["command"],
        "configuration": record["config"],
        "selected": {name: record["metrics"][name] for name in ("setting", "epoch", "weights_sha256")},
        "classes": run.classes,
        "test_metrics": class_metrics(run.metrics),
        "chain_sha256": run.training_sha256,
        "manifest_sha256": run.files.manifest_sha256(),
        **{name: fingerprint[name] for name in ("numerics", "numeric_class", "versions", "git")},
        "verify": facts.verify_commands(run),
    }
    if unseen := run.metrics.get("unseen"):
        predicate["unseen_metrics"] = class_metrics(unseen)
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": files[name].sha256}} for name in subjects if name in files],
        "predicateType": PREDICATE,
        "predicate": predicate | (facts.verification(extras) or {"left_out": [facts.LEFT_OUT]}),
    }
    return {FILE: json_bytes(statement)}
