"""Processes forked one for each task, some at a time, each with a folder and a processor of its own."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

MEMORY = 20 << 30  # bytes of addresses: a loop that fills the memory is stopped

CRASHED = "crashed"

Task = TypeVar("Task")


@dataclass(frozen=True)
class Lane:
    """One of the places where a task can run: its number, and a folder that is empty when the task begins."""

    number: int
    folder: Path

    @property
    def log(self) -> Path:
        """The file of everything that the task prints."""
        return self.folder / "log"

    @property
    def step(self) -> Path:
        """The file in which the task writes what it begins."""
        return self.folder / "step"


@dataclass(frozen=True)
class Ending:
    """How a task ended: what it returned, "out of time", "crashed" or a signal; its last step, and what it printed."""

    text: str
    seconds: float  # of processor time
    step: str
    printed: str


@dataclass
class _Running(Generic[Task]):
    task: Task
    lane: Lane
    deadline: float


def run_forked(
    tasks: Iterable[tuple[Task, float]], act: Callable[[Task, Lane], str], lanes: int
) -> Iterator[tuple[Task, Ending]]:
    """Yield each of the tasks, given with the seconds that it may take, as it ends.

    `act` runs in a process of its own; what it returns is the text of the ending.
    """
    running: dict[int, _Running[Task]] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        free = [Lane(number, Path(folder, str(number))) for number in range(lanes)]
        for task, seconds in tasks:
            while not free:
                yield _wait(running, free)
            lane = free.pop()
            shutil.rmtree(lane.folder, ignore_errors=True)
            lane.folder.mkdir()
            child = os.fork()
            if child == 0:
                _run(task, lane, act)
            running[child] = _Running(task, lane, time.monotonic() + seconds)
        while running:
            yield _wait(running, free)


def _run(task: Task, lane: Lane, act: Callable[[Task, Lane], str]) -> None:
    code = 1
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        if hasattr(os, "sched_setaffinity"):
            processors = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {processors[lane.number % len(processors)]})
        os.environ["TMPDIR"] = tempfile.tempdir = str(lane.folder)
        output = os.open(lane.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in (1, 2):
            os.dup2(output, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        (lane.folder / "ending").write_text(act(task, lane), encoding="utf-8")
        code = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        sys.stdout.flush()
        os._exit(code)


def _wait(running: dict[int, _Running[Task]], free: list[Lane]) -> tuple[Task, Ending]:
    """Wait until one of the processes ends or is out of time; end what it started, too."""
    while True:
        for child, each in running.items():
            done, status, used = os.wait4(child, os.WNOHANG)
            late = not done and time.monotonic() > each.deadline
            if done or late:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGKILL)
                if late:
                    _, status, used = os.wait4(child, 0)
                del running[child]
                free.append(each.lane)
                text = "out of time" if late else _name_ending(os.waitstatus_to_exitcode(status), each.lane)
                step = each.lane.step.read_text(encoding="utf-8") if each.lane.step.exists() else ""
                printed = each.lane.log.read_text(encoding="utf-8", errors="replace")[-3000:]
                if text == CRASHED and not step:
                    raise RuntimeError(f"a task did not begin:\n{printed}")
                return each.task, Ending(text, used.ru_utime + used.ru_stime, step, printed)
        time.sleep(0.01)


def _name_ending(code: int, lane: Lane) -> str:
    if code < 0:
        return signal.Signals(-code).name
    ending = lane.folder / "ending"
    return ending.read_text(encoding="utf-8") if ending.exists() else CRASHED
