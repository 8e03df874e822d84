"""Heartbeats: detection of a command's lost processes, and agreement on its end, through torchrun's store.

A thread of each process increments its count of beats in the store, and checks that the counts of the
others grow. It ends the process if the main thread waits for a process that no longer exists.

torchrun and a timeout of the process group would end the other processes too, but with errors about broken
connections instead of one message and exit code for the cause. A timeout would also end processes that wait
for a slow one. After torchrun itself is killed, nothing would end them (measured in docs/processes.md).
"""

import contextlib
import json
import math
import os
import threading
import time
from datetime import timedelta
from typing import NamedTuple

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


class Ending(NamedTuple):
    """Exit code and message with which a command ends, the same in all of its processes."""

    code: int
    message: str
    rank: int  # whose error it is, or which process is lost
    lost: bool = False

    def line(self, kept: str = "") -> str:
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
        # The prefix has the restart count, so that messages from before a restart by torchrun are ignored.
        start = f"in4310repro/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{self.size}/{number}"
        self.store = PrefixStore(start, TCPStore(host, port, is_master=False, timeout=timedelta(seconds=SILENCE)))
        # The first key of all: a process that leaves does not wait for a beat of rank 0 to know that all have come.
        if self.rank == 0:
            self.store.set("kept", signals.kept())
        # Done before torch connects the processes, so that one that stops during this is noticed.
        self.store.set(f"state/{self.rank}", RUNNING)
        self.store.add(f"beat/{self.rank}", 1)
        # Whether every process has come, the store is gone, this process has finished, and another has said the end.
        self.together = self.alone = self.finished = self.said = False
        self.beats, self.states, self.kept = [""] * self.size, [RUNNING] * self.size, ""
        self.silent, self.looked = [0.0] * self.size, time.monotonic()  # seconds
        self.trouble = self.known = math.inf  # when it was seen, on the monotonic clock
        self.own = self.ending = UNKNOWN
        self.hurry, self.ended, self.may_leave = (threading.Event() for _ in range(3))
        self.leaving, self.thread = threading.Lock(), threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def finish(self) -> None:
        """Report that this process has finished, so that the others do not count it as lost."""
        self.finished = True
        self.hurry.set()
        self.thread.join()
        self._tell(f"state/{self.rank}", FINISHED)

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

    def _tell(self, key: str, value: str) -> None:
        with contextlib.suppress(RuntimeError):
            self.store.set(key, value)

    def _stop(self, state: str) -> None:
        self.trouble, self.states[self.rank] = min(self.trouble, time.monotonic()), state
        self._tell(f"state/{self.rank}", state)
        self.hurry.set()

    def _last_words(self) -> str:
        """Return the line that this process must print at the end; empty if another process prints it."""
        kept = self.kept if self.rank else signals.kept()
        if kept and self.ending.lost:
            kept += ", with any number of processes"
        line = (self.own if self.own.message == self.ending.message else self.ending).line(kept)
        if self.rank == 0:
            launch.record(self.ending.code, line, self.ending.rank)
        if (speaks := self._speaks()) and not self.alone:
            self._tell("said", "")
        return line if speaks else ""

    def _run(self) -> None:
        while not self.finished:
            if self.hurry.wait(BEAT):
                time.sleep(SOON)
            self._look()
            is_late = self.may_leave.is_set() and time.monotonic() - self.known > GRACE
            # Not where the main thread is already ending this process.
            if is_late and self.leaving.acquire(blocking=False):
                if words := self._last_words():
                    with contextlib.suppress(OSError):
                        os.write(2, f"in4310repro: {words}\n".encode())
                tell_torchrun(RuntimeError(self.ending.line()))
                os._exit(self.ending.code)

    def _look(self) -> None:
        found = self.ending
        try:
            if not self.alone:
                self._beat()
                found = self._decided() if found == UNKNOWN else found
        except RuntimeError:
            # The machine or the process of torchrun that has the store is gone.
            place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            self.alone, found = True, Ending(signals.INTERRUPTED, f"torchrun does not answer at {place}", 0)
        if found != self.ending == UNKNOWN:
            self.ending, self.known = found, time.monotonic()
            self.hurry.set()
            self.ended.set()
        # Others hear of an error as soon as the connections of its process end, where they have any.
        leaves = self.alone or self.said or (self.own != UNKNOWN and self.together)
        if self.ending != UNKNOWN and (leaves or self._speaks() or time.monotonic() - self.known > PATIENCE):
            self.may_leave.set()

    def _beat(self) -> None:
        """Send one heartbeat, and update `silent`, the number of seconds since each process last sent one.

        For a process that has finished, this number is 0.
        """
        now = time.monotonic()
        # Where this process was itself stopped for a while, it knows nothing of that time.
        passed, self.looked = min(now - self.looked, 2 * BEAT), now
        self.store.add(f"beat/{self.rank}", 1)
        if self.rank == 0:
            self.store.set("kept", signals.kept())
        keys = ["kept", *(f"{kind}/{rank}" for kind in ("beat", "state") for rank in range(self.size))]
        self.said, self.together = self.store.check(["said"]), self.together or self.store.check(keys)
        if self.together:
            self.kept, *values = (value.decode() for value in self.store.multi_get(keys))
            before, self.beats, self.states = self.beats, values[: self.size], values[self.size :]
            self.silent = [
                0.0 if beat != last or state == FINISHED else silent + passed
                for beat, last, state, silent in zip(self.beats, before, self.states, self.silent, strict=True)
            ]

    def _decided(self) -> Ending:
        """Return the ending on which the processes agree, the first that any proposed; `UNKNOWN` if none did."""
        if self.own == UNKNOWN and not self.store.check(["ending"]):
            seconds = max(self.silent)
            rank = self.silent.index(seconds)
            # If not all processes have joined, nobody knows more about the missing ones.
            agree = RUNNING not in self.states or not self.together or time.monotonic() - self.trouble > PATIENCE
            if seconds >= (SILENCE if self.trouble == math.inf else DOUBT):
                message = f"rank {rank} of {self.size} has not answered for {seconds:.0f} s"
                proposed = Ending(signals.INTERRUPTED, message, rank, lost=True)
            elif INTERRUPTED in self.states and agree:
                proposed = Ending(signals.INTERRUPTED, "interrupted", 0)
            else:
                return UNKNOWN
        else:
            proposed = self.own
        return Ending(*json.loads(self.store.compare_set("ending", "", json.dumps(proposed))))

    def _speaks(self) -> bool:
        """Return whether this process is the one that prints how the command ended.

        It is the process with the lowest rank among those that are still able to print.
        """
        if self.alone:
            return os.environ.get("LOCAL_RANK", "0") == "0"
        lost = self.ending.rank if self.ending.lost else None
        others = (rank for rank in range(self.rank) if rank != lost and self.states[rank] != FINISHED)
        waits = self.together or time.monotonic() - self.known < PATIENCE
        return not (waits and any(self.silent[rank] < DOUBT for rank in others))


def tell_torchrun(error: BaseException) -> None:
    """Record an error so that torchrun's summary shows it."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    try:
        raise error
    except BaseException as raised:  # the handler asks Python for the traceback of what is being handled
        with contextlib.suppress(OSError):
            get_error_handler().record_exception(raised)
