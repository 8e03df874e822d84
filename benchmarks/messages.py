"""Counting and timing of the messages between processes that train one network together."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch import distributed as dist

from in4310repro.arithmetic.shares import Connection

SMALL, GRADIENTS, STOP = "small", "gradients", "stop"  # kinds of messages; the last asks whether to stop


@dataclass
class SentMessages:
    """Sizes and waiting time of the messages of one kind (such as gradients) that a process sends."""

    sizes: list[int] = field(default_factory=list)  # bytes sent by this process in each
    waiting: float = 0.0  # seconds in which this process only waits

    def clear(self) -> None:
        """Forget all messages counted so far."""
        self.sizes.clear()
        self.waiting = 0.0


class _TimedMessage:
    """Handle of an asynchronous message that measures how long `wait` takes."""

    def __init__(self, work: Any, sent: SentMessages) -> None:
        self._work, self._sent = work, sent

    def wait(self) -> None:
        start = time.perf_counter()
        self._work.wait()
        self._sent.waiting += time.perf_counter() - start


@contextmanager
def count_messages(connection: Connection) -> Iterator[dict[str, SentMessages]]:
    """Count and time the messages that this process sends in a `with` block; yield the results by kind of message."""
    kinds = {kind: SentMessages() for kind in (SMALL, GRADIENTS, STOP)}
    originals = {name: getattr(dist, name) for name in ("all_gather", "all_to_all_single", "all_reduce")}

    of_group = {id(connection.messages): SMALL, id(connection.gradients): GRADIENTS}

    def wrapped(original: Callable[..., Any], leaving: Callable[..., int]) -> Callable[..., Any]:
        def call(*arguments: Any, group: Any = None, async_op: bool = False) -> Any:
            sent = kinds[of_group.get(id(group), STOP)]
            start = time.perf_counter()
            work = original(*arguments, group=group, async_op=async_op)
            sent.waiting += time.perf_counter() - start
            sent.sizes.append(leaving(*arguments))
            return _TimedMessage(work, sent) if async_op else work

        return call

    def of_pieces(_received: Tensor, pieces: Tensor, _to_us: Any = None, to_each: list[int] | None = None) -> int:
        to_itself = to_each[connection.rank] if to_each else len(pieces) // connection.size
        return pieces[to_itself:].nbytes

    leaving = {
        "all_gather": lambda _received, own: (connection.size - 1) * own.nbytes,
        "all_to_all_single": of_pieces,
        "all_reduce": lambda value, _operation: value.nbytes,
    }
    for name, original in originals.items():
        setattr(dist, name, wrapped(original, leaving[name]))
    try:
        yield kinds
    finally:
        for name, original in originals.items():
            setattr(dist, name, original)
