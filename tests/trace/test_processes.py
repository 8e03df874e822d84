"""Processes that run a training: what is said of one that ended, and that none of them and no file is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from in4310repro.trace.processes import Processes, Server, Training
from in4310repro.trace.runner import Request

TRAINING = Training(("-m", "train"))
# Runs one job, and ends a while after its answer that it was the last one.
ONE_RUN = """
import json, pathlib, time
file = json.loads(input())["file"]
pathlib.Path(file).write_text('{"trace": 1, "modules": [], "environment": {}}\\n')
pathlib.Path(file + ".result").write_text('{"libraries": []}')
print("[0, false, true]", flush=True)
time.sleep(0.3)
"""


def test_a_process_that_ends_after_its_run_is_replaced_for_the_next_and_no_file_is_left() -> None:
    with Processes() as opened:
        server = opened.open("first", words=("-c", ONE_RUN))
        files = [Path(server.run(TRAINING).trace.place) for _ in range(2)]
        assert all(each.exists() for each in files)
    assert not files[0].parents[1].exists()


def test_of_a_process_that_ends_early_the_last_line_is_said(tmp_path: Path) -> None:
    server = Server(tmp_path, words=("-c", "raise SystemExit('a line\\nthe last line')"))
    with pytest.raises(ValueError, match=r"^-m train ended its process with exit code 1: the last line$"):
        server.run(TRAINING)


def test_a_process_ends_with_a_run_that_is_interrupted(tmp_path: Path) -> None:
    server = Server(tmp_path, words=("-c", "input(); input()"))
    process = server._start()
    with pytest.raises(TypeError, match="not JSON serializable"):
        server.run(replace(TRAINING, libraries=(object(),)))  # type: ignore[arg-type]
    assert process.poll() is not None


def test_a_run_is_named_by_what_it_is_asked_to_do() -> None:
    assert str(Request("first")) == "a plain run"
    asked = Request("libraries first", ("stopped clock",), (("JOB", "2"),), 3)
    assert str(asked) == "stopped clock, JOB=2, threads 3, libraries first"
