"""What tests of the kernels share."""

from collections.abc import Callable

import pytest

from in4310repro.arithmetic import library


@pytest.fixture
def remove_library(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which no library of kernels fits the processor."""
    return lambda: monkeypatch.setattr(library, "available", lambda: None)
