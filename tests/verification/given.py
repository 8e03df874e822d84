"""Evidence for verification in which some values are given instead of being read or computed."""

from typing import Any

from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from in4310repro.verification.evidence import Evidence


def evidence_of(run: FinishedRun, numerics: Numerics, data: str | None = None, **known: Any) -> Evidence:
    """Return evidence about a run in memory, with the properties in `known` preset."""
    evidence = Evidence(run.folder, Context(numerics), data)
    vars(evidence).update({"run": run, **known})
    return evidence
