"""The file in the run folder that records how a command under torchrun ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from in4310repro.runs import names
from in4310repro.runs.finished import finished_files
from in4310repro.runs.folder import RunFolder, write_status
from in4310repro.verification.folder import describe, recorded_files, unchecked_in_run
from tests.conftest import Call


@pytest.fixture
def unfinished(tmp_path: Path) -> RunFolder:
    files = RunFolder.create(tmp_path / "run")
    files.write_json(names.CONFIG, {})
    return files


def recorded(files: RunFolder) -> object:
    return json.loads((files.folder / "status.json").read_text())


def test_an_unfinished_run_says_how_its_training_ended(unfinished: RunFolder, call: Call) -> None:
    write_status(unfinished.folder, 130, "rank 2 of 4 has not answered for 30 s", 2)
    assert recorded(unfinished) == {"code": 130, "message": "rank 2 of 4 has not answered for 30 s", "rank": 2}
    ending = "no metrics.json; its training ended with exit code 130: rank 2 of 4 has not answered for 30 s"
    for opened in (recorded_files, finished_files):
        with pytest.raises(ValueError, match=ending):
            opened(unfinished.folder)
    code, _, said = call("verify", str(unfinished.folder))
    assert code == 2
    assert said.endswith(f"{ending}\n")


def test_it_is_a_file_of_the_run_and_not_of_its_manifest(unfinished: RunFolder) -> None:
    write_status(unfinished.folder, 0, "", 0)
    assert unfinished.manifest().keys() == {"config.json"}
    assert describe(unchecked_in_run(unfinished.folder, {"config.json", "manifest.json"}, {"adamw": 2})) == (
        "not checked: status.json (a training leaves them)"
    )
    (unfinished.folder / "adamw").mkdir()
    (unfinished.folder / "status.json").rename(unfinished.folder / "adamw/status.json")
    listed = unchecked_in_run(unfinished.folder, {"config.json", "manifest.json"}, {"adamw": 2})
    assert describe(listed) == "not checked: unknown: adamw/status.json"
