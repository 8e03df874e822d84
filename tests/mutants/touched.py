"""A pytest plugin that records the lines of the package that each test runs: `pytest -p tests.mutants.touched`.

MUTANTS_RECORD is the folder that it writes. A fixture of more than one test counts as a test of its own, and so do the
processes that a test starts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import coverage
import pytest

from tests.mutants.tasks import FIXTURE, PACKAGE, PROCESSES

FOLDER = Path(os.environ["MUTANTS_RECORD"])
# Python imports it in each process that a test starts.
STARTUP = """import os
if os.environ.get("MUTANTS_CONTEXT"):
    import coverage
    coverage.process_startup()
"""
SETTINGS = f"""[run]
data_file = {FOLDER}/lines
parallel = true
include = {PACKAGE}/*
context = {PROCESSES}${{MUTANTS_CONTEXT-}}
patch = _exit, fork
"""
RECORDER = coverage.Coverage(
    data_file=str(FOLDER / "lines"), data_suffix=True, include=[f"{PACKAGE}/*"], config_file=False
)
SECONDS: dict[str, float] = {}


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None):
        return
    hook = FOLDER / f"hook-{os.getpid()}"
    hook.mkdir(parents=True)
    (hook / "sitecustomize.py").write_text(STARTUP)
    (hook / "settings").write_text(SETTINGS)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(hook), os.environ.get("PYTHONPATH", "")])
    os.environ["COVERAGE_PROCESS_START"] = str(hook / "settings")
    RECORDER.start()


@contextmanager
def _record(context: str) -> Iterator[None]:
    """Record what runs under a name, in processes too, and then under the name before it."""
    before = os.environ.get("MUTANTS_CONTEXT", "")
    os.environ["MUTANTS_CONTEXT"] = context
    RECORDER.switch_context(context)
    try:
        yield
    finally:
        os.environ["MUTANTS_CONTEXT"] = before
        RECORDER.switch_context(before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with _record(item.nodeid):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
    if fixturedef.scope == "function":
        return (yield)
    with _record(f"{FIXTURE}{fixturedef.argname}"):
        return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    SECONDS[report.nodeid] = SECONDS.get(report.nodeid, 0.0) + report.duration


def pytest_unconfigure(config: pytest.Config) -> None:
    if not config.getoption("numprocesses", None):
        RECORDER.stop()
        RECORDER.save()
        (FOLDER / f"seconds-{os.getpid()}.json").write_text(json.dumps(SECONDS))
