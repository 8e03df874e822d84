"""Tests of a changed file in a process that imports the package anew, forked from one that imported the libraries."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from tests.mutants.forks import Ending, Lane, run_forked
from tests.mutants.swap import FAILED, NO_TESTS, PASSED, Watch, read_outcome
from tests.mutants.tasks import Known, Outcome, Task, confirm, limit

# Everything slow that a test imports and that is not ours.
LIBRARIES = [
    "beartype.claw",
    "filelock",
    "imagehash",
    "numpy.testing",
    "platformdirs",
    "anyio.pytest_plugin",
    "jaxtyping._pytest_plugin",
    "pytest_benchmark.plugin",
    "xdist.plugin",
    "matplotlib.pyplot",
    "multiprocessing.forkserver",
    "pydantic",
    "rich.progress",
    "safetensors.torch",
    "scipy.optimize",
    "sklearn.metrics",
    "torch.distributed",
    "torchvision",
    "click.testing",
]
# Rooms whose code a run comes from: it is made with each change.
IN_A_RUN = {"arithmetic", "data", "evaluation", "features", "metrics", "models", "runs", "system", "training"}
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
COPIED = ("src", "benchmarks", "tests", "golden", "docs", "reports", "pyproject.toml", "setup.py", "noxfile.py", *PAGES)


def import_libraries() -> None:
    """Import the installed libraries on one thread, since a fork keeps only one thread."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


class SharedRuns:
    """A pytest plugin that lets tests read complete runs that were made before the change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pytest_collection_finish(self) -> None:
        vars(importlib.import_module("tests.golden_cases"))["SHARED"] = self._folder


class OwnRuns:
    """A pytest plugin that makes complete runs here, where all that another process would import is imported."""

    def pytest_collection_finish(self) -> None:
        cases = importlib.import_module("tests.golden_cases")

        def make(preset: str, device: str = "cpu", *, narrow: bool = False) -> tuple[Path, None]:
            folder = Path(tempfile.mkdtemp()) / "run"
            cases.make_run(preset, device, folder, narrow)
            return folder, None

        vars(cases)["start_run"] = functools.cache(make)


class Copy:
    """A copy of the project, in which some files at a time are changed."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = folder / "project"
        self._original = root
        for name in COPIED:
            source = root / name
            ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
            if source.is_dir():
                shutil.copytree(source, self.root / name, ignore=ignored)
            elif source.exists():
                self.root.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, self.root / name)

    def change(self, texts: Mapping[str, str]) -> None:
        """Change the texts of some files, by their paths in the project, and give all others their own."""
        changed = self.root / ".changed"
        for file in changed.read_text(encoding="utf-8").split() if changed.exists() else ():
            self._write(file, (self._original / file).read_bytes())
        changed.write_text("\n".join(texts), encoding="utf-8")
        for file, text in texts.items():
            self._write(file, text.encode())

    def _write(self, file: str, content: bytes) -> None:
        path = self.root / file
        path.write_bytes(content)
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()

    def run(self, tests: Sequence[str], seconds: float) -> Ending:
        """Run tests on what the files are now, for at most so many seconds."""
        return next(run_forked([((), seconds)], lambda _, lane: self.run_here(tests, lane, {}), 1))[1]

    def run_here(self, tests: Sequence[str], lane: Lane, known: dict[str, float], *plugins: object) -> str:
        """Run tests in this process, which was forked for them; `known` has seconds of tests."""
        if not tests:
            return NO_TESTS
        sys.stdout, sys.stderr = io.TextIOWrapper(os.fdopen(1, "wb", 0)), io.TextIOWrapper(os.fdopen(2, "wb", 0))
        os.chdir(self.root)
        # Ours, with the project that started this; the libraries stay.
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "in4310repro")]:
            del sys.modules[name]
        # Processes that tests start would begin by importing it.
        sys.modules["__main__"] = ModuleType("__main__")
        places = [str(self.root / "src"), str(self.root)]
        sys.path[:0] = places
        os.environ["PYTHONPATH"] = os.pathsep.join(places)
        # Without the checks of shapes, with which Python would compile every module again.
        options = "addopts=-m 'not slow and not soak'"
        words = ("-x", "-q", "-o", options, "-W", "ignore:Module already imported", "-p", "no:cacheprovider")
        code = pytest.main([*words, *tests], plugins=[Watch(lane, known), *plugins])
        if code == pytest.ExitCode.NO_TESTS_COLLECTED:
            return NO_TESTS
        return PASSED if code == pytest.ExitCode.OK else FAILED


def try_fresh(
    root: Path, folder: Path, tasks: Sequence[Task], seconds: dict[str, float], runs: Path, lanes: int
) -> Iterator[Outcome]:
    """Try each change with the module as a file of a copy of the project; `runs` is a folder of complete runs."""
    import_libraries()
    copies = [Copy(root, folder / str(number)) for number in range(lanes)]
    known = Known()

    def act(task: Task, lane: Lane) -> str:
        copy = copies[lane.number]
        copy.change({f"src/in4310repro/{task.file}": task.change.source} if task.change else {})
        plugin = OwnRuns() if task.file.partition("/")[0] in IN_A_RUN else SharedRuns(runs)
        return copy.run_here(known.without_bad(task.tests), lane, seconds, plugin)

    def run(some: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        limited = [(task, limit(task.seconds) + 30) for task in some]
        return ((task, read_outcome(task, ending)) for task, ending in run_forked(limited, act, lanes))

    yield from confirm(tasks, run, known)
