"""Processes that torchrun starts for one command, and messages between them, which are never pickled."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from in4310repro.arithmetic.shares import Connection, all_gather_bytes, broadcast_bytes, connect, device_of
from in4310repro.system import launch
from in4310repro.system.heartbeat import Heartbeat

# What gloo, nccl and torch say where the other end of a connection is gone.
OF_A_CONNECTION = ("gloo", "NCCL", "onnection", "Broken pipe", "Socket", "socket")


@dataclass(frozen=True)
class Processes:
    """Rank of this process, number of processes of its command, and the connection between the processes."""

    rank: int = 0
    size: int = 1
    connection: Connection | None = None  # what portable arithmetic shares batches by; None alone and on a card

    @property
    def leads(self) -> bool:
        """True in the first process, which prints, and reads and writes the run folder."""
        return self.rank == 0

    def gather(self, data: bytes) -> list[bytes]:
        """Return the bytes that each process passed, in order of rank; every process must call it."""
        return [data] if self.size == 1 else all_gather_bytes(data, None)

    def gather_json(self, value: Any) -> list[Any]:
        """Return the JSON values that each process passed, in order of rank; every process must call it."""
        return [json.loads(each) for each in self.gather(json.dumps(value).encode())]

    def broadcast(self, data: bytes = b"") -> bytes:
        """Return the bytes that rank 0 passed; every process must call it."""
        return data if self.size == 1 else broadcast_bytes(data)

    def ask(self, question: Callable[[], bool]) -> Callable[[], bool]:
        """Evaluate `question` in every process; return a function that says whether any process answered True.

        The function waits for the answers of all processes. If there is only one process, `question` itself is
        returned, and thus evaluated only when it is called.
        """
        if self.size == 1:
            return question
        said = torch.tensor(int(question()), device=device_of())
        work = distributed.all_reduce(said, distributed.ReduceOp.MAX, async_op=True)

        def answer() -> bool:
            work.wait()
            return bool(said)

        return answer

    def broadcast_json(self, value: Any = None) -> Any:
        """Return the JSON value that rank 0 passed; every process must call it."""
        return json.loads(self.broadcast(json.dumps(value).encode()))


ALONE = Processes()
# The heartbeats of this process, one for each time that it joined the others.
_heartbeats: list[Heartbeat] = []


def _heartbeat(*, joins: bool = False) -> Heartbeat | None:
    """Return this process's heartbeat; None if torchrun did not start several processes.

    A heartbeat is created if there is none yet. If `joins` is true, a new one is also created after the latest
    one has finished.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or launch.size() == 1:
        return None
    if not _heartbeats or (joins and _heartbeats[-1].finished):
        _heartbeats.append(Heartbeat(len(_heartbeats)))
    return _heartbeats[-1]


@contextlib.contextmanager
def join(device: str) -> Iterator[Processes]:
    """Connect the processes that torchrun started for one command, until the end of the `with` block.

    Yield `ALONE` if torchrun did not start several processes. If one process is lost or fails, all processes end
    (see `heartbeat`).

    Raises:
        ValueError: the environment variables are not as torchrun sets them.
    """
    size = launch.size()
    if size == 1:
        yield ALONE
        return
    launch.number("RANK", range(size))
    launch.number("MASTER_PORT", range(1, 2**16))
    if "MASTER_ADDR" not in os.environ:
        raise ValueError(f"WORLD_SIZE is {size} without MASTER_ADDR; torchrun sets both, one process needs neither")
    if device.startswith("cuda"):
        torch.cuda.set_device(launch.number("LOCAL_RANK", range(torch.cuda.device_count())))
    heartbeat = _heartbeat(joins=True)
    # One process may have hours of work left when another has finished.
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=timedelta(days=30))
    try:
        connection = None if device.startswith("cuda") else connect()
        yield Processes(distributed.get_rank(), distributed.get_world_size(), connection)
    except BaseException:
        # With a heartbeat this process is about to end. Until it does, what it has begun could wait for the others.
        if not heartbeat:
            distributed.destroy_process_group()
        raise
    if heartbeat:
        heartbeat.finish()
    distributed.destroy_process_group()


def is_consequence(error: BaseException) -> bool:
    """Return whether an error is only the consequence of the loss or failure of another process."""
    broken = isinstance(error, RuntimeError) and any(word in f"{error}" for word in OF_A_CONNECTION)
    with contextlib.suppress(ValueError, RuntimeError):
        return broken and (heartbeat := _heartbeat()) is not None and heartbeat.explains_trouble()
    return False


def conclude(code: int, message: str, error: BaseException | None) -> str:
    """Return the last line for this process to print; where others have to agree, end the process instead.

    Args:
        code: the exit code that this process alone would have.
        message: the message that this process alone would print.
        error: the error that ended this process; None if there was none.
    """
    with contextlib.suppress(ValueError, RuntimeError):
        if code and (heartbeat := _heartbeat()) and not heartbeat.finished:
            heartbeat.conclude(code, message, error)
    if code and error:
        launch.tell_torchrun(error)
    if launch.is_silent():
        return ""
    launch.record(code, message, 0)
    return message
