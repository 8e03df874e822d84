"""status.json: how a command that torchrun started ended, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from in4310repro import signals
from in4310repro.files import read_json, write_file
from in4310repro.runs import names, status
from in4310repro.runs.folder import RunFolder


def test_an_unfinished_run_tells_how_its_training_ended(tmp_path: Path) -> None:
    write_file(tmp_path / names.CONFIG, b"{}")
    assert status.told(RunFolder(tmp_path)) == ""
    status.write(tmp_path, 130, "rank 2 of 4 has not answered", 2)
    assert read_json(tmp_path / names.STATUS) == {"code": 130, "message": "rank 2 of 4 has not answered", "rank": 2}
    said = "; its training ended with exit code 130: rank 2 of 4 has not answered"
    assert status.told(RunFolder(tmp_path)) == said
    status.write(tmp_path, 0, "", 0)
    assert status.told(RunFolder(tmp_path)) == "; its training ended with exit code 0: nothing was said"


def test_what_others_wrote_is_cut_and_shown_as_text(tmp_path: Path) -> None:
    write_file(tmp_path / names.CONFIG, b"{}")
    status.write(tmp_path, 2, "a\nb" + "x" * 2000, 0)
    message = read_json(tmp_path / names.STATUS)["message"]
    assert message.startswith("a\\nbxxx")
    assert len(message) == 1000


def test_a_folder_that_is_no_run_and_a_finished_run_that_was_not_touched_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "kept", lambda: "")
    status.write(tmp_path / "none", 2, "wrong", 0)
    assert not (tmp_path / "none").exists()
    for name in (names.CONFIG, names.METRICS):
        write_file(tmp_path / name, b"{}")
    status.write(tmp_path, 2, "wrong", 0)
    assert not (tmp_path / names.STATUS).exists()
    monkeypatch.setattr(signals, "kept", lambda: "it was continued")
    status.write(tmp_path, 0, "", 0)
    assert read_json(tmp_path / names.STATUS)["code"] == 0


def test_a_damaged_status_is_named(tmp_path: Path) -> None:
    write_file(tmp_path / names.STATUS, b'{"code": 300, "message": "", "rank": 0}')
    with pytest.raises(ValueError, match=r"status\.json: code is 300"):
        status.told(RunFolder(tmp_path))
