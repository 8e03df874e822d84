"""`explain` finds what moves a training's bits and names it, or says in a sentence why a training cannot be run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from in4310repro.trace.causes import assert_same_training, explain
from in4310repro.trace.changes import CHANGES
from in4310repro.trace.comparison import compare
from in4310repro.trace.explanation import Explanation
from in4310repro.trace.processes import Processes, Training
from tests.conftest import Call, refused
from tests.trace import trainings
from tests.trace.failing import FAILING, prints_much
from tests.trace.planted import RUN

ROOT = Path(__file__).parents[2]
HERE = (f"{ROOT}",)
FEW = ("listing", "clock", "again", "unseeded again", "environment")
MINE = """import os

import torch

model = torch.nn.Linear(4, 2)
torch.nn.init.constant_(model.weight, 0.5)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
torch.nn.init.constant_(model.bias, int(os.environ.get("JOB", "1")))
for _ in range(5):
    optimizer.zero_grad()
    model(torch.ones(3, 4)).square().mean().backward()
    optimizer.step()
raise SystemExit("more steps were taken than were asked for")
"""
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a new process for each run takes minutes")


def explained(make: Callable[[], Any], processes: Processes, *only: str) -> Explanation:
    command = (*RUN, f"{make.__module__}:{make.__name__}")
    return explain(command, path=HERE, processes=processes, only=only or FEW)


@linux
def test_an_honest_training_repeats_and_is_accused_of_nothing(processes: Processes) -> None:
    found = explained(trainings.honest, processes)
    assert found.repeats
    assert found.causes == []
    assert [each.describe() for each in found.effects] == ["moves nothing"] * len(FEW)


@linux
def test_of_a_training_that_does_not_repeat_the_line_is_named_and_held_while_changes_are_tried(
    processes: Processes,
) -> None:
    found = explained(trainings.clock_seed, processes, "clock", "threads")
    (cause,) = found.causes
    lines = Path(trainings.__file__).read_text(encoding="utf-8").splitlines()
    (number,) = re.findall(r"trainings\.py:(\d+)", cause)
    assert cause.startswith("clock: ")
    assert "time.time_ns()" in lines[int(number) - 1]
    assert not found.repeats
    assert found.held == ("stopped clock",)
    assert found.effects[0].describe() == "not tried: held fixed: stopped clock"
    assert found.effects[1].comparison


@linux
def test_threads_move_bits_by_rounding_and_are_no_mistake(processes: Processes) -> None:
    found = explained(trainings.sum_on_threads, processes, "threads", "portable arithmetic")
    assert found.causes == []
    assert "threads  " in "\n".join(found.lines())
    assert "moves first 6.output (Sum in training mode), step 0, forward" in "\n".join(found.lines())


@linux
def test_portable_arithmetic_is_named_as_what_holds_bits(processes: Processes) -> None:
    found = explained(trainings.honest, processes, "threads", "ONEDNN_MAX_CPU_ISA", "portable arithmetic")
    moving = [each.change.name for each in found.effects if each.moved and each.change.name != "portable arithmetic"]
    expected = [f"with portable arithmetic: {', '.join(moving)} move nothing"] if moving else []
    assert list(found.together) == expected


@linux
def test_half_a_batch_moves_batch_norm_in_training_mode_and_not_in_evaluation_mode(processes: Processes) -> None:
    moved = [
        explained(make, processes, "batch size").effects[0] for make in (trainings.honest, trainings.frozen_batch_norm)
    ]
    assert moved[0].describe() == "moves first 1.output (BatchNorm2d in training mode), step 0, forward"
    assert moved[1].describe() == "moves nothing"


@linux
@pytest.mark.parametrize("make", FAILING, ids=lambda make: make if isinstance(make, str) else make.__name__)
def test_a_training_that_cannot_run_gives_one_sentence(make: str | Callable[..., Any], processes: Processes) -> None:
    command = make.split() if isinstance(make, str) else [*RUN, f"{make.__module__}:{make.__name__}"]
    with pytest.raises(ValueError, match=FAILING[make]) as error:
        explain(command, path=HERE, processes=processes, only=FEW, limit=2 if "hangs" in command[-1] else 300)
    assert "\n" not in str(error.value)
    assert " ".join(command) in str(error.value)


@linux
def test_a_training_may_print_much(processes: Processes) -> None:
    assert explained(prints_much, processes, "clock").causes == []


@linux
@pytest.mark.slow
def test_a_run_that_is_under_way_ends_with_its_processes(tmp_path: Path) -> None:
    command = [*RUN, "tests.trace.failing:hangs"]
    code = f"from in4310repro.trace.causes import explain; explain({command!r}, path=[{f'{ROOT}'!r}])"
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, start_new_session=True, cwd=tmp_path) as process:
        while not (runs := _runs_of(process.pid)):
            time.sleep(0.1)
        # As `timeout` and a terminal do, to all of its group.
        os.killpg(process.pid, signal.SIGTERM)
    end = time.monotonic() + 20
    while (left := [each for each in runs if Path(f"/proc/{each}/cwd").exists()]) and time.monotonic() < end:
        time.sleep(0.1)
    assert left == []


def _runs_of(process: int) -> list[int]:
    """Return the ids of the processes forked by the servers that `process` has started."""
    return [run for server in _children(process) for run in _children(server)]


def _children(process: int) -> list[int]:
    files = Path(f"/proc/{process}/task").glob("*/children")
    return [int(each) for file in files for each in file.read_text(encoding="utf-8").split()]


@linux
@pytest.mark.slow
def test_processes_leave_no_files_and_no_processes_behind(tmp_path: Path) -> None:
    with Processes() as opened:
        server = opened.open("first")
        run = server.run(Training((*RUN, "tests.trace.trainings:unseeded_worker"), path=HERE, cwd=f"{tmp_path}"))
        folder = Path(run.trace.place).parents[1]
        assert folder.exists()
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


@linux
def test_a_helper_for_tests_passes_what_repeats_and_names_the_difference_of_what_does_not(processes: Processes) -> None:
    name = f"{trainings.__name__}:"
    assert_same_training([*RUN, f"{name}honest"], ["listing", "clock"], processes=processes)
    with pytest.raises(
        AssertionError, match=r"listing moves first model\.input .*, step 0, forward; cause: listing: files are read"
    ):
        assert_same_training([*RUN, f"{name}listed_files"], ["listing", "clock"], processes=processes)


def test_a_helper_for_tests_refuses_no_changes() -> None:
    with pytest.raises(ValueError, match="under is empty; it must name some of hash seed, listing, "):
        assert_same_training(["-m", "train"], [])


def test_a_change_that_there_is_not_is_refused_with_the_valid_ones(call: Call) -> None:
    names = ", ".join(each.name for each in CHANGES)
    refused(call, ("explain", "--only", "moon", "--", "-m", "train"), f"no change 'moon'; there are {names}")


def test_the_minutes_of_torch_compile_are_announced(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise ValueError("stopped")

    monkeypatch.setattr("in4310repro.trace.causes.explain", stop)
    for change, said in (("compile", True), ("threads", False)):
        error = call("explain", "--only", change, "--", "-m", "train")[2]
        assert ("torch.compile compiles the model, which takes minutes" in error) == said


def test_a_training_that_is_no_file_is_refused(call: Call) -> None:
    refused(call, ("explain", "--", "train.py"), "train.py is not a file; give a Python file, or -m MODULE, after --")


@linux
def test_the_command_ends_with_1_for_a_mistake_and_prints_it(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    words = ("--only", "environment", "--only", "clock", "--steps", "1", "--json", "--", "mine.py")
    code, printed, _ = call("explain", *words)
    document = json.loads(printed)
    assert code == 1
    assert document["repeats"]
    moved = "moves first start.bias, step 0, data"
    assert [each["text"] for each in document["effects"]] == ["moves nothing", moved]
    assert document["effects"][1]["meaning"] == "numbers in environment variables one higher"
    assert document["causes"][0].endswith("(the environment variable JOB is read at mine.py:8)")


@linux
@pytest.mark.slow
@pytest.mark.parametrize("name", ["ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR"])
def test_a_fork_computes_with_vector_instructions_as_a_process_that_began_with_them(name: str) -> None:
    value = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "COMPATIBLE"}[name]
    training = Training((*RUN, "tests.trace.trainings:wide_product"), path=HERE)
    with Processes() as opened:
        forked = opened.open("first").run(training, variables={name: value})
        begun = opened.open("second", {name: value}).run(training)
    assert compare(forked.trace, begun.trace).equal


@linux
@pytest.mark.slow
def test_the_first_steps_of_a_run_are_explained(call: Call, resnet18_run: Path) -> None:
    code, printed, _ = call("explain", f"{resnet18_run}", "--only", "threads", "--only", "clock", "--only", "again")
    assert code == 0, printed
    assert "cause: none found" in printed
