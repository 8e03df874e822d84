"""Processes that explain trainings, for all tests of a lane."""

from collections.abc import Iterator

import pytest

from in4310repro.trace.processes import Processes


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    with Processes() as opened:
        yield opened
