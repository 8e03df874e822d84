"""Exports of a tiny run in every format, each checked by the validator of the format's own community.

nox -s evidence -- exports
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.export.validators import VALIDATORS

from in4310repro.export.table import FORMATS

OPTIONS = {"verification": ("--verification", "verified.json"), "report": ("--report", "report")}
DATE = ("--date", "2026-11-28")


def command(folder: Path, *words: str) -> str:
    """Run a command of this package in a folder; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "in4310repro", *words], cwd=folder, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    )
    return done.stdout


def complaints(folder: Path, name: str) -> str:
    """Return the outcome of a format's validator in words."""
    try:
        found = VALIDATORS[name](folder)
    except pytest.skip.Exception as error:
        return f"not checked: {error}"
    return "; ".join(found) or "valid"


def main() -> None:
    outcomes = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        command(folder, "train", "--preset", "tiny", "--out", "run")
        command(folder, "report", "run", "--out", "report")
        (folder / "verified.json").write_text(command(folder, "verify", "run", "--json"), encoding="utf-8")
        for name, each in FORMATS.items():
            given = [word for field in each.takes for word in OPTIONS.get(field, ())]
            words = [*given, *(DATE if "date" in each.takes else ())]
            sys.stdout.write(command(folder, "export", "run", "--as", name, "--out", name, *words))
            outcomes[name] = complaints(folder / name, name)
    for name, outcome in outcomes.items():
        sys.stdout.write(f"{name}: {outcome}\n")
    if any(outcome != "valid" for outcome in outcomes.values()):
        sys.exit("a format was not checked, or its validator complains")


if __name__ == "__main__":
    main()
