"""How a training is computed after each change of its execution, and which of its lines are noted."""

from __future__ import annotations

import concurrent.futures
import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import pool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from in4310repro.trace import execution
from in4310repro.trace.changes import CHANGES, FIXES
from in4310repro.trace.notes import Notes
from in4310repro.trace.surroundings import READ

IMAGES: Any = [0]
REPLACED = (
    (DataLoader, "__init__"),
    (pool.Pool, "imap_unordered"),
    (concurrent.futures, "as_completed"),
    (concurrent.futures.ThreadPoolExecutor, "submit"),
    (threading.Thread, "start"),
)


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for owner, name in REPLACED:
        monkeypatch.setattr(owner, name, getattr(owner, name))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_each_option_of_a_change_is_one_that_a_run_carries_out() -> None:
    variants = [variant for change in CHANGES for variant in change.variants]
    options = {option for each in variants for option in (*each.options, *each.against)} | {fix.option for fix in FIXES}
    of_batches = {"again", "generators as before", "half a batch", "first half"}
    of_models = {"memory format", "compile", "portable arithmetic"}
    assert options == {*READ, *execution.COMPUTED, *of_batches, *of_models}


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(
    ("asked", "made"), [({}, 2), ({"num_workers": 1}, 2), ({"num_workers": 2}, 1), ({"num_workers": 3}, 1)]
)
def test_a_loader_gets_another_number_of_workers_than_it_asks_for(
    asked: dict[str, Any], made: int, notes: Notes, tmp_path: Path
) -> None:
    execution.change_workers(notes)
    assert DataLoader(IMAGES, **asked).num_workers == made
    assert "a DataLoader is made at test_execution.py:" in (tmp_path / "notes").read_text(encoding="utf-8")


def test_ordered_results_are_those_of_the_first_task_first(notes: Notes, tmp_path: Path) -> None:
    execution.order_results(notes)
    assert DataLoader(IMAGES, in_order=False).in_order
    second = threading.Event()

    def work(number: int) -> int:
        # The first task ends after the second one.
        if number:
            second.set()
        else:
            second.wait(10)
        return number

    with pool.ThreadPool(2) as threads:
        assert [*threads.imap_unordered(work, range(2))] == [0, 1]
    second.clear()
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        tasks = [executor.submit(work, number) for number in range(2)]
        assert [*concurrent.futures.as_completed(tasks)] == tasks
    what = "results are taken in the order in which they end at test_execution.py:"
    assert (tmp_path / "notes").read_text(encoding="utf-8").count(what) == 2


def test_with_one_thread_what_a_training_starts_ends_before_the_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, notes: Notes, tmp_path: Path
) -> None:
    torch.set_num_threads(2)
    execution.use_one_thread(notes)
    assert torch.get_num_threads() == 1
    thread = threading.Thread(target=time.sleep, args=(0.1,))
    thread.start()
    assert not thread.is_alive()
    with concurrent.futures.ThreadPoolExecutor() as executor:
        assert executor.submit(threading.current_thread).result(0) is threading.current_thread()
        assert isinstance(executor.submit(int, "seven").exception(0), ValueError)
    waited: list[float] = []
    monkeypatch.setattr(threading.Thread, "join", lambda _, seconds: waited.append(seconds))
    for daemon in (True, False):
        threading.Thread(target=int, daemon=daemon).start()
    # A thread may wait for what comes after its start.
    assert waited == [10.0]
    what = "threads are started at test_execution.py:"
    assert (tmp_path / "notes").read_text(encoding="utf-8").count(what) == 4


def test_a_number_of_threads_is_that_of_torch_and_one_is_bound_to_one_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bound: list[Any] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 3}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *asked: bound.append(asked), raising=False)
    for threads in (2, 3, 1):
        execution.set_threads(threads)
        assert torch.get_num_threads() == threads
    assert bound == [(0, {3})]


@pytest.mark.parametrize(("change", "filled"), [(execution.be_deterministic, False), (execution.fill_tensors, True)])
def test_deterministic_algorithms_fill_new_tensors_where_that_is_asked_for(
    change: Callable[[Notes], None], filled: bool, monkeypatch: pytest.MonkeyPatch, notes: Notes
) -> None:
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    options: Any = torch.utils.deterministic
    monkeypatch.setattr(options, "fill_uninitialized_memory", not filled)
    torch.use_deterministic_algorithms(False)
    change(notes)
    after = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    assert (*after, options.fill_uninitialized_memory) == (True, True, filled)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only the C library of Linux can fill memory")
def test_new_memory_is_filled_with_the_complement_of_165(notes: Notes) -> None:
    execution.fill_memory(notes)
    memory = np.empty(1 << 20, np.uint8)
    ctypes.CDLL(None).mallopt(execution.M_PERTURB, 0)
    assert (memory == 255 - 165).all()
