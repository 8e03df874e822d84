"""A pytest plugin that tries changes of functions: tests are collected once, and each change is made in a fork.

`tests/sessions/mutants.py` names four paths: what `touched` recorded, MUTANTS_RECORD; pickled pairs of a module and a
change, MUTANTS_CHANGES; where their tests are written, MUTANTS_TASKS; and where each outcome becomes a line of JSON,
MUTANTS_OUTCOMES. With MUTANTS_ALL each change is tried with all tests that were collected.
"""

from __future__ import annotations

import ast
import faulthandler
import gc
import importlib
import itertools
import json
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import pickle
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.mutants.changes import Change
from tests.mutants.forks import Ending, Lane, run_forked
from tests.mutants.tasks import BUDGET, PACKAGE, Known, Outcome, Task, Touched, confirm, limit

PASSED, FAILED, NOT_SWAPPED, NO_TESTS, IMPORT = "passed", "failed", "not swapped", "no tests", "import of the tests"


@dataclass(eq=False)
class Watch:
    """A pytest plugin that ends tests without end, and keeps the name of the test that runs or failed."""

    lane: Lane
    seconds: dict[str, float]
    failed: str = ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        self.lane.step.write_text(item.nodeid, encoding="utf-8")
        faulthandler.dump_traceback_later(limit(self.seconds.get(item.nodeid, 5.0)), exit=True, file=2)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.lane.step.write_text(report.nodeid, encoding="utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid
            with self.lane.log.open("a", encoding="utf-8") as log:
                log.write(report.longreprtext)


def read_outcome(task: Task, ending: Ending) -> Outcome:
    change = task.change
    # Without a step, Python failed before the first test.
    killer = "" if ending.text in (PASSED, NOT_SWAPPED, NO_TESTS) else ending.step or IMPORT
    if killer and not change:
        sys.stderr.write(f"fails without a change, and is left out: {killer}\n{ending.printed}\n")
    said = (
        (change.function, change.line, change.before, change.after, change.decides)
        if change
        else ("", 0, "", "", False)
    )
    return Outcome(task.file, *said, killer, ending.text, round(ending.seconds, 2))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    trials = Trials(session)
    with Path(os.environ["MUTANTS_OUTCOMES"]).open("a", encoding="utf-8") as file:
        for outcome in confirm(trials.list_tasks(), trials.run, trials.known):
            file.write(json.dumps(vars(outcome)) + "\n")
            file.flush()
    return True


@dataclass
class Trials:
    """The tests that were collected, and the functions of the package that there are then."""

    session: pytest.Session
    known: Known = field(default_factory=Known)

    def __post_init__(self) -> None:
        self.items = {item.nodeid: item for item in self.session.items}
        self.seconds: dict[str, float] = {}
        self.functions: dict[tuple[str, str], list[types.FunctionType]] = {}  # by file and qualified name
        for each in gc.get_objects():
            if type(each) is types.FunctionType and each.__code__.co_filename.startswith(str(PACKAGE)):
                code = each.__code__
                self.functions.setdefault((code.co_filename, code.co_qualname), []).append(each)

    def list_tasks(self) -> list[Task]:
        """Return a task for each change, and write which there are."""
        changes: list[tuple[str, Change]] = pickle.loads(Path(os.environ["MUTANTS_CHANGES"]).read_bytes())  # noqa: S301
        if os.environ.get("MUTANTS_ALL"):
            started = any(item.get_closest_marker("process") for item in self.session.items)
            tasks = [Task(file, change, tuple(self.items), 10 * BUDGET, started) for file, change in changes]
        else:
            users: dict[str, set[str]] = {}
            for item in self.session.items:
                for name in getattr(item, "fixturenames", ()):
                    users.setdefault(name, set()).add(item.nodeid)
            touched = Touched(Path(os.environ["MUTANTS_RECORD"]), users)
            self.seconds = touched.seconds
            tasks = [touched.task(file, change) for file, change in changes]
        Path(os.environ["MUTANTS_TASKS"]).write_bytes(pickle.dumps((tasks, self.seconds)))
        # Made before a change, and only once. Imported here, after jaxtyping has prepared the checks of the package.
        golden_cases = importlib.import_module("tests.golden_cases")
        vars(golden_cases)["SHARED"] = Path(os.environ["MUTANTS_RECORD"])
        if any("finished_run" in getattr(item, "fixturenames", ()) for item in self.session.items):
            golden_cases.finish_run("tiny", narrow=True)
        # Looked at by no collection of garbage in a fork, which would copy every page.
        gc.collect()
        gc.freeze()
        return [task for task in tasks if task.change and not task.change.at_import]

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        limited = [(task, limit(task.seconds)) for task in tasks]
        for task, ending in run_forked(limited, self._act, int(os.environ.get("MUTANTS_LANES", "2"))):
            yield task, read_outcome(task, ending)

    def _act(self, task: Task, lane: Lane) -> str:
        if task.change and not self._swap(str(PACKAGE / task.file), task.change):
            return NOT_SWAPPED
        # Each fork starts a server of its own for the processes of its tests.
        multiprocessing.forkserver._forkserver.__init__()  # type: ignore[misc]
        multiprocessing.resource_tracker._resource_tracker.__init__()  # type: ignore[misc]
        watch = Watch(lane, self.seconds)
        config = self.session.config
        config.pluginmanager.register(watch)
        config._tmp_path_factory._given_basetemp = lane.folder / "tests"  # type: ignore[attr-defined]
        chosen = [self.items[name] for name in self.known.without_bad(task.tests) if name in self.items]
        self.session.items[:] = chosen
        for item, following in itertools.zip_longest(chosen, chosen[1:]):
            config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if watch.failed:
                return FAILED
        return PASSED

    def _swap(self, file: str, change: Change) -> bool:
        """Give the functions of a change its code; return False if they were not found."""
        source = ast.unparse(ast.parse(Path(file).read_text(encoding="utf-8")))
        unchanged, changed = _codes(source, file), _codes(change.source, file)
        name = change.function
        while name and (file, name) not in self.functions:
            # A function inside of another one is made anew when that one is called.
            name = name.rpartition(".")[0]
        swapped = 0
        for (where, qualified), functions in self.functions.items():
            if (
                where == file
                and qualified in changed
                and f"{qualified}.<".startswith((f"{name}.<", f"{name}.<locals>."))
            ):
                for function in functions:
                    if len(function.__code__.co_freevars) != len(changed[qualified].co_freevars):
                        return False
                    # Equal where the change lies in a default, which was made at import.
                    swapped += unchanged[qualified] != changed[qualified]
                    function.__code__ = changed[qualified]
        return bool(name and swapped)


def _codes(source: str, file: str) -> dict[str, types.CodeType]:
    return dict(_list_codes(compile(source, file, "exec", dont_inherit=True)))


def _list_codes(code: types.CodeType) -> Iterator[tuple[str, types.CodeType]]:
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield each.co_qualname, each
            yield from _list_codes(each)
