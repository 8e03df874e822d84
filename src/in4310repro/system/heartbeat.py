"""Heartbeats: detection of a command's lost processes, and agreement on its end, through torchrun's store.

A thread of each process increments its count of beats in the store, and checks that the counts of the
others grow. It ends the process if the main thread waits for a process that no longer exists.

torchrun and a timeout of the process group would end the other processes too, but with errors about broken
connections instead of one message and exit code for the cause. A timeout would also end processes that wait
for a slow one. After torchrun itself is killed, nothing would end them (measured in docs/processes.md).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from dataclasses import asdict, dataclass
from datetime import timedelta

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from in4310repro.system import launch, signals

BEAT = 1.0  # seconds between beats
SILENCE = 30.0  # seconds without a beat, after which a process is lost
DOUBT = 8.0  # as SILENCE, once a connection broke or a signal came
PATIENCE = 15.0  # seconds in which others say what they know of a broken connection or a signal; torchrun waits 30
GRACE = 3.0  # seconds in which the main thread may come to the end by itself
SOON = 0.1  # seconds between beats while the command ends

# CUT_OFF: a process ended because its connection broke, since another process had ended.
RUNNING, CUT_OFF, INTERRUPTED, FINISHED = "running", "cut off", "interrupted", "finished"


@dataclass(frozen=True)
class Ending:
    """Exit code and message with which a command ends, the same in all of its processes."""

    code: int
    message: str
    rank: int  # whose error it is, or which process is lost
    lost: bool = False

    def line(self, kept: str) -> str:
        """Return the line to print about how the command ended; `kept` is a text about the results that are kept."""
        if self.code == signals.INTERRUPTED:
            return "; ".join(filter(None, (self.message, kept)))
        return f"rank {self.rank}: {self.message}" if self.rank and self.message else self.message


UNKNOWN = Ending(-1, "", 0)


class Heartbeat:
    """Connection of this process to the other processes of its command, which torchrun started."""

    def __init__(self, number: int = 0) -> None:
        """Connect to torchrun's store and start a thread that sends heartbeats over this connection.

        Args:
            number: number of `Heartbeat` objects that this process created before; equal in all processes.

        Raises:
            ValueError: the environment variables are not as torchrun sets them.
            RuntimeError: the store does not answer.
        """
        self.size = launch.size()
        self.rank = launch.number("RANK", range(self.size))
        host, port = os.environ["MASTER_ADDR"], launch.number("MASTER_PORT", range(1, 2**16))
        self.place, waits = f"{host}:{port}", timedelta(seconds=SILENCE)
        # The prefix has the restart count, so that messages from before a restart by torchrun are ignored.
        start = f"in4310repro/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{self.size}/{number}"
        store = TCPStore(host, port, is_master=False, timeout=waits)
        self.store = PrefixStore(start, store)
        # Done before torch connects the processes, so that one that stops during this is noticed.
        self.store.set(f"state/{self.rank}", RUNNING)
        self.store.add(f"beat/{self.rank}", 1)
        self.together = False  # whether every process has come
        self.beats, self.states = [""] * self.size, [RUNNING] * self.size
        self.silent, self.looked = [0.0] * self.size, time.monotonic()  # seconds
        self.trouble = self.known = math.inf  # when it was seen, on the monotonic clock
        self.own: Ending | None = None
        self.ending = UNKNOWN
        self.kept, self.alone = "", False
        self.hurry, self.ended, self.may_leave = threading.Event(), threading.Event(), threading.Event()
        self.finished, self.leaving = False, threading.Lock()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def finish(self) -> None:
        """Report that this process has finished, so that the others do not count it as lost."""
        self.finished = True
        self.hurry.set()
        self.thread.join()
        with contextlib.suppress(RuntimeError):
            self.store.set(f"state/{self.rank}", FINISHED)

    def explains_trouble(self) -> bool:
        """Wait for the cause of a broken connection; return whether another process was lost or has failed."""
        self._stop(CUT_OFF)
        return self.ended.wait(PATIENCE)

    def conclude(self, code: int, message: str) -> tuple[int, str]:
        """Agree with the other processes on how the command ends, and wait until this process may exit.

        Returns:
            The exit code, and the line for this process to print.
        """
        # Waits forever if the heartbeat thread is already ending this process.
        self.leaving.acquire()
        if code == signals.INTERRUPTED:
            self._stop(INTERRUPTED)
        else:
            self.own = Ending(code, message, self.rank)
        self.hurry.set()
        self.may_leave.wait()
        return self.ending.code, self._last_words()

    def _stop(self, state: str) -> None:
        self.trouble, self.states[self.rank] = min(self.trouble, time.monotonic()), state
        with contextlib.suppress(RuntimeError):
            self.store.set(f"state/{self.rank}", state)
        self.hurry.set()

    def _last_words(self) -> str:
        """Return the line that this process must print at the end; empty if another process prints it."""
        ending = self.own if self.own and self.own.message == self.ending.message else self.ending
        line = ending.line(self._kept())
        if self.rank == 0:
            launch.record(ending.code, line, ending.rank)
        if not self._speaks():
            return ""
        if not self.alone:
            with contextlib.suppress(RuntimeError):
                self.store.set("said", "")
        return line

    def _run(self) -> None:
        while not self.finished:
            if self.hurry.wait(BEAT):
                time.sleep(SOON)
            try:
                if not self.alone:
                    self._look()
            except RuntimeError:
                # The machine or the process of torchrun that has the store is gone.
                self._end(Ending(signals.INTERRUPTED, f"torchrun does not answer at {self.place}", 0))
                self.alone = True
                self.may_leave.set()
            if self.may_leave.is_set() and time.monotonic() - self.known > GRACE:
                self._leave()

    def _end(self, ending: Ending) -> None:
        if self.ending == UNKNOWN:
            self.ending, self.known = ending, time.monotonic()
            self.hurry.set()
            self.ended.set()

    def _look(self) -> None:
        self._beat()
        if self.ending == UNKNOWN and (ending := self._decided()) != UNKNOWN:
            self._end(ending)
        if self.ending != UNKNOWN and (
            # Others hear of an error as soon as the connections of its process end, where they have any.
            (self.own and self.together)
            or self._speaks()
            or self.store.check(["said"])
            or time.monotonic() - self.known > PATIENCE
        ):
            self.may_leave.set()

    def _beat(self) -> None:
        """Send one heartbeat, and update `silent`, the number of seconds since each process last sent one.

        For a process that has finished, this number is 0.
        """
        now = time.monotonic()
        # Where this process was itself stopped for a while, it knows nothing of that time.
        passed, self.looked = min(now - self.looked, 2 * BEAT), now
        self.store.add(f"beat/{self.rank}", 1)
        if self.rank == 0 and (kept := signals.kept()) != self.kept:
            self.store.set("kept", kept)
            self.kept = kept
        ranks = range(self.size)
        keys = [f"{kind}/{rank}" for kind in ("beat", "state") for rank in ranks]
        self.together = self.together or self.store.check(keys)
        if self.together:
            values = [value.decode() for value in self.store.multi_get(keys)]
            beats, self.states = values[: self.size], values[self.size :]
            for rank in ranks:
                moves = beats[rank] != self.beats[rank] or self.states[rank] == FINISHED
                self.silent[rank] = 0.0 if moves else self.silent[rank] + passed
            self.beats = beats

    def _decided(self) -> Ending:
        """Return the exit code and message on which the processes agree; `UNKNOWN` as long as they have not agreed."""
        if self.own:
            return self._agreed(self.own)
        if self.store.check(["ending"]):
            return Ending(**json.loads(self.store.get("ending")))
        seconds = max(self.silent)
        if seconds >= (SILENCE if self.trouble == math.inf else DOUBT):
            rank = self.silent.index(seconds)
            message = f"rank {rank} of {self.size} has not answered for {seconds:.0f} s"
            return self._agreed(Ending(signals.INTERRUPTED, message, rank, lost=True))
        # If not all processes have joined, nobody knows more about the missing ones.
        agree = RUNNING not in self.states or not self.together or time.monotonic() - self.trouble > PATIENCE
        if INTERRUPTED in self.states and agree:
            return self._agreed(Ending(signals.INTERRUPTED, "interrupted", 0))
        return UNKNOWN

    def _agreed(self, ending: Ending) -> Ending:
        """Propose an ending; return the ending that was proposed first by any process."""
        told: bytes = self.store.compare_set("ending", "", json.dumps(asdict(ending)))
        return Ending(**json.loads(told))

    def _speaks(self) -> bool:
        """Return whether this process is the one that prints how the command ended.

        It is the process with the lowest rank among those that are still able to print.
        """
        if self.alone:
            return os.environ.get("LOCAL_RANK", "0") == "0"
        lost = self.ending.rank if self.ending.lost else None
        others = (rank for rank in range(self.rank) if rank != lost and self.states[rank] != FINISHED)
        waits = self.together or time.monotonic() - self.known < PATIENCE
        return not waits or not any(self.silent[rank] < DOUBT for rank in others)

    def _kept(self) -> str:
        """Return the text, provided by rank 0, that says which results are kept after the command ends."""
        words = ""
        if self.rank == 0:
            words = signals.kept()
        elif not self.alone:
            with contextlib.suppress(RuntimeError):
                words = self.store.get("kept").decode() if self.store.check(["kept"]) else ""
        return f"{words}, with any number of processes" if words and self.ending.lost else words

    def _leave(self) -> None:
        """End this process, unless its main thread is already ending it."""
        if not self.leaving.acquire(blocking=False):
            return
        if words := self._last_words():
            with contextlib.suppress(OSError):
                os.write(2, f"in4310repro: {words}\n".encode())
        tell_torchrun(RuntimeError(self.ending.line("")))
        os._exit(self.ending.code)


def tell_torchrun(error: BaseException) -> None:
    """Record an error so that torchrun's summary shows it."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    try:
        raise error
    except BaseException as raised:  # the handler asks Python for the traceback of what is being handled
        with contextlib.suppress(OSError):
            get_error_handler().record_exception(raised)
