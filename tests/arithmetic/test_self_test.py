"""The self-test of the kernels: one hash per kernel, equal on all processors, different for a changed kernel."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import torch

from in4310repro.arithmetic import VERSION, instruction_set, library, obstacle, self_test
from in4310repro.arithmetic.library import Library
from in4310repro.arithmetic.self_test import values
from tests.arithmetic.formulas import THREADS, compute_with, libraries


def test_every_kernel_has_a_hash_of_its_own_which_is_equal_everywhere() -> None:
    hashes = self_test()
    assert len(set(hashes.values())) == len(hashes)
    assert all(re.fullmatch(r"[0-9a-f]{12}", value) for value in hashes.values())
    for kernels in libraries():
        for threads in THREADS:
            with compute_with(kernels, threads):
                assert self_test() == hashes, (kernels.instruction_set, threads)


def test_values_are_by_the_generators_formula() -> None:
    # (1664525 x 1 + 1013904223) mod 2^32, its upper 24 bits over 2^23, less 1; then the same from there.
    assert values(2, 1).tolist() == [[(1015568748 // 256) / 2**23 - 1], [(1586005467 // 256) / 2**23 - 1]]
    assert not torch.equal(values(2), values(2, seed=2))


def test_another_version_or_hash_is_another_numeric_class() -> None:
    """Whoever changes a kernel's bits must raise VERSION, update this hash and rewrite the golden files."""
    of_now = hashlib.sha256(json.dumps([VERSION, self_test()]).encode()).hexdigest()[:12]
    assert (VERSION, of_now) == (3, "78c6ac914381")


class WrongLibrary(Library):
    """Library in which one bit of each result of softmax differs."""

    def __init__(self, kernels: Library) -> None:
        vars(self).update(vars(kernels))

    def call(self, function: str, *arguments: Any) -> None:
        super().call(function, *arguments)
        if function == "softmax":
            result = arguments[-1]
            result[0, 0] = torch.nextafter(result[0, 0], torch.tensor(1.0))


def test_a_kernel_that_computes_something_else_changes_its_hash_alone() -> None:
    hashes = self_test()
    with compute_with(WrongLibrary(library.library()), 1):
        found = self_test()
    assert {name for name in hashes if found[name] != hashes[name]} == {"softmax"}


def test_the_self_test_leaves_torchs_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    self_test()
    assert torch.equal(torch.get_rng_state(), state)


def test_an_obstacle_is_told_in_one_clause(remove_library: Callable[[], None]) -> None:
    assert obstacle() == ""
    assert instruction_set() in library.SETS
    remove_library()
    assert obstacle().startswith("no kernel was built for this processor (a C++ compiler")
    assert instruction_set() is None
