"""Processes that explain trainings, for all tests of a lane, and notes of their lines in `tmp_path / "notes"`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from in4310repro.trace.notes import Notes
from in4310repro.trace.processes import Processes


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    with Processes() as opened:
        yield opened


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path / "notes")
