"""Rows of bad input: signals at several moments, each sent to a process of its own."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

from tests.bad_input.row import PATIENCE, Act, rows_of
from tests.bad_input.sandbox import Sandbox

row = rows_of("signals")

TRAIN = "train --preset tiny --epochs 200"
RUN = ("work/runs*",)


def when(text: str, number: int) -> Act:
    """Return a function that sends a signal to a process as soon as its standard error contains `text`."""

    def act(process: subprocess.Popen[bytes], printed: Callable[[], str]) -> None:
        end = time.monotonic() + PATIENCE
        while text not in printed() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(number)

    return act


def wait(_process: subprocess.Popen[bytes], _printed: Callable[[], str]) -> None:
    """Wait without doing anything to the process."""


def a_run(box: Sandbox) -> None:
    box.run()


def no_half_files(box: Sandbox) -> None:
    assert not list(box.root.rglob("*.part"))


ROWS = [
    row("SIGTERM while the command line is loaded", TRAIN, 130, "interrupted", act=when("| in4310repro.cli", 15)),
    row("SIGINT while NumPy is loaded", TRAIN, 130, "interrupted", act=when("numpy._core", signal.SIGINT)),
    row("SIGTERM while torch is loaded", "verify runs/tiny", 130, "interrupted", make=a_run, act=when("torch._C", 15)),
    row("SIGINT while torch is loaded", TRAIN, 130, "interrupted", act=when("torch._C", signal.SIGINT)),
    row("SIGTERM in the middle of a training", TRAIN, 130, "--resume continues", written=RUN,
        act=when("adamw epoch 1", 15), intact="what was trained: --resume continues", afterwards=no_half_files),
    row("SIGTERM while scenes are drawn", "data scenes new --images 2000", 130, "interrupted", written=("work/new*",),
        act=when("drawing scenes", 15)),
]  # fmt: skip
