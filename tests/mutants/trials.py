"""Trials of single changes, in processes forked from one that imported the libraries but not the package."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import coverage
import pytest

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
    "typer.testing",
]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
COPIED = ("src", "benchmarks", "tests", "golden", "docs", "reports", "pyproject.toml", "setup.py", "noxfile.py", *PAGES)
MEMORY = 20 << 30  # bytes of addresses: a loop that fills the memory is stopped
SLOWER = 4.0  # times what the unchanged module takes, and PATIENCE more: then a change runs without end
PATIENCE = 20.0  # seconds


@dataclass(frozen=True)
class Outcome:
    """Outcome of a test run ("passed", "failed", "no tests", "out of time" or a signal), and its last lines."""

    ending: str
    seconds: float
    tail: str

    @property
    def killed(self) -> bool:
        """True if the tests notice the change."""
        return self.ending not in ("passed", "no tests")


Contexts = dict[int, list[str]]  # line -> names of tests; "" outside of them


@dataclass(frozen=True)
class First:
    """Pytest plugin that runs tests with given names (in coverage's form) before the others."""

    names: frozenset[str] = frozenset()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Move the named tests to the front, and keep the order of the rest."""
        items.sort(key=lambda item: _name(item) not in self.names)


def _name(item: pytest.Item) -> str:
    function = getattr(item, "function", None)
    return f"{function.__module__}.{function.__name__}" if function else ""


@contextmanager
def record(file: Path, folder: Path) -> Iterator[None]:
    """Record the lines of a folder's modules that each test runs."""
    recorder = coverage.Coverage(data_file=str(file), include=[f"{folder}/*"], config_file=False)
    recorder.set_option("run:dynamic_context", "test_function")
    recorder.start()
    try:
        yield
    finally:
        recorder.stop()
        recorder.save()


def read_contexts(file: Path, module: Path) -> Contexts:
    data = coverage.CoverageData(str(file))
    data.read()
    return data.contexts_by_lineno(str(module))


def prefer(contexts: Contexts, line: int) -> First:
    """Return a plugin that runs first the tests that execute a line."""
    return First(frozenset(contexts.get(line, [])) - {""})


def import_libraries(names: Iterable[str] = LIBRARIES) -> None:
    """Import the installed libraries on one thread, since a fork keeps only one thread."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # What stays is not looked at by each of the collections of garbage that pytest asks for.
    gc.collect()
    gc.freeze()


class Copy:
    """A copy of the project in a separate folder, in which one module at a time is changed."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = folder / "project"
        self._temporary = folder / "tmp"
        self._runs = folder / "runs"
        self.contexts = folder / "contexts"
        self._clock = 1_000_000_000
        for name in COPIED:
            source = root / name
            ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
            if source.is_dir():
                shutil.copytree(source, self.root / name, ignore=ignored)
            elif source.exists():
                self.root.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, self.root / name)
        self._runs.mkdir()

    def trial(
        self, texts: Mapping[str, str], files: tuple[str, ...], limit: float, first: First | None = None
    ) -> Outcome:
        """Run test files with changed texts of some files, then restore the files."""
        originals = {self.root / file: (self.root / file).read_bytes() for file in texts}
        try:
            for file, text in texts.items():
                self._write(self.root / file, text.encode())
            return self.run(files, limit, first or First())
        finally:
            for path, original in originals.items():
                self._write(path, original)

    def _write(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        # Python takes compiled modules by the second and the size of the source.
        self._clock += 2
        os.utime(path, (self._clock, self._clock))
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()

    def run(self, files: tuple[str, ...], limit: float, first: First) -> Outcome:
        """Run test files in a new process, for at most `limit` seconds."""
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir()
        log = self._temporary / "log"
        start = time.monotonic()
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = self._child(files, log, first)
            except BaseException:
                os.write(1, traceback.format_exc().encode())
            finally:
                os._exit(code)
        ending = _wait(child, start + limit)
        tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        return Outcome(ending, time.monotonic() - start, tail)

    def _child(self, files: tuple[str, ...], log: Path, first: First) -> int:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        output = os.open(log, os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = io.TextIOWrapper(os.fdopen(1, "wb", 0)), io.TextIOWrapper(os.fdopen(2, "wb", 0))
        os.chdir(self.root)
        # Ours, with the project that started this; the libraries stay.
        for name in [name for name in sys.modules if name.partition(".")[0] in ("tests", "in4310repro")]:
            del sys.modules[name]
        # Processes that tests start would begin by importing it.
        sys.modules["__main__"] = ModuleType("__main__")
        places = [str(self.root / "src"), str(self.root)]
        sys.path[:0] = places
        tempfile.tempdir = str(self._temporary)
        os.environ |= {"PYTHONPATH": os.pathsep.join(places), "TMPDIR": str(self._temporary)}
        words = [
            "-x",
            "-q",
            "-W",
            "ignore:Module already imported",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            *files,
        ]
        # The pass without a change writes down which test runs which line.
        with nullcontext() if first.names else record(self.contexts, self.root / "src"):
            code = int(pytest.main(words, plugins=[SharedRuns(self._runs), first]))
        sys.stdout.flush()
        return code


class SharedRuns:
    """Pytest plugin that lets tests read complete runs that were made by the unchanged modules."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pytest_collection_finish(self) -> None:
        if Path("tests/golden_cases.py").exists():
            vars(importlib.import_module("tests.golden_cases"))["SHARED"] = self._folder


def _wait(child: int, until: float) -> str:
    """Wait for a process until a deadline, kill it and its children, and return how it ended."""
    ending = "out of time"
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            ending = _name_ending(os.waitstatus_to_exitcode(status))
            break
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if ending == "out of time":
        os.waitpid(child, 0)
    return ending


def _name_ending(code: int) -> str:
    if code < 0:
        return signal.Signals(-code).name
    return {0: "passed", int(pytest.ExitCode.NO_TESTS_COLLECTED): "no tests"}.get(code, "failed")
