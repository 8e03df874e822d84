"""docs/audit.md and docs/audit-fields.csv agree with the program: ranks, options and fields of the JSON."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from in4310repro.audit.examine import audit
from in4310repro.audit.output import audit_json
from in4310repro.audit.verdicts import Rank
from in4310repro.cli.application import app
from tests.audit.habits import report
from tests.audit.test_html import made_up

DOCS = Path(__file__).parents[2] / "docs"
PAGE, FIELDS = ((DOCS / name).read_text(encoding="utf-8") for name in ("audit.md", "audit-fields.csv"))
PRINTED = Path(__file__).parent / "printed"
SAMPLES = ("chart_types_weighted.txt", "radar_accuracy_and_samples.txt", "two_classes_report_and_matrix.txt")


def documented() -> set[str]:
    """Return the paths in the first column of the table of JSON fields."""
    return {row["field"] for row in csv.DictReader(FIELDS.splitlines())}


def paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield every path of a JSON value: keys joined by points, [] for list items."""
    if isinstance(value, dict):
        for key, item in value.items():
            # Class names are keys; a point in one would be read as a step.
            name = key.replace(".", "_")
            yield f"{path}.{name}".lstrip(".")
            yield from paths(item, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for item in value:
            if not isinstance(item, dict):
                yield f"{path}[]"
            yield from paths(item, f"{path}[]")


def known(path: str, patterns: set[str]) -> str | None:
    """Return the documented pattern that matches a path, in which `*` matches any key."""
    for pattern in sorted(patterns, key=len, reverse=True):
        if re.fullmatch(re.escape(pattern).replace(r"\*", r"[^.]*"), path):
            return pattern
    return None


@pytest.fixture(scope="module")
def outputs() -> list[Any]:
    results = [audit(PRINTED / name, power=False) for name in (*SAMPLES, "voc_ap_hand_typed.txt")]
    counted, seeds = report("percent with counts", 3), report("mean and deviation over seeds", 0)
    results.append(audit(counted.text, sizes=counted.sizes, ceilings={"these": Fraction(1, 2)}, power=False))
    beside = "Accuracy of sea: 50.0% (286/300)\nAccuracy of street: 70.0% (210/300)\n"
    results += [audit(seeds.text, power=False), audit(beside, power=False), made_up()]
    results.append(
        audit("accuracy: 97%; precision: 89%; recall: 89%; FB1: 89\nLOC: precision: 89%; recall: 89%; FB1: 89 9")
    )
    alternating = "\n".join(
        f"Accuracy of sea: {v}\nFigure {n}\n" for n, v in enumerate((0.8267, 0.8895, 0.5367, 0.7409))
    )
    results.append(audit(alternating, images=(300, 552), power=False))
    results.append(audit(alternating, sizes=({"sea": 5}, {"sea": 7}), power=False))
    results.append(audit(alternating, power=False))
    return [json.loads(json.dumps(audit_json(result), allow_nan=False)) for result in results]


def test_every_field_of_the_json_is_documented(outputs: list[Any]) -> None:
    fields = documented()
    assert sorted({path for output in outputs for path in paths(output) if not known(path, fields)}) == []


def test_every_documented_field_is_in_some_output(outputs: list[Any]) -> None:
    fields = documented()
    met = {known(path, fields) for output in outputs for path in paths(output)}
    assert sorted(fields - met) == []


def test_the_page_defines_each_rank() -> None:
    assert all(f"| **{rank.value}** |" in PAGE for rank in Rank)


def test_the_options_are_those_of_the_command() -> None:
    section = PAGE.partition("## Options")[2].partition("\n## ")[0]
    documented_options = set(re.findall(r"^\| `(--[a-z]+)", section, flags=re.MULTILINE))
    parameters = app.commands["audit"].params
    names = {name for parameter in parameters for name in parameter.opts if name.startswith("--")}
    assert documented_options == names - {"--help"}
