"""Convert an audit to JSON: fractions to floats, ranges to [first, last], tiny numbers to strings.

The schema is documented in docs/audit-json.md; tests compare the two.
"""

from __future__ import annotations

from typing import Any

from in4310repro.audit.document import Value
from in4310repro.audit.verdicts import Audit, Counted, Finding, ImageSet, MeanCheck
from in4310repro.audit.view import View

Json = dict[str, Any]  # an object of JSON

VERSION = 1


def audit_json(audit: Audit) -> Json:
    """Return the whole audit as a dictionary of JSON values."""
    view, document = View(audit), audit.document
    return {
        "schema": VERSION,
        "source": view.source,
        "exit_code": audit.exit_code,
        "outcome": audit.outcome,
        "values_compared": view.numbers["value"],
        "formats": list(document.formats),
        "options": {
            "images": audit.options.images,
            "sizes": dict(audit.options.sizes),
            "more_images": list(audit.options.more_images),
            "more_sizes": [dict(sizes) for sizes in audit.options.more_sizes],
            "bound": audit.options.bound,
            "folds": audit.options.folds,
            "ceilings": {name: float(level) for name, level in audit.options.ceilings.items()},
        },
        "tables": [
            {
                "name": table.name,
                "kind": table.kind.value,
                "section": table.section,
                "lines": [table.first, table.last],
                "image_set": table.image_set,
                "total": table.total,
                "sizes": dict(table.sizes),
                "predictions": dict(table.predictions),
                "partial": table.partial,
                "matrix": [[printed.text for printed in row] for row in table.matrix.rows] if table.matrix else None,
                "values": [_value(value) for value in table.values],
            }
            for table in document.tables
        ],
        "unread": [vars(unread) for unread in document.unread],
        "context": [vars(context) for context in document.context],
        "folds": document.folds,
        "findings": [_finding(shown.finding) for shown in view.findings],
        "sizes": [_sizes(group) for group in view.sizes],
        "counts": [_counts(table) for table in view.counts],
        "means": [_mean(mean) for mean in audit.means],
        "power": audit.power
        and {
            "seed": audit.power.seed,
            "remark": audit.power.remark,
            "detections": [vars(detection) for detection in audit.power.detections],
        },
        "remarks": list(audit.remarks),
    }


def _value(value: Value) -> Json:
    return {
        "measure": value.measure.value,
        "class": value.class_name,
        "average": value.average and value.average.value,
        "label": value.label,
        "item": value.item.value,
        "printed": value.printed.text,
        "line": value.printed.line,
        "value": float(value.printed.value),
        "count": list(value.count) if value.count else None,
        "spread": value.spread and value.spread.text,
    }


def _finding(finding: Finding) -> Json:
    return {
        "kind": finding.kind,
        "rank": finding.rank.value,
        "tables": list(finding.tables),
        "message": finding.message,
        "conditions": list(finding.conditions),
        "lines": list(finding.lines),
        "values": [_value(value) for value in finding.values],
        "inputs": list(finding.inputs),
        "readings": list(finding.readings),
        "excluded": list(finding.excluded),
        "probability": finding.probability,
        "assumptions": finding.assumptions,
        "evidence": list(finding.evidence),
    }


def _sizes(group: ImageSet) -> Json:
    return {
        "tables": list(group.tables),
        "origin": group.origin,
        "taken": dict(group.taken),
        "smallest": dict(group.smallest),
        "chance": dict(group.chance),
        "identified": list(group.identified),
        "rivals": list(group.rivals),
    }


def _counts(table: Counted) -> Json:
    totals = table.totals
    return {
        "table": table.name,
        "sizes": dict(table.sizes),
        "correct": {name: _ends(count) for name, count in table.correct.items()},
        "images": table.images if totals else None,
        "correct_images": _ends(totals),
        "errors": _ends(range(table.images - totals[-1], table.images - totals[0] + 1)) if totals else None,
        "accuracy": [totals[0] / table.images, totals[-1] / table.images] if totals and table.images else None,
    }


def _ends(counts: range | None) -> list[int] | None:
    return [counts[0], counts[-1]] if counts else None


def _mean(mean: MeanCheck) -> Json:
    return {
        "table": mean.table,
        "measure": mean.measure.value,
        "printed": mean.value.printed.text,
        "line": mean.value.printed.line,
        "parts": len(mean.parts),
        "difference": float(mean.difference),
        "allowed": float(mean.allowed),
        "agrees": mean.agrees,
        "reading": mean.reading,
        "last_bit": mean.last_bit,
    }
