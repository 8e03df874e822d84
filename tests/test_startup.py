"""What a command imports before it has anything to compute."""

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
def test_help_imports_nothing_that_computes_or_draws() -> None:
    words = (sys.executable, "-c", IMPORTED, "train", "--help")
    modules = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    assert "typer" in modules
    assert HEAVY.isdisjoint(modules)
