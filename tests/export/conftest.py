"""A tiny run with its report and its verification, and a function that exports it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from in4310repro.export import facts, formats
from in4310repro.export.table import Extras
from in4310repro.report import page
from in4310repro.runs.finished import FinishedRun
from in4310repro.system.context import Context
from in4310repro.system.files import json_bytes, write_file
from in4310repro.system.numerics import Numerics
from in4310repro.verification.routine import verify

Export = Callable[..., Path]


@pytest.fixture(scope="session")
def run(finished_run: Path) -> FinishedRun:
    return FinishedRun.open(finished_run)


@pytest.fixture(scope="session")
def report(run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    page.write(run, folder)
    return folder


@pytest.fixture(scope="session")
def verification(run: FinishedRun, numerics: Numerics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of what `verify RUN --json` prints."""
    result = verify(run.folder, context=Context(numerics)).to_json()
    return write_file(tmp_path_factory.mktemp("verification") / "verified.json", json_bytes(result))


@pytest.fixture(scope="session")
def extras(run: FinishedRun, report: Path, verification: Path) -> Extras:
    return Extras(verification=facts.read_verification(verification, run), report=report, date="2026-11-28")


@pytest.fixture
def export(run: FinishedRun, extras: Extras, tmp_path: Path) -> Export:
    """Return a function that exports the run as one format, with all extras or those given, and returns the folder."""

    def write(name: str, **given: Any) -> Path:
        formats.export(run, name, tmp_path / name, Extras(**given) if given else extras)
        return tmp_path / name

    return write
