"""Runs of some steps of a user's training, each in a process of its own, for `causes`.

    python -m in4310repro.trace.worker

reads jobs from its standard input, a line of JSON each. On Linux it imports torch once, later the installed libraries
that the training was seen to use, and forks for each job: the user's module is imported in the fork, and nothing was
computed before. Elsewhere it does one job and ends.
"""

import contextlib
import faulthandler
import gc
import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from in4310repro.trace.execution import CALLED, COMPUTED, change_calls, set_threads
from in4310repro.trace.notes import Notes, is_own
from in4310repro.trace.processes import NotApplicableError
from in4310repro.trace.surroundings import READ

FORKS = sys.platform.startswith("linux")
PAUSE = 0.005  # seconds
LIBRARIES = ("torchvision", "PIL", "scipy", "pandas", "sklearn")  # that a process may import before it forks
FRAMES = 2  # of the user's own code, at the end of a traceback


class Refused(Exception):  # noqa: N818 - a sentence for the user
    """Error raised if a training cannot be run as given; the message says why."""


def serve() -> None:
    """Read jobs from standard input, one line of JSON each, and run them.

    The answer to a job is a JSON list: its exit code, whether it timed out, and whether it was the last job that
    this process can run.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    answers = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    _import_torch()
    for line in sys.stdin:
        job = json.loads(line)
        for name in job["libraries"]:
            importlib.import_module(name)
        code, late = _in_fork(job) if FORKS else (_work(job), False)
        answers.write(f"{json.dumps([code, late, not FORKS])}\n")
        answers.flush()
        if not FORKS:
            break


def _import_torch() -> None:
    import numpy as np  # noqa: F401
    import torch

    import in4310repro.trace.program  # noqa: F401

    if torch.version.cuda is None:
        # Every optimizer imports it, for 1.5 s; with CUDA it may ask for devices, which a fork then cannot use.
        import torch._dynamo
    # A fork that collects garbage would copy the memory of all that was imported.
    gc.freeze()


def _in_fork(job: dict[str, Any]) -> tuple[int, bool]:
    """Run a job in a forked process group; return its exit code and whether it was stopped at the time limit."""
    parent = os.getppid()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os._exit(_work(job))
    end, late = time.monotonic() + job["limit"], False
    try:
        while not (status := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > end or os.getppid() != parent:
                late = True
                break
            time.sleep(PAUSE)
    finally:
        # Its worker processes too, also where this process is told to end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
    if late:
        # It may have been stopped before it led a group.
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status[1]), late


def _work(job: dict[str, Any]) -> int:
    """Run a job, write its result or error to a file beside the trace, and return the exit code."""
    errors = os.open(f"{job['file']}.errors", os.O_WRONLY | os.O_CREAT)
    os.dup2(errors, 2)
    faulthandler.enable(errors)
    # Shortly before the process is stopped, its stack is written.
    faulthandler.dump_traceback_later(max(job["limit"] - 0.5, 0.1), file=errors)
    try:
        run(job)
        result: dict[str, Any] = {"libraries": [each for each in LIBRARIES if each in sys.modules]}
    except NotApplicableError as error:
        result = {"not applicable": str(error)}
    except Refused as error:
        result = {"error": str(error), "frames": []}
    except BaseException as error:
        result = {"error": _described(error), "frames": _frames(error)}
    faulthandler.cancel_dump_traceback_later()
    Path(f"{job['file']}.result").write_text(json.dumps(result), encoding="utf-8")
    return 0 if "libraries" in result else 1


def _described(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it called sys.exit({'' if error.code is None else repr(error.code)})"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _frames(error: BaseException) -> list[str]:
    """Return the last two lines of user code in the traceback of an error."""
    frames = [
        f"{Path(each.filename).name}:{each.lineno} in {each.name}: {each.line}"
        for each in traceback.extract_tb(error.__traceback__)
        if is_own(each.filename)
    ]
    return frames[-FRAMES:]


def run(job: dict[str, Any]) -> None:
    """Run the training that a job describes, under the job's options, and write the trace file.

    Raises:
        Refused: the program ended before it had taken enough steps.
        NotApplicableError: an option does not apply to this training.
    """
    import numpy as np
    import torch

    # A fork inherits the generators of the process before it, which a new process would have seeded by entropy.
    random.seed()
    torch.seed()
    np.random.seed()
    os.chdir(job["cwd"])
    sys.path[:0] = job["path"]
    os.environ.update(job["variables"])
    notes = Notes(Path(f"{job['file']}.notes"))
    if job["threads"]:
        set_threads(job["threads"])
    for option in job["options"]:
        if action := (READ | COMPUTED).get(option):
            action(notes)
    options = set(job["options"])
    if "again" in options:
        states = torch.get_rng_state(), np.random.get_state(), random.getstate()
        _train(job | {"file": f"{job['file']}.before"}, options)
        if "generators as before" in options:
            torch.set_rng_state(states[0])
            np.random.set_state(states[1])
            random.setstate(states[2])
    _train(job, options)


def _train(job: dict[str, Any], options: set[str]) -> None:
    from in4310repro.trace.program import EnoughSteps, Program, run

    with Program(Path(job["file"]), job["steps"]) as program:
        for option in CALLED.keys() & options:
            change_calls(program, CALLED[option])
        try:
            run(job["command"])
        except EnoughSteps:
            return
    name, steps = " ".join(job["command"]), job["steps"]
    words = f"; --steps {program.done} is possible" if program.done else ", if any"
    raise Refused(f"{name} ended after {program.done} of {steps} steps of its optimizers{words}")


if __name__ == "__main__":
    serve()
