"""Runs of some steps of a user's training, each in a process of its own, for `causes`.

    python -m in4310repro.trace.worker

reads jobs from its standard input, a line of JSON each. On Linux it imports torch once, later the installed libraries
that the training was seen to use, and forks for each job: the user's module is imported in the fork, and nothing was
computed before. Elsewhere it does one job and ends.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import inspect
import itertools
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from in4310repro.trace.execution import COMPUTED, set_threads
from in4310repro.trace.notes import Notes, is_own
from in4310repro.trace.processes import NotApplicableError
from in4310repro.trace.surroundings import READ

FORKS = sys.platform.startswith("linux")
PAUSE = 0.005  # seconds
LIBRARIES = ("torchvision", "PIL", "scipy", "pandas", "sklearn")  # that a process may import before it forks
FRAMES = 2  # of the user's own code, at the end of a traceback
EXPECTED = "(model, loss function, optimizer, batches)"


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

    import in4310repro.trace.recorder  # noqa: F401

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
    """Run the training steps that a job describes, under the job's options, and write the trace file.

    Raises:
        Refused: the function does not exist or cannot be called, or does not return a model, loss function,
            optimizer and batches.
        NotApplicableError: an option does not apply to these training steps.
    """
    import numpy as np
    import torch

    # A fork inherits the generators of the process before it, which a new process would have seeded by entropy.
    random.seed()
    torch.seed()
    np.random.seed()
    os.chdir(job["cwd"])
    sys.argv = [job["function"]]
    sys.path[:0] = job["path"]
    os.environ.update(job["variables"])
    notes = Notes(Path(f"{job['file']}.notes"))
    if job["threads"]:
        set_threads(job["threads"])
    for option in job["options"]:
        if action := (READ | COMPUTED).get(option):
            action(notes)
    options = set(job["options"])
    make = _function(job["function"], job["arguments"])
    if "again" in options:
        states = _generator_states()
        _train(make(), job | {"file": None}, options)
        if "generators as before" in options:
            _set_generators(states)
    _train(make(), job, options)


def _function(name: str, arguments: list[Any]) -> Callable[[], Any]:
    """Import the user's function; return it bound to its arguments."""
    module_name, _, function_name = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise Refused(f"there is no module {error.name!r} in this folder or on Python's path") from None
        raise
    function: Any = module
    for each in function_name.split("."):
        if not hasattr(function, each):
            raise Refused(f"the module {module_name} has no {function_name!r}")
        function = getattr(function, each)
    if not callable(function):
        raise Refused(f"{name} is {type(function).__name__}; a function that returns {EXPECTED} was expected")
    with contextlib.suppress(ValueError):
        try:
            inspect.signature(function).bind(*arguments)
        except TypeError:
            raise Refused(f"{name}{inspect.signature(function)} needs arguments; it is called without any") from None
    return lambda: function(*arguments)


def _generator_states() -> tuple[Any, ...]:
    import numpy as np
    import torch

    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _set_generators(states: tuple[Any, ...]) -> None:
    import numpy as np
    import torch

    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])


def _train(made: Any, job: dict[str, Any], options: set[str]) -> None:
    import torch

    from in4310repro.trace.recorder import Trace

    model, criterion, optimizer, batches = _check(made)
    forward = _forward(model, options)
    done = 0
    with contextlib.ExitStack() as stack:
        trace: Trace | None = None
        for number, batch in enumerate(itertools.islice(batches, job["steps"])):
            images, labels = _pair(batch, number)
            rows = len(images) // 2 if options & {"half a batch", "first half"} else None
            if rows == 0:
                raise NotApplicableError("a batch of one image has no half")
            if "memory format" in options and images.ndim == 4:
                images = images.contiguous(memory_format=torch.channels_last)
            if "half a batch" in options:
                images, labels = images[:rows], labels[:rows]
            if trace is None and job["file"]:
                trace = stack.enter_context(
                    Trace(model, optimizer, job["file"], modules="compile" not in options, rows=rows)
                )
            with contextlib.ExitStack() as recording:
                read = {"images": images[:rows], "labels": labels[:rows], "number": number}
                step = recording.enter_context(trace.step(**read)) if trace else None
                loss = _check_loss(criterion(forward(images), labels))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if step:
                    step.record(loss=loss)
            done += 1
    if done < job["steps"]:
        words = f"end after {done} of {job['steps']} steps; --steps {done} is possible" if done else "are empty"
        raise Refused(f"the batches of {job['function']} {words}")


def _check(made: Any) -> tuple[Any, Any, Any, Any]:
    """Return the model, loss function, optimizer and batches in `made`, after checking their types.

    Raises:
        Refused: `made` does not consist of these four values, or one of them has a wrong type.
    """
    import torch

    if not isinstance(made, tuple | list) or len(made) != 4:
        kind = type(made).__name__
        shown = f"a {kind} of {len(made)} values" if isinstance(made, tuple | list) else kind
        raise Refused(f"it returns {shown}; {EXPECTED} was expected")
    model, criterion, optimizer, batches = made
    checks = (
        (isinstance(model, torch.nn.Module), "first", model, "a torch.nn.Module"),
        (callable(criterion), "second", criterion, "a loss function of scores and labels"),
        (isinstance(optimizer, torch.optim.Optimizer), "third", optimizer, "a torch.optim.Optimizer"),
        (hasattr(batches, "__iter__"), "fourth", batches, "an iterable of pairs of images and labels"),
    )
    for right, place, value, expected in checks:
        if not right:
            raise Refused(f"the {place} of the values that it returns is {type(value).__name__}; expected: {expected}")
    return model, criterion, optimizer, batches


def _pair(batch: Any, number: int) -> tuple[Any, Any]:
    import torch

    if isinstance(batch, tuple | list) and len(batch) == 2 and all(isinstance(each, torch.Tensor) for each in batch):
        return batch[0], batch[1]
    raise Refused(f"batch {number} is {type(batch).__name__}; a pair of tensors, images and labels, was expected")


def _check_loss(loss: Any) -> Any:
    import torch

    if isinstance(loss, torch.Tensor) and loss.numel() == 1:
        return loss
    shown = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
    raise Refused(f"the loss function returns {shown}; a tensor with one value was expected")


def _forward(model: Any, options: set[str]) -> Callable[..., Any]:
    """Return a function that computes the model's output under options such as portable arithmetic or compile.

    Raises:
        NotApplicableError: an option does not apply to this model.
    """
    import torch

    if "memory format" in options:
        if not any(each.ndim == 4 for each in model.parameters()):
            raise NotApplicableError("no parameter has four axes")
        model.to(memory_format=torch.channels_last)
    if "portable arithmetic" in options:
        try:
            from in4310repro.arithmetic import portable

            return portable(model)
        except (ValueError, ImportError) as error:
            raise NotApplicableError(str(error)) from None
    return torch.compile(model) if "compile" in options else model


if __name__ == "__main__":
    serve()
