"""A worker runs the steps of a training as its own loop would, and says in a sentence why it cannot."""

from __future__ import annotations

import faulthandler
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from in4310repro.trace import read_trace, worker
from in4310repro.trace.processes import NotApplicableError
from in4310repro.trace.worker import Refused
from tests.trace.trainings import training

Job = dict[str, Any]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return {"file": f"{tmp_path / '0.trace'}", "function": "train:make", "steps": 2, "limit": 60.0}


def test_the_steps_of_a_worker_are_those_of_a_plain_loop_and_each_is_recorded(job: Job) -> None:
    made, (model, criterion, optimizer, batches) = training(), training()
    worker._train(made, job, set())
    for images, labels in batches[:2]:
        optimizer.zero_grad()
        criterion(model(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert all(map(torch.equal, made[0].state_dict().values(), model.state_dict().values()))
    steps = read_trace(Path(job["file"])).steps
    assert [[each.tensor.name for each in step.events].count("loss") for step in steps] == [1, 1]


@pytest.mark.parametrize(("option", "computed", "recorded"), [("", 8, 8), ("half a batch", 4, 4), ("first half", 8, 4)])
def test_half_a_batch_is_compared_with_the_first_half_of_a_whole_one(
    option: str, computed: int, recorded: int, job: Job
) -> None:
    model, criterion, *rest = training()
    rows = []

    def count(scores: Tensor, labels: Tensor) -> Tensor:
        rows.append((len(scores), len(labels)))
        return criterion(scores, labels)

    worker._train((model, count, *rest), job, {option})
    shapes = {
        each.tensor.shape[0]
        for step in read_trace(Path(job["file"])).steps
        for each in step.events
        if each.tensor.name in ("images", "labels", "5.output")
    }
    assert (rows, shapes) == ([(computed, computed)] * 2, {recorded})


def test_channels_last_is_for_models_with_a_parameter_of_four_axes() -> None:
    for plain in (nn.Linear(2, 2), nn.Conv1d(2, 2, 2)):
        with pytest.raises(NotApplicableError, match="no parameter has four axes"):
            worker._forward(plain, {"memory format"})
    maps = nn.Conv2d(2, 2, 2)
    assert worker._forward(maps, {"memory format"}) is maps
    assert maps.weight.stride() == (8, 1, 4, 2)  # of 2 x 2 x 2 x 2 values, channels next to each other


@pytest.mark.parametrize(("made", "shown"), [(3, "int"), ([1, 2], "a list of 2 values"), ("four", "str")])
def test_what_is_no_training_is_named(made: object, shown: str) -> None:
    with pytest.raises(Refused, match=rf"^it returns {shown}; \(model, loss function, optimizer, batches\) was expec"):
        worker._check(made)


def test_a_module_that_is_missing_is_told_from_one_that_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "needs_more.py").write_text("import absent_library.parts", encoding="utf-8")
    for name in ("absent", "absent.train"):
        with pytest.raises(Refused, match=r"^there is no module 'absent' in this folder or on Python's path$"):
            worker._function(f"{name}:make", [])
    with pytest.raises(ModuleNotFoundError, match="absent_library"):
        worker._function("needs_more:make", [])


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
