"""Results that a forked child process computes do not change those of its parent."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from in4310repro.arithmetic import buffers
from in4310repro.arithmetic.pooling import add

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()"),
    # Newer Pythons warn of fork() in a process with threads, which torch always has.
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

SHAPE = (2, 32, 128, 128)
assert 4 * torch.Size(SHAPE).numel() >= buffers.LEAST


def begin_child(act: Callable[[], object]) -> int:
    """Call `act` in a forked child process and return its process id; the exit code is 1 if `act` raises."""
    child = os.fork()
    if not child:
        code = 1
        try:
            act()
            code = 0
        finally:
            # No atexit handlers: they belong to the parent.
            os._exit(code)
    return child


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_values_that_a_child_writes_are_not_the_parents() -> None:
    maps = buffers.maps(SHAPE).fill_(1.0)
    assert exit_code(begin_child(lambda: maps.fill_(2.0))) == 0
    assert torch.equal(maps, torch.ones(SHAPE))


def test_a_child_that_uses_a_free_block_again_leaves_the_parents_new_result_alone() -> None:
    buffers.release()
    free = buffers.maps(SHAPE)
    del free
    reader, writer = os.pipe()

    def compute() -> None:
        # Once the parent has its result, on the block that was free when the child began.
        os.read(reader, 1)
        add(torch.ones(SHAPE), torch.ones(SHAPE))

    child = begin_child(compute)
    threes = add(torch.ones(SHAPE), torch.full(SHAPE, 2.0))
    os.write(writer, b"1")
    assert exit_code(child) == 0
    assert torch.equal(threes, torch.full(SHAPE, 3.0))


class Sums(Dataset[Tensor]):
    """Data set whose items are sums by a compiled kernel of a tensor inherited from the parent process."""

    def __init__(self, maps: Tensor) -> None:
        self.maps = maps

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Tensor:
        self.maps.fill_(float(index + 5))
        return add(self.maps, self.maps)


def test_what_a_worker_of_a_data_loader_computes_is_not_in_the_parents_maps() -> None:
    maps = buffers.maps(SHAPE).fill_(1.0)
    loader = DataLoader(Sums(maps), batch_size=None, num_workers=1, multiprocessing_context="fork")
    assert [(float(batch.min()), float(batch.max())) for batch in loader] == [(10.0, 10.0), (12.0, 12.0)]
    assert torch.equal(maps, torch.ones(SHAPE))
