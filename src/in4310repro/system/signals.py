"""Signals that ask a process to stop; it then prints one line and exits with code 130."""

import atexit
import contextlib
import io
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NoReturn

from in4310repro.system import launch

INTERRUPTED = 130
PATIENCE = 20.0  # seconds
ONE_SIGNAL = 3.0  # seconds in which torchrun may send on what a terminal has sent to all its processes

# Numbers of the signals that Python's handlers have received.
handled: list[int] = []


keep_nothing: Callable[[], str] = str  # the default, for commands that keep no results when they are interrupted
# Says what the command keeps if it is interrupted now; empty if nothing.
kept: Callable[[], str] = keep_nothing


def describe_interrupt() -> str:
    """Return the line to print after an interrupt."""
    return "; ".join(filter(None, ("interrupted", kept())))


def stopping_signals() -> list[signal.Signals]:
    """Return the signals that stop a process: Ctrl-C, SIGTERM, Ctrl-Break, and hang-up unless it is ignored."""
    there = [each for each in signal.Signals if each.name in ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")]
    return [each for each in there if each.name != "SIGHUP" or signal.getsignal(each) is not signal.SIG_IGN]


# Folders that are deleted although the process ends without running cleanup code.
_temporary: list[Path] = []


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a new folder, which is deleted at the end of the `with` block, whatever signal ends it."""
    with TemporaryDirectory(prefix="in4310repro-") as place:
        # Resolved, as paths in messages are.
        folder = Path(place).resolve()
        _temporary.append(folder)
        try:
            yield folder
        finally:
            _temporary.remove(folder)


def leave(*_of_signal: object) -> NoReturn:
    """Print one line, delete temporary folders, and end the process at once, without running other cleanup code."""
    for folder in _temporary:
        shutil.rmtree(folder, ignore_errors=True)
    if not launch.is_silent():
        with contextlib.suppress(OSError):
            os.write(2, f"in4310repro: {describe_interrupt()}\n".encode())
        launch.record(INTERRUPTED, describe_interrupt(), 0)
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def as_python_has_them() -> Iterator[None]:
    """Handle stopping signals as Python does by itself while the `with` block runs somebody else's program."""
    before = {each: signal.getsignal(each) for each in stopping_signals()}
    # A forked worker that is stopped would write into it, and this process would believe that it was meant.
    wakeup = signal.set_wakeup_fd(-1)
    for each in before:
        signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        signal.set_wakeup_fd(wakeup)


def is_repeat(before: float) -> bool:
    """Return whether a signal received now is torchrun's copy of the signal that was received at time `before`."""
    return launch.by_torchrun() and time.monotonic() - before < ONE_SIGNAL


def take_over_process() -> None:
    """Handle stopping signals until the process ends. The process must run only a single command.

    Before the command begins and after it has ended, a stopping signal ends the process at once. So does a
    KeyboardInterrupt that is raised in a destructor, which Python would only print.
    """
    for number in stopping_signals():
        signal.signal(number, leave)
    # If no file descriptor or thread is available, the signal handlers alone must suffice.
    with contextlib.suppress(OSError, RuntimeError):
        # A thread ends the process if a library call keeps Python from handling a signal for too long: for `PATIENCE`
        # seconds, or until the next signal.
        reader, writer = socket.socketpair()
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

        def watch() -> None:
            received = 0
            # Always true; the reference to `writer` keeps the socket open.
            while writer.fileno() >= 0:
                received += len(reader.recv(1))
                came = time.monotonic()
                while (left := came + PATIENCE - time.monotonic()) > 0 and select.select([reader], [], [], left)[0]:
                    reader.recv(1)
                    if not is_repeat(came):
                        received += 1
                        break
                if len(handled) < received:
                    leave()

        threading.Thread(target=watch, daemon=True).start()
    # Registered first, so that it is called last: what remains then is not Python's to interrupt.
    atexit.register(ignore)
    sys.excepthook = _leaving_on_interrupt(sys.excepthook)
    sys.unraisablehook = _leaving_on_interrupt(sys.unraisablehook)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the terminal's encoding lacks must not stop the command.
            stream.reconfigure(errors="backslashreplace")


def ignore() -> None:
    """Ignore stopping signals for the rest of the process."""
    for number in stopping_signals():
        signal.signal(number, signal.SIG_IGN)


def _leaving_on_interrupt(hook: Callable[..., None]) -> Callable[..., None]:
    def call(kind: Any, *more: Any) -> None:
        # Python gives what it cannot raise as one object.
        if issubclass(getattr(kind, "exc_type", kind), KeyboardInterrupt):
            leave()
        hook(kind, *more)

    return call


@contextlib.contextmanager
def interrupts(*, at_once: bool = False) -> Iterator[Callable[[], bool]]:
    """Hold back signals such as Ctrl-C in the `with` block; yield a function that returns whether one has come.

    The caller can thus stop after the current step. A second signal raises KeyboardInterrupt, unless it is torchrun's
    copy of the first. If `at_once`, the first signal already raises it, and a second one ends the process. So does the
    first during an import, since extension modules would turn a KeyboardInterrupt into errors that blame the
    installation.
    """
    received: list[float] = []

    def note(number: int, frame: FrameType | None) -> None:
        again = bool(received)
        if again and is_repeat(received[0]):
            return
        while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
            frame = frame.f_back
        if at_once and (again or frame):
            leave()
        if not again:
            received.append(time.monotonic())
            handled.append(number)
        if again or at_once:
            raise KeyboardInterrupt

    # Only the main thread receives signals. In any other thread, the handler is not installed.
    numbers = stopping_signals() if threading.current_thread() is threading.main_thread() else []
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(received)
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
