"""The thread pool: every item once, in forked children too, with its own floating-point state."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from in4310repro.arithmetic.library import library
from in4310repro.arithmetic.products import convolution
from tests.arithmetic.formulas import THREADS


def share_out(items: int, threads: int, rounds: int = 10, factor: float = 3.0) -> tuple[Tensor, Tensor]:
    """Return (item + 1) * factor for each item, and the index of the thread that computed the item.

    `rounds` multiplications by 1 make the computation of each item longer.
    """
    results, who = torch.zeros(items), torch.full((items,), -1, dtype=torch.int64)
    kernels = library()
    passed, _kept = kernels.signatures["shared_out"].bind((threads, items, rounds, factor, results, who))
    assert kernels.functions["shared_out"](*passed) == 0
    return results, who


def expected(items: int, factor: float = 3.0) -> Tensor:
    return torch.arange(1, items + 1, dtype=torch.float32) * factor


@pytest.mark.parametrize("threads", [0, *THREADS, 64, 1000])
@pytest.mark.parametrize("items", [0, 1, 2, 500])
def test_every_item_is_done_by_a_thread_of_the_call(items: int, threads: int) -> None:
    results, who = share_out(items, threads)
    assert torch.equal(results, expected(items))
    assert ((who >= 0) & (who < max(threads, 1))).all()


def test_a_thousand_short_calls_with_changing_numbers_of_threads_lose_nothing() -> None:
    for call in range(1000):
        items, threads = 1 + call % 7, 1 + call % 5
        assert torch.equal(share_out(items, threads, rounds=0)[0], expected(items))


def test_a_second_thread_takes_part() -> None:
    # On a processor with other work it may come late, once in a while.
    assert any(set(share_out(64, 2, rounds=200_000)[1].tolist()) == {0, 1} for _ in range(50))


def test_callers_beside_each_other_each_get_their_results() -> None:
    def call(factor: float) -> bool:
        return all(torch.equal(share_out(50, 3, factor=factor)[0], expected(50, factor)) for _ in range(100))

    with ThreadPoolExecutor(4) as callers:
        assert all(callers.map(call, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_child_after_fork_computes_with_threads_of_its_own() -> None:
    assert torch.equal(share_out(100, 3)[0], expected(100))
    with warnings.catch_warnings():
        # Python 3.12 warns of every fork beside threads: what it warns of is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        os._exit(0 if all(torch.equal(share_out(100, 3)[0], expected(100)) for _ in range(20)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert torch.equal(share_out(100, 3)[0], expected(100))


def test_the_state_of_the_caller_does_not_matter_and_is_kept() -> None:
    maps = torch.rand(3, 20, 5, 5, generator=torch.Generator().manual_seed(1)) * 1e-38
    weight = torch.ones(9, 20, 3, 3) / 128
    reference = convolution(maps, weight)
    assert 0 < reference.min() < torch.finfo(torch.float32).tiny
    if not torch.set_flush_denormal(True):
        pytest.skip("torch cannot set this processor to flush denormals")
    try:
        for threads in THREADS:
            assert share_out(5, threads, factor=1e-40)[0].view(torch.int32).ne(0).all()
        # As bits: a comparison of floats would flush them.
        assert torch.equal(convolution(maps, weight).view(torch.int32), reference.view(torch.int32))
        assert (torch.tensor([1e-30]) * 1e-10).view(torch.int32).item() == 0
    finally:
        torch.set_flush_denormal(False)


def test_sizes_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shared_out refuses \[1, -10, 3.0\]"):
        library().call("shared_out", 1, -10, 3.0, torch.zeros(1), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"shared_out: results is .*; it must be torch\.float32 of sizes \(-1,\)"):
        library().call("shared_out", -1, 10, 3.0, torch.zeros(1), torch.zeros(1, dtype=torch.int64))
