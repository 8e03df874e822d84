"""`--resume` needs an existing run, except after a restart by torchrun, when it may start a new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from in4310repro.runs.folder import RunFolder
from in4310repro.runs.presets import PRESETS
from in4310repro.system import launch
from in4310repro.system.context import Context
from in4310repro.system.files import write_file
from in4310repro.system.numerics import Numerics
from in4310repro.training import experiment
from tests.conftest import Call, Replace, refused

TINY = ("train", "--preset", "tiny", "--epochs", "1", "--model", "benchmarks.soak:small_network")


def test_a_run_that_is_not_there_is_not_resumed_and_those_that_are_there_are_named(call: Call, tmp_path: Path) -> None:
    for name in ("runs/other", "runs/mine"):
        write_file(tmp_path / name / "config.json", b"{}")
    refused(call, (*TINY, "--resume", "--out", "runs/mien"), "run to resume in runs/mien", "runs/mine, runs/other")
    refused(call, (*TINY, "--resume"), "run to resume in runs/tiny", "runs/mine")
    refused(call, (*TINY, "--resume", "--data", "photos", "--out", "typo"), "no run to resume in typo", "runs/mine")
    assert sorted(each.name for each in (tmp_path / "runs").iterdir()) == ["mine", "other"]
    assert not (tmp_path / "typo").exists()


def test_where_there_is_no_run_at_all_it_is_said_that_train_writes_one(call: Call) -> None:
    refused(
        call, (*TINY, "--resume"), "run to resume in runs/tiny", "`in4310repro train` writes one", "without --resume"
    )


@pytest.mark.parametrize("name", ["fingerprint.json", "split.csv"])
def test_a_training_that_was_killed_before_its_configuration_was_written_starts_without(
    name: str, call: Call, tmp_path: Path
) -> None:
    RunFolder(tmp_path / "runs/tiny").write_bytes(name, b"{}")
    refused(call, (*TINY, "--resume"), "runs/tiny", "before config.json was written", "start it without --resume")
    assert call(*TINY, "--optimizer", "SGD")[0] == 0
    assert call(*TINY, "--optimizer", "SGD", "--resume")[0] == 0


def test_python_has_the_same_rule(numerics: Numerics, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no run to resume in .*typo"):
        experiment.train(PRESETS["tiny"], tmp_path / "typo", resume=True, context=Context(numerics))
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize(
    ("environment", "restarts"),
    [
        ({}, False),
        ({"TORCHELASTIC_RUN_ID": "none"}, False),
        ({"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_MAX_RESTARTS": "0"}, False),
        ({"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_MAX_RESTARTS": "3"}, True),
        ({"TORCHELASTIC_MAX_RESTARTS": "3"}, False),
    ],
)
def test_only_a_torchrun_that_restarts_has_the_same_command_begin_and_resume(
    environment: dict[str, str], restarts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_MAX_RESTARTS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert launch.restarts() == restarts


def test_under_restarts_resume_begins_a_run_and_says_so(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    code, printed, error = call(*TINY, "--optimizer", "SGD", "--resume")
    assert (code, printed.split(":")[0]) == (0, "wrote runs/tiny")
    assert "no run to resume in runs/tiny: one starts" in error
    again = call(*TINY, "--optimizer", "SGD", "--resume")[2]
    assert "one starts" not in again
    # That of the run is that of the command.
    assert "EXIF orientation" not in again


@pytest.mark.parametrize("preset", ["tiny", "demo"])
def test_a_resumed_run_has_its_own_preset_where_none_is_named(
    preset: str, call: Call, tmp_path: Path, replace_train: Replace
) -> None:
    resumed = []
    replace_train(lambda config, *_, **options: resumed.append((config, options["resume"])))
    write_file(tmp_path / "mine/config.json", b'{"preset": "%s"}' % preset.encode())
    call("train", "--resume", "--out", "mine")
    call("train", "--resume", "--data", "photos", "--out", "mine")
    assert [(config.preset, resume) for config, resume in resumed] == [(preset, True)] * 2
