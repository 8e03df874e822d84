"""Modules that a command imports before it computes anything."""

import subprocess
import sys

import pytest

# Each takes longer to import than a person waits for a help.
HEAVY = {"PIL", "matplotlib", "numpy", "pydantic", "rich", "scipy", "sklearn", "torch", "torchvision"}
IMPORTED = """
import contextlib, io, sys
from in4310repro import cli
sys.argv = ["in4310repro", *sys.argv[1:]]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as printed:
    cli.main()
assert "Usage: in4310repro" in printed.getvalue(), printed.getvalue()
print(*{name.partition(".")[0] for name in sys.modules})
"""


@pytest.mark.process
@pytest.mark.parametrize("command", [[], ["train"]], ids=["all", "train"])
def test_help_imports_nothing_that_computes_or_draws(command: list[str]) -> None:
    words = (sys.executable, "-c", IMPORTED, *command, "--help")
    modules = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    assert "click" in modules
    assert HEAVY.isdisjoint(modules)


# What each part may load of what takes seconds.
LIBRARIES = {
    "in4310repro": set(),
    "in4310repro.audit": set(),
    "in4310repro.golden": {"numpy", "pydantic"},
    "in4310repro.golden.plugin": {"numpy", "pydantic"},
    "in4310repro.metrics": {"numpy", "pydantic"},
    "in4310repro.features": {"numpy", "torch"},
    "in4310repro.trace": {"numpy", "pydantic", "torch"},
}


@pytest.mark.process
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_imports_no_more_than_it_computes_with(name: str) -> None:
    words = (sys.executable, "-c", f"import sys, {name}; print(*{{name.partition('.')[0] for name in sys.modules}})")
    modules = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    assert HEAVY & {*modules} <= LIBRARIES[name]
