"""How a command under torchrun ended, in the folder of its run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from in4310repro import signals
from in4310repro.runs import names, status
from in4310repro.runs.finished import finished_files
from in4310repro.runs.folder import RunFolder
from in4310repro.verification.manifest import foreign_files
from in4310repro.verification.opening import recorded_files
from tests.conftest import Call
from tests.processes import held_by_another_process


@pytest.fixture
def unfinished(tmp_path: Path) -> RunFolder:
    files = RunFolder.create(tmp_path / "run")
    files.write_json(names.CONFIG, {})
    return files


def recorded(files: RunFolder) -> object:
    return json.loads((files.folder / "status.json").read_text())


def test_an_unfinished_run_says_how_its_training_ended(unfinished: RunFolder, call: Call) -> None:
    status.write(unfinished.folder, 130, "rank 2 of 4 has not answered for 30 s", 2)
    assert recorded(unfinished) == {"code": 130, "message": "rank 2 of 4 has not answered for 30 s", "rank": 2}
    ending = "no metrics.json; its training ended with exit code 130: rank 2 of 4 has not answered for 30 s"
    for opened in (recorded_files, finished_files):
        with pytest.raises(ValueError, match=ending):
            opened(unfinished.folder)
    code, _, said = call("verify", str(unfinished.folder))
    assert code == 2
    assert said.endswith(f"{ending}\n")


def test_it_is_a_file_of_the_run_and_not_of_its_manifest(unfinished: RunFolder) -> None:
    status.write(unfinished.folder, 0, "", 0)
    assert unfinished.manifest().keys() == {"config.json"}
    assert foreign_files(unfinished.folder) == ""
    (unfinished.folder / "adamw").mkdir()
    (unfinished.folder / "status.json").rename(unfinished.folder / "adamw/status.json")
    assert "adamw/status.json, which no run writes" in foreign_files(unfinished.folder)


def test_the_next_command_begins_without_it(unfinished: RunFolder) -> None:
    status.write(unfinished.folder, 2, "wrong", 0)
    RunFolder.reopen(unfinished.folder)
    assert not (unfinished.folder / "status.json").exists()


def test_a_finished_run_has_one_of_the_command_that_finished_it_alone(
    unfinished: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished.write_json(names.METRICS, {})
    status.write(unfinished.folder, 2, "another command met a wrong path", 0)
    assert not (unfinished.folder / "status.json").exists()
    monkeypatch.setattr(signals, "kept", lambda: "the run is kept")
    status.write(unfinished.folder, 0, "", 0)
    assert recorded(unfinished) == {"code": 0, "message": "", "rank": 0}


def test_a_folder_of_no_run_or_of_another_process_stays_as_it_is(tmp_path: Path) -> None:
    status.write(tmp_path / "nowhere", 2, "wrong", 0)
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "held").mkdir()
    (tmp_path / "held/config.json").write_text("{}")
    with held_by_another_process(tmp_path / "held"):
        status.write(tmp_path / "held", 2, "another process works on held", 0)
    assert not (tmp_path / "held/status.json").exists()


def test_whatever_was_said_can_be_read_again(unfinished: RunFolder) -> None:
    status.write(unfinished.folder, 70, "\x1b[31m" + 2000 * "x", 3)
    assert len(json.loads((unfinished.folder / "status.json").read_text())["message"]) == 1000
    with pytest.raises(ValueError, match=r"exit code 70: \\x1b\[31mxxx"):
        recorded_files(unfinished.folder)


@pytest.mark.parametrize("text", ["[", "[]", '{"code": -9, "message": "", "rank": 0}', '{"code": 0, "rank": 0}'])
def test_a_damaged_one_is_named(text: str, unfinished: RunFolder) -> None:
    (unfinished.folder / "status.json").write_text(text)
    with pytest.raises(ValueError, match=r"status\.json"):
        recorded_files(unfinished.folder)
