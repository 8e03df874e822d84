"""Which tests can notice a change: those that ran its lines when `touched` recorded them, the quickest first."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import coverage

from tests.mutants.changes import Change

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "in4310repro"
# Tests of more seconds than that, added up, are not run on one change: it counts as a survivor.
BUDGET = 20.0
EACH = 0.05  # seconds that a test takes beside its own: it is collected, and its fixtures are made
CHUNK = 50  # changes whose outcomes are known together
FIXTURE, PROCESSES = "fixture ", "processes of "
IMPORTING = "unchecked"  # a fixture that imports modules of the package once more, from their files


@dataclass(frozen=True)
class Task:
    """A change of a module, the tests that can notice it in their order, and the seconds that they took."""

    file: str  # below the package
    change: Change | None  # None: the module as it is
    tests: tuple[str, ...]
    seconds: float
    elsewhere: bool = False  # tests run its lines in processes, in fixtures of many tests, or in modules read anew


@dataclass(frozen=True)
class Outcome:
    """How the tests of a change ended, and the one that noticed it, or none."""

    file: str
    function: str
    line: int
    before: str
    after: str
    decides: bool
    killer: str
    ending: str
    seconds: float  # of processor time

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.file, self.function, self.before, self.after


@dataclass
class Known:
    """Tests, and files of them, that pass without a change, and those that fail without one and notice nothing."""

    good: set[str] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)

    def without_bad(self, tests: Iterable[str]) -> list[str]:
        return [test for test in tests if test not in self.bad and test.partition("::")[0] not in self.bad]


Run = Callable[[Sequence[Task]], Iterator[tuple[Task, Outcome]]]


def confirm(tasks: Sequence[Task], run: Run, known: Known) -> Iterator[Outcome]:
    """Run tasks; where a test fails that fails without the change too, run the task again without that test."""
    for start in range(0, len(tasks), CHUNK):
        waiting = tasks[start : start + CHUNK]
        while waiting:
            ended = []
            for task, outcome in run(waiting):
                if not outcome.killer or outcome.killer in known.good:
                    yield outcome
                elif outcome.killer in known.bad:
                    yield replace(outcome, killer="")
                else:
                    ended.append((task, outcome))
            controls = {outcome.killer: _control(task.tests, outcome.killer) for task, outcome in ended}
            for control, outcome in run([Task("", None, tests, BUDGET) for tests in dict.fromkeys(controls.values())]):
                if outcome.killer:
                    known.bad.add(outcome.killer)
                else:
                    known.good |= {killer for killer, tests in controls.items() if tests == control.tests}
            yield from (outcome for _, outcome in ended if outcome.killer in known.good)
            waiting = [task for task, outcome in ended if outcome.killer not in known.good]


def _control(tests: Sequence[str], killer: str) -> tuple[str, ...]:
    """Return a test with those before it, which it may depend on, or one that imports what cannot be imported."""
    if killer in tests:
        return tuple(tests[: tests.index(killer) + 1])
    return tuple([*(test for test in tests if test.startswith(killer)), *tests][:1])


def abridge(before: str, after: str, around: int = 40) -> str:
    """Return the part of a change's two lines in which they differ, with some context on both sides."""
    shorter = min(len(before), len(after))
    start = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    end = next((i for i in range(shorter - start) if before[-1 - i] != after[-1 - i]), shorter - start)
    texts = (text[max(start - around, 0) : len(text) - max(end - around, 0)] for text in (before, after))
    return "` -> `".join(texts)


class Touched:
    """What `touched` recorded in a folder: the tests of each line, and the seconds of each test."""

    def __init__(self, folder: Path, users: dict[str, set[str]]) -> None:
        self._users = users  # tests by the name of a fixture
        self.seconds: dict[str, float] = {}
        for file in sorted(folder.glob("seconds-*.json")):
            self.seconds |= json.loads(file.read_text(encoding="utf-8"))
        self._hashes: dict[str, str] = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        self._data = coverage.CoverageData(str(folder / "all"))
        self._data.read()

    @functools.cache  # noqa: B019
    def _contexts(self, file: str) -> dict[int, list[str]]:
        """Return the contexts of each line, or of line 0 all of them for a module that has changed since."""
        path = PACKAGE / file
        contexts = self._data.contexts_by_lineno(str(path))
        if hash_file(path) == self._hashes.get(file):
            return contexts
        return {0: sorted({name for names in contexts.values() for name in names})}

    def task(self, file: str, change: Change) -> Task:
        contexts = self._contexts(file)
        lines: Iterable[int] = contexts if change.at_import or 0 in contexts else change.lines
        found = {name for line in lines for name in contexts.get(line, ())}
        if change.at_import and (named := self._readers_of(file, change)):
            found = named
        here: set[str] = set()
        elsewhere: set[str] = set()
        for name in found - {""}:
            inner = name.removeprefix(PROCESSES)
            users = self._users.get(inner.removeprefix(FIXTURE), set()) if inner.startswith(FIXTURE) else {inner}
            (elsewhere if name.startswith((PROCESSES, FIXTURE)) else here).update(users)
        order = sorted(here | elsewhere, key=lambda test: self._cost(file, test) * (1 if test in here else 5))
        chosen: list[str] = []
        seconds = 0.0
        for test in order:
            needed = self.seconds.get(test, 1.0) + EACH
            if chosen and seconds + needed > BUDGET:
                continue
            chosen.append(test)
            seconds += needed
        # What ran as modules were imported has had its effect before the code is changed.
        anew = bool(elsewhere - here) or "" in found or not self._users.get(IMPORTING, set()).isdisjoint(chosen)
        return Task(file, change, tuple(chosen), seconds, anew)

    def _cost(self, file: str, test: str) -> float:
        """Return the seconds of a test, more for those of other modules and of other rooms."""
        stem, room = Path(file).stem, file.partition("/")[0]
        words = re.split(r"\W+|_", test.partition("::")[0])
        factor = 1 if f"test_{stem}.py" in test else 3 if room in words or f"{room}s" in words else 10
        return factor * (self.seconds.get(test, 1.0) + 0.002)

    def _readers_of(self, file: str, change: Change) -> set[str]:
        """Return the tests that run a line, of any module, with the name that a statement at import gives."""
        match = re.match(r"(?:(?:async )?def |class )?(\w+)", change.before)
        name = match[1] if match else ""
        found: set[str] = set()
        for other in sorted(PACKAGE.rglob("*.py")) if len(name) > 1 else ():
            text = other.read_text(encoding="utf-8")
            if name in text:
                where = str(other.relative_to(PACKAGE))
                contexts = self._contexts(where)
                marked = {line for line, words in enumerate(text.splitlines(), 1) if re.search(rf"\b{name}\b", words)}
                marked |= set(_bodies(text, name)) if where == file else set()
                found |= {test for line in marked | {0} for test in contexts.get(line, ())}
        return found


def _bodies(text: str, name: str) -> Iterator[int]:
    """Yield the lines of the functions of a name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            yield from range(node.lineno, (node.end_lineno or node.lineno) + 1)


# The package has the like of it, and must not be imported before jaxtyping has prepared its checks.
def hash_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_commit() -> str:
    return subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()


def list_modules() -> list[str]:
    return [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]


def limit(seconds: float) -> float:
    """Return the seconds after which a test of so many seconds runs without end."""
    return 4 * seconds + 20
