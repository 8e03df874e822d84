"""Fixtures for the tests of the compiled kernels."""

from collections.abc import Callable

import pytest

from in4310repro.arithmetic import library


@pytest.fixture
def remove_library(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function that makes every compiled library unavailable."""
    return lambda: monkeypatch.setattr(library, "available", lambda: None)
