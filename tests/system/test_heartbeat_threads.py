"""The end of a command, agreed through torchrun's store by two heartbeats that are threads of one process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from types import SimpleNamespace

import pytest
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from in4310repro.system import heartbeat, signals
from in4310repro.system.heartbeat import Heartbeat
from tests.torchrun import wait_until

# `os._exit` ends a thread here.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
Join = Callable[[int], Heartbeat]
TOO_LONG = 20.0  # seconds; less than a request to the store may take


@pytest.fixture
def server() -> list[TCPStore]:
    return [TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)]


@pytest.fixture(autouse=True)
def exits(monkeypatch: pytest.MonkeyPatch) -> SimpleQueue[int]:
    codes: SimpleQueue[int] = SimpleQueue()

    def leave(code: int) -> None:
        codes.put(code)
        # The end of a thread here, as of a process.
        if threading.current_thread() is not threading.main_thread():
            raise SystemExit

    monkeypatch.setattr(os, "_exit", leave)
    return codes


@pytest.fixture
def join(server: list[TCPStore], monkeypatch: pytest.MonkeyPatch) -> Iterator[Join]:
    """Return a function that begins the heartbeat of a rank."""
    hearts: list[Heartbeat] = []

    def begin(rank: int) -> Heartbeat:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{server[0].port}"}
        for name, value in (place | {"WORLD_SIZE": "2", "RANK": f"{rank}", "LOCAL_RANK": f"{rank}"}).items():
            monkeypatch.setenv(name, value)
        hearts.append(Heartbeat())
        return hearts[-1]

    yield begin
    for heart in hearts:
        heart.finished = True
        heart.hurry.set()
        heart.thread.join(TOO_LONG)


@pytest.mark.parametrize(("lost", "step", "looks"), [(0, 1.0, 30), (1, 1.0, 30), (1, 100.0, 15)])
def test_a_process_is_lost_after_30_s_without_a_beat_and_a_look_after_a_long_sleep_counts_2(
    lost: int,
    step: float,
    looks: int,
    join: Join,
    exits: SimpleQueue[int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    clock = [0.0]
    monkeypatch.setattr(heartbeat, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(Heartbeat, "_run", lambda _heart: None)
    monkeypatch.setattr(signals, "kept", lambda: "run is kept")
    first = join(0)
    # Before the other has come, it waits for nothing.
    first._look()
    left = (join(1), first)[lost]
    left._look()
    if lost == 0:
        monkeypatch.setattr(signals, "kept", signals.keep_nothing)
    for _ in range(looks):
        assert left.ending is None
        clock[0] += step
        may_leave = left._look()
    assert may_leave
    assert left.ending is not None
    left._end(*left.ending)
    message = f"rank {lost} of 2 has not answered for 30 s; run is kept, with any number of processes"
    assert (exits.get(), capfd.readouterr().err) == (130, f"in4310repro: {message}\n")


@pytest.mark.parametrize(("code", "message"), [(2, "rank 1: 9 is wrong"), (130, "interrupted")])
def test_the_lowest_rank_says_the_end_of_all_and_none_is_ended_before_its_main_thread_comes_to_its_end(
    code: int,
    message: str,
    join: Join,
    exits: SimpleQueue[int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(heartbeat, "SOON", 0.02)
    hearts = [join(0), join(1)]
    start, before = time.monotonic(), hearts[0].beats
    threads = [
        threading.Thread(target=heart.conclude, args=(own, "9 is wrong", None), daemon=True)
        for heart, own in zip(hearts, (130, code), strict=True)
    ]
    threads[1].start()
    time.sleep(0.5)
    # Rank 0 would have its grace; what its main thread does is not over.
    assert not hearts[0].waits
    threads[0].start()
    ended = {exits.get(timeout=TOO_LONG) for _ in range(2)}
    wait_until(lambda: not any(heart.thread.is_alive() for heart in hearts))
    assert ended == {code}
    assert capfd.readouterr().err == f"in4310repro: {message}\n"
    assert hearts[0].beats - before <= (time.monotonic() - start) / heartbeat.SOON + 1
    # The interpreter waits for no heartbeat.
    assert all(heart.thread.daemon for heart in hearts)


def test_a_process_whose_torchrun_is_gone_says_so_and_is_ended(
    join: Join,
    server: list[TCPStore],
    exits: SimpleQueue[int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("BEAT", "SOON", "GRACE"):
        monkeypatch.setattr(heartbeat, name, 0.01)
    monkeypatch.setattr(signals, "kept", lambda: "run is kept")
    join(0)
    server.clear()
    assert exits.get(timeout=TOO_LONG) == 130
    place = f"127.0.0.1:{os.environ['MASTER_PORT']}"
    assert f"in4310repro: torchrun does not answer at {place}; run is kept\n" in capfd.readouterr().err
