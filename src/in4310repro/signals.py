"""The signals that ask a process to stop: whenever they come, one line and exit code 130."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from in4310repro import launch

INTERRUPTED = 130
PATIENCE = 20.0  # seconds
ONE_SIGNAL = 3.0  # seconds in which torchrun may send on what a terminal has sent to all its processes

# Of the signals that Python has told us of.
handled: list[int] = []


def nothing() -> str:
    """What most commands keep when they are interrupted."""
    return ""


# What the command keeps if it is interrupted now, in words; empty where it is nothing.
kept: Callable[[], str] = nothing


def interrupted() -> str:
    """What is said of an interrupt."""
    return "; ".join(filter(None, ("interrupted", kept())))


def stopping_signals() -> list[signal.Signals]:
    """Ctrl-C, a scheduler's SIGTERM, a closed terminal, and Ctrl-Break; without a hang-up that `nohup` ignores."""
    numbers = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGBREAK")]
    hang_up = getattr(signal, "SIGHUP", None)
    if hang_up and signal.getsignal(hang_up) is not signal.SIG_IGN:
        numbers.append(hang_up)
    return [number for number in numbers if number is not None]


def leave(*_of_signal: object) -> NoReturn:
    """Ends the process at once: one line, and no code of anyone in between."""
    if not launch.follows():
        with contextlib.suppress(OSError):
            os.write(2, f"in4310repro: {interrupted()}\n".encode())
        launch.record(INTERRUPTED, interrupted(), 0)
    os._exit(INTERRUPTED)


def repeats(before: float) -> bool:
    """Whether a signal now is the one that came at this time of the monotonic clock, sent on by torchrun."""
    return launch.by_torchrun() and time.monotonic() - before < ONE_SIGNAL


def take_over_process() -> None:
    """For a process that runs one command and nothing else: signals count from now until its very end.

    Until a command begins and after it has ended they end the process at once. A KeyboardInterrupt that Python would
    only print, since it came in a destructor, does the same.
    """
    for number in stopping_signals():
        signal.signal(number, leave)
    # Without a descriptor or a thread to spare the handlers alone have to do.
    with contextlib.suppress(OSError, RuntimeError):
        _watch_for_calls_that_never_return()
    # Registered first, so that it is called last: what remains then is not Python's to interrupt.
    atexit.register(ignore)
    sys.excepthook = _leaving_on_interrupt(sys.excepthook, lambda arguments: arguments[0])
    sys.unraisablehook = _leaving_on_interrupt(sys.unraisablehook, lambda arguments: arguments[0].exc_type)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks is no reason to stop.
            stream.reconfigure(errors="backslashreplace")


def _watch_for_calls_that_never_return() -> None:
    """Ends the process where Python cannot: while it waits in a library, such as for another process, it hears nothing.

    It has `PATIENCE` to come back from the call, or until the next signal.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def watch() -> None:
        received = 0
        # Always so: naming the writer is what keeps it open.
        while writer.fileno() >= 0:
            received += len(reader.recv(1))
            received += _another(reader)
            if len(handled) < received:
                leave()

    threading.Thread(target=watch, daemon=True).start()


def _another(reader: socket.socket) -> int:
    """Whether a signal comes before `PATIENCE` ends, as 1 or 0."""
    came = time.monotonic()
    try:
        while (left := came + PATIENCE - time.monotonic()) > 0:
            reader.settimeout(left)
            reader.recv(1)
            if not repeats(came):
                return 1
    except TimeoutError:
        pass
    finally:
        reader.settimeout(None)
    return 0


def ignore() -> None:
    """From now on no signal asks this process to stop."""
    for number in stopping_signals():
        signal.signal(number, signal.SIG_IGN)


def _leaving_on_interrupt(hook: Callable[..., None], kind_of: Callable[[Any], Any]) -> Callable[..., None]:
    def call(*arguments: Any) -> None:
        if issubclass(kind_of(arguments), KeyboardInterrupt):
            leave()
        hook(*arguments)

    return call


@contextmanager
def keyboard_interrupts() -> Iterator[Callable[[], bool]]:
    """Makes every stopping signal a KeyboardInterrupt; a second one, or one amid an import, ends the process at once.

    Extension modules turn a KeyboardInterrupt amid their import into errors that blame the installation.

    Yields:
        Whether a signal has come.
    """
    received: list[float] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if received and repeats(received[0]):
            return
        if received or _imports(frame):
            leave()
        received.append(time.monotonic())
        handled.append(number)
        raise KeyboardInterrupt

    try:
        before = {number: signal.signal(number, interrupt) for number in stopping_signals()}
    except ValueError:
        # Not the main thread, which alone receives signals.
        before = {}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
