"""The schemas of a run's JSON files, by an independent validator: they refuse what Python refuses."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from in4310repro.runs import config as configuration, forms, names
from in4310repro.runs.presets import PRESETS
from tests.forgeries.leaves import leaves

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed; pip install -e '.[dev]'")


@functools.cache
def validator(name: str) -> Any:
    schemas = forms.schemas()
    return jsonschema.Draft202012Validator({**schemas["files"][name], "$defs": schemas["$defs"]})


def fits(name: str, value: Any) -> bool:
    return bool(validator(name).is_valid(value))


def test_every_file_of_a_run_fits_its_schema(finished_run: Path) -> None:
    found = {file for file in finished_run.rglob("*.json") if names.is_of_run(f"{file.relative_to(finished_run)}")}
    assert {file.name for file in found} | {names.GROUPS, names.MANIFEST} == forms.RECORDS.keys()
    for file in [*found, finished_run / names.MANIFEST]:
        assert fits(file.name, json.loads(file.read_text())), file


WRONG: list[Any] = ["very good", "", -1, 0, 0.0, 1e31, 2**70, 1.5, True, None, [], {}, ["none"], [0.5, 0.5]]


def test_a_configuration_is_refused_wherever_python_refuses_it() -> None:
    honest = json.loads(json.dumps(configuration.to_json(PRESETS["tiny"])))
    assert fits(names.CONFIG, honest)
    refused = 0
    for keys in [*leaves(honest), ("modules",), ("settings",)]:
        for value in WRONG:
            content = json.loads(json.dumps(honest))
            inner = content
            for key in keys[:-1]:
                inner = inner[key]
            inner[keys[-1]] = value
            try:
                configuration.check_format(content, "config.json")
                configuration.from_json(content, "config.json")
            except ValueError:
                refused += 1
                by_other_rules = keys[-1] in ("name", "model", "train") or value == "" or isinstance(value, float)
                assert by_other_rules or not fits(names.CONFIG, content), (keys, value)
    assert refused > 300


def test_metrics_of_other_ranges_have_other_limits() -> None:
    properties = forms.schemas()["$defs"]["RunMetrics"]["properties"]
    assert properties["macro_f1"] == {"maximum": 1, "minimum": 0, "type": "number"}
    assert properties["class_accuracy"]["items"] == properties["macro_f1"]
    assert properties["loss"] == {"minimum": 0, "type": "number"}
