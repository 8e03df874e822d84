"""A changed value of a run's JSON files is found by `verify`, or named by a claim."""

from __future__ import annotations

from pathlib import Path

import pytest

from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics
from tests.forgeries.leaves import CLAIMED, altered_runs, judge, small_run

STEP = 60  # the session changes each value


@pytest.fixture(scope="module")
def run(numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("leaves") / "run", numerics)


def test_a_changed_value_is_found_or_named(run: Path, numerics: Numerics) -> None:
    altered = enumerate(altered_runs(run))
    verdicts = {
        (file, path): judge(file, path, folder, Context(numerics))
        for number, (file, path, folder) in altered
        if number % STEP == 1
    }
    assert [each for each, verdict in verdicts.items() if not verdict] == []
    assert "found" in verdicts.values()
    assert {*verdicts.values()} - {"found"} <= {words for _, _, words in CLAIMED}
