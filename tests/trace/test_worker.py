"""A worker runs the steps of a training as its own loop would, and says in a sentence why it cannot."""

from __future__ import annotations

import faulthandler
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from in4310repro.trace import read_trace, worker
from in4310repro.trace.execution import CALLED
from in4310repro.trace.processes import NotApplicableError
from in4310repro.trace.worker import Refused
from tests.trace.oracles import hash_by_numpy
from tests.trace.trainings import training

Job = dict[str, Any]


LOOP = """
import torch
from tests.trace.oracles import hash_by_numpy
from tests.trace.trainings import training
model, criterion, optimizer, batches = training()
rows = []
for images, labels in batches:
    scores = model(images)
    rows.append((len(scores), int(model[1].num_batches_tracked)))
    optimizer.zero_grad()
    criterion(scores, labels).backward()
    optimizer.step()
    torch.save((rows, model.state_dict()), "state.pt")
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(nn.Module, "__call__", nn.Module.__call__)
    (tmp_path / "train.py").write_text(LOOP, encoding="utf-8")
    command = ("train.py",)
    return {"file": f"{tmp_path / '0.trace'}", "command": command, "steps": 2, "limit": 60.0}


def test_the_steps_of_a_worker_are_those_of_the_program_and_it_is_ended_after_the_last(job: Job) -> None:
    (model, criterion, optimizer, batches) = training()
    worker._train(job, set())
    for number, (images, labels) in enumerate(batches[:2]):
        optimizer.zero_grad()
        criterion(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if not number:
            expected = {name: each.clone() for name, each in model.state_dict().items()}
    # The program was ended before it saved a second time.
    rows, state = torch.load("state.pt")
    assert len(rows) == 1
    assert all(map(torch.equal, state.values(), expected.values()))
    steps = read_trace(Path(job["file"])).steps
    assert [[each.tensor.name for each in step.events].count("loss") for step in steps] == [1, 1]
    assert {each.tensor.name: each.hash for each in steps[1].events}["0.weight"] == hash_by_numpy(model[0].weight)  # type: ignore[index]


@pytest.mark.parametrize(("option", "recorded"), [("", 8), ("half a batch", 4), ("first half", 4)])
def test_half_a_batch_is_compared_with_the_first_half_of_a_whole_one(option: str, recorded: int, job: Job) -> None:
    worker._train(job, {option})
    rows, _ = torch.load("state.pt")
    shapes = {
        each.tensor.shape[0]
        for step in read_trace(Path(job["file"])).steps
        for each in step.events
        if each.tensor.name == "5.output"
    }
    # The program has whole batches and one pass of batch norm, whatever was recorded.
    assert (rows, shapes) == ([(8, 1)], {recorded})


def test_channels_last_is_for_models_with_a_parameter_of_four_axes() -> None:
    program: Any = None
    for plain in (nn.Linear(2, 2), nn.Conv1d(2, 2, 2)):
        with pytest.raises(NotApplicableError, match="no parameter has four axes"):
            CALLED["memory format"](program, plain, plain)
    maps = nn.Conv2d(2, 2, 2)
    called = CALLED["memory format"](program, maps, lambda images: images.stride())
    assert called(torch.ones(2, 2, 2, 2)) == (8, 1, 4, 2)
    assert maps.weight.stride() == (8, 1, 4, 2)  # of 2 x 2 x 2 x 2 values, channels next to each other


def test_a_batch_of_one_image_has_no_half() -> None:
    program: Any = None
    with pytest.raises(NotApplicableError, match="a batch of one image has no half"):
        CALLED["half a batch"](program, nn.Identity(), nn.Identity())(torch.ones(1, 2))


def test_a_program_that_takes_fewer_steps_is_refused(job: Job) -> None:
    with pytest.raises(Refused, match=r"^train.py ended after 3 of 9 steps of its optimizers; --steps 3 is possible$"):
        worker._train(job | {"steps": 9}, set())


def test_an_exit_is_described_with_its_code() -> None:
    assert worker._described(SystemExit(3)) == "it called sys.exit(3)"
    assert worker._described(SystemExit()) == "it called sys.exit()"


def refuse(_: Job) -> None:
    raise Refused("no training")


@pytest.mark.skipif(not worker.FORKS, reason="jobs run in forks on Linux alone")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("run", "ended", "result"),
    [
        (lambda _: None, (0, False), {"libraries": ["json"]}),
        (refuse, (1, False), {"error": "no training", "frames": []}),
    ],
    ids=["a run", "a refusal"],
)
def test_a_job_leaves_its_result_and_the_libraries_that_are_loaded(
    run: Callable[[Job], None],
    ended: tuple[int, bool],
    result: dict[str, Any],
    job: Job,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A fork would wait without end for the thread of a limit that pytest has set.
    faulthandler.cancel_dump_traceback_later()
    monkeypatch.setattr(worker, "run", run)
    monkeypatch.setattr(worker, "LIBRARIES", ("json", "absent"))
    assert worker._in_fork(job) == ended
    assert json.loads(Path(f"{job['file']}.result").read_text(encoding="utf-8")) == result
