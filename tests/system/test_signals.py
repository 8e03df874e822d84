"""What ends a process that is asked to stop: its handlers, its last line, and a thread that waits for it."""

from __future__ import annotations

import atexit
import io
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock, call

import pytest

from in4310repro.system import launch, signals


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Take over this process until the test ends; return what Python got to call, and a socket for its signals."""
    reader, sender = socket.socketpair()
    writer = Mock(fileno=Mock(side_effect=[7, 7, -1]))  # the thread looks at one signal, then ends
    streams = [io.TextIOWrapper(io.BytesIO(), "ascii") for _ in range(2)]
    given = SimpleNamespace(
        handlers={}, at_exit=[], hook=Mock(), thread=Mock(), record=Mock(), sender=sender, streams=streams
    )
    for place, name, value in (
        (signal, "signal", given.handlers.__setitem__),
        (signal, "set_wakeup_fd", Mock()),
        (socket, "socketpair", lambda: (reader, writer)),
        (threading, "Thread", given.thread),
        (atexit, "register", given.at_exit.append),
        (sys, "excepthook", given.hook),
        (sys, "unraisablehook", given.hook),
        (sys, "stdout", streams[0]),
        (sys, "stderr", streams[1]),
        (os, "_exit", sys.exit),
        (signals, "kept", signals.keep_nothing),
        (launch, "record", given.record),
    ):
        monkeypatch.setattr(place, name, value)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with reader, sender:
        signals.take_over_process()
        yield given


def test_a_signal_ends_the_process_at_once_and_does_nothing_once_python_exits(given: Any) -> None:
    for handler in given.handlers.values():
        with pytest.raises(SystemExit, match="130"):
            handler(signal.SIGTERM, None)
    for function in given.at_exit:
        function()
    assert given.handlers == dict.fromkeys(signals.stopping_signals(), signal.SIG_IGN)


def test_an_interrupt_that_python_would_only_print_ends_the_process_and_any_other_error_is_printed(given: Any) -> None:
    hooks: Any = sys.excepthook, lambda kind, *_: cast("Any", sys.unraisablehook)(SimpleNamespace(exc_type=kind))
    for hook in hooks:
        given.hook.reset_mock()
        with pytest.raises(SystemExit, match="130"):
            hook(KeyboardInterrupt, KeyboardInterrupt(), None)
        given.hook.assert_not_called()
        hook(ValueError, ValueError(), None)
        given.hook.assert_called_once()


def test_a_letter_that_the_terminal_lacks_is_printed_as_its_number(given: Any) -> None:
    for stream in given.streams:
        stream.write("Tromsø")
        stream.flush()
        assert stream.buffer.getvalue() == b"Troms\\xf8"


@pytest.mark.parametrize(
    ("came", "patience", "handled", "ends"),
    [(1, 0.01, 0, True), (1, 0, 1, False), (2, 0.01, 1, True), (2, 9, 2, False)],
)
def test_a_process_ends_if_python_has_handled_fewer_signals_than_came(
    came: int, patience: float, handled: int, ends: bool, given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "PATIENCE", patience)
    monkeypatch.setattr(signals, "handled", [signal.SIGTERM] * handled)
    monkeypatch.setattr(signals, "time", Mock(monotonic=lambda: 64.0))
    given.sender.send(bytes(came))
    with pytest.raises(SystemExit, match="130") if ends else nullcontext():
        given.thread.call_args.kwargs["target"]()


@pytest.mark.parametrize(("rank", "said"), [("0", ["in4310repro: interrupted"]), ("1", [])])
def test_a_process_that_ends_deletes_its_folders_and_the_first_alone_says_it(
    rank: str, said: list[str], given: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("RANK", rank)
    with signals.temporary_folder() as gone, signals.temporary_folder() as folder:
        gone.rmdir()
        with pytest.raises(SystemExit, match="130"):
            signals.leave()
        assert not folder.exists()
    assert capfd.readouterr().err.splitlines() == said
    assert given.record.call_args_list == [call(130, "interrupted", 0)] * len(said)


@pytest.mark.skipif(os.name != "posix", reason="a system without hang-ups")
def test_a_hang_up_stops_a_process_unless_nohup_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for handler, stops in ((signal.SIG_DFL, True), (signal.SIG_IGN, False)):
        monkeypatch.setattr(signal, "getsignal", {signal.SIGHUP: handler}.get)
        assert (signal.SIGHUP in signals.stopping_signals()) == stops


def test_what_handles_signals_runs_in_any_thread() -> None:
    def run() -> bool:
        with signals.interrupts(at_once=True) as interrupted:
            return interrupted()

    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(run).result()
