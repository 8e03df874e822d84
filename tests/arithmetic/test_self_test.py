"""The self-test of the kernels: a hash of each, equal anywhere, another one where a kernel is another."""

from __future__ import annotations

import re

import pytest
import torch

from in4310repro.arithmetic import VERSION, instruction_set, library, obstacle, self_test
from in4310repro.arithmetic.library import Library
from tests.arithmetic.formulas import THREADS, computing, libraries


def test_every_kernel_has_a_hash_of_its_own_which_is_equal_everywhere() -> None:
    hashes = self_test()
    assert len(set(hashes.values())) == len(hashes)
    assert all(re.fullmatch(r"[0-9a-f]{12}", value) for value in hashes.values())
    for kernels in libraries():
        for threads in THREADS:
            with computing(kernels, threads):
                assert self_test() == hashes, (kernels.instruction_set, threads)


def test_a_kernel_that_computes_something_else_changes_its_hash_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes, call = self_test(), Library.call

    def wrong(self: Library, function: str, *arguments: object, threads: int | None = None) -> None:
        call(self, function, *arguments, threads=threads)  # type: ignore[arg-type]
        if function == "softmax":
            result = arguments[-1]
            assert isinstance(result, torch.Tensor)
            result[0, 0] = torch.nextafter(result[0, 0], torch.tensor(1.0))

    monkeypatch.setattr(Library, "call", wrong)
    found = self_test()
    assert {name for name in hashes if found[name] != hashes[name]} == {"softmax"}


def test_the_self_test_leaves_torchs_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    self_test()
    assert torch.equal(torch.get_rng_state(), state)


def test_an_obstacle_is_told_in_one_clause(monkeypatch: pytest.MonkeyPatch) -> None:
    assert obstacle() == ""
    assert instruction_set() in library.SETS
    assert VERSION >= 1
    monkeypatch.setattr(library, "available", lambda: None)
    assert obstacle().startswith("no kernel was built for this processor (a C++ compiler")
    assert instruction_set() is None
