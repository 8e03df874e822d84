"""The processes that run one command together under torchrun, and what they tell each other; nothing is unpickled."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from in4310repro.arithmetic.shares import Connection, connect
from in4310repro.features.distributed import all_gather_bytes, broadcast_bytes, device_of


@dataclass(frozen=True)
class Processes:
    """One process among those of a command."""

    rank: int = 0
    size: int = 1
    connection: Connection | None = None  # what portable arithmetic shares batches by; None alone and on a card

    @property
    def leads(self) -> bool:
        """Whether this is the process that prints, and reads and writes the run folder."""
        return self.rank == 0

    def gather(self, data: bytes) -> list[bytes]:
        """What each process gives, in the order of ranks; every process must call it."""
        return [data] if self.size == 1 else all_gather_bytes(data, None)

    def told(self, data: bytes = b"") -> bytes:
        """What rank 0 gives; every process must call it."""
        return data if self.size == 1 else broadcast_bytes(data)

    def ask(self, question: Callable[[], bool]) -> Callable[[], bool]:
        """Begins to find out whether any process says yes; every process must call it, and then what it returns."""
        if self.size == 1:
            return question
        said = torch.tensor(int(question()), device=device_of())
        work = distributed.all_reduce(said, distributed.ReduceOp.MAX, async_op=True)

        def answer() -> bool:
            work.wait()
            return bool(said)

        return answer

    def told_json(self, value: Any = None) -> Any:
        """As `told`, of a JSON value."""
        return json.loads(self.told(json.dumps(value).encode()))


ALONE = Processes()


def _set_by_torchrun(name: str, valid: range) -> int:
    """A number that torchrun puts into the environment.

    Raises:
        ValueError: there is none, or another one than is valid.
    """
    value = os.environ.get(name, "")
    if not re.fullmatch(r"[0-9]{1,9}", value) or int(value) not in valid:
        raise ValueError(
            f"{name} is {value!r}; torchrun sets it to a number from {valid[0]} to {valid[-1]}, and without WORLD_SIZE "
            "there is one process"
        )
    return int(value)


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """This process connected with the others that torchrun started; `ALONE` without torchrun.

    Raises:
        ValueError: the environment is none that torchrun makes.
    """
    size = _set_by_torchrun("WORLD_SIZE", range(1, 10**6)) if "WORLD_SIZE" in os.environ else 1
    if size == 1:
        yield ALONE
        return
    _set_by_torchrun("RANK", range(size))
    _set_by_torchrun("MASTER_PORT", range(1, 2**16))
    if "MASTER_ADDR" not in os.environ:
        raise ValueError(f"WORLD_SIZE is {size} without MASTER_ADDR; torchrun sets both, one process needs neither")
    if device.startswith("cuda"):
        torch.cuda.set_device(_set_by_torchrun("LOCAL_RANK", range(torch.cuda.device_count())))
    # One process may have hours of work left when another has finished.
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo", timeout=timedelta(days=30))
    try:
        connection = None if device.startswith("cuda") else connect()
        yield Processes(distributed.get_rank(), distributed.get_world_size(), connection)
    finally:
        distributed.destroy_process_group()
