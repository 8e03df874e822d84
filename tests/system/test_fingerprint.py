"""The fingerprint of a process: everything that could explain different results."""

import platform
import subprocess
from pathlib import Path

import pytest
import torch

from in4310repro.system import fingerprint as module
from in4310repro.system.fingerprint import fingerprint
from in4310repro.system.numerics import Numerics
from in4310repro.trace import environment


def test_the_fingerprint_names_versions_processor_arithmetic_and_source(numerics: Numerics) -> None:
    recorded = fingerprint(numerics)
    assert recorded["versions"]["torch"] == torch.__version__
    assert recorded["numeric_class"] == numerics.numeric_class
    assert recorded["processor"]
    assert set(recorded["git"]) == {"commit", "dirty"}


def test_a_source_outside_git_on_a_system_that_is_not_linux_has_a_fingerprint(
    numerics: Numerics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (module, environment):
        monkeypatch.setattr(each, "Path", lambda _path: tmp_path / "a/b/c/none")
    monkeypatch.setattr(platform, "processor", lambda: "what Python says")
    recorded = fingerprint(numerics)
    assert recorded["git"] == {"commit": None, "dirty": None}
    assert recorded["processor"] == "what Python says"


def test_the_fingerprint_of_a_checkout_names_its_commit(numerics: Numerics) -> None:
    root = Path(__file__).parents[2]
    if Path(module.__file__).parents[3] != root or not (root / ".git").exists():
        pytest.skip("the package is not imported from a checkout")
    head = subprocess.check_output(["git", "-C", str(root), "rev-parse", "HEAD"], text=True).strip()
    assert fingerprint(numerics)["git"]["commit"] == head
