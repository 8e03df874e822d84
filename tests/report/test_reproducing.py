"""The command printed in a report works in an empty folder."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from in4310repro.runs.presets import configure, reproducing_command
from tests.builders import write_class_folders
from tests.conftest import Call


def read_command(report: Path) -> str:
    """Return the command on a report's page, after a check that all its figures show the same one."""
    (command,) = set(re.findall(r"Made by `(.*)`", (report / "report.md").read_text(encoding="utf-8")))
    return str(command)


def run_command(call: Call, command: str) -> None:
    for each in command.split(" && "):
        program, *words = shlex.split(each)
        assert program == "in4310repro"
        code, _, error = call(*words)
        assert code == 0, error


def record(report: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((report / "run.json").read_text(encoding="utf-8"))
    return {name: content[name] for name in ("command", "config", "metrics", "figures")}


def test_what_a_page_prints_makes_the_same_page_in_an_empty_folder(call: Call, written: Path, tmp_path: Path) -> None:
    assert not list(tmp_path.iterdir())
    run_command(call, read_command(written))
    assert record(tmp_path / "reports/tiny") == record(written)


@pytest.mark.slow
def test_a_page_on_images_of_ones_own_prints_what_makes_it_beside_a_run_of_others_with_the_name(
    call: Call, own_records: Path, tmp_path: Path
) -> None:
    mine = write_class_folders(tmp_path / "my photos", dict.fromkeys(("cat", "dog", "owl"), 10))
    words = ("--preset", "tiny", "--epochs", "1", "--data", f"{mine}", "--out", "elsewhere/first")
    for command in (("train", *words), ("report", "elsewhere/first")):
        assert call(*command)[0] == 0
    # A run of other images already has the default name of a new run.
    (tmp_path / "runs").mkdir()
    own_records.rename(tmp_path / "runs/my-photos")
    run_command(call, read_command(tmp_path / "reports/first"))
    assert record(tmp_path / "reports/my-photos")["metrics"] == record(tmp_path / "reports/first")["metrics"]


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("demo", {}),
        ("tiny", {"seed": 3, "data": "photos/it's mine"}),
        ("course", {"data": "/home/ada/scenes", "weights": "none"}),
        ("photographs-head", {"data": "mine"}),
    ],
)
def test_the_command_trains_the_configuration_and_reports_the_run_that_it_wrote(
    preset: str, overrides: dict[str, object], call: Call
) -> None:
    config = configure(preset, None, overrides)
    first, second = (shlex.split(each)[1:] for each in reproducing_command(config).split(" && "))
    code, _, _ = call(*first, "--print-config")
    assert (code, second[0]) == (0, "report")
    given = first[first.index("--out") + 1] if "--out" in first else f"runs/{preset}"
    assert second[1:] == [given]
    assert "/home" not in f"{first}"
