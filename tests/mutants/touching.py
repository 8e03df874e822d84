"""Run first the tests that run a changed line, as recorded by coverage.

The other tests follow, because a value that they read may have been computed in a fixture, or once for many
tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest

Contexts = dict[int, list[str]]  # line -> names of tests; "" outside of them


@dataclass(frozen=True)
class First:
    """Pytest plugin that runs tests with these names, as coverage records them, before the others."""

    names: frozenset[str] = frozenset()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Move the tests that run the line to the front; keep the order of their files."""
        items.sort(key=lambda item: _name(item) not in self.names)


def _name(item: pytest.Item) -> str:
    function = getattr(item, "function", None)
    return f"{function.__module__}.{function.__name__}" if function else ""


@contextmanager
def record(file: Path, folder: Path) -> Iterator[None]:
    """Record which test runs which lines of the modules of a folder."""
    recorder = coverage.Coverage(data_file=str(file), include=[f"{folder}/*"], config_file=False)
    recorder.set_option("run:dynamic_context", "test_function")
    recorder.start()
    try:
        yield
    finally:
        recorder.stop()
        recorder.save()


def read(file: Path, module: Path) -> Contexts:
    data = coverage.CoverageData(str(file))
    data.read()
    return data.contexts_by_lineno(str(module))


def prefer(contexts: Contexts, line: int) -> First:
    """Return a plugin that runs the tests of a line first."""
    return First(frozenset(contexts.get(line, [])) - {""})
