"""Heartbeats: detection of a command's lost processes, and agreement on its end, through torchrun's store.

A thread of each process increments its count of beats in the store, and checks that the counts of the
others grow. It ends the process if the main thread waits for a process that no longer exists.

torchrun and a timeout of the process group would end the other processes too, but with errors about broken
connections instead of one message and exit code for the cause. A timeout would also end processes that wait
for a slow one. After torchrun itself is killed, nothing would end them (measured in docs/processes.md).
"""

import contextlib
import json
import os
import threading
import time
from datetime import timedelta
from typing import NamedTuple

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from in4310repro.system import launch, signals
from in4310repro.system.text import visible

BEAT = 1.0  # seconds between beats
SILENCE = 30.0  # seconds without a beat, after which a process is lost
DOUBT = 8.0  # the same once a connection broke or a signal came
PATIENCE = 15.0  # seconds in which others say what they know of a broken connection or a signal; torchrun waits 30
GRACE = 3.0  # seconds in which the main thread may come to its end
SOON = 0.1  # seconds between beats while the command ends

# CUT_OFF: a process ended because its connection broke, since another process had ended.
RUNNING, CUT_OFF, INTERRUPTED, FINISHED = "running", "cut off", "interrupted", "finished"


class Ending(NamedTuple):
    """Exit code and message with which a command ends, the same in all of its processes."""

    code: int
    message: str
    rank: int  # whose error it is, or which process is lost
    lost: bool = False


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
        # What this process sends, and what each sent last: number of beats, state, and what an interruption keeps.
        self.beats, self.state, self.heard = 0, RUNNING, [(0, RUNNING, "")] * self.size
        # The first beat is sent before torch connects the processes, so that one that stops meanwhile is noticed.
        self._beat()
        # Whether every process has joined, the store is gone, this process has finished, or it waits for the end.
        self.together = self.alone = self.finished = self.waits = False
        self.silent, self.looked = [0.0] * self.size, time.monotonic()  # seconds
        self.trouble = self.known = float("inf")  # when it was seen, on the monotonic clock
        self.own: Ending | None = None
        self.ending: Ending | None = None
        self.error: BaseException | None = None
        self.hurry, self.ended = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def finish(self) -> None:
        """Report that this process has finished, so that the others do not count it as lost."""
        self.finished, self.state = True, FINISHED
        self.hurry.set()
        self.thread.join()
        with contextlib.suppress(RuntimeError):
            self._beat()

    def explains_trouble(self) -> bool:
        """Wait for the cause of a broken connection; return whether another process was lost or has failed."""
        self._stop(CUT_OFF)
        return self.ended.wait(PATIENCE)

    def conclude(self, code: int, message: str, error: BaseException | None) -> None:
        """Agree with the other processes on how the command ends; the thread then says it and ends this process.

        Args:
            code: the exit code that this process alone would have.
            message: the message that this process alone would print.
            error: the error that ended this process; None if there was none.
        """
        interrupted = code == signals.INTERRUPTED
        self.own, self.error = None if interrupted else Ending(code, message, self.rank), error
        self.waits = True
        self._stop(INTERRUPTED if interrupted else self.state)
        self.thread.join()

    def _beat(self) -> None:
        self.beats += 1
        self.store.set(f"{self.rank}", json.dumps([self.beats, self.state, signals.kept()]))

    def _stop(self, state: str) -> None:
        self.trouble, self.state = min(self.trouble, time.monotonic()), state
        self.hurry.set()

    def _run(self) -> None:
        while not self.finished:
            if self.ended.is_set() or self.hurry.wait(BEAT):
                time.sleep(SOON)
            # A main thread that does not end in time is ended here, with its process.
            if self._look() and (self.waits or time.monotonic() - self.known > GRACE):
                self._end(*self.ending or ())

    def _end(self, code: int, message: str, rank: int, lost: bool) -> None:
        """Say how the command ended if no other process says it, and end this process."""
        if code == signals.INTERRUPTED:
            kept = self.heard[0][2] if self.rank else signals.kept()
            line = f"{message}{f'; {kept}' * bool(kept)}{', with any number of processes' * bool(kept and lost)}"
        else:
            of = self.rank if self.own and self.own.message == message else rank
            line = f"rank {of}: {message}" if of and message else message
        if self.rank == 0:
            launch.record(code, line, rank)
        if self._speaks():
            with contextlib.suppress(OSError):
                os.write(2, f"{visible(f'in4310repro: {line}')}\n".encode(errors="backslashreplace") if line else b"")
            # torch prints the frames of each attempt to reach a store that is gone.
            if not self.alone:
                with contextlib.suppress(RuntimeError):
                    self.store.set("said", "")
        if error := self.error if self.own else RuntimeError(line):
            launch.tell_torchrun(error)
        os._exit(code)

    def _look(self) -> bool:
        """Send a heartbeat and hear the others; return whether the command has ended and this process may leave.

        This updates `silent`, the number of seconds since each process last sent one: 0 for one that has finished.
        """
        now, said = time.monotonic(), self.alone
        # If this process was itself stopped for a while, it must not count that time against the others.
        passed, self.looked = min(now - self.looked, 2 * BEAT), now
        try:
            if not self.alone:
                self._beat()
                keys = [f"{rank}" for rank in range(self.size)]
                said, self.together = self.store.check(["said"]), self.together or self.store.check(keys)
                if self.together:
                    before, self.heard = self.heard, [tuple(json.loads(each)) for each in self.store.multi_get(keys)]
                    self.silent = [
                        0.0 if heard[0] != last[0] or heard[1] == FINISHED else silent + passed
                        for heard, last, silent in zip(self.heard, before, self.silent, strict=True)
                    ]
                seconds, states = max(self.silent), {self.state, *(state for _, state, _ in self.heard)}
                rank, silence = self.silent.index(seconds), SILENCE if self.trouble > now else DOUBT
                # Processes that have never joined cannot tell the cause, so nothing is gained by waiting for them.
                agree = RUNNING not in states or not self.together or now - self.trouble > PATIENCE
                proposed, message = self.own, f"rank {rank} of {self.size} has not answered for {seconds:.0f} s"
                if not proposed and seconds >= silence:
                    proposed = Ending(signals.INTERRUPTED, message, rank, lost=True)
                elif not proposed and INTERRUPTED in states and agree:
                    proposed = Ending(signals.INTERRUPTED, "interrupted", 0)
                # All agree on the first that any proposes.
                if not self.ending and (proposed or self.store.check(["ending"])):
                    self.ending = Ending(*json.loads(self.store.compare_set("ending", "", json.dumps(proposed))))
        except RuntimeError:
            # The machine or the process of torchrun that has the store is gone.
            place = f"torchrun does not answer at {os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
            self.alone = said = True
            self.ending = self.ending or Ending(signals.INTERRUPTED, place, 0)
        if self.ending and not self.ended.is_set():
            self.known = now
            self.ended.set()
        # The others notice an error when the connections of the failed process close, if they have any.
        leaves = said or (self.own and self.together) or now - self.known > PATIENCE
        return self.ending is not None and bool(leaves or self._speaks())

    def _speaks(self) -> bool:
        """Return whether this process is the one that prints how the command ended.

        It is the process with the lowest rank among those that are still able to print.
        """
        if self.alone:
            return os.environ.get("LOCAL_RANK", "0") == "0"
        waits = self.together or time.monotonic() - self.known < PATIENCE
        lost = self.ending.rank if self.ending and self.ending.lost else None
        others = (rank for rank in range(self.rank) if rank != lost and self.heard[rank][1] != FINISHED)
        return not (waits and any(self.silent[rank] < DOUBT for rank in others))
