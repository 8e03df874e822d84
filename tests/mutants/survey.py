"""Trials of the changes of many modules by several processes, after a control run without changes."""

from __future__ import annotations

import multiprocessing
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.mutants.changes import Change, count_changes, list_keys, make_changes, rewrite
from tests.mutants.table import PACKAGE, Module, Reason
from tests.mutants.trials import PATIENCE, SLOWER, Contexts, Copy, First, Outcome, prefer, read_contexts

LIMIT = 900.0  # seconds for the tests of an unchanged module
Task = TypeVar("Task")
Done = TypeVar("Done")
HERE: dict[str, Copy] = {}  # of this process


@dataclass
class Row:
    module: Module
    sites: int  # changes that there are
    tried: int = 0
    killed: set[tuple[str, str, str]] = field(default_factory=set)  # by `Change.key`
    survivors: list[Change] = field(default_factory=list)
    control: Outcome | None = None
    faults: list[str] = field(default_factory=list)


@contextmanager
def start_workers(root: Path, number: int) -> Iterator[Executor]:
    """Yield an executor whose processes each have a copy of the project; remove the copies at the end."""
    # No multiprocessing.Pool, whose processes are daemons: tests could start none.
    context: Any = multiprocessing.get_context("fork")
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as folder,
        ProcessPoolExecutor(number, context, _begin, (root, Path(folder))) as executor,
    ):
        yield executor


def run_tasks(executor: Executor, function: Callable[[Task], Done], tasks: Iterable[Task]) -> Iterator[Done]:
    """Yield the result of each task in the order of completion."""
    for future in as_completed([executor.submit(function, task) for task in tasks]):
        yield future.result()


def _begin(root: Path, folder: Path) -> None:
    # A short name: the path of a socket has some hundred characters at most.
    HERE["copy"] = Copy(root, folder / multiprocessing.current_process().name.rpartition("-")[2])


def survey(
    modules: Sequence[Module], root: Path, pool: Executor, sample: int | None, seed: int, say: Callable[[str], None]
) -> list[Row]:
    """Run the tests without changes, then with each chosen change; return one row per module."""
    rows = {module.file: _row(module, root) for module in modules}
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows.values():
        groups.setdefault(row.module.tests, {})[_path(row.module)] = rewrite(_source(root, row.module))
    contexts: dict[str, Contexts] = {}
    for tests, outcome, found in run_tasks(pool, _run_control, groups.items()):
        contexts |= found
        say(f"unchanged: {outcome.ending}, {outcome.seconds:.1f} s: {' '.join(tests)}")
        for row in rows.values():
            if row.module.tests == tests:
                row.control = outcome
                if outcome.ending != "passed":
                    row.faults.append(f"the tests of the unchanged module end with: {outcome.ending}\n{outcome.tail}")
    tasks = [
        (row.module, change, prefer(contexts[_path(row.module)], change.written), _derive_limit(row.control.seconds))
        for row in rows.values()
        if row.control is not None and not row.faults
        for change in make_changes(_source(root, row.module), sample, _derive_seed(seed, row.module.file))
    ]
    for number, (file, change, outcome) in enumerate(run_tasks(pool, _try, tasks), start=1):
        row = rows[file]
        row.tried += 1
        if outcome.killed:
            row.killed.add(change.key)
        else:
            row.survivors.append(change)
            say(f"{file}:{change.line} {change.function}: `{change.before}` -> `{change.after}` survives")
        if number % 20 == 0:
            say(f"{number} of {len(tasks)} changes")
    for row in rows.values():
        row.survivors.sort(key=lambda change: (change.line, change.after))
    return list(rows.values())


def _row(module: Module, root: Path) -> Row:
    return Row(module, count_changes(_source(root, module)))


def _source(root: Path, module: Module) -> str:
    return (root / PACKAGE / module.file).read_text(encoding="utf-8")


def _derive_seed(seed: int, file: str) -> int:
    """Return a seed that depends on the module, but not on the other modules tried."""
    return zlib.crc32(f"{seed} {file}".encode())


def _derive_limit(seconds: float) -> float:
    return SLOWER * seconds + PATIENCE


def _run_control(
    group: tuple[tuple[str, ...], dict[str, str]],
) -> tuple[tuple[str, ...], Outcome, dict[str, Contexts]]:
    """Run the tests on modules that ast.unparse rewrote without a change; record the lines that each test runs."""
    files, texts = group
    copy = HERE["copy"]
    copy.contexts.unlink(missing_ok=True)
    outcome = copy.trial(texts, files, LIMIT)
    return files, outcome, {path: read_contexts(copy.contexts, copy.root / path) for path in texts}


def _try(task: tuple[Module, Change, First, float]) -> tuple[str, Change, Outcome]:
    module, change, first, limit = task
    return module.file, change, HERE["copy"].trial({_path(module): change.source}, module.tests, limit, first)


def _path(module: Module) -> str:
    return f"{PACKAGE}/{module.file}"


def find_stale_reasons(reasons: Sequence[Reason], rows: Sequence[Row], root: Path) -> list[str]:
    """Return a sentence for each given reason whose mutation no longer exists or is detected by tests."""
    sentences = []
    for row in rows:
        mine = {reason.key: reason for reason in reasons if reason.module == row.module.file}
        gone, noticed = mine.keys() - list_keys(_source(root, row.module)), mine.keys() & row.killed
        for key in sorted(gone | noticed):
            why = "there is no such change" if key in gone else "its tests notice it"
            sentences.append(f"{row.module.file}, {key[0]}: a reason is given for `{key[2]}`, and {why}")
    return sentences
